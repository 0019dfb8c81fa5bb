"""What a task of Django is in Redis: its function and data, and what its runs keep.

The function is `django/<queue>`: workers, limits and pauses are those of a queue.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import msgspec

PREFIX = "django/"
MOST_ATTEMPTS = 200  # of which the workers are known; what is saved has 64 KiB at most
MOST_ERRORS = 3
MOST_TRACEBACK = 8192  # characters; the end is kept
MOST_WORKER_ID = 64


def function_of(queue: str) -> str:
    """The function of a queue."""
    return PREFIX + queue


def queue_of(function: str) -> str | None:
    """The queue of a function; None if it is not one of Django's tasks."""
    return function.removeprefix(PREFIX) if function.startswith(PREFIX) else None


@attrs.frozen(kw_only=True)
class Call:
    """The data of a task: what is called, and how.  Times are in ISO 8601."""

    task: str  # the import path of the task, as Django's `Task.module_path`
    args: list[Any] = attrs.Factory(list)
    kwargs: dict[str, Any] = attrs.Factory(dict)
    enqueued_at: str | None = None
    run_after: str | None = None


@attrs.frozen(kw_only=True)
class Failure:
    """An error of a run, as Django's `TaskError`."""

    exception_class_path: str
    traceback: str

    @classmethod
    def of(cls, kind: type[BaseException], text: str) -> Failure:
        """That of an exception with this traceback."""
        path = f"{kind.__module__}.{kind.__qualname__}"
        return cls(exception_class_path=path, traceback=text[-MOST_TRACEBACK:])


@attrs.frozen(kw_only=True)
class Runs:
    """What the runs of a task keep: saved while it is not over, its output when it ended."""

    epoch: int = 0  # of the newest run
    started_at: str | None = None
    last_attempted_at: str | None = None
    finished_at: str | None = None
    worker_ids: list[str] = attrs.Factory(list)  # one for each run, the newest last
    errors: list[Failure] = attrs.Factory(list)
    return_value: Any = None

    def begun(self, epoch: int, worker: str, now: str) -> Runs:
        """With another run."""
        return attrs.evolve(
            self,
            epoch=epoch,
            started_at=self.started_at or now,
            last_attempted_at=now,
            finished_at=None,
            worker_ids=[*self.worker_ids, worker[:MOST_WORKER_ID]][-MOST_ATTEMPTS:],
        )

    def failed(self, failure: Failure, now: str) -> Runs:
        """With the failure of the newest run."""
        return attrs.evolve(self, errors=[*self.errors, failure][-MOST_ERRORS:], finished_at=now)

    def ended(self, value: Any, now: str) -> Runs:
        """With what the newest run returned."""
        return attrs.evolve(self, return_value=value, finished_at=now)

    def plain(self) -> dict[str, Any]:
        """As a JSON object."""
        return attrs.asdict(self)


def read_runs(values: Sequence[bytes | None]) -> Runs:
    """The first of these JSON texts that is a record of runs; an empty record if none is."""
    for raw in values:
        try:
            if raw is not None:
                return msgspec.json.decode(raw, type=Runs)
        except (msgspec.MsgspecError, RecursionError):
            continue
    return Runs()


def read_saved(value: Any) -> Runs:
    """The record that earlier runs have saved; an empty one if that is none."""
    try:
        return msgspec.convert(value, Runs)
    except msgspec.MsgspecError:
        return Runs()


def read_call(raw: bytes | None) -> Call | None:
    """The data of a task; None if it is not that of a task of Django."""
    try:
        return None if raw is None else msgspec.json.decode(raw, type=Call)
    except (msgspec.MsgspecError, RecursionError):
        return None
