"""Putting tasks into the queue."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from pytask import codec
from pytask.client.follow import in_time, open_ear
from pytask.client.own import CHUNK as CHUNK_STEERED
from pytask.client.own import control
from pytask.client.places import Places
from pytask.client.records import FINISHED, New, TaskInfo
from pytask.client.wire import Op, Script, ask, ask_all
from pytask.domain import lifecycle as life
from pytask.domain.advice import Advice, Call
from pytask.domain.errors import BadData, Denied, NoSuchTask, TaskExists, WrongKeyType
from pytask.domain.messages import LONGEST_NAME, Command
from pytask.domain.task import Task, data_class, task_name

CHUNK = 500  # tasks of one script: it holds the server for 2 ms
ROUND = 8  # scripts of one round trip
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
        raise BadData(f"a function's name has 1 to {LONGEST_NAME} bytes, not {name[:60]!r}")
    return name


def payload(function: Function, data: Any, limit: int) -> bytes:
    """The data as JSON, b"" for None; raises `BadData` with the path to what does not fit `Config.DATA`."""
    into = None if isinstance(function, str) else data_class(function)
    if data is None and into is None:
        return b""
    raw = b"" if data is None else codec.encode(data, "data")
    if into is not None:
        codec.decode_data(raw, into)
    elif not raw.startswith(b"{") and raw != b"null":
        codec.decode_data(raw, None)  # raises: it is no object
    if len(raw) > limit:
        raise BadData(
            f"data has {len(raw):,} bytes, and at most {limit:,} are taken (max_data here and in the workers'"
            " settings): keep what is large elsewhere, and pass its address"
        )
    return raw


def start(places: Places, function: Function, data: Any, task_id: str | None) -> Op[str]:
    """One task, in one round trip; its id."""
    chosen = new_ids(1)[0] if task_id is None else task_id
    yield from _queued(places, function, data, chosen, check=task_id is not None)
    return chosen


def start_and_wait(
    places: Places, function: Function, data: Any, task_id: str | None, timeout: float
) -> Op[TaskInfo]:
    """Start a task, and wait until it has ended in any way; also where its hash is not kept after that."""
    chosen = new_ids(1)[0] if task_id is None else task_id
    ear = yield from open_ear(places, places.of(chosen), chosen)  # before the start: it may end at once
    raw = yield from _queued(places, function, data, chosen, check=task_id is not None)
    known = TaskInfo(id=chosen, state=life.WAIT, function=name_of(function), raw_data=raw or None)
    return (yield from in_time(places, ear, known, FINISHED, timeout))


def _queued(places: Places, function: Function, data: Any, chosen: str, *, check: bool) -> Op[bytes]:
    """Queue it; its data as JSON."""
    name, raw = name_of(function), payload(function, data, places.max_data)
    place = places.of(chosen)
    try:
        odd = yield from ask(place, _script(places, place, name, [chosen], [raw], check=check))
    except Denied:
        if check:
            raise
        # A producer's user may have no right to scripts; a fresh id needs no look before.
        odd = yield from _plainly(places, place, name, chosen, raw)
    if odd:
        yield from _start_finished(places, place, [(chosen, odd[1])])
    return raw


def _plainly(places: Places, place: int, name: str, task_id: str, raw: bytes) -> Op[list[Any]]:
    keys = places.keys[place]
    written = ("HSET", keys.task(task_id), "function", name, *_data(raw))
    yield from ask_all([(place, written), (place, ("LPUSH", keys.queue, task_id))])
    return []


def _data(raw: bytes) -> tuple[Any, ...]:
    return ("data", raw) if raw else ()


def _script(  # noqa: PLR0913 - what the script takes
    places: Places, place: int, name: str, ids: Sequence[str], raws: Sequence[bytes], *, check: bool
) -> Script:
    keys = places.keys[place]
    space = keys.namespace
    hashes = [space + task_id for task_id in ids] if space else ids
    finished = FINISHED if check else ()
    args = [len(space.encode()), name, "1" if check else "", len(finished), *finished, *raws]
    return Script("enqueue", [keys.queue, *hashes], args)


def _start_finished(places: Places, place: int, odd: Sequence[tuple[str, bytes]]) -> Op[None]:
    """Start those again that have ended.  Raises `TaskExists` for the first that is another task."""
    finished = [task_id for task_id, verdict in odd if verdict == b"FINISHED"]
    for at in range(0, len(finished), CHUNK_STEERED):
        yield from control(places, place, Command.START, finished[at : at + CHUNK_STEERED])
    for task_id, verdict in odd:
        if verdict not in (b"FINISHED", b"ALREADY"):
            raise _taken(task_id)


def _taken(task_id: str) -> TaskExists:
    return TaskExists(
        Advice(
            f"{task_id!r} is another task, waits or runs with other data, or is a key of something else:"
            " choose another id, or use ",
            Call("start_again", task_id, data=True),
            " if that task is to run again",
        )
    )


def start_many(places: Places, tasks: Iterable[Any]) -> Op[list[str]]:
    """Many tasks, a few thousand in each round trip; their ids in order.

    All are checked before the first is sent.  Raises `TaskExists` after all others were queued.
    """
    batches, ids = _batches(places, tasks)
    odd_ones: dict[int, list[tuple[str, bytes]]] = {}
    for at in range(0, len(batches), ROUND):
        part = batches[at : at + ROUND]
        scripts = [(b.place, _script(places, b.place, b.name, b.ids, b.raws, check=b.check)) for b in part]
        for batch, odd in zip(part, (yield from _queue(places, part, scripts)), strict=True):
            found = ((batch.ids[nth - 1], word) for nth, word in zip(odd[::2], odd[1::2], strict=True))
            odd_ones.setdefault(batch.place, []).extend(found)
    for place, odd in odd_ones.items():
        yield from _start_finished(places, place, odd)
    return ids


def _queue(places: Places, part: Sequence[_Batch], scripts: Sequence[tuple[int, Script]]) -> Op[list[Any]]:
    """The replies of the scripts; where the user has no right to them, fresh ids are queued without."""
    replies = yield from ask_all(scripts, tolerant=True)
    for at, batch in enumerate(part):
        if isinstance(replies[at], Denied) and not batch.check:
            keys = places.keys[batch.place]
            tasks = zip(batch.ids, batch.raws, strict=True)
            hashes = [("HSET", keys.task(i), "function", batch.name, *_data(raw)) for i, raw in tasks]
            yield from ask_all(
                [(batch.place, words) for words in [*hashes, ("LPUSH", keys.queue, *batch.ids)]]
            )
            replies[at] = []
        elif isinstance(replies[at], Exception):
            raise replies[at]
    return replies


@attrs.define
class _Batch:
    place: int
    name: str
    check: bool
    ids: list[str] = attrs.Factory(list)
    raws: list[bytes] = attrs.Factory(list)


def _batches(places: Places, tasks: Iterable[Any]) -> tuple[list[_Batch], list[str]]:
    """Chunks of one partition and function each, and all ids in order."""
    items = [
        one if isinstance(one, New) else New(*((one,) if isinstance(one, str | type) else one))
        for one in tasks
    ]
    fresh = iter(new_ids(len(items)))
    several = len(places.keys) > 1
    names: dict[Function, str] = {}
    open_ones: dict[tuple[int, str, bool], _Batch] = {}
    batches: list[_Batch] = []
    ids: list[str] = []
    for item in items:
        function, check = item.function, item.id is not None
        task_id = item.id if item.id is not None else next(fresh)
        place = places.of(task_id) if check or several else 0
        name = names.get(function) or names.setdefault(function, name_of(function))
        batch = open_ones.get((place, name, check))
        if batch is None or len(batch.ids) == CHUNK:
            batch = open_ones[place, name, check] = _Batch(place, name, check)
            batches.append(batch)
        batch.ids.append(task_id)
        batch.raws.append(payload(function, item.data, places.max_data))
        ids.append(task_id)
    return batches, ids


def update_data(places: Places, task_id: str, data: Any, function: Function | None) -> Op[None]:
    """New data in the hash; `function` is checked against, where a class is given."""
    place = places.of(task_id)
    raw = payload(function or "?", data, places.max_data)
    verdict = yield from ask(place, Script("update", [places.keys[place].task(task_id)], [raw]))
    if verdict == b"NOHASH":
        raise NoSuchTask(f"there is no task {task_id!r}: its data cannot be changed")
    if verdict != b"OK":
        raise WrongKeyType(f"the key {task_id!r} is no hash, so it is no task")
