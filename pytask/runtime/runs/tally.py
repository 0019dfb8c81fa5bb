"""Counts and measures what the runs of a partition do, for the figures of its worker.

Everything here is plain arithmetic: a task that does nothing costs two or three of these calls, whether or
not anybody reads the metrics.  The rounds of coroutines are told in the thread of their loop, without a lock:
it would cost more than the count that may be lost if the threads change in the middle of one.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Callable, Mapping
from contextlib import suppress

from pytask.domain import metrics
from pytask.domain.metrics import Histogram, Metric, RestartReason
from pytask.domain.record import Claim
from pytask.runtime.process.clock import steady


class Measured:
    """A histogram that is being filled."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, metric: Metric) -> None:
        self._bounds = metric.buckets
        self._counts = [0] * (len(metric.buckets) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """One measurement."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    @property
    def found(self) -> Histogram:
        """All of them."""
        return Histogram(tuple(self._counts), round(self._sum, 6))


class Loop:
    """A `run_loop` of a task: it tells when its rounds begin and end."""

    __slots__ = ("_began", "_function", "_rounds", "_turned", "_turning", "clock")

    def __init__(self, tally: Tally, function: str) -> None:
        self.clock = tally.clock
        self._rounds = tally.rounds
        self._function = function
        self._turning = tally.turning
        self._turned = tally.turned
        self._began = 0.0

    def begin(self) -> None:
        """A round begins."""
        began = self._began = self.clock()
        # Moved to the end, so that the first one is always the one that has turned least recently.
        turning = self._turning.setdefault(self._function, {})
        turning.pop(self, None)
        turning[self] = began

    def end(self, error: BaseException | None = None) -> None:
        """The round has ended, with an error or without."""
        del error
        self._rounds.add(self.clock() - self._began)
        self._turned[self._function] = self._turned.get(self._function, 0) + 1

    def rest(self) -> None:
        """It is over, or its task is paused: it need not turn."""
        self._turning.get(self._function, {}).pop(self, None)


class Tally:
    """What happened in one partition of a worker since its start."""

    def __init__(self, clock: Callable[[], float] = steady) -> None:
        self.clock = clock
        self.starts = Measured(metrics.STARTS)
        self.rounds = Measured(metrics.ROUNDS)
        self.takeovers = Measured(metrics.TAKEOVERS)
        self.timers_late = Measured(metrics.TIMERS_LATE)
        self.runs: dict[str, int] = {}  # living ones, by function
        self.restarts: dict[str, dict[str, int]] = {}
        self.fires: dict[str, int] = {}
        self.turning: dict[str, dict[Loop, float]] = {}
        self.turned: dict[str, int] = {}  # rounds, by function
        self._put_off: list[float] = []  # a heap of times

    def launched(self, claim: Claim, *, reloads: bool) -> None:
        """A run begins; `reloads`: it replaces another one."""
        name = claim.function
        self.runs[name] = self.runs.get(name, 0) + 1
        if claim.silent is not None:
            self.takeovers.add(claim.silent)
            self.restarted(name, RestartReason.DEATH)
        elif reloads:
            self.restarted(name, RestartReason.RELOAD)

    def over(self, claim: Claim) -> None:
        """A run is no longer in the table of runs."""
        self.runs[claim.function] -= 1

    def restarted(self, function: str, reason: RestartReason) -> None:
        """A task runs again, here or elsewhere."""
        found = self.restarts.setdefault(function, {})
        found[reason] = found.get(reason, 0) + 1

    def put_off(self, seconds: float) -> None:
        """A task waits for its next run."""
        heapq.heappush(self._put_off, self.clock() + seconds)

    def fired(self, outcomes: Mapping[str, int]) -> None:
        """What became of occurrences of schedules."""
        for outcome, count in outcomes.items():
            self.fires[outcome] = self.fires.get(outcome, 0) + count

    @property
    def backing_off(self) -> int:
        """How many tasks that were put off still wait."""
        now = self.clock()
        while self._put_off and self._put_off[0] <= now:
            heapq.heappop(self._put_off)
        return len(self._put_off)

    @property
    def round_age(self) -> dict[str, float]:
        """The age of the oldest last round, by function."""
        now = self.clock()
        ages = {}
        for function, loops in list(self.turning.items()):
            with suppress(RuntimeError):  # a coroutine's round began meanwhile: it is not the oldest one
                for began in loops.values():
                    ages[function] = round(max(0.0, now - began), 3)
                    break
        return ages
