"""Where the workers of this machine answer `pytask health`: a unix socket each, in a folder of the user's."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import tempfile
from pathlib import Path
from typing import Any

from pytask.domain.errors import ConfigError

LONGEST = 100  # bytes of a path that every system takes for a unix socket


def folder(run_dir: str | None = None) -> Path:
    """The folder of the sockets: as set, else systemd's for the unit, the session's, or one in /tmp.

    Raises `ConfigError` where there is none of these.
    """
    if run_dir:
        return Path(run_dir)
    unit = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if unit:
        return Path(unit)
    session = os.environ.get("XDG_RUNTIME_DIR")
    if session and Path(session).is_dir():
        return Path(session) / "pytask"
    try:
        return Path(tempfile.gettempdir()) / f"pytask-{os.getuid()}"
    except FileNotFoundError as error:
        raise ConfigError(f"there is no folder for health sockets: {error}. Choose one: --run-dir") from None


def own_socket(run_dir: str | None = None) -> Path:
    """The path for this process; makes the folder.  Raises `ConfigError` where that cannot be."""
    place = folder(run_dir)
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = place.stat()
    except OSError as error:
        raise ConfigError(
            f"the folder for health sockets cannot be made: {error}. Choose another: --run-dir"
        ) from None
    # In /tmp anybody may have made it first; what others can write to, others can answer in.
    if not run_dir and (found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
        raise ConfigError(f"{place} belongs to somebody else, or others may write to it: use --run-dir")
    path = place / f"{os.getpid()}.sock"
    if len(os.fsencode(path.absolute())) > LONGEST:
        raise ConfigError(f"{path} is too long for a unix socket: use a shorter --run-dir")
    return path


def workers(run_dir: str | None = None) -> list[Path]:
    """The sockets there are; those whose process is gone are removed."""
    found = []
    for path in sorted(folder(run_dir).glob("*.sock")):
        if path.stem.isdecimal() and _lives(int(path.stem)):
            found.append(path)
        else:
            with contextlib.suppress(OSError):
                path.unlink()
    return found


def ask(path: Path, timeout: float) -> dict[str, Any] | None:
    """What the worker at `path` says of itself; None if it does not answer within `timeout` seconds.

    Raises `ConnectionRefusedError` where nobody listens: the socket is of a dead process whose number
    another has now, as it happens in a container that was restarted and has kept its folder.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(timeout)
            line.connect(str(path))
            text = b"".join(iter(lambda: line.recv(65536), b""))
        answer = json.loads(text)
    except ConnectionRefusedError:
        raise
    except (OSError, ValueError):
        return None
    return answer if isinstance(answer, dict) else None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
