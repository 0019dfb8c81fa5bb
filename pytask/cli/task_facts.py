"""Why a task is in its state: its hash and related keys, read in two round trips."""

from __future__ import annotations

from typing import Any, TypeVar

import attrs

from pytask.adapters import decoding
from pytask.adapters.keys import Keys
from pytask.cli.connection import Remote
from pytask.cli.fleet import together
from pytask.client.records import Worker
from pytask.client.task_records import TaskInfo
from pytask.domain import lifecycle as life
from pytask.domain.facts import Crew, Facts, Known
from pytask.domain.limit_reasons import Line
from pytask.domain.limits import EVERY_GROUP, Kind, entry, read_entry
from pytask.domain.reasons import LOOK, Account, account

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
        ("SISMEMBER", f"{space}pytask:paused:functions", "*"),
        ("HVALS", f"{space}pytask:workers:info"),
    ]


def facts_of(remote: Remote, task: TaskInfo) -> Facts:
    """Read the related keys."""
    keys = Keys(remote.space_of(task.id))
    (seconds, micros), lease, run, place, queued, parked, swept, held, all_held = remote.ask_all(
        [
            ("TIME",),
            ("ZSCORE", keys.leases, task.id),
            ("HGET", keys.runs, task.id),
            ("LPOS", keys.queue, task.id, "RANK", -1, "MAXLEN", LOOK),
            ("LLEN", keys.queue),
            ("LPOS", keys.parking(task.function), task.id, "MAXLEN", LOOK),
            ("ZREVRANGE", keys.monitors, 0, 0, "WITHSCORES"),
            ("SISMEMBER", keys.paused_functions, decoding.raw_of(task.function)),
            ("SISMEMBER", keys.paused_functions, "*"),
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
        held=bool(held),
        all_held=bool(all_held),
        line=_line_of(remote, task) if place is None else None,
        policy=next((w.restarts[task.function] for w in workers if task.function in w.restarts), ""),
        monitor=None if last is None else max(0.0, now - float(last)),
    )


def _line_of(remote: Remote, task: TaskInfo) -> Line | None:
    """The waiting list that has the task; None if none has it."""
    if task.state is not life.WAIT:
        return None
    keys, at = Keys(remote.space_of(task.id)), remote.partition_of(task.id)
    entries = [entry(Kind.GROUP, task.group)] if task.group else []
    entries += [entry(Kind.FUNCTION, task.function)] if task.function else []
    places = remote.ask_all([("ZSCORE", keys.line(name), task.id) for name in entries], at=at)
    for name, score in zip(entries, places, strict=True):
        if score is None:
            continue
        ahead, live, queued = remote.ask_all(
            [
                ("ZCOUNT", keys.line(name), "-inf", f"({float(score):.0f}"),
                ("SCARD", keys.slots(name)),
                ("HGET", keys.runners, task.group),
            ],
            at=at,
        )
        kind, of = read_entry(name) or (Kind.GROUP, "")
        which = {"group": of} if kind is Kind.GROUP else {"function": of}
        limit = remote.tasks.limits.get(**which).in_force
        if limit is None and kind is Kind.GROUP:
            limit = remote.tasks.limits.get(group=EVERY_GROUP).limit
        return Line(
            kind=kind, name=of, ahead=int(ahead), live=int(live), limit=limit, follows=queued is not None
        )
    return None


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
