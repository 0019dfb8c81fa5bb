"""What a task can read of its run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pytask.domain.occurrences import Scheduled
from pytask.domain.run_port import NoRun, RunPort

if TYPE_CHECKING:  # for type checkers only
    from redis import Redis


class RunFacts:
    """The run of a task: what it is called, what was saved, and its Redis client."""

    _run: RunPort = cast("RunPort", NoRun())

    @property
    def saved(self) -> Any:
        """The last value that this run or an earlier one gave to `save()`; None if there is none.

        An end without an error (ENDED) removes it, as does `pytask start --fresh`.  Each access returns a
        copy.

        Raises:
            NotRun: No worker runs this task.
        """
        return self._run.saved

    @saved.setter
    def saved(self, _: Any) -> None:
        raise AttributeError(
            "self.saved cannot be set: use self.save(value), which keeps it for the next run"
        )

    @property
    def id(self) -> str:
        """The id of the task.

        Raises:
            NotRun: No worker runs this task.
        """
        return self._run.id

    @property
    def epoch(self) -> int:
        """Increases with every run of this id, also after data loss: a fencing token for other systems.

        Raises:
            NotRun: No worker runs this task.
        """
        return self._run.epoch

    @property
    def attempt(self) -> int:
        """The number of this run: 1, then 1 more for each restart in a row by `Config.RESTART`.

        A run after a hand-back, a reload or the death of a worker has the number of the run before it.

        Raises:
            NotRun: No worker runs this task.
        """
        return self._run.attempt

    @property
    def scheduled(self) -> Scheduled | None:
        """The occurrence that started this task: its `schedule`, `scheduled_for` (seconds since 1970) and
        `missed` (occurrences before it that were not started).  None if no schedule started it.

        A run that follows a failure, a reload or a hand-back has that of the run before it.

        Raises:
            NotRun: No worker runs this task.
        """
        return self._run.scheduled

    @property
    def redis(self) -> Redis:
        """A Redis client with the settings of the app's client, on connections shared by all tasks of a
        worker.

        It waits while Redis is unreachable (`Config.REDIS_WAIT`) and repeats only calls that are safe to
        repeat.  A write whose reply was lost raises `pytask.errors.OutcomeUnknown`, which is a
        `redis.ConnectionError` as well.

        Raises:
            NotRun: No worker runs this task.
        """
        return cast("Redis", self._run.client())
