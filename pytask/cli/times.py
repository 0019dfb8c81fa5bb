"""How long ago something was, by the clock of this machine."""

from __future__ import annotations

import time

from pytask.domain.times import ago


def since(moment: float | None) -> str | None:
    """How long ago a time (seconds since 1970) was; None for 0 and None."""
    return ago(time.time() - moment) if moment else None
