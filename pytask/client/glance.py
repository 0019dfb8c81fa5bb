"""What is read of many tasks together, again and again: two round trips, however many they are.

A task that has ended costs one more: whether it waits again, only a walk through the queue tells.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import attrs

from pytask.client.logs import read_line
from pytask.client.operations import Op, Words, ask_all
from pytask.client.partitions import Partitions
from pytask.client.queries import due_times, is_queued, task_in
from pytask.client.task_records import TaskInfo
from pytask.domain import lifecycle as life
from pytask.domain.errors import BadData, StoreError, Unavailable, WrongKeyType

Seen = TaskInfo | type[Exception] | None
"""A task; None if there is none; the kind of the error if it cannot be read."""
Line = tuple[int, int] | None
"""The run and the number of the newest line of a log; None without lines."""


def glance(
    partitions: Partitions, tasks: Iterable[str], logs: Iterable[str]
) -> Op[tuple[dict[str, Seen], dict[str, Line]]]:
    """The tasks, and the newest line of each of these logs.  Raises `Unavailable`."""
    read: dict[str, Seen] = dict.fromkeys(tasks)
    newest: dict[str, Line] = dict.fromkeys(logs)
    hashes, rings = _valid(partitions, read), _valid(partitions, newest)
    commands: list[tuple[int, Words]] = []
    commands += [(at, ("HGETALL", partitions.keys[at].task(task_id))) for task_id, at in hashes.items()]
    commands += [(at, ("LRANGE", partitions.keys[at].log(task_id), -1, -1)) for task_id, at in rings.items()]
    replies = iter((yield from ask_all(commands, tolerant=True)))
    read |= {task_id: _seen(task_id, next(replies)) for task_id in hashes}
    newest |= {task_id: _line(next(replies)) for task_id in rings}
    found = [task for task in read.values() if isinstance(task, TaskInfo)]
    read |= yield from _with_times(partitions, [task for task in found if task.state is life.WAIT])
    for task in found:
        if task.finished:
            # One by one, so that Redis answers others between two walks.
            read[task.id] = yield from _again(partitions, task)
    return read, newest


def _valid(partitions: Partitions, ids: Iterable[str]) -> dict[str, int]:
    """Those ids that a task can have, with their partitions."""
    found = {}
    for task_id in ids:
        with suppress(BadData):
            found[task_id] = partitions.of(task_id)
    return found


def _seen(task_id: str, reply: Any) -> Seen:
    if isinstance(reply, Exception):
        return None if isinstance(reply, WrongKeyType) else type(reply)
    return task_in(task_id, reply)


def _line(reply: Any) -> Line:
    line = read_line(reply[0]) if isinstance(reply, list) and reply else None
    return None if line is None else (line.epoch, line.number)


def _with_times(partitions: Partitions, waiting: list[TaskInfo]) -> Op[dict[str, Seen]]:
    """Tasks that wait, with the time at which the timers queue them."""
    read: dict[str, Seen] = {task.id: task for task in waiting}
    tasks = {task.id: task for task in waiting}
    for partition, ids in partitions.group([*tasks]).items():
        try:
            found = yield from due_times(partitions, partition, ids)
        except StoreError as error:
            read |= dict.fromkeys(ids, _kind(error))
            continue
        for task_id, due in zip(ids, found, strict=True):
            read[task_id] = tasks[task_id] if due is None else attrs.evolve(tasks[task_id], due=due)
    return read


def _again(partitions: Partitions, task: TaskInfo) -> Op[Seen]:
    """A task that has ended, unless it was pushed again."""
    try:
        queued = yield from is_queued(partitions, task.id)
    except StoreError as error:
        return _kind(error)
    return attrs.evolve(task, state=life.WAIT, again=True) if queued else task


def _kind(error: StoreError) -> type[Exception]:
    """What is noted of an error that others do not share."""
    if isinstance(error, Unavailable):
        raise error
    return type(error)
