"""Which worker has too much, as a decision over what the workers show of themselves.

Every worker decides for itself, and only ever gives away: one that has room takes what lies in the queue.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import attrs

from pytask.domain.figures import WorkerInfo

TOLERANCE = 0.05  # of the fair share: what differs by less is left as it is, or it would never come to rest
TOLERANCE_RUNS = 1  # ... or by no more runs than this
TAKE_PATIENCE = 2.0  # seconds that the others have to take what was handed back
OWN = "pytask/"  # tasks of pytask itself, known everywhere: they make nobody a peer


@attrs.frozen(kw_only=True)
class Share:
    """What a worker is to do about the difference between its load and the others'."""

    give: int = 0  # runs to hand back
    functions: frozenset[str] = frozenset()  # those that somebody with room knows
    back_off: bool = False  # leave the queue to those with room for a moment


def fair_share(mine: WorkerInfo, others: Iterable[WorkerInfo]) -> Share:
    """How many runs of `mine` are over its fair share: the same part of the places at every worker.

    Only workers that know a function in common count.  What is not shown is taken to be as with us.
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
    """(runs, seconds) of one step at `rate` moves a second.

    Steps of a quarter of a second, or of one run: steps that touch put hardly more into any one second.
    """
    size = max(1, int(rate / 4))
    return size, size / rate


def _shared(info: WorkerInfo) -> frozenset[str]:
    return frozenset(name for name in info.functions if not name.startswith(OWN))


def _tasks(info: WorkerInfo) -> int:
    return info.running if info.tasks is None else info.tasks


def _places(info: WorkerInfo, mine: WorkerInfo) -> int:
    return (mine.max_tasks or 0) if info.max_tasks is None else info.max_tasks
