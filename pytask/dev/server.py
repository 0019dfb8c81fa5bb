"""The private server of `pytask dev`, which ends with its process."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pytask.adapters.embedded import EmbeddedServer
from pytask.dev.folders import folders, name_of
from pytask.dev.orphans import Orphans
from pytask.domain.errors import ConfigError

STARTING = 5.0  # seconds in which a folder may have no server yet


@contextmanager
def private_server(project: Path, orphans: Orphans) -> Iterator[str]:
    """The URL of a server for the commands of this folder, whose data are deleted at the end."""
    tidy()
    try:
        folder = tempfile.TemporaryDirectory(prefix=name_of(project), ignore_cleanup_errors=True)
    except OSError as error:
        raise ConfigError(f"no directory for temporary data: {error}. Use a server with --redis") from None
    with folder as name, EmbeddedServer(Path(name)) as server:
        pid = server.pid
        orphans.note(pid)
        try:
            yield server.url
        finally:
            server.stop()
            orphans.forget(pid)


def tidy() -> None:
    """Remove the data of those that were killed."""
    for folder in folders():
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > STARTING and _unused(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _unused(folder: Path) -> bool:
    """Whether no server holds the lock, which it inherits and keeps as long as it lives."""
    try:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
