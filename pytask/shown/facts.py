"""Why a task is in its state: its hash and related keys, read in a few round trips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import attrs

from pytask.adapters import decoding
from pytask.client import limits, queries
from pytask.client.operations import Op, ask_all
from pytask.client.partitions import Partitions
from pytask.client.records import Worker
from pytask.client.task_records import TaskInfo
from pytask.domain import lifecycle as life
from pytask.domain.facts import Crew, Facts, Known
from pytask.domain.limit_reasons import Line
from pytask.domain.limits import EVERY_GROUP, Kind, entry, read_entry
from pytask.domain.reasons import LOOK, Account, account
from pytask.shown.fleet import together

R = TypeVar("R", Known, Crew)


def account_of(partitions: Partitions, task: TaskInfo) -> Op[Account]:
    """Why the task is in its state."""
    return (yield from told(partitions, task))[0]


def told(
    partitions: Partitions, task: TaskInfo, sessions: Sequence[Worker] | None = None
) -> Op[tuple[Account, Facts]]:
    """The same, and the facts from which it follows."""
    facts = yield from facts_of(partitions, task, sessions)
    return account(_as(Known, task), facts), facts


def facts_of(partitions: Partitions, task: TaskInfo, sessions: Sequence[Worker] | None = None) -> Op[Facts]:
    """Read the related keys; `sessions`: the workers of a moment ago, which are not read again."""
    at = partitions.of(task.id)
    keys = partitions.keys[at]
    commands: list[tuple[Any, ...]] = [
        ("TIME",),
        ("ZSCORE", keys.leases, task.id),
        ("HGET", keys.runs, task.id),
        ("ZREVRANGE", keys.monitors, 0, 0, "WITHSCORES"),
        ("SISMEMBER", keys.paused_functions, decoding.raw_of(task.function)),
        ("SISMEMBER", keys.paused_functions, "*"),
    ]
    if task.state is life.WAIT:  # a queue explains no other state, and a walk through one takes up to 2 ms
        commands += [
            ("LPOS", keys.queue, task.id, "RANK", -1, "MAXLEN", LOOK),
            ("LLEN", keys.queue),
            ("LPOS", keys.parking(task.function), task.id, "MAXLEN", LOOK),
        ]
    replies = yield from ask_all([(at, words) for words in commands])
    (seconds, micros), lease, run, swept, held, all_held = replies[:6]
    place, queued, parked = replies[6:] or (None, 0, None)
    if sessions is None:
        sessions = yield from queries.workers(partitions)
    workers = [_as(Crew, worker) for worker in _crew(sessions, task.session)]
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
        line=(yield from _line_of(partitions, task)) if place is None else None,
        policy=next((w.restarts[task.function] for w in workers if task.function in w.restarts), ""),
        monitor=None if last is None else max(0.0, now - float(last)),
    )


def _line_of(partitions: Partitions, task: TaskInfo) -> Op[Line | None]:
    """The waiting list that has the task; None if none has it."""
    if task.state is not life.WAIT:
        return None
    at = partitions.of(task.id)
    keys = partitions.keys[at]
    entries = [entry(Kind.GROUP, task.group)] if task.group else []
    entries += [entry(Kind.FUNCTION, task.function)] if task.function else []
    places = yield from ask_all([(at, ("ZSCORE", keys.line(name), task.id)) for name in entries])
    for name, score in zip(entries, places, strict=True):
        if score is None:
            continue
        ahead, live, queued = yield from ask_all(
            [
                (at, ("ZCOUNT", keys.line(name), "-inf", f"({float(score):.0f}")),
                (at, ("SCARD", keys.slots(name))),
                (at, ("HGET", keys.runners, task.group)),
            ]
        )
        kind, of = read_entry(name) or (Kind.GROUP, "")
        limit = (yield from limits.get_limit(partitions, kind, of)).in_force
        if limit is None and kind is Kind.GROUP:
            limit = (yield from limits.get_limit(partitions, kind, EVERY_GROUP)).limit
        return Line(
            kind=kind, name=of, ahead=int(ahead), live=int(live), limit=limit, follows=queued is not None
        )
    return None


def _crew(sessions: Sequence[Worker], session: str) -> list[Worker]:
    """One entry per process; the owner of the run is listed under the session that owns it."""
    owner = next((one for one in sessions if one.session == session), None)
    crew = together(sessions)
    if owner is None:
        return list(crew)
    who = (owner.host, owner.pid, owner.name)
    return [attrs.evolve(w, session=session) if (w.host, w.pid, w.name) == who else w for w in crew]


def _as(kind: type[R], record: Any) -> R:
    """The part of a client's record that the domain needs."""
    return kind(**{field.name: getattr(record, field.name) for field in attrs.fields(kind)})
