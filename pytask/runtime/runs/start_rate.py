"""Start rates: of a worker, by limiting its claims; of a class, by delaying `start()`.

Tasks that a worker may not start yet stay in the queue for others.  The class of a queued task is unknown
before the claim, so a run of a class with a rate is claimed, keeps its lease, and waits before `start()`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf

import gevent
from gevent.lock import Semaphore

from pytask.domain.task import Task
from pytask.domain.task_config import start_rate

STEP = 0.25  # seconds of starts in one burst, so that a high rate still claims in batches


class Allowance:
    """The token bucket of a worker's starts; unlimited without a rate."""

    def __init__(self, rate: float | None, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._clock = clock
        self._most = max(1.0, (rate or 0.0) * STEP)
        self._saved = self._most
        self._at = clock()

    @property
    def left(self) -> float:
        """The number of tasks that may start now."""
        if self._rate is None:
            return inf
        now = self._clock()
        self._saved = min(self._most, self._saved + self._rate * (now - self._at))
        self._at = now
        return max(0, int(self._saved + 1e-9))  # compensates rounding of many small steps

    def take(self, count: int) -> None:
        """Record starts; partitions that claim at the same time may overdraw, and then wait."""
        if self._rate is not None:
            self._saved -= count

    @property
    def pause(self) -> float:
        """Seconds until the next start; 0 if one is allowed now."""
        if self._rate is None or self.left >= 1:
            return 0.0
        return (1.0 - self._saved) / self._rate


class Turns:
    """Starts runs of a class with `Config.START_RATE` one after the other, in the order of their claims."""

    def __init__(self, tasks: Mapping[str, type[Task]], clock: Callable[[], float]) -> None:
        rates = {cls: start_rate(cls) for cls in tasks.values()}
        self._lines = {cls: _Line(rate, clock) for cls, rate in rates.items() if rate is not None}
        self.any = bool(self._lines)  # whether a class has a rate

    def wait(self, cls: type[Task] | None) -> bool:
        """Wait until a run of this class may start; a killed waiter leaves its turn to the next.

        Returns whether the class has a rate.
        """
        line = self._lines.get(cls) if cls is not None else None
        if line is not None:
            line.wait()
        return line is not None


class _Line:
    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        self._pause = 1.0 / rate
        self._clock = clock
        self._next = -inf
        self._first = Semaphore(1)  # held by the first in line; the others get it in order

    def wait(self) -> None:
        with self._first:
            rest = self._next - self._clock()
            if rest > 0:
                gevent.sleep(rest)
            self._next = self._clock() + self._pause
