"""Notice of files of a folder that are closed by their last writer, by inotify; without it, a pause."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path
from posix import close

import gevent
from gevent.socket import wait_read

from pytask.logger import get_logger

log = get_logger(__name__)

IN_CLOSE_WRITE = 0x8  # not IN_CLOSE_NOWRITE: those who try the locks read only
BUFFER = 65536  # bytes; a name has at most 255
OURS = "anon_inode:inotify"


class CloseWatch:
    """Waits for the end of any process that holds a file of the folder."""

    def __init__(self, folder: Path) -> None:
        self._fd = -1
        try:
            library = ctypes.CDLL(None, use_errno=True)
            fd = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
            if fd >= 0 and library.inotify_add_watch(fd, os.fsencode(folder), IN_CLOSE_WRITE) >= 0:
                self._fd = fd
            elif fd >= 0:
                close(fd)
        except (OSError, AttributeError) as error:  # no such function
            log.debug("no inotify: %s", error)
        if self._fd < 0:
            log.debug("no inotify for %s: the locks are tried each second", folder)

    @property
    def instant(self) -> bool:
        """Whether it notices by itself."""
        return self._fd >= 0

    def wait(self, seconds: float) -> bool:
        """Wait for a notice, at most `seconds`; whether there was one."""
        if self._fd < 0:
            gevent.sleep(seconds)
            return False
        try:
            wait_read(self._fd, timeout=seconds, timeout_exc=TimeoutError())
            return self._read()
        except TimeoutError:
            return False
        except OSError as error:
            log.debug("inotify has ended: %s", error)
            self._fd = -1
            gevent.sleep(seconds)
            return False

    def _read(self) -> bool:
        # A task may have closed it, and opened something else: that is not ours to read.
        if os.readlink(f"/proc/self/fd/{self._fd}") != OURS:  # noqa: PTH115 - not a file
            raise OSError("the descriptor was closed")
        with suppress(BlockingIOError):
            os.read(self._fd, BUFFER)
        return True

    def close(self) -> None:
        """End it."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            close(fd)
