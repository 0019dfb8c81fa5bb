"""Elapsed time by the clock of this machine."""

from __future__ import annotations

import time

from pytask.domain.times import ago


def since(moment: float | None) -> str | None:
    """The time elapsed since `moment` (seconds since 1970); None for 0 and None."""
    return ago(time.time() - moment) if moment else None
