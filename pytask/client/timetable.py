"""Reading and changing schedules."""

from __future__ import annotations

from typing import Any

import attrs

from pytask.adapters import decoding
from pytask.adapters.redis import schedule_calls
from pytask.adapters.redis.scope import Scope
from pytask.client.enqueue import Function, name_of, payload
from pytask.client.operations import Op, ask, ask_all
from pytask.client.partitions import Partitions
from pytask.client.schedule_records import ScheduleInfo, read_schedule
from pytask.domain import occurrences, schedules
from pytask.domain.errors import NoSuchSchedule, WrongKeyType
from pytask.domain.firing import READ, Definition
from pytask.domain.schedules import KEPT

CLIENT = "client"  # the origin of what a client defines
PAGE = 500  # schedules of one round trip
FIELDS = (*READ, "error", "origin", "last_ms", "last_id", "fires")  # all but the data


def list_schedules(partitions: Partitions, limit: int) -> Op[list[ScheduleInfo]]:
    """The next ones first, without their data and their past; at most `limit` of each partition."""
    found: list[tuple[float, ScheduleInfo]] = []
    for partition in range(len(partitions.keys)):
        found += yield from _page(partitions, partition, limit)
    found.sort(key=lambda entry: (entry[0], entry[1].name))
    return [info for _, info in found[:limit]]


def _page(partitions: Partitions, partition: int, limit: int) -> Op[list[tuple[float, ScheduleInfo]]]:
    keys = partitions.keys[partition]
    found: list[tuple[float, ScheduleInfo]] = []
    for at in range(0, limit, PAGE):
        # From the end, as every role may call it.
        first, last = -min(at + PAGE, limit), -at - 1
        reply = yield from ask(partition, ("ZREVRANGE", keys.schedules, first, last, "WITHSCORES"))
        scores = {decoding.text(name): float(score) for name, score in _pairs(reply)}
        hashes = [(partition, ("HMGET", keys.schedule(name), *FIELDS)) for name in scores]
        replies = yield from ask_all(hashes, tolerant=True)
        for (name, score), values in zip(scores.items(), replies, strict=True):
            found.append((score, _read(name, score, values)))
        if len(scores) < PAGE:
            break
    return found


def _pairs(reply: Any) -> Any:
    """The names with their scores, of either protocol."""
    return reply if reply and isinstance(reply[0], list | tuple) else decoding.pairs(reply)


def _read(name: str, score: float | None, values: Any) -> ScheduleInfo:
    if isinstance(values, WrongKeyType):
        return ScheduleInfo(name=name, error="its key is no hash: remove the schedule, and add it again")
    if isinstance(values, Exception):
        raise values
    fields = {field: decoding.shown(value) for field, value in zip(FIELDS, values, strict=True) if value}
    if not fields:
        return ScheduleInfo(name=name, error="it has a time, but no fields: a worker removes it")
    return read_schedule(name, score, fields)


def get_schedule(partitions: Partitions, name: str) -> Op[ScheduleInfo]:
    """One, with its data and what became of its occurrences.  Raises `NoSuchSchedule`."""
    partition = partitions.of(name)
    keys = partitions.keys[partition]
    key = keys.schedule(name)
    score, values, data, lines = yield from ask_all(
        [
            (partition, ("ZSCORE", keys.schedules, name)),
            (partition, ("HMGET", key, *FIELDS)),
            (partition, ("HGET", key, "data")),
            (partition, ("LRANGE", keys.occurrences(name), 0, KEPT - 1)),
        ],
        tolerant=True,
    )
    if isinstance(lines, WrongKeyType):
        where = decoding.shown(keys.occurrences(name))
        return ScheduleInfo(name=name, error=f"the key {where!r} is no list: delete it")
    broken = isinstance(values, WrongKeyType)
    for reply in (score, lines) if broken else (score, values, data, lines):
        if isinstance(reply, Exception):
            raise reply
    if score is None and not broken and not any(values):
        raise no_such_schedule(name)
    found = _read(name, None if score is None else float(score), values)
    return attrs.evolve(found, raw_data=None if broken else data, occurrences=occurrences.read(lines))


def add_schedule(
    partitions: Partitions, name: str, function: Function, data: Any, options: dict[str, Any]
) -> Op[ScheduleInfo]:
    """Make it, or change it.  Raises `BadSchedule`, `BadData`."""
    found = schedules.made(name, name_of(function), **options)
    raw = payload(function, data, partitions.max_data)
    partition = partitions.of(name)
    scope = Scope(partitions.keys[partition])
    definition = Definition(name=name, fields=found.fields(), data=raw, origin=CLIENT)
    yield from ask(partition, schedule_calls.define(scope, definition))
    return (yield from get_schedule(partitions, name))


def pause_schedule(partitions: Partitions, name: str, *, paused: bool) -> Op[bool]:
    """Whether this changed anything.  Raises `NoSuchSchedule`."""
    partition = partitions.of(name)
    call = schedule_calls.pause(Scope(partitions.keys[partition]), name, paused=paused)
    verdict = yield from ask(partition, call)
    if verdict == b"NOHASH":
        raise no_such_schedule(name)
    return bool(verdict == b"OK")


def remove_schedule(partitions: Partitions, name: str) -> Op[bool]:
    """Whether there was one."""
    partition = partitions.of(name)
    verdict = yield from ask(partition, schedule_calls.remove(Scope(partitions.keys[partition]), name))
    return bool(verdict == b"OK")


def no_such_schedule(name: str) -> NoSuchSchedule:
    """The error for a name that no schedule has."""
    return NoSuchSchedule(f"no schedule {name!r}: `pytask schedule ls` lists them")
