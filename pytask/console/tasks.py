"""Tasks and workers as rows: what the verbs show of them."""

from __future__ import annotations

from typing import Any

import attrs

from pytask.client.records import TaskInfo, Worker
from pytask.console.output import Column
from pytask.console.times import since
from pytask.domain.times import ago

TASKS = (
    Column("id", "id"),
    Column("state", "state"),
    Column("function", "function"),
    Column("worker", "worker"),
    Column("_since", "updated"),
    Column("_progress", "progress", wide=True),
    Column("attempts", "runs", wide=True),
    Column("crashes", "crashes", wide=True),
    Column("control", "wish", wide=True),
    Column("run", "run", wide=True),
)
WORKERS = (
    Column("name", "name"),
    Column("host", "host"),
    Column("pid", "pid"),
    Column("version", "version"),
    Column("_load", "tasks"),
    Column("_silent", "seen"),
    Column("_up", "up"),
    Column("_lag", "lag"),
    Column("_round_trip", "redis"),
    Column("_cpu", "cpu"),
    Column("monitor", "monitor"),
    Column("functions", "functions", wide=True),
    Column("session", "session", wide=True),
)


def task_row(task: TaskInfo) -> dict[str, Any]:
    """A task for a list."""
    return {
        "id": task.id,
        "state": str(task.state),
        "function": task.function,
        "worker": task.worker,
        "last_update": task.last_update or None,
        "_since": since(task.last_update),
        "attempts": task.attempts,
        "crashes": task.crashes,
        "control": task.control,
        "run": task.run,
        "local": task.local,
        "progress": progress_row(task),
        "_progress": str(task.progress) if task.progress is not None else "",
    }


def progress_row(task: TaskInfo) -> dict[str, Any] | None:
    """How far the task is; None where it did not say."""
    found = task.progress
    if found is None:
        return None
    return {"done": found.done, "total": found.total, "note": found.note, "at": found.at}


def worker_row(worker: Worker) -> dict[str, Any]:
    """A worker for a list; a release that shows more has it in `more`."""
    places = "" if worker.max_tasks is None else f"/{worker.max_tasks}"
    seen = ago(worker.silent)
    return {
        "name": worker.name,
        "host": worker.host,
        "pid": worker.pid,
        "version": worker.version,
        "running": worker.running,
        "max_tasks": worker.max_tasks,
        "_load": f"{worker.running}{places}",
        "alive": worker.alive,
        "_silent": seen if worker.alive else f"silent for {seen}",
        "silent": worker.silent,
        "started": _number(_told(worker, "started")),
        "lag": _number(_told(worker, "lag")),
        "round_trip": _number(_told(worker, "round_trip")),
        "_up": since(_number(_told(worker, "started"))),
        "_lag": _millis(_told(worker, "lag")),
        "_round_trip": _millis(_told(worker, "round_trip")),
        "cpu": worker.cpu,
        "_cpu": "" if worker.cpu is None else f"{worker.cpu:.0%}",
        "busiest": [attrs.asdict(one) for one in worker.busiest],
        "monitor": _told(worker, "monitor"),
        "task_logs": worker.task_logs,
        "functions": list(worker.functions),
        "session": worker.session,
        "partition": worker.partition,
        "more": dict(worker.more),
    }


def _told(worker: Worker, name: str) -> Any:
    """What workers of some releases show, and others do not."""
    return getattr(worker, name, worker.more.get(name))


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _millis(value: Any) -> str | None:
    seconds = _number(value)
    return None if seconds is None else f"{seconds * 1000:.1f}ms"
