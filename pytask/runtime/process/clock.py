"""The monotonic clock of this machine, which also counts while suspended, if supported."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

# A partial, since each task asks several times: a function of Python would take twice as long.
steady: Callable[[], float] = partial(
    time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
)
"""Seconds on CLOCK_BOOTTIME, or on CLOCK_MONOTONIC if there is none; never wall time."""
