"""The script that stores what a task saves, and how renewals carry it; declared as in `__init__`."""

# Not `from __future__ import annotations`: the annotations are read when a script is declared.

from typing import NamedTuple

from pytask.adapters.redis.lua import Key, Number, Text, script


class SavedValue(NamedTuple):
    """What a run has saved since its last renewal."""

    at: Number  # its place among the runs of the call, from 1
    nth: Number  # grows with each save of the run
    value: Text


@script
def save(
    *,
    runs: Key,
    leases: Key,
    hash: Key,
    id: Text,
    run: Text,
    nth: Number,  # grows with each save of the run
    value: Text,
    server: Text,
) -> bytes: ...
