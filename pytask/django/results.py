"""Django's `TaskResult` of a task in Redis."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import attrs
from django.conf import settings
from django.tasks import Task, TaskResult, TaskResultStatus
from django.tasks.base import TaskError
from django.utils import timezone

from pytask.client.task_records import TaskInfo
from pytask.django.wire import Call, Failure, Runs, read_runs
from pytask.domain import lifecycle as life
from pytask.domain.errors import TaskFailed, TaskStopped

STATUS = {
    life.WAIT: TaskResultStatus.READY,
    life.RUNNING: TaskResultStatus.RUNNING,
    life.ENDED: TaskResultStatus.SUCCESSFUL,
    life.ERROR: TaskResultStatus.FAILED,
    life.STOPPED: TaskResultStatus.FAILED,
}


def now() -> str:
    """This moment."""
    return str(timezone.now().isoformat())


def time_of(text: str | None) -> datetime | None:
    """A time as it was stored; None where there is none."""
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None


def result_of(task: Task, task_id: str, alias: str, call: Call) -> TaskResult:
    """The result of a task that was just queued."""
    return TaskResult(
        task=task,
        id=task_id,
        status=TaskResultStatus.READY,
        enqueued_at=time_of(call.enqueued_at),
        started_at=None,
        finished_at=None,
        last_attempted_at=None,
        args=call.args,
        kwargs=call.kwargs,
        backend=alias,
        errors=[],
        worker_ids=[],
    )


def fill(result: TaskResult, status: TaskResultStatus, runs: Runs) -> None:
    """Enter what is known of the runs; the record is frozen, and Django's own backends do it like this."""
    values: dict[str, Any] = {
        "status": status,
        "started_at": time_of(runs.started_at),
        "last_attempted_at": time_of(runs.last_attempted_at),
        "finished_at": time_of(runs.finished_at),
        "worker_ids": [*runs.worker_ids],
        "errors": [TaskError(**attrs.asdict(one)) for one in runs.errors],
        "_return_value": runs.return_value,
    }
    for name, value in values.items():
        object.__setattr__(result, name, value)


def fill_from(result: TaskResult, info: TaskInfo) -> None:
    """Enter what Redis has of the task."""
    status = STATUS[info.state]
    runs = read_runs((info.raw_output if info.state is life.ENDED else None, info.raw_saved))
    at = _server_time(info.last_update)
    if info.state is not life.WAIT and info.worker and runs.epoch < info.epoch:
        # Its worker died, or was too slow, before the run could store its own record.
        runs = runs.begun(info.epoch, info.worker, at)
    if status is TaskResultStatus.FAILED:
        runs = _as_failed(runs, info, at)
    elif not info.finished:
        runs = attrs.evolve(runs, finished_at=None)
    fill(result, status, runs)


def _as_failed(runs: Runs, info: TaskInfo, at: str) -> Runs:
    """With an error: its function's, or what pytask says if another reason ended it."""
    if info.state is life.STOPPED:
        return runs.failed(Failure.of(TaskStopped, f"{TaskStopped(info.id)}\n"), at)
    if runs.finished_at is None:
        return runs.failed(Failure.of(TaskFailed, info.error), at)
    return runs


def _server_time(seconds: float) -> str:
    at = datetime.fromtimestamp(seconds, tz=UTC)
    return (at if settings.USE_TZ else timezone.make_naive(at)).isoformat()
