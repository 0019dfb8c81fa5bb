"""Queueing tasks."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from pytask import codec, schema
from pytask.adapters.redis import scripts
from pytask.client import tracing
from pytask.client.batches import AT_ONCE, LARGE, Batch, Delivery, Start, deliver, probe, too_large
from pytask.client.operations import Op, ask
from pytask.client.partitions import Partitions
from pytask.client.records import New
from pytask.client.task_records import FINISHED, TaskInfo
from pytask.client.watch import in_time, open_stream
from pytask.domain import lifecycle as life
from pytask.domain.advice import Advice, Call
from pytask.domain.delays import RESTARTS
from pytask.domain.errors import BadData, NoSuchTask, StoreError, TaskExists, WrongKeyType, may_be_size
from pytask.domain.limits import check_group
from pytask.domain.messages import LONGEST_NAME
from pytask.domain.secrets import hide
from pytask.domain.start_time import not_before
from pytask.domain.task import Task
from pytask.domain.task_class import task_name
from pytask.domain.task_config import data_class, ignores_unknown, secret_fields

ID_BYTES = 12

Function = str | type[Task]


def new_ids(count: int) -> list[str]:
    """Fresh ids: 96 random bits each, as 24 characters of hex."""
    text, width = os.urandom(ID_BYTES * count).hex(), 2 * ID_BYTES
    return [text[at : at + width] for at in range(0, len(text), width)]


def name_of(function: Function) -> str:
    """The name on the wire of a task's name or class."""
    name = function if isinstance(function, str) else task_name(function)
    if not 0 < len(name.encode(errors="surrogateescape")) <= LONGEST_NAME:
        raise BadData(f"a function name must have 1 to {LONGEST_NAME} bytes, not {name[:60]!r}")
    return name


def payload(function: Function, data: Any, limit: int) -> bytes:
    """The data as JSON, b"" for None; raises `BadData` with the path that does not fit `Config.DATA`."""
    into = None if isinstance(function, str) else data_class(function)
    if data is None and into is None:
        return b""
    raw = b"" if data is None else codec.encode(schema.plain(data), "data")
    if into is not None and not isinstance(function, str):
        _check(function, raw, into)
    elif not raw.startswith(b"{") and raw != b"null":
        codec.decode_data(raw, None)  # raises: it is not an object
    if len(raw) > limit:
        raise BadData(
            f"data has {len(raw):,} bytes, but at most {limit:,} are allowed (max_data here and in the"
            " workers' settings): store large data elsewhere and pass a reference to it"
        )
    return raw


def _check(function: type[Task], raw: bytes, into: Any) -> None:
    """Raise `BadData` if it does not fit; the values of secret fields are hidden in its text."""
    try:
        codec.decode_data(raw, into, unknown=ignores_unknown(function))
    except BadData as error:
        values = codec.secrets_in(raw, secret_fields(function))
        if not values:
            raise
        raise BadData(hide(error.args[0], values), error.path) from None


def start(partitions: Partitions, task: New) -> Op[str]:
    """Start one task, in one round trip; returns its id."""
    chosen = new_ids(1)[0] if task.id is None else task.id
    yield from _queued(partitions, task, chosen)
    return chosen


def start_and_wait(partitions: Partitions, task: New, timeout: float) -> Op[TaskInfo]:
    """Start a task and wait until it finishes, even if its hash is then deleted at once."""
    chosen = new_ids(1)[0] if task.id is None else task.id
    stream = yield from open_stream(
        partitions, partitions.of(chosen), chosen
    )  # before the start: it may end at once
    raw = yield from _queued(partitions, task, chosen)
    known = TaskInfo(id=chosen, state=life.WAIT, function=name_of(task.function), raw_data=raw or None)
    return (yield from in_time(partitions, stream, known, FINISHED, timeout))


def _queued(partitions: Partitions, task: New, chosen: str) -> Op[bytes]:
    """Queue it; its data as JSON."""
    name, raw = name_of(task.function), payload(task.function, task.data, partitions.max_data)
    when, named = start_of(task), task.id is not None
    batch = Batch(
        partitions.of(chosen),
        name,
        check=named,
        restart=named and chosen not in partitions.unsure,
        later=when is not AT_ONCE,
    )
    batch.add(chosen, raw, when)
    done = yield from deliver(partitions, [batch])
    _raise_odd(done, 1)
    return raw


def start_of(task: New) -> Start:
    """When it starts, its group and its trace; raises `BadData` for one of these that is invalid."""
    if task.restart is not None and task.restart not in RESTARTS:
        raise BadData(
            f"restart must be one of {', '.join(map(repr, RESTARTS))}, not {task.restart!r}: the delays and"
            " the limit are those of Config.RESTART in its class"
        )
    when = not_before(task.delay, task.at)
    group = "" if task.group is None else check_group(task.group)
    trace = tracing.current() if task.traceparent is None else tracing.checked(task.traceparent)
    if not (when or task.restart or group or trace):
        return AT_ONCE
    return Start(when, task.restart or "", group, trace)


def _raise_odd(done: Delivery, total: int) -> None:
    if done.refused:
        rest = f" {len(done.queued)} of the {total} tasks are queued." if total > 1 else ""
        raise too_large(done.refused, rest)
    for task_id in done.taken:
        raise TaskExists(
            Advice(
                f"{task_id!r} is another task, is waiting or running with other data, or is another program's"
                " key: choose another id, or use ",
                Call("start_again", task_id, data=True),
                " to run that task again",
            )
        )


def start_many(partitions: Partitions, tasks: Iterable[Any]) -> Op[list[str]]:
    """Start many tasks, a few thousand in each round trip; returns their ids in order.

    All are checked before the first is sent.  Raises `TooLarge` or `TaskExists` after all others were queued.
    """
    batches, ids = _batches(partitions, tasks)
    done = yield from deliver(partitions, batches)
    _raise_odd(done, len(ids))
    return ids


def _batches(partitions: Partitions, tasks: Iterable[Any]) -> tuple[list[Batch], list[str]]:
    """Chunks of one partition and function each, and all ids in order."""
    items = [
        one if isinstance(one, New) else New(*((one,) if isinstance(one, str | type) else one))
        for one in tasks
    ]
    fresh = iter(new_ids(len(items)))
    several = len(partitions.keys) > 1
    names: dict[Function, str] = {}
    open_ones: dict[tuple[int, str, bool, bool, bool], Batch] = {}
    batches: list[Batch] = []
    ids: list[str] = []
    for item in items:
        function, check = item.function, item.id is not None
        task_id = item.id if item.id is not None else next(fresh)
        partition = partitions.of(task_id) if check or several else 0
        name = names.get(function) or names.setdefault(function, name_of(function))
        start = start_of(item)
        kind = partition, name, check, check and task_id not in partitions.unsure, start is not AT_ONCE
        batch = open_ones.get(kind)
        raw = payload(function, item.data, partitions.max_data)
        if batch is None or not batch.has_room(raw):
            batch = open_ones[kind] = Batch(*kind[:4], later=kind[4])
            batches.append(batch)
        batch.add(task_id, raw, start)
        ids.append(task_id)
    return batches, ids


def update_data(partitions: Partitions, task_id: str, data: Any, function: Function | None) -> Op[None]:
    """Store new data in the hash; it is checked if `function` is a class."""
    partition = partitions.of(task_id)
    raw = payload(function or "?", data, partitions.max_data)
    verdict = yield from _update(partitions, partition, task_id, raw)
    if verdict == b"NOHASH":
        raise NoSuchTask(f"no task {task_id!r}: its data cannot be changed")
    if verdict != b"OK":
        raise WrongKeyType(f"the key {task_id!r} is not a hash, so it is not a task")


def _update(partitions: Partitions, partition: int, task_id: str, raw: bytes) -> Op[bytes]:
    """The verdict on new data; raises an error that names the size if Redis refuses it for that."""
    command = scripts.update(hash=partitions.keys[partition].task(task_id), data=raw)
    try:
        return (yield from ask(partition, command))  # type: ignore[no-any-return]
    except StoreError as error:
        if len(raw) < LARGE or not may_be_size(error):
            raise
    yield from probe(partitions, partition)
    try:
        return (yield from ask(partition, command))  # type: ignore[no-any-return]
    except StoreError as error:
        if not may_be_size(error):
            raise
        yield from probe(partitions, partition)
        raise too_large([(task_id, len(raw), error)]) from error
