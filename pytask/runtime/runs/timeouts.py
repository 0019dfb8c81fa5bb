"""Stops runs that live longer than `Config.TIMEOUT`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gevent

from pytask.domain.control import StopReason
from pytask.domain.task import Task
from pytask.domain.task_config import run_timeout
from pytask.runtime.runs.run import Run
from pytask.runtime.tree import Service


class Timeouts:
    """One timer for each run of a class with a timeout; other runs cost nothing."""

    def __init__(self, tasks: Mapping[str, type[Task]], stop: Callable[[Run, StopReason], None]) -> None:
        seconds = {cls: run_timeout(cls) for cls in tasks.values()}
        self.seconds = {cls: one for cls, one in seconds.items() if one is not None}
        self._stop = stop
        self.timers: dict[Run, Any] = {}

    def begin(self, run: Run) -> None:
        """`start()` of this run is about to be called."""
        seconds = None if run.cls is None else self.seconds.get(run.cls)
        if seconds is not None:
            # A timer of the loop: a service that waits refuses to be killed, so it could not be cancelled.
            self.timers[run] = timer = gevent.get_hub().loop.timer(seconds)
            timer.start(Service.spawn, self._over, run)

    def forget(self, run: Run) -> None:
        """The run is over.  Never blocks."""
        timer = self.timers.pop(run, None)
        if timer is not None:
            timer.stop()
            timer.close()

    def _over(self, run: Run) -> None:
        finished = run.over or (run.returned and not run.children)
        if not finished and run.failure is None:  # otherwise it ends by itself, and its own outcome counts
            self._stop(run, StopReason.TIMEOUT)
