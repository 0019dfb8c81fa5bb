"""The kernel's timer that ends a process which could not renew: it holds under SIGSTOP, CPU loops and C code.

SIGALRM stays at its default action, since a Python handler would need the very interpreter that hangs.
The timer is not inherited by fork.
"""

from __future__ import annotations

import signal
import time
from weakref import WeakKeyDictionary

from pytask.domain.errors import ConfigError

# The timer belongs to the process, in which several apps may run: the earliest of their deadlines counts.
_deadlines: WeakKeyDictionary[Deadman, float] = WeakKeyDictionary()


class Deadman:
    """ITIMER_REAL, armed while runs live.  `hard=False` makes it a no-op (an embedded app's choice)."""

    def __init__(self, *, hard: bool) -> None:
        self.hard = hard
        self.armed = not hard  # nothing to arm
        if hard and signal.getsignal(signal.SIGALRM) not in (signal.SIG_DFL, None):
            raise ConfigError(
                "this program handles SIGALRM, which pytask needs at its default to end a process that"
                " cannot renew its leases; drop that handler, or pass hard_deadline=False (a weaker promise)"
            )

    def arm(self, seconds: float | None) -> None:
        """End the process in `seconds`; None disarms."""
        if not self.hard:
            return
        self.armed = seconds is not None
        now = time.monotonic()
        mine = _deadlines.pop(self, None)
        left = [max(0.001, other - now) for other in _deadlines.values()]
        if seconds is not None:
            _deadlines[self] = now + seconds
            left.append(seconds)
        elif mine is None:
            return  # nothing was armed, and nothing is
        signal.setitimer(signal.ITIMER_REAL, min(left, default=0.0))
