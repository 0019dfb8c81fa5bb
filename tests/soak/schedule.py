"""Which fault comes when: drawn from a seed, in four quarters.  Pure.

The third and the fourth quarter end with a calm part, in which all is compared; the window of a calm part
is its end, after the system came to rest.  In the second half the process of w1 meets no fault that ends
or stops it, so that it can be measured over its own life;
Redis itself is not restarted there for the same reason.
"""

import random
from typing import NamedTuple

WORKERS = ("w1", "w2", "w3")
WARM_UP = 75  # seconds, as all below, at scale 1
CALM = 0.4  # of a quarter
WINDOW = 0.55  # of the calm part


class Kind(NamedTuple):
    lasts: float  # seconds from its begin to its end
    settles: float  # and then until another fault may begin
    ends_process: bool = False  # or stops it
    of_worker: bool = True


KINDS = {
    "kill": Kind(0, 130, ends_process=True),
    "sigterm": Kind(0, 40, ends_process=True),
    "stop-20": Kind(20, 25, ends_process=True),
    "stop-100": Kind(100, 40, ends_process=True),
    "blackhole-30": Kind(30, 25),
    "blackhole-80": Kind(80, 60, ends_process=True),
    "cut": Kind(0, 20),
    "lost-replies": Kind(10, 25),
    "slow": Kind(20, 20),
    "redis-kill": Kind(3, 40, of_worker=False),
    "redis-stop": Kind(20, 30, of_worker=False),
    "pause-write": Kind(20, 30, of_worker=False),
    "script-flush": Kind(0, 15, of_worker=False),
    "pubsub-cut": Kind(0, 20, of_worker=False),
    "recreate": Kind(0, 40, of_worker=False),
    "duplicates": Kind(0, 15, of_worker=False),
}
FIRST_HALF = {"kill": 4, "sigterm": 3, "cut": 2} | {
    kind: 1 for kind in KINDS if kind not in ("kill", "sigterm", "cut")
}
SECOND_HALF = {"kill": 2} | {
    kind: 1 for kind in KINDS if kind not in ("kill", "pause-write", "recreate", "redis-kill")
}
ON_W1 = ("cut", "blackhole-30", "slow", "lost-replies")  # of the second half
OVER_T = ("kill", "stop-100", "blackhole-80")  # after which a monitor hands on


class Fault(NamedTuple):
    at: float  # seconds since the start
    kind: str
    target: str  # a worker's name, or ""
    lasts: float
    free_at: float  # when the next one may begin


class Plan(NamedTuple):
    faults: list
    windows: list  # two pairs (begin, end), seconds since the start
    calms: list  # two pairs; at the begin of each the load is spread evenly
    dropped: list  # kinds for which there was no room


def plan(seconds, scale, seed, leave_out=()):
    """The plan of a soak that lasts `seconds`, all times of faults multiplied by `scale`."""
    rng = random.Random(seed)
    quarter = seconds / 4
    calm = CALM * quarter
    calms = [(2 * quarter + quarter - calm, 3 * quarter), (seconds - calm, seconds)]
    regions = [(WARM_UP * scale, quarter), (quarter, 2 * quarter)]
    faults, dropped = _half(FIRST_HALF, regions, scale, rng, leave_out, first=True)
    regions = [(2 * quarter, calms[0][0]), (3 * quarter, calms[1][0])]
    more, missing = _half(SECOND_HALF, regions, scale, rng, leave_out, first=False)
    windows = [(end - WINDOW * calm, end) for _, end in calms]
    return Plan(faults + more, windows, calms, dropped + missing)


def _half(deck, regions, scale, rng, leave_out, *, first):
    cards = [kind for kind, number in deck.items() if kind not in leave_out for _ in range(number)]
    rng.shuffle(cards)
    cards.sort(key=lambda kind: -_room(kind, scale))  # the long ones first, or they find no room
    rooms = [end - begin for begin, end in regions]
    chosen = [[] for _ in regions]
    dropped = []
    for kind in cards:
        order = sorted(range(len(regions)), key=lambda at: -rooms[at])
        if rooms[order[0]] < _room(kind, scale):
            dropped.append(kind)
            continue
        rooms[order[0]] -= _room(kind, scale)
        chosen[order[0]].append(kind)
    faults = []
    for region, kinds, slack in zip(regions, chosen, rooms, strict=True):
        rng.shuffle(kinds)
        faults += _lay_out(region[0], kinds, slack / (len(kinds) + 1), scale, rng, first)
    return faults, dropped


def _lay_out(at, kinds, pause, scale, rng, first):
    faults = []
    for kind in kinds:
        at += pause
        lasts = KINDS[kind].lasts * scale
        end = at + _room(kind, scale)
        faults.append(Fault(at, kind, _target(kind, rng, first), lasts, end))
        at = end
    return faults


def _room(kind, scale):
    return (KINDS[kind].lasts + KINDS[kind].settles) * scale


def _target(kind, rng, first):
    if not KINDS[kind].of_worker:
        return ""
    if first:
        return rng.choice(WORKERS)
    if KINDS[kind].ends_process:
        return rng.choice(WORKERS[1:])
    return "w1" if kind in ON_W1 else rng.choice(WORKERS)
