"""That Redis is away is told once an interval, and not by each service of a lane."""

from __future__ import annotations

import math


class Complaints:
    """Who may log the next line about an outage.

    The heartbeat goes first, as it knows when the tasks will stop; the others speak where it has nothing to
    say: while renewals come through and their own calls do not.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval  # seconds
        self._told = -math.inf

    def may(self, now: float, *, first: bool = False) -> bool:
        """Whether to log a line at this time; whoever may has done so."""
        if now - self._told < (self._interval if first else 2 * self._interval):
            return False
        self._told = now
        return True
