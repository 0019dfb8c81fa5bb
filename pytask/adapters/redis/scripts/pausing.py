"""Scripts that pause tasks and functions; declared as in `__init__`."""

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
def pause(
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
    waiting: Text,
    asked_line: Text,  # of a request
    line: Text,
    kept: Number,
    allowed: AnyTexts,  # states that a task may be paused in
    ids: Texts,
    ages: Numbers,  # seconds within which a start is known to be newer than this pause
) -> list[bytes]: ...


@script
def confirm(
    *,
    runs: Key,
    hashes: Keys,
    space: Number,
    channel: Text,
    paused_line: Text,
    resumed_line: Text,
    kept: Number,
    live_runs: Texts,
    told: Texts,  # `pause` or `start`: what their owner has done
) -> list[bytes]: ...


@script
def hold_functions(
    *,
    paused_functions: Key,
    parked: Key,  # names of functions with a parking list (set)
    hint_channel: Text,
    resume: Flag,
    functions: AnyTexts,
) -> list[int]: ...


@script
def tidy_paused(*, paused: Key, hashes: Keys, space: Number) -> int: ...
