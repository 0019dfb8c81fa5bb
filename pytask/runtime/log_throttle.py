"""Limits log lines about an outage of Redis to one per interval for all services of a partition."""

from __future__ import annotations

import math


class LogThrottle:
    """Decides which service may log the next line about an outage.

    The heartbeat has priority because it knows when the tasks will stop; other services log if renewals
    succeed but their own calls fail.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval  # seconds
        self._logged_at = -math.inf

    def may(self, now: float, *, first: bool = False) -> bool:
        """Whether the caller may log a line now; if so, it is counted as logged."""
        if now - self._logged_at < (self._interval if first else 2 * self._interval):
            return False
        self._logged_at = now
        return True
