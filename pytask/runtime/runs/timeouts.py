"""Stops runs that live longer than `Config.TIMEOUT`; the time for which they are paused does not count."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import gevent

from pytask.domain.control import StopReason
from pytask.domain.task import Task
from pytask.domain.task_config import run_timeout
from pytask.runtime.runs.run import Run
from pytask.runtime.tree import Service


@attrs.define
class Timer:
    """The timer of one run."""

    left: float  # seconds, when it was started last
    since: float = 0.0  # when that was
    event: Any = None  # of the event loop; None while it stands still

    def stop(self) -> None:
        """Let it stand still."""
        if self.event is not None:
            self.event.stop()
            self.event.close()
            self.event = None


class Timeouts:
    """One timer for each run of a class with a timeout; other runs cost nothing."""

    def __init__(
        self,
        tasks: Mapping[str, type[Task]],
        stop: Callable[[Run, StopReason], None],
        clock: Callable[[], float],
    ) -> None:
        seconds = {cls: run_timeout(cls) for cls in tasks.values()}
        self.seconds = {cls: one for cls, one in seconds.items() if one is not None}
        self._stop = stop
        self._clock = clock
        self.timers: dict[Run, Timer] = {}

    def begin(self, run: Run) -> None:
        """`start()` of this run is about to be called."""
        seconds = None if run.cls is None else self.seconds.get(run.cls)
        if seconds is not None:
            self.timers[run] = Timer(seconds)
            if not run.paused:
                self.go_on(run)

    def hold(self, run: Run) -> None:
        """The run is paused."""
        timer = self.timers.get(run)
        if timer is not None and timer.event is not None:
            timer.stop()
            timer.left = max(0.0, timer.left - (self._clock() - timer.since))

    def go_on(self, run: Run) -> None:
        """The run begins, or goes on."""
        timer = self.timers.get(run)
        if timer is not None and timer.event is None:
            timer.since = self._clock()
            # A timer of the loop: a service that waits refuses to be killed, so it could not be cancelled.
            timer.event = gevent.get_hub().loop.timer(timer.left)
            timer.event.start(Service.spawn, self._over, run)

    def forget(self, run: Run) -> None:
        """The run is over.  Never blocks."""
        timer = self.timers.pop(run, None)
        if timer is not None:
            timer.stop()

    def _over(self, run: Run) -> None:
        finished = run.over or (run.returned and not run.busy)
        if not finished and run.failure is None:  # otherwise it ends by itself, and its own outcome counts
            self._stop(run, StopReason.TIMEOUT)
