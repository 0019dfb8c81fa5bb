"""Why a task is in its state: its hash and related keys, read in two round trips."""

from __future__ import annotations

from typing import Any, TypeVar

import attrs

from pytask.adapters.keys import Keys
from pytask.cli.connection import Remote
from pytask.cli.fleet import together
from pytask.client.records import TaskInfo, Worker
from pytask.domain.reasons import LOOK, Account, Crew, Facts, Known, account

R = TypeVar("R", Known, Crew)


def account_of(remote: Remote, task: TaskInfo) -> Account:
    """Why the task is in its state."""
    return account(_as(Known, task), facts_of(remote, task))


def commands(space: str, task_id: str) -> list[tuple[str | int, ...]]:
    """The equivalent redis-cli commands."""
    return [
        ("HGETALL", space + task_id),
        ("HGET", f"{space}pytask:runs", task_id),
        ("ZSCORE", f"{space}pytask:leases", task_id),
        ("LPOS", f"{space}new-task", task_id, "RANK", -1, "MAXLEN", LOOK),
        ("ZSCORE", f"{space}pytask:timers", task_id),
        ("HVALS", f"{space}pytask:workers:info"),
    ]


def facts_of(remote: Remote, task: TaskInfo) -> Facts:
    """Read the related keys."""
    keys = Keys(remote.space_of(task.id))
    (seconds, micros), lease, run, place, queued, parked, swept = remote.ask_all(
        [
            ("TIME",),
            ("ZSCORE", keys.leases, task.id),
            ("HGET", keys.runs, task.id),
            ("LPOS", keys.queue, task.id, "RANK", -1, "MAXLEN", LOOK),
            ("LLEN", keys.queue),
            ("LPOS", keys.parking(task.function), task.id, "MAXLEN", LOOK),
            ("ZREVRANGE", keys.monitors, 0, 0, "WITHSCORES"),
        ],
        at=remote.partition_of(task.id),
    )
    workers = [_as(Crew, worker) for worker in _crew(remote, task.session)]
    now = int(seconds) + int(micros) / 1e6
    last = (swept[0][1] if isinstance(swept[0], tuple | list) else swept[1]) if swept else None
    return Facts(
        now=now,
        workers=workers,
        renewed=None if lease is None else max(0.0, now - float(lease) / 1e6),
        registered=run is not None,
        place=None if place is None else int(queued) - 1 - int(place),
        queued=int(queued),
        queue=keys.queue,
        parked=parked is not None,
        policy=next((w.restarts[task.function] for w in workers if task.function in w.restarts), ""),
        monitor=None if last is None else max(0.0, now - float(last)),
    )


def _crew(remote: Remote, session: str) -> list[Worker]:
    """One entry per process; the owner of the run is listed under the session that owns it."""
    sessions = remote.tasks.workers()
    owner = next((one for one in sessions if one.session == session), None)
    crew = together(sessions)
    if owner is None:
        return list(crew)
    who = (owner.host, owner.pid, owner.name)
    return [attrs.evolve(w, session=session) if (w.host, w.pid, w.name) == who else w for w in crew]


def _as(kind: type[R], record: Any) -> R:
    """The part of a client's record that the domain needs."""
    return kind(**{field.name: getattr(record, field.name) for field in attrs.fields(kind)})
