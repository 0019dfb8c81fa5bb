"""Tasks that are RUNNING without a registry entry or a lease, so that no monitor sees them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from pytask.adapters import decoding
from pytask.adapters.keys import Keys
from pytask.cli.connection import Remote
from pytask.domain import lifecycle as life

STEPS = 10  # calls of SCAN per partition
STEP = 1000  # keys per call


def forgotten(remote: Remote, most: int) -> list[str]:
    """Up to `most` ids of such tasks among the first 10,000 keys of each partition."""
    found = (i for at in range(len(remote.spaces)) for i in _of_partition(remote, at))
    return list(islice(found, most))


def _of_partition(remote: Remote, at: int) -> Iterator[str]:
    keys = Keys(remote.spaces[at])
    cursor = 0
    for _ in range(STEPS):
        words = ("SCAN", cursor, "MATCH", keys.matching(""), "COUNT", STEP, "TYPE", "hash")
        cursor, names = remote.ask(*words, at=at)
        yield from _unknown(remote, keys, at, [decoding.text(name) for name in names])
        if not int(cursor):
            return


def _unknown(remote: Remote, keys: Keys, at: int, names: list[str]) -> Iterator[str]:
    ids = [name.removeprefix(keys.namespace) for name in names]
    before = _runs(remote, keys, at, [i for i in ids if not i.startswith("pytask:")])
    if not before:
        return
    entries = remote.ask("HMGET", keys.runs, *map(decoding.raw_of, before), at=at)
    leases = remote.ask_all([("ZSCORE", keys.leases, decoding.raw_of(i)) for i in before], at=at)
    bare = [i for i, *kept in zip(before, entries, leases, strict=True) if kept == [None, None]]
    # Read the hash again, to exclude runs that began or ended between the two reads.
    after = _runs(remote, keys, at, bare)
    yield from (i for i in bare if after.get(i) == before[i])


def _runs(remote: Remote, keys: Keys, at: int, ids: list[str]) -> dict[str, bytes | None]:
    """The runs of the tasks whose hash says RUNNING."""
    looks = [("HMGET", decoding.raw_of(keys.task(i)), "state", "run") for i in ids]
    hashes = remote.ask_all(looks, at=at)
    running = life.RUNNING.encode()
    return {i: run for i, (state, run) in zip(ids, hashes, strict=True) if state == running}
