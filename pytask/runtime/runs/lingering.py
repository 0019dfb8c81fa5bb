"""Reports runs whose `start()` has returned while threads prevent them from ending."""

from __future__ import annotations

from pytask.logger import get_logger
from pytask.runtime.runs import threads
from pytask.runtime.runs.run import Run
from pytask.runtime.tree import Service

log = get_logger(__name__)

MOST_RUNS = 20  # runs whose threads this worker publishes
MOST_CHARACTERS = 500  # of each
NAMED = 5  # threads and coroutines of a run, in a message
LINGERS = (
    "[PT045] task %s: start() returned %g s ago, but the task ends when its threads and asyncio tasks do: %s."
    " Fix: end them before start() returns; create shared objects at import, or in `with pytask.shared():`"
)


class Lingering:
    """Logs the threads that prevent a run from ending, once per run."""

    def __init__(self, patience: float) -> None:
        self.kept_by: dict[str, str] = {}  # by id: the threads, for `pytask why`
        self._patience = patience  # seconds

    def watch(self, run: Run) -> None:
        """`start()` has returned, and only threads of the run are alive."""
        Service.spawn_later(self._patience, self._name_threads, run)

    def forget(self, run: Run) -> None:
        """The run is over."""
        self.kept_by.pop(run.id, None)

    def _name_threads(self, run: Run) -> None:
        alive = run.alive()
        if run.over or run.actor is not None or not threads.only_threads(alive):
            return
        names = run.whereabouts(NAMED)
        if len(self.kept_by) < MOST_RUNS:
            self.kept_by[run.id] = names[:MOST_CHARACTERS]
        log.warning(LINGERS, run.id, self._patience, names)
