"""The timers of the asyncio loop: that of an `asyncio.sleep()` is a quarter as large as any other.

Most coroutines that wait for nothing else sleep.  The timer of the library has a tuple, a float and a context
of its own, together 340 bytes, and is compared in Python.
"""

from __future__ import annotations

import asyncio
from typing import Any

WAKE: Any = getattr(asyncio.futures, "_set_result_unless_cancelled", None)
"""What the timer of a sleep calls; None: a release of Python in which that has another name."""


class Timer(asyncio.TimerHandle):
    """Any other timer, in a queue that has those of sleeps, too."""

    __slots__ = ()

    def __lt__(self, other: Any) -> bool:
        return bool(self._when < other._when)  # type: ignore[attr-defined]

    def __gt__(self, other: Any) -> bool:
        return bool(self._when > other._when)  # type: ignore[attr-defined]


class Nap(float):
    """The timer of a sleep, and its time, as which the queue of the loop compares it.

    It needs no context: what it wakes has its own.
    """

    __slots__ = ("_future", "_scheduled")

    # What a loop asks of a timer:
    _callback = WAKE
    _source_traceback = None

    _future: asyncio.Future[None] | None  # None: it is over
    _scheduled: bool  # it is in the queue

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @property
    def _when(self) -> float:
        return self

    @property
    def _cancelled(self) -> bool:
        return self._future is None

    def when(self) -> float:
        """Its time, by the clock of the loop."""
        return float(self)

    def cancelled(self) -> bool:
        """Whether it wakes nothing any more."""
        return self._future is None

    def cancel(self) -> None:
        """The sleep is over."""
        future, self._future = self._future, None
        if future is not None:
            future.get_loop()._timer_handle_cancelled(self)  # type: ignore[attr-defined]  # noqa: SLF001

    def _run(self) -> None:
        future, self._future = self._future, None
        if future is not None and not future.done():
            future.set_result(None)


def nap(when: float, future: asyncio.Future[None]) -> Nap:
    """The timer of a sleep until then."""
    made = Nap(when)
    made._future, made._scheduled = future, True  # noqa: SLF001 - names that the loop prescribes
    return made
