"""Times as people read them."""

from __future__ import annotations

import time


def ago(seconds: float | None) -> str | None:
    """A time span in two figures: 5s, 12m, 3h20m, 4d2h; None stays None."""
    if seconds is None:
        return None
    left = max(0, int(seconds))
    for size, unit, small, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if left >= size:
            rest = left % size // small
            return f"{left // size}{unit}{rest}{smaller}" if rest else f"{left // size}{unit}"
    return f"{left}s"


def since(moment: float | None) -> str | None:
    """How long ago a time (seconds since 1970) was by the clock of this machine; None for 0 and None."""
    return ago(time.time() - moment) if moment else None


def at(moment: float | None) -> str | None:
    """A time with its date, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(moment)) if moment else None
