"""Looking at tasks and workers."""

from __future__ import annotations

from typing import Any

import attrs

from pytask.adapters import decoding
from pytask.client.operations import Op, ask, ask_all
from pytask.client.partitions import Places
from pytask.client.records import FINISHED, Count, FunctionInfo, TaskInfo, Worker, read_task
from pytask.domain import figures
from pytask.domain import lifecycle as life
from pytask.domain.errors import NoSuchTask, WrongKeyType
from pytask.domain.lifecycle import State

FORGOTTEN = (
    "hashes of finished tasks are deleted after a while (settings keep_ended, keep_error, keep_stopped)"
)
WORKERS_MOST = 1000
PARKED_MOST = 1000
COUNT_MOST = 1000  # entries at either end of a queue that a count looks at


def read_one(places: Places, task_id: str) -> Op[TaskInfo | None]:
    """A task, None where there is none."""
    place = places.of(task_id)
    try:
        reply = yield from ask(place, ("HGETALL", places.keys[place].task(task_id)))
    except WrongKeyType:
        return None
    found = reply if isinstance(reply, dict) else dict(decoding.pairs(reply))
    fields = {decoding.shown(name): value for name, value in found.items()}
    if not fields:
        return None
    task = read_task(task_id, fields)
    waits = task.finished and (yield from stands(places, task_id))
    return attrs.evolve(task, state=life.WAIT, again=True) if waits else task


# -- what waits: an id that stands in the queue, whatever its hash tells of the time before ----------------


def stands(places: Places, task_id: str) -> Op[bool]:
    """Whether an id stands in the queue; looks through all of it, 20 ms of Redis for a million entries."""
    place = places.of(task_id)
    found = yield from ask(place, ("LPOS", places.keys[place].queue, decoding.raw_of(task_id)))
    return found is not None


def standing(places: Places, place: int, most: int) -> Op[tuple[set[str], int]]:
    """The ids in a queue, and how many entries were not read: `most` at either end are."""
    key = places.keys[place].queue
    length = int((yield from ask(place, ("LLEN", key))))
    if not length:
        return set(), 0
    parts = [(0, -1)] if length <= 2 * most else [(0, most - 1), (-most, -1)]
    found = yield from ask_all([(place, ("LRANGE", key, first, last)) for first, last in parts])
    return {decoding.text(raw) for part in found for raw in part}, max(0, length - 2 * most)


def get(places: Places, task_id: str) -> Op[TaskInfo]:
    """A task; raises `NoSuchTask`."""
    task = yield from read_one(places, task_id)
    if task is None:
        raise no_such_task(task_id)
    return task


def no_such_task(task_id: str) -> NoSuchTask:
    """The error for an id that no task has."""
    return NoSuchTask(f"there is no task {task_id!r}: {FORGOTTEN}")


def count(places: Places) -> Op[Count]:
    """By state, in a few round trips."""
    commands: list[tuple[int, tuple[Any, ...]]] = []
    for place, keys in enumerate(places.keys):
        commands += [(place, ("LLEN", keys.queue)), (place, ("ZCARD", keys.leases))]
        commands += [(place, ("ZCARD", keys.index(state))) for state in life.RESTING]
        commands += [(place, ("LLEN", keys.rejected)), (place, ("SRANDMEMBER", keys.parked, PARKED_MOST))]
    replies = iter((yield from ask_all(commands)))
    states = dict.fromkeys(State, 0)
    queued = rejected = 0
    names: list[tuple[int, bytes]] = []
    for place in range(len(places.keys)):
        queued += next(replies)
        states[life.RUNNING] += next(replies)
        for state in life.RESTING:
            states[state] += next(replies)
        rejected += next(replies)
        names += [(place, name) for name in next(replies)]
    parked = yield from parked_by_function(places, names)
    waiting, unread = yield from _waiting_once(places, states)
    # What pytask put back is in an index and in a list, what was pushed is in the list only.
    states[life.WAIT] = waiting + unread + sum(parked.values())
    return Count(states=states, queued=queued, parked=parked, rejected=rejected, exact=not unread)


def _waiting_once(places: Places, states: dict[State, int]) -> Op[tuple[int, int]]:
    """Ids that wait, each once and out of the state before, and how many entries were not looked at."""
    waiting = unread = 0
    for place, keys in enumerate(places.keys):
        ids, more = yield from standing(places, place, COUNT_MOST)
        unread += more
        if not ids:
            continue
        raws = [decoding.raw_of(task_id) for task_id in ids]
        names = [keys.leases, *(keys.index(state) for state in FINISHED)]
        running, *before = yield from ask_all([(place, ("ZMSCORE", name, *raws)) for name in names])
        waiting += running.count(None)  # a copy of one that runs is dropped when it is met
        for state, scores in zip(FINISHED, before, strict=True):
            states[state] = max(0, states[state] - len(scores) + scores.count(None))
    return waiting, unread


def parked_by_function(places: Places, names: list[tuple[int, bytes]]) -> Op[dict[str, int]]:
    """The lengths of parking lists; empty ones are left out."""
    texts = [(place, decoding.text(name)) for place, name in names]
    sizes = yield from ask_all([(place, ("LLEN", places.keys[place].parking(name))) for place, name in texts])
    found: dict[str, int] = {}
    for (_, name), size in zip(texts, sizes, strict=True):
        if size:
            found[name] = found.get(name, 0) + size
    return found


def workers(places: Places) -> Op[list[Worker]]:
    """Those that showed themselves lately, the freshest first; 1000 of a partition at the most."""
    found: list[Worker] = []
    for place, keys in enumerate(places.keys):
        (seconds, _), shown = yield from ask_all(
            [
                (place, ("TIME",)),
                (place, ("ZREVRANGE", keys.workers, 0, WORKERS_MOST - 1, "WITHSCORES")),
            ]
        )
        at = dict(decoding.pairs(shown))
        infos = (yield from ask(place, ("HMGET", keys.worker_info, *at))) if at else []
        for (session, seen), text in zip(at.items(), infos, strict=True):
            found.append(_read_worker(session, float(seen), int(seconds), text, place))
    return found


def _read_worker(session: bytes, seen: float, now: float, text: bytes | None, place: int) -> Worker:
    shown = decoding.json_object(text)
    return Worker(
        **{**figures.read(shown), "session": decoding.shown(session)},
        seen=seen,
        silent=max(0.0, now - seen),
        partition=place,
        more={name: value for name, value in shown.items() if name not in figures.FIGURES},
    )


def functions(places: Places) -> Op[list[FunctionInfo]]:
    """The task names that living workers know, or that tasks wait for; by name."""
    crew = yield from workers(places)
    sessions: dict[str, set[str]] = {}
    for worker in crew:
        if worker.alive:
            for name in worker.functions:
                # A worker has a session in each partition, and is one all the same.
                sessions.setdefault(name, set()).add(f"{worker.host}/{worker.pid}/{worker.name}")
    parked = (yield from count(places)).parked
    names = sorted({*sessions, *parked})
    return [FunctionInfo(name=n, workers=len(sessions.get(n, ())), parked=parked.get(n, 0)) for n in names]
