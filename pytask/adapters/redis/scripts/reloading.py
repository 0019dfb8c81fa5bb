"""Scripts that give a run new data, or refuse to; declared as in `__init__`."""

# Not `from __future__ import annotations`: the annotations are read when a script is declared.

from typing import Any

from pytask.adapters.redis.lua import Flag, Key, Number, Text, ThreeTexts, script


@script
def reload(
    *,
    runs: Key,
    leases: Key,
    hash: Key,
    id: Text,
    old_run: Text,
    new_run: Text,
    worker: Text,
    max_data: Number,  # bytes
    saved: Text,  # that the old run has not stored yet; "" for nothing
    channel: Text,
    line: Text,
    kept: Number,
    event: ThreeTexts,
    known: Flag,  # `lived` is the data with which the old run worked
    lived: Text,
    on_trial: Flag,  # it was itself on trial when the caller looked
) -> list[Any]: ...


@script
def accept(
    *,
    runs: Key,
    hash: Key,
    id: Text,
    run: Text,
    func: Text,  # and the data, which were judged; "" for none
    data: Text,
    request: Text,  # the word of a reload
    mark: Text,  # of the trial
    channel: Text,
    event: Text,
    line: Text,
    kept: Number,
    known: Flag,  # `lived` is the data with which the run worked before
    lived: Text,
    on_trial: Flag,  # it was itself on trial when the caller looked
) -> list[Any]: ...


@script
def preview(*, runs: Key, hash: Key, id: Text, run: Text, max_data: Number) -> list[Any]: ...


@script
def refuse(
    *,
    runs: Key,
    hash: Key,
    id: Text,
    run: Text,
    func: Text,  # and the data, which were judged; "" for none
    data: Text,
    unread: Number,  # size of data that was not read; 0: it was
    good_func: Text,  # and the data, which are in force; "" for no data
    good: Text,
    request: Text,  # the word of a reload
    refusal: Text,  # JSON, behind its epoch and time
    channel: Text,
    event: Text,
    line: Text,
    kept: Number,
) -> bytes: ...


@script
def settle(
    *,
    runs: Key,
    hash: Key,
    id: Text,
    run: Text,
    mark: Text,  # of a trial that is over; "" for none
    request: Text,  # a word that is dropped; "" for none
) -> bytes: ...
