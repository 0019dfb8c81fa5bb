"""When a figure counts as flat.  Pure.

Two windows under equal load, one at the end of the third quarter and one at the end of the fourth, both
outside all faults: the median of the second may be at most 2 % above that of the first.  Counts (file
descriptors, connections, greenlets that are no run) may not be above it at all.  A fall is no leak.
"""

from statistics import median
from typing import NamedTuple

BAR = 0.02
EXACT = ("fds", "other_greenlets", "connections")  # may not grow at all


class Flatness(NamedTuple):
    name: str
    first: float
    second: float
    samples: tuple
    bar: float

    @property
    def growth(self):
        """As a share of the first; infinite if something came from nothing."""
        if self.second == self.first:
            return 0.0
        return (self.second - self.first) / self.first if self.first else float("inf")

    @property
    def holds(self):
        return self.growth <= self.bar


def flatness(name, samples, windows, bar=BAR):
    """`samples` are pairs (seconds since the start, figure); None if a window has none of them."""
    parts = [[figure for at, figure in samples if begin <= at < end] for begin, end in windows]
    if not all(parts):
        return None
    return Flatness(name, median(parts[0]), median(parts[1]), tuple(map(len, parts)), bar)


def family(key):
    """What a key belongs to."""
    if key.startswith(("pytask:", "new-task")):
        return "pytask"
    return {"L": "long", "s": "short", "m": "malformed"}.get(key[0], "local") if len(key) < 20 else "local"
