"""Decides which runs a worker gives away, from the figures that all workers publish.

Every worker decides for itself and only gives runs away: workers with room claim them from the queue.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import attrs

from pytask.domain.figures import WorkerInfo

TOLERANCE = 0.05  # of the fair share; smaller differences are ignored, or rebalancing would never stop
TOLERANCE_RUNS = 1  # so are differences of up to this many runs
TAKE_PATIENCE = 2.0  # seconds that other workers have to claim what was released
OWN = "pytask/"  # prefix of pytask's own tasks; every worker knows them, so they do not make a worker a peer


@attrs.frozen(kw_only=True)
class Share:
    """What a worker does about the difference between its load and that of the others."""

    give: int = 0  # runs to release
    functions: frozenset[str] = frozenset()  # functions that a worker with room knows
    back_off: bool = False  # pause claims for a moment, for the workers with room


def fair_share(mine: WorkerInfo, others: Iterable[WorkerInfo]) -> Share:
    """How many runs of `mine` exceed its fair share, which is the same fraction of the slots on every worker.

    Only workers with a function in common count.  A missing figure is assumed to equal that of `mine`.
    """
    own = _shared(mine)
    peers = [other for other in others if other.session != mine.session and own & _shared(other)]
    places = sum(_places(one, mine) for one in [mine, *peers])
    total = sum(_tasks(one) for one in [mine, *peers])
    if not peers or places == 0:
        return Share()
    part = total / places
    takers = [(one, math.floor(part * _places(one, mine)) - _tasks(one)) for one in peers]
    takers = [(one, room) for one, room in takers if room > 0]
    fair = part * _places(mine, mine)
    slack = max(TOLERANCE_RUNS, TOLERANCE * fair)
    room = sum(room for _, room in takers)
    over = _tasks(mine) - math.ceil(fair)
    known = frozenset[str]().union(*(own & _shared(one) for one, _ in takers))
    if over > slack and room > 0:
        return Share(give=min(over, room), functions=known, back_off=True)
    return Share(back_off=_tasks(mine) >= fair and room > slack)


def batch(rate: float) -> tuple[int, float]:
    """(runs, seconds) of one step at `rate` moves per second.

    A step is a quarter of a second or one run, so that adjacent steps hardly exceed the rate in any second.
    """
    size = max(1, int(rate / 4))
    return size, size / rate


def _shared(info: WorkerInfo) -> frozenset[str]:
    return frozenset(name for name in info.functions if not name.startswith(OWN))


def _tasks(info: WorkerInfo) -> int:
    return info.running if info.tasks is None else info.tasks


def _places(info: WorkerInfo, mine: WorkerInfo) -> int:
    return (mine.max_tasks or 0) if info.max_tasks is None else info.max_tasks
