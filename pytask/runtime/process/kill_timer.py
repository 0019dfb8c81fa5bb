"""The kernel timer that ends a process without renewals; see `posix_timer`.

The kernel drops every signal that the init process of a PID namespace sends to itself, including timers, so a
hard deadline is refused there; `init` ensures that a worker is never that process.
"""

from __future__ import annotations

import os
from weakref import WeakKeyDictionary

from pytask.domain.errors import RunsAsInit
from pytask.runtime.process.clock import steady
from pytask.runtime.process.posix_timer import Timer, timer

# The timer belongs to the process, which may have several apps and partitions: the earliest deadline counts.
_deadlines: WeakKeyDictionary[KillTimer, float] = WeakKeyDictionary()
_timers: dict[int, Timer] = {}  # by process id, as a forked child inherits this module but not the timer

_released: set[int] = set()  # processes under a debugger


class KillTimer:
    """The timer, armed while runs are alive.  `hard=False` makes it a no-op, for embedded apps."""

    def __init__(self, *, hard: bool) -> None:
        self.hard = hard
        self.armed = not hard  # nothing to arm
        if not hard:
            return
        if os.getpid() == 1:
            raise RunsAsInit(
                "this process is the init process (PID 1) of its container, which no timer can kill: if it"
                " hung, its tasks could run twice at once. Start it with `pytask run`, or give the"
                " container an init (docker run --init; `init: true` in compose; shareProcessNamespace:"
                " true in Kubernetes), or pass hard_deadline=False (a weaker guarantee)"
            )
        _own_timer()  # raises at the start if there is no timer

    def arm(self, seconds: float | None) -> None:
        """End the process in `seconds`; None disarms."""
        if not self.hard or os.getpid() in _released:
            return
        timer = _own_timer()
        self.armed = seconds is not None
        now = steady()
        mine = _deadlines.pop(self, None)
        left = [max(0.001, other - now) for other in _deadlines.values()]
        if seconds is not None:
            _deadlines[self] = now + seconds
            left.append(max(0.001, seconds))
        elif mine is None:
            return  # no change
        timer.set(min(left, default=0.0))


def release() -> bool:
    """Disable all deadlines of this process; returns whether there was one."""
    pid = os.getpid()
    counted = pid in _timers and pid not in _released
    _released.add(pid)
    _deadlines.clear()
    if counted:
        _timers[pid].set(0.0)
    return counted


def _own_timer() -> Timer:
    pid = os.getpid()
    if pid not in _timers:
        _timers.clear()
        _deadlines.clear()  # a parent's deadlines must not end its child
        _timers[pid] = timer()
    return _timers[pid]
