"""The unix sockets for `pytask health`, one per process, in a directory of the user."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import stat
import tempfile
import time
from pathlib import Path
from typing import Any

from pytask.adapters.folders import make_own
from pytask.domain.errors import ConfigError
from pytask.logger import get_logger
from pytask.runtime.process.unix_socket import answers

log = get_logger(__name__)

NAME = re.compile(r"[1-9][0-9]{0,9}\.sock")  # the pid of a process
LARGEST = 1_000_000  # bytes of an answer
LONGEST = 100  # bytes of a unix socket path that every system supports


def folder(run_dir: str | None = None) -> Path:
    """The directory of the sockets: as set, else the unit's RuntimeDirectory, the session's, or one in /tmp.

    Raises `ConfigError` if there is none.
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
        raise ConfigError(f"no directory for health sockets: {error}. Choose one with --run-dir") from None


def own_socket(run_dir: str | None = None) -> Path:
    """The path for this process; creates the directory.  Raises `ConfigError` on failure."""
    place = folder(run_dir)
    try:
        if run_dir:  # a given directory is not checked: it may be shared by a group
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        else:
            make_own(place)
    except OSError as error:
        raise ConfigError(
            f"cannot create the directory for health sockets: {error}. Choose another with --run-dir"
        ) from None
    path = place / f"{os.getpid()}.sock"
    if len(os.fsencode(path.absolute())) > LONGEST:
        raise ConfigError(f"{path} is too long for a unix socket: use a shorter --run-dir")
    _tidy(place)
    return path


def socket_of_this_process(run_dir: str | None, who: str) -> Path | None:
    """As `own_socket`; None and a warning if no directory was given and there is no default."""
    try:
        return own_socket(run_dir)
    except ConfigError as error:
        if run_dir:
            raise
        log.warning("`pytask health` will not find %s: %s", who, error)
        return None


def workers(run_dir: str | None = None) -> list[Path]:
    """The sockets that are named like those of workers; nothing is removed."""
    return sorted(path for path in folder(run_dir).glob("*.sock") if _may_be_ours(path))


def _may_be_ours(path: Path) -> bool:
    try:
        return NAME.fullmatch(path.name) is not None and stat.S_ISSOCK(path.lstat().st_mode)
    except OSError:
        return False  # it was removed meanwhile


def _tidy(place: Path) -> None:
    """Remove the stale sockets of killed workers of this user."""
    for path in place.glob("*.sock"):
        with contextlib.suppress(OSError):
            if _may_be_ours(path) and path.lstat().st_uid == os.getuid() and not answers(path):
                path.unlink()


def ask(path: Path, timeout: float) -> dict[str, Any] | None:
    """The health report of the worker at `path`; None if it does not answer within `timeout` seconds.

    Raises `ConnectionRefusedError` for the stale socket of a killed process.
    """
    until = time.monotonic() + timeout
    text = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(timeout)
            line.connect(str(path))
            line.shutdown(socket.SHUT_WR)  # those who scrape metrics would ask for them
            while len(text) < LARGEST and (chunk := line.recv(65536)):
                text += chunk
                line.settimeout(max(0.001, until - time.monotonic()))
        answer = json.loads(text)
    except ConnectionRefusedError:
        raise
    except (OSError, ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None
