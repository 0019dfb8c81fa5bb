"""Samples of the fleet's figures, kept in two rings: of the last hour, and of the last day.

Any monitor writes one in each period; the first one does, and the others see that it is there.  A ring has a
fixed number of places, and a new sample replaces that of an hour, or of a day, ago: nothing is to be tidied.
A sample is a line of numbers; a later release may add more behind them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import attrs

from pytask.domain.figures import WorkerInfo
from pytask.domain.metrics import Histogram, RestartReason


@attrs.frozen
class Ring:
    """How often a sample is kept, and how many."""

    name: str
    step: int  # seconds
    size: int


HOUR: Final = Ring("hour", 10, 360)
DAY: Final = Ring("day", 300, 288)
RINGS: Final = {ring.name: ring for ring in (HOUR, DAY)}


@attrs.frozen(kw_only=True)
class Crew:
    """What the workers that are alive have published, summed; the last three since their start."""

    workers: int = 0
    slots: int = 0
    used: int = 0  # of these slots
    takeovers: int = 0
    restarts: int = 0  # by policy, after a failure or a timeout
    dropped: int = 0  # events


@attrs.frozen(kw_only=True)
class Sample:
    """The fleet at one time.  How many tasks wait, have ended, ... is told by the lengths of their sets."""

    at: int  # seconds since 1970, by the clock of Redis
    running: int = 0
    queued: int = 0
    delayed: int = 0
    stopped: int = 0
    ended: int = 0
    error: int = 0
    lease_age: float = 0.0  # seconds since the oldest renewal
    workers: int = 0
    slots: int = 0
    used: int = 0
    takeovers: int = 0  # of the workers that were alive, since their start: it may fall as one leaves
    restarts: int = 0
    dropped: int = 0


FAILED: Final = (RestartReason.FAILURE, RestartReason.TIMEOUT)
FIELDS: Final = tuple(field.name for field in attrs.fields(Sample))
BIGGEST: Final = 2**53


def crew(infos: Iterable[WorkerInfo]) -> Crew:
    """The sums of some entries, one for each worker of a partition."""
    found = Crew()
    for info in infos:
        restarted = (info.restarted or {}).values()
        found = Crew(
            workers=found.workers + 1,
            slots=found.slots + (info.max_tasks or 0),
            used=found.used + (info.tasks or 0),
            takeovers=found.takeovers + _count(info.takeovers),
            restarts=found.restarts + sum(one.get(why, 0) for one in restarted for why in FAILED),
            dropped=found.dropped + info.dropped,
        )
    return found


def _count(histogram: Histogram | None) -> int:
    return 0 if histogram is None else sum(histogram.counts)


def read(lines: Iterable[bytes | str], ring: Ring, now: float) -> list[Sample]:
    """The samples of a ring that are not too old, the oldest first; what is none is left out."""
    found = [one for one in map(_read, lines) if one is not None]
    fresh = (one for one in found if now - ring.step * ring.size < one.at <= now)
    return sorted(fresh, key=lambda one: one.at)


def _read(line: bytes | str) -> Sample | None:
    try:
        numbers = [float(word) for word in line.split()]
    except ValueError:
        return None
    if len(numbers) < len(FIELDS) or not all(0 <= one < BIGGEST for one in numbers):
        return None
    values: dict[str, Any] = dict(zip(FIELDS, numbers, strict=False))
    return Sample(**{name: one if name == "lease_age" else int(one) for name, one in values.items()})


def together(one: Sample, other: Sample) -> Sample:
    """The samples of two partitions at one time: each worker is in both, with the same slots."""
    shared = ("at", "lease_age", "workers", "slots")
    return Sample(
        **{
            name: max(getattr(one, name), getattr(other, name))
            if name in shared
            else getattr(one, name) + getattr(other, name)
            for name in FIELDS
        }
    )
