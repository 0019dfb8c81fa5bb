"""Scripts of limits, and what a claim is told of them; declared as in `__init__`."""

# Not `from __future__ import annotations`: the annotations are read when a script is declared.

from collections.abc import Sequence
from typing import Annotated, NamedTuple

from pytask.adapters.redis.lua import Key, Keys, Number, Text, Texts, records, script


class RuleRecord(NamedTuple):
    """The limits of one function; a limit below 0 is none."""

    func: Text
    limit: Number
    group_limit: Number
    interval: Number  # microseconds between two starts; 0: no rate
    burst: Number
    path: Text  # of the group in the data; "" for none


@script
def serve(
    *,
    runs: Key,
    queue: Key,
    own: Key,
    most_entries: Number,
    every: Number,
    rules: Annotated[Sequence[RuleRecord], records(RuleRecord)],
) -> list[int]: ...


@script
def limit(*, queue: Key, own: Key, entry: Text, value: Text) -> bytes: ...


@script
def mend(*, runs: Key, queue: Key, own: Key, hashes: Keys, ids: Texts) -> int: ...
