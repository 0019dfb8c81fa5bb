"""Scripts of schedules; declared as in `__init__`."""

# Not `from __future__ import annotations`: the annotations are read when a script is declared.

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

from pytask.adapters.redis.lua import (
    AnyTexts,
    Flag,
    FourKeys,
    Key,
    Keys,
    Number,
    Text,
    records,
    script,
)

# What many of them take:
#
#   schedules      all of them (zset: name by the ms of the next time)
#   schedule       the hash of one
#   occurrences    the list of what became of its occurrences
#   score          its time as the caller read it
#   fault          the mark in `paused` of one that cannot be used


class StartRecord(NamedTuple):
    """An occurrence that is to start."""

    id: Text
    quoted: Text  # the id as JSON
    at: Number  # ms
    missed: Number
    not_before: Text


@script
def fire(
    *,
    schedules: Key,
    schedule: Key,
    occurrences: Key,
    runs: Key,
    queue: Key,
    timers: Key,
    indexes: FourKeys,
    hashes: Keys,  # of the tasks: one for each of `starts` with overlap allow, else one
    name: Text,
    quoted: Text,  # the name as JSON
    score: Number,
    paused: Flag,  # as it was read
    overlap: Text,
    next: Number,
    recheck: Number,  # ms: the next look where an occurrence waits for a run to end
    most: Number,  # lines to keep
    waiting: Text,
    channel: Text,
    event: Text,
    line: Text,
    asked_line: Text,
    kept: Number,
    starts: Annotated[Sequence[StartRecord], records(StartRecord)],
    skips: AnyTexts,  # lines
) -> bytes: ...


@script
def due_schedules(
    *,
    schedules: Key,
    hashes: Keys,  # of those in `ended`
    never: Number,
    most: Number,
    ended: AnyTexts,  # names of schedules a run of which is over
) -> list[bytes]: ...


@script
def read_schedules(*, hashes: Keys, longest: Number, fields: AnyTexts) -> list[Any]: ...


@script
def fault(
    *,
    schedules: Key,
    schedule: Key,
    name: Text,
    score: Number,
    never: Text,
    error_text: Text,
) -> bytes: ...


@script
def define_schedule(
    *,
    schedules: Key,
    schedule: Key,
    occurrences: Key,
    incarnation: Key,
    name: Text,
    data: Text,  # JSON, "" for none
    origin: Text,
    lost: Flag,  # only if it is gone
    known_marker: Text,  # only in the data with this marker; "" for any
    most: Number,  # lines to keep
    values: AnyTexts,  # of the fields of a definition, "" for none
) -> bytes: ...


@script
def pause_schedule(
    *, schedules: Key, schedule: Key, occurrences: Key, name: Text, paused: Flag, most: Number
) -> bytes: ...


@script
def remove_schedule(*, schedules: Key, schedule: Key, occurrences: Key, name: Text) -> bytes: ...
