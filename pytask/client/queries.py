"""Queries for tasks and workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from pytask.adapters import decoding
from pytask.client import pausing
from pytask.client.operations import Op, ask, ask_all
from pytask.client.partitions import Partitions
from pytask.client.records import Count, FunctionInfo, Worker
from pytask.client.task_records import FINISHED, TaskInfo, read_task
from pytask.domain import figures
from pytask.domain import lifecycle as life
from pytask.domain.delays import LATEST
from pytask.domain.errors import NoSuchTask, WrongKeyType
from pytask.domain.lifecycle import State

FORGOTTEN = (
    "hashes of finished tasks are deleted after a while (settings keep_ended, keep_error, keep_stopped)"
)
WORKERS_MOST = 1000
PARKED_MOST = 1000
LINES_MOST, LINES_STEP = 10_000, 500  # waiting lists that a count reads, and in one round trip
COUNT_MOST = 1000  # entries at either end of a queue that a count looks at


def read_one(partitions: Partitions, task_id: str) -> Op[TaskInfo | None]:
    """A task; None if it does not exist."""
    partition = partitions.of(task_id)
    try:
        reply = yield from ask(partition, ("HGETALL", partitions.keys[partition].task(task_id)))
    except WrongKeyType:
        return None
    task = task_in(task_id, reply)
    if task is None:
        return None
    if task.finished and (yield from is_queued(partitions, task_id)):
        return attrs.evolve(task, state=life.WAIT, again=True)
    if task.state is life.WAIT:
        (due,) = yield from due_times(partitions, partition, [task_id])
        return task if due is None else attrs.evolve(task, due=due)
    return task


def task_in(task_id: str, reply: Any) -> TaskInfo | None:
    """A task as its hash describes it; None without a hash."""
    found = reply if isinstance(reply, dict) else dict(decoding.pairs(reply))
    fields = {decoding.shown(name): value for name, value in found.items()}
    return read_task(task_id, fields) if fields else None


def due_times(partitions: Partitions, partition: int, ids: Sequence[str]) -> Op[list[float | None]]:
    """When each of some tasks is due, in seconds since 1970; None for those that are not in the timers."""
    if not ids:
        return []
    words = ("ZMSCORE", partitions.keys[partition].timers, *map(decoding.raw_of, ids))
    # A client may have written any number there, also an infinite one.
    found = yield from ask(partition, words)
    return [None if ms is None else min(max(0.0, float(ms) / 1000), float(LATEST)) for ms in found]


# -- what waits: an id in the queue, even if its hash still describes the run before ----------------


def is_queued(partitions: Partitions, task_id: str) -> Op[bool]:
    """Whether an id is in the queue; scans all of it, 20 ms of Redis for a million entries."""
    partition = partitions.of(task_id)
    found = yield from ask(partition, ("LPOS", partitions.keys[partition].queue, decoding.raw_of(task_id)))
    return found is not None


def standing(partitions: Partitions, partition: int, most: int) -> Op[tuple[set[str], int]]:
    """The ids in a queue, and how many entries were not read: `most` at either end are."""
    key = partitions.keys[partition].queue
    length = int((yield from ask(partition, ("LLEN", key))))
    if not length:
        return set(), 0
    parts = [(0, -1)] if length <= 2 * most else [(0, most - 1), (-most, -1)]
    found = yield from ask_all([(partition, ("LRANGE", key, first, last)) for first, last in parts])
    return {decoding.text(raw) for part in found for raw in part}, max(0, length - 2 * most)


def get(partitions: Partitions, task_id: str) -> Op[TaskInfo]:
    """A task; raises `NoSuchTask`."""
    task = yield from read_one(partitions, task_id)
    if task is None:
        raise no_such_task(task_id)
    return task


def no_such_task(task_id: str) -> NoSuchTask:
    """The error for an id that no task has."""
    return NoSuchTask(f"no task {task_id!r}: {FORGOTTEN}")


def count(partitions: Partitions) -> Op[Count]:
    """Count tasks by state, in a few round trips."""
    commands: list[tuple[int, tuple[Any, ...]]] = []
    for partition, keys in enumerate(partitions.keys):
        commands += [(partition, ("LLEN", keys.queue)), (partition, ("ZCARD", keys.timers))]
        commands += [(partition, ("ZCARD", keys.leases))]
        commands += [(partition, ("ZCARD", keys.index(state))) for state in life.RESTING]
        commands += [
            (partition, ("LLEN", keys.rejected)),
            (partition, ("SRANDMEMBER", keys.parked, PARKED_MOST)),
        ]
    replies = iter((yield from ask_all(commands)))
    states = dict.fromkeys(State, 0)
    queued = delayed = rejected = limited = 0
    names: list[tuple[int, bytes]] = []
    for partition in range(len(partitions.keys)):
        queued += next(replies)
        delayed += next(replies)
        states[life.RUNNING] += next(replies)
        for state in life.RESTING:
            states[state] += next(replies)
        rejected += next(replies)
        names += [(partition, name) for name in next(replies)]
    parked = yield from parked_by_function(partitions, names)
    for partition in range(len(partitions.keys)):
        limited += yield from _limited(partitions, partition)
    paused = yield from pausing.count_paused(partitions)
    held = yield from pausing.held_functions(partitions)
    waiting, unread = yield from _waiting_once(partitions, states)
    # What pytask put back is in an index and in a list, what was pushed is in the list only.
    states[life.WAIT] = waiting + unread + sum(parked.values()) + delayed + limited + paused.waiting
    return Count(
        states=states,
        queued=queued,
        delayed=delayed,
        limited=limited,
        paused=paused.all,
        pausing=paused.pausing,
        held=tuple(sorted(held)),
        parked=parked,
        rejected=rejected,
        exact=not unread,
    )


def _limited(partitions: Partitions, partition: int) -> Op[int]:
    """How many ids are in waiting lists; of the last 10,000 of these lists."""
    keys = partitions.keys[partition]
    names = yield from ask(partition, ("ZREVRANGE", keys.groups, 0, LINES_MOST - 1))
    found = 0
    for at in range(0, len(names), LINES_STEP):
        part = map(decoding.text, names[at : at + LINES_STEP])
        sizes = yield from ask_all([(partition, ("ZCARD", keys.line(name))) for name in part], tolerant=True)
        found += sum(size for size in sizes if isinstance(size, int))
    return found


def _waiting_once(partitions: Partitions, states: dict[State, int]) -> Op[tuple[int, int]]:
    """Ids that wait, each once and out of the state before, and how many entries were not looked at."""
    waiting = unread = 0
    for partition, keys in enumerate(partitions.keys):
        ids, more = yield from standing(partitions, partition, COUNT_MOST)
        unread += more
        if not ids:
            continue
        raws = [decoding.raw_of(task_id) for task_id in ids]
        names = [keys.leases, *(keys.index(state) for state in FINISHED)]
        running, *before = yield from ask_all([(partition, ("ZMSCORE", name, *raws)) for name in names])
        waiting += running.count(None)  # a copy of a running one is dropped when it is reached
        for state, scores in zip(FINISHED, before, strict=True):
            states[state] = max(0, states[state] - len(scores) + scores.count(None))
    return waiting, unread


def parked_by_function(partitions: Partitions, names: list[tuple[int, bytes]]) -> Op[dict[str, int]]:
    """The lengths of parking lists; empty ones are left out."""
    texts = [(partition, decoding.text(name)) for partition, name in names]
    sizes = yield from ask_all(
        [(partition, ("LLEN", partitions.keys[partition].parking(name))) for partition, name in texts]
    )
    found: dict[str, int] = {}
    for (_, name), size in zip(texts, sizes, strict=True):
        if size:
            found[name] = found.get(name, 0) + size
    return found


def workers(partitions: Partitions) -> Op[list[Worker]]:
    """Those that reported recently, the newest first; at most 1000 of a partition."""
    found: list[Worker] = []
    for partition, keys in enumerate(partitions.keys):
        (seconds, _), shown = yield from ask_all(
            [
                (partition, ("TIME",)),
                (partition, ("ZREVRANGE", keys.workers, 0, WORKERS_MOST - 1, "WITHSCORES")),
            ]
        )
        at = dict(decoding.pairs(shown))
        infos = (yield from ask(partition, ("HMGET", keys.worker_info, *at))) if at else []
        for (session, seen), text in zip(at.items(), infos, strict=True):
            found.append(_read_worker(session, float(seen), int(seconds), text, partition))
    return found


def _read_worker(session: bytes, seen: float, now: float, text: bytes | None, partition: int) -> Worker:
    shown = decoding.json_object(text)
    return Worker(
        **{**figures.read(shown), "session": decoding.shown(session)},
        seen=seen,
        silent=max(0.0, now - seen),
        partition=partition,
        more={name: value for name, value in shown.items() if name not in figures.FIGURES},
    )


def functions(partitions: Partitions) -> Op[list[FunctionInfo]]:
    """The task names that running workers know, or that tasks wait for; by name."""
    recent_workers = yield from workers(partitions)
    return functions_in(recent_workers, (yield from count(partitions)))


def functions_in(recent_workers: Sequence[Worker], counted: Count) -> list[FunctionInfo]:
    """The same, of workers and of a count that were read."""
    sessions: dict[str, set[str]] = {}
    for worker in recent_workers:
        if worker.alive:
            for name in worker.functions:
                # A worker has a session in each partition, but counts once.
                sessions.setdefault(name, set()).add(f"{worker.host}/{worker.pid}/{worker.name}")
    parked, held = counted.parked, set(counted.held)
    names = sorted({*sessions, *parked, *held} - {pausing.EVERY})
    return [
        FunctionInfo(
            name=name,
            workers=len(sessions.get(name, ())),
            parked=parked.get(name, 0),
            paused=bool(held & {name, pausing.EVERY}),
        )
        for name in names
    ]
