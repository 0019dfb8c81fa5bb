"""Reading the samples that monitors have kept."""

from __future__ import annotations

from functools import reduce

from pytask.adapters import decoding
from pytask.client.operations import Op, ask_all
from pytask.client.partitions import Partitions
from pytask.domain.errors import BadData
from pytask.domain.samples import RINGS, Sample, read, together


def samples(partitions: Partitions, name: str) -> Op[tuple[Sample, ...]]:
    """The samples of a ring, the oldest first; those of the partitions together, by their period."""
    ring = RINGS.get(name)
    if ring is None:
        raise BadData(f"no such ring: {name!r}; there are {', '.join(RINGS)}")
    found: dict[int, list[Sample]] = {}
    for partition, keys in enumerate(partitions.keys):
        (seconds, _), lines = yield from ask_all(
            [(partition, ("TIME",)), (partition, ("HGETALL", keys.samples(name)))]
        )
        values = lines.values() if isinstance(lines, dict) else [line for _, line in decoding.pairs(lines)]
        for one in read(values, ring, int(seconds)):
            found.setdefault(one.at // ring.step, []).append(one)
    return tuple(reduce(together, found[period]) for period in sorted(found))
