"""Scripts for the upkeep by monitors and the reports of workers; declared as in `__init__`."""

# Not `from __future__ import annotations`: the annotations are read when a script is declared.

from typing import Any

from pytask.adapters.redis.lua import (
    Flag,
    Flags,
    FourKeys,
    Key,
    Keys,
    Number,
    Numbers,
    Text,
    Texts,
    script,
)

# -- the monitor --------------------------------------------------------------------------------------


@script
def suspects(*, runs: Key, hashes: Keys, ids: Texts) -> list[Any]: ...


@script
def forget(*, runs: Key, leases: Key, hashes: Keys, ids: Texts) -> int: ...


@script
def expire(
    *,
    runs: Key,
    leases: Key,
    queue: Key,
    timers: Key,
    paused: Key,
    own: Key,  # the prefix of the keys of limits
    indexes: FourKeys,
    hashes: Keys,
    channel: Text,
    server: Text,
    error: Text,  # of a poisoned task
    kept: Number,
    # What becomes of it; of its line the reason is missing, too, which only the script knows.
    waiting: Text,
    waiting_event: Text,
    waiting_line: Text,
    stopped: Text,
    stopped_event: Text,
    stopped_line: Text,
    stopped_drop: Flag,
    failed: Text,
    failed_event: Text,
    failed_line: Text,
    failed_drop: Flag,
    ids: Texts,
    old_runs: Texts,
    seen: Numbers,  # the lease, as it was watched
    crashes: Numbers,  # to write
    poison: Flags,
    proven: Flags,  # its process is known to be dead
) -> list[bytes]: ...


@script
def repair(
    *,
    runs: Key,
    leases: Key,
    queue: Key,
    timers: Key,
    paused: Key,
    own: Key,
    waiting_index: Key,
    stopped_index: Key,
    hashes: Keys,
    expiry: Number,  # seconds after which an update is old
    channel: Text,
    kept: Number,
    waiting: Text,
    waiting_event: Text,
    waiting_line: Text,
    stopped: Text,
    stopped_event: Text,
    stopped_line: Text,
    stopped_drop: Flag,
    ids: Texts,
) -> list[Any]: ...


@script
def put_back(
    *,
    runs: Key,
    queue: Key,
    timers: Key,
    paused: Key,
    own: Key,
    hashes: Keys,
    parkings: Keys,  # the parking list of the function of each
    space: Number,
    waiting: Text,
    channel: Text,
    event: Text,
    funcs: Texts,
) -> int: ...


@script
def retire(
    *,
    runs: Key,
    queue: Key,
    index: Key,  # of the state they rest in
    hashes: Keys,
    state: Text,
    keep: Number,  # seconds
    ids: Texts,
) -> int: ...


@script
def sample(
    *,
    ring: Key,
    leases: Key,
    queue: Key,
    timers: Key,
    indexes: FourKeys,
    step: Number,  # seconds
    size: Number,
    crew: Text,  # what workers have published, as numbers; "" for a look
) -> int: ...


# -- workers ------------------------------------------------------------------------------------------


@script
def announce(
    *,
    workers: Key,
    shown: Key,  # what they show (hash)
    monitors: Key,
    session: Text,
    info: Text,  # JSON
) -> int: ...


@script
def tidy(
    *,
    workers: Key,
    shown: Key,
    monitors: Key,
    monitor: Text,
    silent: Number,  # seconds
) -> None: ...
