"""Moves tasks whose time has come from the timers to the queue, looks at the lists of those who wait for a
slot, and calls what fires schedules.

Every worker may do it at any time, whether or not it holds its leases: one atomic step in Redis moves each id
once, by the clock of Redis.  So there is no leader, and a worker that dies leaves nothing behind.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Protocol

import attrs
from gevent.event import Event as Flag

from pytask.domain.errors import StoreError
from pytask.domain.limits import Rules
from pytask.domain.ports import Store
from pytask.domain.record import Due
from pytask.domain.timing import Timing
from pytask.logger import get_logger
from pytask.runtime.log_throttle import LogThrottle
from pytask.runtime.until_answered import pass_by_pass

log = get_logger(__name__)

GAP = 0.005  # seconds at least between two looks
LAG_FIRST, LAG_LAST = 0.02, 1.0  # seconds behind a timer that another worker is likely to move


class Fires(Protocol):
    """Fires the schedules that are due."""

    @property
    def pressing(self) -> bool:
        """Whether a call may find more than what is due."""

    def __call__(self, store: Store) -> float | None:
        """Fire; the seconds until the next call, None if that is not known."""


class NoSchedules:
    """Fires nothing."""

    @property
    def pressing(self) -> bool:
        """Never."""
        return False

    def __call__(self, store: Store) -> float | None:
        """Nothing is due."""
        del store
        return None


@attrs.frozen(kw_only=True)
class TimersPorts:
    """The ports of the timers."""

    store: Store
    timing: Timing
    clock: Callable[[], float]
    log_throttle: LogThrottle
    schedules: Fires = attrs.Factory(NoSchedules)
    rules: Callable[[], Rules] = dict
    """The limits of the functions of this worker."""
    uniform: Callable[[float, float], float] = random.uniform
    on_late: Callable[[float], None] = lambda _: None
    """How many seconds late the latest of some tasks was that were queued."""


class Timers:
    """Looks when a timer is due, and at least every sweep.

    A worker knows the time of each task that it has delayed itself, and looks exactly then.  Of the others it
    knows the next one as of its last look; of many idle workers that know it, only the one that was first the
    last time looks at once, and the others a little later.
    """

    def __init__(self, ports: TimersPorts) -> None:
        self._store = ports.store
        self._timing = ports.timing
        self._clock = ports.clock
        self._log_throttle = ports.log_throttle
        self._schedules = ports.schedules
        self._rules = ports.rules
        self._uniform = ports.uniform
        self._on_late = ports.on_late
        self._own: list[float] = []  # a heap of times, by the own clock
        self._expected = False  # whether the next look is for a timer that an earlier one has seen
        self._lag = 0.0
        self._wake = Flag()
        self._ended = False

    def run(self) -> None:
        """Run until stopped."""
        pass_by_pass(self._pass, self._pass_failed, lambda: self._ended)

    def end(self) -> None:
        """Stop after the current step."""
        self._ended = True
        self._wake.set()

    def soon(self, seconds: float) -> None:
        """This worker has put a task into the timers.  Never blocks."""
        # Later ones are seen by a look before they are due.
        if seconds <= self._timing.sweep:
            at = self._clock() + seconds
            if not self._own or at < self._own[0]:
                self._expected = False
                self._wake.set()
            heapq.heappush(self._own, at)

    def wake(self) -> None:
        """Look now: the run of a schedule is over, and the next one may wait for that.  Never blocks."""
        self._expected = False
        self._wake.set()

    def _pass(self) -> None:
        self._wake.wait(timeout=self.look())
        self._wake.clear()

    def _pass_failed(self, error: Exception) -> float:
        if not isinstance(error, StoreError):
            log.error("cannot move tasks whose time has come; retrying", exc_info=error)
        elif self._log_throttle.may(self._clock()):
            log.warning("cannot move tasks whose time has come: %s", error)
        self._store.reset()
        return self._timing.call_timeout / 3

    def look(self) -> float:
        """Move all that is due; the seconds until the next look.  Raises `StoreError`."""
        now = self._clock()
        while self._own and self._own[0] <= now:
            heapq.heappop(self._own)
        due = self._due()
        moved = due.moved
        while due.timer == 0 and not self._ended:
            due = self._due()
            moved += due.moved
        if due.lines:
            while self._store.serve(self._rules()) and not self._ended:
                pass
        if moved:
            self._lag = 0.0
        elif self._expected:
            self._lag = min(max(2 * self._lag, LAG_FIRST), LAG_LAST)
        return max(GAP, min(self._next_timer(due), self._next_schedule(due)))

    def _due(self) -> Due:
        due = self._store.due()
        if due.moved:
            self._on_late(due.late)
        return due

    def _next_timer(self, due: Due) -> float:
        wait = self._timing.sweep
        self._expected = due.timer is not None and due.timer < wait
        if due.timer is not None:
            wait = min(wait, due.timer + self._uniform(self._lag / 2, self._lag))
        # A wake-up in between only makes the wait shorter.
        if self._own and self._own[0] - self._clock() < wait:
            wait, self._expected = self._own[0] - self._clock(), False
        return wait

    def _next_schedule(self, due: Due) -> float:
        if due.schedule is None:
            return self._timing.sweep
        quiet = due.schedule > 0 and not self._schedules.pressing
        wait = due.schedule if quiet else self._schedules(self._store)
        return self._timing.sweep if wait is None else wait
