"""Tasks and workers as rows: the fields of the JSON, and their texts, whose names begin with _."""

from __future__ import annotations

import time
from typing import Any

import attrs

from pytask.client.records import Worker
from pytask.client.task_records import TaskInfo
from pytask.domain import lifecycle as life
from pytask.domain.figures import FIGURES
from pytask.domain.wording import ago


def state_of(task: TaskInfo) -> str:
    """Its state, and whether it is paused."""
    return f"{task.state} {'pausing' if task.pausing else 'paused'}" if task.paused else str(task.state)


def task_row(task: TaskInfo) -> dict[str, Any]:
    """The row of a task."""
    return {
        "id": task.id,
        "state": str(task.state),
        "_state": state_of(task),
        "paused": task.paused or None,
        "function": task.function,
        "worker": task.worker,
        "last_update": task.last_update or None,
        "_since": since(task.last_update),
        "attempts": task.attempts,
        "crashes": task.crashes,
        "restarts": task.restarts,
        "group": task.group,
        "due": due_of(task),
        "_due": _until(due_of(task)),
        "control": task.control,
        "run": task.run,
        "local": task.local,
        "progress": progress_row(task),
        "_progress": str(task.progress) if task.progress is not None else "",
    }


def progress_row(task: TaskInfo) -> dict[str, Any] | None:
    """The progress of the task; None if it reported none."""
    found = task.progress
    if found is None:
        return None
    return {"done": found.done, "total": found.total, "note": found.note, "at": found.at}


def worker_row(worker: Worker) -> dict[str, Any]:
    """The row of a worker: its figures under their names; unknown ones of other releases are in `more`."""
    places = "" if worker.max_tasks is None else f"/{worker.max_tasks}"
    seen = ago(worker.silent)
    row = attrs.asdict(worker)
    row |= {f"_{name}": _cell(row[name], figure.unit) for name, figure in FIGURES.items() if figure.column}
    return row | {
        "alive": worker.alive,
        "_load": f"{worker.running}{places}",
        "_silent": seen if worker.alive else f"silent for {seen}",
        "_up": since(worker.started),
    }


def _cell(value: Any, unit: str) -> Any:
    """A figure formatted for a table."""
    if value is None:
        return None
    if unit == "s":
        return f"{value * 1000:.1f}ms"
    return f"{value:.0%}" if unit == "cores" else value


def due_of(task: TaskInfo) -> float | None:
    """When a waiting task starts at the earliest, in seconds since 1970; None for at once."""
    if task.state is not life.WAIT:
        return None
    return task.due if task.due is not None else task.not_before or None


def _until(moment: float | None) -> str | None:
    return None if moment is None else ago(moment - time.time())


def since(moment: float | None) -> str | None:
    """The time elapsed since `moment` (seconds since 1970); None for 0 and None."""
    return ago(time.time() - moment) if moment else None
