"""Scripts that control tasks: stop, start, reload and delete; declared as in `__init__`."""

# Not `from __future__ import annotations`: the annotations are read when a script is declared.

from pytask.adapters.redis.lua import (
    AnyTexts,
    Flag,
    FourKeys,
    Key,
    Keys,
    Number,
    Numbers,
    Text,
    Texts,
    script,
)


@script
def functions(*, hashes: Keys, longest: Number) -> list[bytes]: ...


@script
def stop(
    *,
    runs: Key,
    queue: Key,
    timers: Key,
    paused: Key,
    own: Key,  # the prefix of the keys of limits
    indexes: FourKeys,
    hashes: Keys,
    parkings: Keys,  # the parking list of the function of each
    channel: Text,
    event: Text,
    stopped: Text,
    drop: Flag,
    asked_line: Text,  # of a request
    line: Text,
    kept: Number,
    allowed: AnyTexts,  # states that a task may be stopped from
    ids: Texts,
    ages: Numbers,  # seconds within which a start is known to be newer than this stop
) -> list[bytes]: ...


@script
def start(
    *,
    runs: Key,
    queue: Key,
    timers: Key,
    paused: Key,
    indexes: FourKeys,
    hashes: Keys,
    channel: Text,
    event: Text,
    waiting: Text,
    line: Text,
    now_line: Text,  # of a task that waited for its time
    resumed_line: Text,  # of a paused one
    asked_line: Text,  # of a request to the owner of a paused run
    kept: Number,
    fresh: Flag,  # without what earlier runs have saved
    allowed: AnyTexts,  # states that a task may be started from
    ids: Texts,
    ages: Numbers,  # seconds within which an earlier start counts as this one
) -> list[bytes]: ...


@script
def request(
    *,
    runs: Key,
    hashes: Keys,
    request: Text,  # the word
    fresh: Flag,
    late: Number,  # seconds; 0: it is no message
    line: Text,
    kept: Number,
    ids: Texts,
) -> list[bytes]: ...


@script
def remove(
    *,
    runs: Key,
    queue: Key,
    timers: Key,
    paused: Key,
    own: Key,  # the prefix of the keys of limits
    parked: Key,  # names of parked functions (set)
    indexes: FourKeys,
    hashes: Keys,
    parkings: Keys,  # the parking list of the function of each
    rings: Keys,  # of a task's lines
    states: AnyTexts,  # those that are meant; none: any
    ids: Texts,
) -> list[bytes]: ...
