"""SIGTERM and SIGINT: the handler only notes the signal and wakes the loop; a second one ends now."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any, Self

import gevent
from gevent.event import Event as Flag

from pytask.runtime import fork

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """Waits for the first signal.  A handler that raised would hit whichever task happens to run."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._flag = Flag()
        self._old: dict[int, Any] = {}
        self._pipe: tuple[int, int] | None = None
        self._old_fd = -1
        self._watcher: Any = None

    def __enter__(self) -> Self:
        """Install the handlers."""
        self._pipe = os.pipe()
        for fd in self._pipe:
            os.set_blocking(fd, False)
        # The C-level handler writes to the pipe at once, which wakes the loop out of its poll.
        self._old_fd = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        self._watcher = gevent.get_hub().loop.io(self._pipe[0], 1)
        self._watcher.start(self._woken)
        for number in SIGNALS:
            self._old[number] = signal.signal(number, self._handle)
        fork.on_child(self._in_child)
        return self

    def __exit__(self, *_: object) -> None:
        """Put back what was there."""
        fork.forget(self._in_child)
        for number, old in self._old.items():
            signal.signal(number, old)
        signal.set_wakeup_fd(self._old_fd)
        self._watcher.stop()
        self._watcher.close()
        for fd in self._pipe or ():
            os.close(fd)

    def wait(self, timeout: float | None = None) -> bool:
        """Until a signal came; whether one did."""
        return bool(self._flag.wait(timeout))

    def wake(self) -> None:
        """End the wait without a signal."""
        self._flag.set()

    def _in_child(self) -> None:
        # A forked child ends by a signal like any other program.
        signal.set_wakeup_fd(-1)
        for number in self._old:
            signal.signal(number, signal.SIG_DFL)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.received is not None:
            os._exit(128 + number)
        self.received = number

    def _woken(self) -> None:
        if self._pipe is not None:
            try:
                os.read(self._pipe[0], 4096)
            except BlockingIOError:
                return
        if self.received is not None:
            self._flag.set()
