"""Which run a greenlet belongs to: every greenlet spawned under a run is of that run's tree.

gevent calls back for each greenlet that is started, also for those of `spawn_later`, pools and (in a
patched process) threads.  `spawn_raw`, native threads and subprocesses are not seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gevent import Greenlet, getcurrent

if TYPE_CHECKING:
    from pytask.runtime.run import Run

    AnyGreenlet = Greenlet[..., Any]
    Base = Greenlet[..., None]
else:
    AnyGreenlet = Base = Greenlet


class Service(Base):
    """A greenlet of the worker itself; never part of a run, whoever starts it."""


class RunGreenlet(Base):
    """The greenlet that a run's `start()` lives in."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.pytask_run = run

    def _run(self) -> None:
        self.pytask_run.main()


class StopGreenlet(RunGreenlet):
    """The greenlet of a task's `stop()`: it dies with the run it stops."""

    def _run(self) -> None:
        self.pytask_run.call_stop()


def current_run() -> Run | None:
    """The run whose code is executing, or None."""
    return getattr(getcurrent(), "pytask_run", None)


def watch_spawns() -> None:
    """Begin to notice spawned greenlets; once a process, however many apps."""
    Greenlet.add_spawn_callback(_adopt)


def _adopt(greenlet: Any) -> None:
    run = getattr(getcurrent(), "pytask_run", None)
    if run is None or isinstance(greenlet, (Service, RunGreenlet)):
        return
    greenlet.pytask_run = run
    run.adopt(greenlet)
