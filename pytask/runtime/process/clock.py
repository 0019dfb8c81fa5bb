"""The steady clock of this machine: it does not step, and where it can it counts while suspended."""

from __future__ import annotations

import time

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def steady() -> float:
    """Seconds on CLOCK_BOOTTIME, or on the monotonic clock where there is none; never wall time."""
    return time.clock_gettime(_CLOCK)
