"""Protects a worker's signal handlers: handlers set by tasks are not installed.

Calls from Python code are intercepted and logged.  Changes by C code, or through names imported before, are
reverted by `Signals`, which checks every half second.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection
from typing import Any

from pytask.logger import get_logger
from pytask.runtime.tree import Service, current_run

log = get_logger(__name__)

REFUSED = (
    "[PT123] %s set %s: it is not installed, because a worker releases its tasks on SIGTERM and SIGINT."
    " Fix: turn off the signal handling of that library (handle_signals=False, stop_signals=None or"
    " similar), and end the work in stop()"
)


class Guard:
    """Wraps `signal.signal` and `signal.set_wakeup_fd` while a worker runs."""

    def __init__(self, numbers: Collection[int], fd: int) -> None:
        self._numbers = numbers
        self._fd = fd
        self._reported: set[str] = set()
        self._before: tuple[Callable[..., Any], Callable[..., Any]] = signal.signal, signal.set_wakeup_fd
        self._ours: Any = self._signal, self._set_wakeup_fd

    def install(self) -> None:
        """Begin."""
        signal.signal, signal.set_wakeup_fd = self._ours

    def remove(self) -> None:
        """Restore the originals."""
        signal.signal, signal.set_wakeup_fd = self._before

    def report(self, what: str) -> None:
        """Log it once per task function, in a greenlet, as this may be the hub."""
        run = current_run()
        function = run.claim.function if run is not None else ""
        if str(function) in self._reported:
            return
        self._reported.add(str(function))
        who = f"task {run.id} ({function})" if run is not None else "something in this process"
        Service.spawn(log.warning, REFUSED, who, what)

    def _signal(self, number: Any, handler: Any) -> Any:
        if current_run() is None or number not in self._numbers:
            return self._before[0](number, handler)
        current = signal.getsignal(number)
        if handler != current:
            self.report(f"a handler for {signal.Signals(number).name}")
        return current

    def _set_wakeup_fd(self, fd: int, **options: bool) -> int:
        if current_run() is None:
            return int(self._before[1](fd, **options))
        if fd not in (self._fd, -1):
            self.report("a wake-up descriptor for signals (asyncio's add_signal_handler does)")
        return self._fd
