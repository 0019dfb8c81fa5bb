"""A session names the expiry of its runs if that is shorter than the default.

A monitor must not judge a run by its own times: where the workers of a fleet have different ones, it would
requeue a run that is still executing.  A run id begins with its session and is in the registry from the claim
on, so whoever sees the run knows its expiry, without a second read that could fail.
"""

from __future__ import annotations

import math
import re

from pytask.domain.timing import EXPIRY, SHORTEST_EXPIRY, Timing

_MARK = re.compile(r"~e([0-9]{3})\Z")  # no dot: a session with one belongs to a supervisor


def session_mark(timing: Timing) -> str:
    """What a session with these times ends with: `~e314` for 31.4 s before scaling; "" for the default."""
    tenths = math.ceil(timing.expiry / timing.scale * 10 - 1e-6)  # never less than it is
    return f"~e{tenths}" if SHORTEST_EXPIRY <= tenths / 10 < EXPIRY else ""


def expiry_of(session: str, longest: float, scale: float = 1.0) -> float:
    """The expiry in seconds of the runs of a session; `longest` if it names none that can be.

    What is too short could requeue a run that is still executing, and what is longer than the default was not
    written by a worker.
    """
    found = _MARK.search(session)
    seconds = int(found[1]) / 10 if found else EXPIRY
    return seconds * scale if SHORTEST_EXPIRY <= seconds < EXPIRY else longest
