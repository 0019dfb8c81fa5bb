"""Where the workers of this machine answer `pytask health`: a unix socket each, in a folder of the user's."""

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

NAME = re.compile(r"[1-9][0-9]{0,9}\.sock")  # of a process: its number
LARGEST = 1_000_000  # bytes of an answer
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
        if run_dir:  # whoever names one answers for it: it may be common to the members of a group
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        else:
            make_own(place)
    except OSError as error:
        raise ConfigError(
            f"the folder for health sockets cannot be made: {error}. Choose another: --run-dir"
        ) from None
    path = place / f"{os.getpid()}.sock"
    if len(os.fsencode(path.absolute())) > LONGEST:
        raise ConfigError(f"{path} is too long for a unix socket: use a shorter --run-dir")
    _tidy(place)
    return path


def socket_of_this_process(run_dir: str | None, who: str) -> Path | None:
    """As `own_socket`; None, and a warning, where nobody named a folder and there is none."""
    try:
        return own_socket(run_dir)
    except ConfigError as error:
        if run_dir:
            raise
        log.warning("`pytask health` will not find %s: %s", who, error)
        return None


def workers(run_dir: str | None = None) -> list[Path]:
    """The sockets that are named as those of workers are.  Nothing is removed: others may use the folder."""
    return sorted(path for path in folder(run_dir).glob("*.sock") if _may_be_ours(path))


def _may_be_ours(path: Path) -> bool:
    try:
        return NAME.fullmatch(path.name) is not None and stat.S_ISSOCK(path.lstat().st_mode)
    except OSError:
        return False  # it was removed meanwhile


def _tidy(place: Path) -> None:
    """Remove the sockets that killed workers of this user left: nobody listens at them."""
    for path in place.glob("*.sock"):
        with contextlib.suppress(OSError):
            if _may_be_ours(path) and path.lstat().st_uid == os.getuid() and not answers(path):
                path.unlink()


def ask(path: Path, timeout: float) -> dict[str, Any] | None:
    """What the worker at `path` says of itself; None if it does not answer within `timeout` seconds.

    Raises `ConnectionRefusedError` where nobody listens: the process was killed, and left its socket.
    """
    until = time.monotonic() + timeout
    text = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(timeout)
            line.connect(str(path))
            while len(text) < LARGEST and (chunk := line.recv(65536)):
                text += chunk
                line.settimeout(max(0.001, until - time.monotonic()))
        answer = json.loads(text)
    except ConnectionRefusedError:
        raise
    except (OSError, ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None
