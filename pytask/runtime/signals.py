"""What signals mean to a worker.  The handlers only note them and wake the loop, but for two cases.

SIGTERM, SIGINT: end; a second one ends now.  SIGHUP, where the daemon wants it: end, to be started anew.
SIGTSTP, SIGCONT: take no more tasks, take tasks again.  SIGUSR1: print what every greenlet does; that is
done in the handler itself, so that it also works while a task holds the loop.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

import gevent
from gevent import GreenletExit, Timeout
from gevent.event import Event as Flag

from pytask.logger import get_logger
from pytask.runtime import fork
from pytask.runtime.greenlets import report, write

SIGNALS = (signal.SIGTERM, signal.SIGINT)
# Taken over only where the program has no handler of its own.
POLITE = (signal.SIGTSTP, signal.SIGCONT, signal.SIGUSR1)


# SystemExit and SystemError come from `spawn_raw` greenlets and from callbacks of the event loop, the others
# from code that kills or times out the main greenlet as well.  None of them is a reason to end a worker.
THROWN_BY_TASKS = (GreenletExit, Timeout, SystemExit, SystemError)
IGNORED = (
    "%r was thrown at the main greenlet, and is ignored: it comes from a task's spawn_raw greenlet, from a"
    " callback of the event loop, or from code that kills greenlets it did not start"
)

log = get_logger(__name__)


class Signals:
    """Waits for the first that ends.  A handler that raised would hit whichever task happens to run."""

    def __init__(self, *, hangup: bool = False) -> None:
        self.received: int | None = None
        self.thrown: BaseException | None = None  # what ended the wait: raised when all is handed back
        self.on_quiet: Callable[[bool], None] = lambda _: None
        self._quiet: bool | None = None  # asked for, and not passed on yet
        self._ending = (*SIGNALS, signal.SIGHUP) if hangup else SIGNALS
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
        for number in self._ending:
            self._old[number] = signal.signal(number, self._handle)
        for number in POLITE:
            if signal.getsignal(number) is signal.SIG_DFL:
                self._old[number] = signal.signal(number, self._oblige)
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
        while True:
            try:
                return bool(self._flag.wait(timeout))
            except THROWN_BY_TASKS as error:
                log.error(IGNORED, error)
            except BaseException as error:  # noqa: BLE001 - the tasks are handed back first
                self.thrown = error
                return True

    def wake(self) -> None:
        """End the wait without a signal."""
        self._flag.set()

    def _in_child(self) -> None:
        # A forked child ends by a signal like any other program.
        signal.set_wakeup_fd(-1)
        for number in self._old:
            signal.signal(number, signal.SIG_DFL)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP and self.received is not None:
            return  # it ends already
        if self.received not in (None, signal.SIGHUP):
            os._exit(128 + number)
        self.received = number

    def _oblige(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGUSR1:
            write(report())
        else:
            self._quiet = number == signal.SIGTSTP

    def _woken(self) -> None:
        if self._pipe is not None:
            try:
                os.read(self._pipe[0], 4096)
            except BlockingIOError:
                return
        if self._quiet is not None:
            quiet, self._quiet = self._quiet, None
            self.on_quiet(quiet)
        if self.received is not None:
            self._flag.set()
