"""The monotonic clock of this machine, which also counts while suspended, if supported."""

from __future__ import annotations

import time

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def steady() -> float:
    """Seconds on CLOCK_BOOTTIME, or on CLOCK_MONOTONIC if there is none; never wall time."""
    return time.clock_gettime(_CLOCK)
