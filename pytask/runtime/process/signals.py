"""The signals of a worker.  Most handlers only record the signal and wake the loop.

SIGTERM, SIGINT: exit; a second one exits at once, or ends the drain, and then a third exits at once.  SIGHUP:
handled by the daemon.
SIGTSTP, SIGCONT: pause and resume claims.  SIGUSR1: print the stacks of all greenlets, in the handler itself,
so that it also works while a task blocks the loop.
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
from pytask.runtime.process import cpu_usage, fork
from pytask.runtime.process.greenlet_dump import report, write
from pytask.runtime.process.signal_guard import Guard
from pytask.runtime.tree import Service

SIGNALS = (signal.SIGTERM, signal.SIGINT)
# Handled only if the program has no handler of its own.
POLITE = (signal.SIGTSTP, signal.SIGCONT, signal.SIGUSR1)
LOOK = 0.5  # seconds between checks for handlers set by C code

_active: list[Signals] = []  # the last one owns the handlers


# SystemExit and SystemError come from `spawn_raw` greenlets and from callbacks of the event loop, the others
# from code that also kills or times out the main greenlet.  None of them should end a worker.
THROWN_BY_TASKS = (GreenletExit, Timeout, SystemExit, SystemError)
IGNORED = (
    "ignored %r thrown into the main greenlet: it comes from a task's spawn_raw greenlet, from a"
    " callback of the event loop, or from code that kills greenlets it did not start"
)

log = get_logger(__name__)


class Signals:
    """Waits for a signal that ends the worker.  Handlers never raise, as it could hit any task."""

    def __init__(
        self,
        *,
        on_hangup: Callable[[], None] | None = None,
        on_quiet: Callable[[bool], None] = lambda _: None,  # pause or resume claims
        patient: bool = False,
    ) -> None:
        self.received: int | None = None
        self.patient = patient  # a second signal ends the drain instead of the process
        self.hurried = False  # whether the second signal arrived
        self.thrown: BaseException | None = None  # what ended the wait: raised after all tasks are released
        self._on_quiet = on_quiet
        self._on_hangup = on_hangup
        self._hung_up = False  # received but not processed yet
        self._quiet: bool | None = None  # requested but not processed yet
        self._asked = False  # whether to measure the busiest tasks when the loop runs
        # Under `nohup` SIGHUP stays ignored.
        wanted = on_hangup is not None and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
        self._ending = (*SIGNALS, signal.SIGHUP) if wanted else SIGNALS
        self._flag = Flag()
        self._old: dict[int, Any] = {}
        self._pipe: tuple[int, int] | None = None
        self._old_fd = -1
        self._watchers: list[Any] = []
        self._guard: Guard | None = None

    def __enter__(self) -> Self:
        """Install the handlers."""
        self._pipe = os.pipe()
        for fd in self._pipe:
            os.set_blocking(fd, False)
        # The C-level handler writes to the pipe at once, which wakes the loop.
        self._old_fd = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        loop = gevent.get_hub().loop
        self._watchers = [loop.io(self._pipe[0], 1), loop.timer(LOOK, LOOK)]
        for watcher, callback in zip(self._watchers, (self._woken, self._look), strict=True):
            watcher.start(callback)
        for number in self._ending:
            self._old[number] = signal.signal(number, self._handle)
        for number in POLITE:
            if signal.getsignal(number) is signal.SIG_DFL:
                self._old[number] = signal.signal(number, self._oblige)
        self._guard = Guard(self._ending, self._pipe[1])
        self._guard.install()
        _active.append(self)
        # The previous image blocked SIGHUP; a pending one is delivered now.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._ending)
        fork.on_child(self._in_child)
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the previous handlers."""
        fork.forget(self._in_child)
        if self in _active:  # otherwise this is a forked child
            _active.remove(self)
        if self._guard is not None:
            self._guard.remove()
        for number, old in self._old.items():
            # Until the new image is loaded, SIGHUP must not end this process.
            if number != signal.SIGHUP or self.received != signal.SIGHUP:
                signal.signal(number, old)
        signal.set_wakeup_fd(self._old_fd)
        for watcher in self._watchers:
            watcher.stop()
            watcher.close()
        for fd in self._pipe or ():
            os.close(fd)

    def end(self, number: int) -> None:
        """End as that signal would."""
        if self.received is None:
            self.received = number
        self._flag.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for a signal; returns whether there was one."""
        while True:
            try:
                return bool(self._flag.wait(timeout))
            except THROWN_BY_TASKS as error:
                log.error(IGNORED, error)
            except BaseException as error:  # noqa: BLE001 - the tasks are handed back first
                self.thrown = error
                return True

    def wait_again(self, timeout: float) -> None:
        """After the first signal: wait up to `seconds` for another."""
        self._flag.clear()
        self.wait(timeout)

    def wake(self) -> None:
        """End the wait without a signal."""
        self._flag.set()

    def hurry(self) -> None:
        """End the wait, and the drain behind it."""
        self.hurried = True
        self._flag.set()

    def _in_child(self) -> None:
        # In a forked child signals have their default action.
        if self._guard is not None:
            self._guard.remove()
        _active.clear()
        signal.set_wakeup_fd(-1)
        for number in self._old:
            signal.signal(number, signal.SIG_DFL)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._hung_up = True
            return
        if self.received in (None, signal.SIGHUP):
            self.received = number
        elif self.patient:
            self.patient, self.hurried = False, True
        else:
            os._exit(128 + number)

    def _oblige(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGUSR1:
            write(report())
            self._asked = True
        else:
            self._quiet = number == signal.SIGTSTP

    def _woken(self) -> None:
        if self._pipe is not None:
            try:
                os.read(self._pipe[0], 4096)
            except BlockingIOError:
                return
        self._pass_on()

    def _pass_on(self) -> None:
        if self._hung_up and self.received is None and self._on_hangup is not None:
            self._hung_up = False
            self._on_hangup()
        if self._asked:
            self._asked = False
            Service.spawn(cpu_usage.tell)
        if self._quiet is not None:
            quiet, self._quiet = self._quiet, None
            self._on_quiet(quiet)
        if self.received is not None:
            self._flag.set()

    def _look(self) -> None:
        """Restore replaced handlers, including those set by C code, which Python does not know."""
        if _active[-1:] != [self] or self._pipe is None or self._guard is None:
            return
        found = [n for n in self._ending if signal.signal(n, self._handle) != self._handle]
        for number in POLITE:
            if number in self._old and signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, self._oblige)  # a task restored the handler that it had replaced
        fd = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, self._ending) & set(self._ending)
        if found or blocked:
            names = ", ".join(signal.Signals(number).name for number in {*found, *blocked})
            self._guard.report(f"a handler for {names}" if found else f"a mask that blocks {names}")
        elif fd != self._pipe[1]:
            self._guard.report("a wake-up descriptor for signals")
        self._pass_on()
