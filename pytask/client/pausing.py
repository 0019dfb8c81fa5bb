"""Paused tasks and paused functions: what a client reads of them, and the pause of a function."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from pytask.adapters import decoding
from pytask.adapters.redis import pause_calls, scripts
from pytask.adapters.redis.scope import Scope
from pytask.client.operations import Op, ask, ask_all
from pytask.client.partitions import Partitions
from pytask.domain.errors import BadData
from pytask.domain.messages import LONGEST_NAME, Command

EVERY = "*"  # stands for all functions
STEP = 1000  # ids of one look at the paused set
HELD_MOST = 1000  # paused functions that are read
COUNT_MOST = 10_000  # paused ids that a count looks at, in each partition


def hold_functions(partitions: Partitions, names: Iterable[str], *, resume: bool) -> Op[list[str]]:
    """Pause functions, or resume them; the names that changed.  Raises `BadData`."""
    wanted = list(dict.fromkeys(map(_checked, names)))
    changed: set[str] = set()
    for partition, keys in enumerate(partitions.keys):
        if not wanted:
            break
        found = yield from ask(partition, pause_calls.hold_functions(Scope(keys), wanted, resume=resume))
        changed |= {name for name, done in zip(wanted, found, strict=True) if done}
    return [name for name in wanted if name in changed]


def _checked(name: object) -> str:
    if not isinstance(name, str) or not 0 < len(decoding.raw_of(name)) <= LONGEST_NAME:
        raise BadData(
            f"a function is paused by its name, a text of 1 to {LONGEST_NAME} bytes ('*' for all), not"
            f" {name!r:.60}"
        )
    return name


def held_functions(partitions: Partitions) -> Op[set[str]]:
    """The paused functions; `*` stands for all."""
    found = yield from ask_all(
        [(at, ("SRANDMEMBER", keys.paused_functions, HELD_MOST)) for at, keys in enumerate(partitions.keys)]
    )
    return {decoding.text(raw) for part in found for raw in part}


def paused_ids(partitions: Partitions, function: str | None) -> Op[list[str]]:
    """The ids of paused tasks, of one function or of all."""
    found: dict[str, None] = {}
    for partition, keys in enumerate(partitions.keys):
        cursor: Any = 0
        while True:
            cursor, raws = yield from ask(partition, ("SSCAN", keys.paused, cursor, "COUNT", STEP))
            ids = [decoding.text(raw) for raw in raws]
            if function is not None and ids:
                ids = yield from _of_function(partition, [keys.task(i) for i in ids], ids, function)
            found.update(dict.fromkeys(ids))
            if not int(cursor):
                break
    return list(found)


def _of_function(partition: int, hashes: Sequence[str], ids: Sequence[str], function: str) -> Op[list[str]]:
    names = yield from ask(partition, scripts.functions(hashes=hashes, longest=LONGEST_NAME))
    wanted = decoding.raw_of(function)
    return [task_id for task_id, name in zip(ids, names, strict=True) if name == wanted]


@attrs.frozen
class PausedCount:
    """How many tasks are paused: exactly, of up to 10,000 in a partition."""

    all: int = 0
    waiting: int = 0  # of these: not running
    pausing: int = 0  # and those that run, and have not reached a gate yet; of the first 1000 of a partition


def count_paused(partitions: Partitions) -> Op[PausedCount]:
    """Count the paused tasks."""
    found = PausedCount()
    for partition, keys in enumerate(partitions.keys):
        number = int((yield from ask(partition, ("SCARD", keys.paused))))
        if number > COUNT_MOST:
            found = attrs.evolve(found, all=found.all + number, waiting=found.waiting + number)
            continue
        running: list[bytes] = []
        cursor: Any = 0
        while number:
            cursor, raws = yield from ask(partition, ("SSCAN", keys.paused, cursor, "COUNT", STEP))
            if raws:
                leases = yield from ask(partition, ("ZMSCORE", keys.leases, *raws))
                running += [raw for raw, lease in zip(raws, leases, strict=True) if lease is not None]
                found = attrs.evolve(found, waiting=found.waiting + leases.count(None))
            if not int(cursor):
                break
        pausing = yield from _pausing(partition, [keys.task(decoding.text(raw)) for raw in running[:STEP]])
        found = attrs.evolve(found, all=found.all + number, pausing=found.pausing + pausing)
    return found


def _pausing(partition: int, hashes: Sequence[str]) -> Op[int]:
    asked = yield from ask_all([(partition, ("HGET", key, "control")) for key in hashes], tolerant=True)
    return sum(found == Command.PAUSE.encode() for found in asked if isinstance(found, bytes))
