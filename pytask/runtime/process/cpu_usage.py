"""Measures how much of a core this process uses, and which tasks use most of it.

A task that polls without a pause (`while True: sleep(0)`) does not block the loop, so it is not logged.  Its
time is measured at each greenlet switch, with greenlet's trace hook.  The hook is set only for a moment: once
a minute while the process uses most of a core, and on SIGUSR1.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from heapq import nlargest
from typing import Any

import gevent
from greenlet import gettrace, settrace

from pytask.domain.figures import Busy
from pytask.logger import get_logger
from pytask.runtime.process.greenlet_dump import write
from pytask.runtime.tree import TreeOwner

log = get_logger(__name__)

TURN_COST = 1e-4  # maximum seconds of the event loop counted for one switch; longer times are waits
MUCH = 0.9  # of a core, above which tasks are measured
SHORT, LONG = 0.25, 1.0  # seconds of one measurement: automatic, and on request
MEASURE_EVERY = 60.0
NAMED = 5  # tasks
LEAST = 0.01  # minimum share of the time for a task to be named

_measuring = False


class Meter:
    """Measures the time of each run: its own, and that of the event loop between its switches."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._began = self._at = clock()
        self._run: TreeOwner | None = None  # the executing run; None: other code, or the event loop
        self.spent: dict[TreeOwner, list[float]] = {}  # seconds, turns

    def switch(self, target: Any) -> None:
        """Record a switch to `target`."""
        run = getattr(target, "pytask_run", None)
        now = self._clock()
        passed, self._at = now - self._at, now
        if self._run is not None:
            self.spent.setdefault(self._run, [0.0, 0])[0] += passed
        if run is not None and run is not self._run:
            mine = self.spent.setdefault(run, [0.0, 0])
            mine[0] += min(passed, TURN_COST) if self._run is None else 0.0
            mine[1] += 1
        self._run = run

    def busiest(self) -> tuple[Busy, ...]:
        """The tasks with most of the time so far."""
        self.switch(None)
        whole = max(self._at - self._began, 1e-9)
        most = nlargest(NAMED, self.spent.items(), key=lambda found: found[1][0])
        return tuple(
            Busy(run.id, str(run.claim.function), round(spent / whole, 3), int(turns))
            for run, (spent, turns) in most
            if spent / whole >= LEAST
        )


@contextmanager
def _hooked(meter: Meter) -> Iterator[None]:
    """Trace each switch in this thread, and call a previous trace function."""
    before = gettrace()

    def trace(event: Any, args: Any) -> None:
        # An exception raised here would be raised in the target greenlet.
        if before is not None:
            before(event, args)
        if event in ("switch", "throw"):
            meter.switch(args[1])

    settrace(trace)
    try:
        yield
    finally:
        if gettrace() is trace:  # otherwise gevent's monitor has removed its hook, which must not be restored
            settrace(before)


def measure(seconds: float) -> tuple[Busy, ...] | None:
    """Measure the busiest tasks for `seconds`; None if another measurement is running."""
    global _measuring  # noqa: PLW0603 - the hook is the thread's
    if _measuring:
        return None
    _measuring = True
    try:
        meter = Meter()
        with _hooked(meter):
            gevent.sleep(seconds)
        return meter.busiest()
    finally:
        _measuring = False


def tell() -> None:
    """Measure and print to standard error, after the dump of all greenlets."""
    found = measure(LONG)
    if found is None:
        return
    lines = [f"--- busiest tasks of process {os.getpid()}, of {LONG:g} s of its event loop"]
    lines += [f"{one.share:4.0%} task {one.function}: {one.id}, {one.turns} turns" for one in found]
    write("\n".join([*lines, "--- end of busiest tasks", ""]))


class Load:
    """The recent CPU share of this process, and the busiest tasks if it is high."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        used: Callable[[], float] = time.process_time,
        measure: Callable[[float], tuple[Busy, ...] | None] = measure,
        pause: float = 0.0,
    ) -> None:
        self._clock = clock
        self._used = used
        self._measure = measure
        self._pause = pause  # seconds between two measurements; partitions share this object
        self._last = (clock(), used())
        self._measured: float | None = None
        self.cpu: float | None = None
        self.busiest: tuple[Busy, ...] = ()

    def look(self) -> None:
        """One measurement; takes a moment if tasks are measured."""
        now, used = self._clock(), self._used()
        passed = now - self._last[0]
        if passed <= self._pause:
            return
        self.cpu, self._last = round((used - self._last[1]) / passed, 3), (now, used)
        if self.cpu < MUCH:
            self._measured, self.busiest = None, ()
        elif self._measured is None or now - self._measured >= MEASURE_EVERY:
            self._measured = now
            self.busiest = self._measure(SHORT) or ()
