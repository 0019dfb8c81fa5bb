"""The optional fields of a hash that decide when its task starts, and whether it starts again."""

from __future__ import annotations

import math
import re

from pytask.domain import wording
from pytask.domain.limits import fault_text
from pytask.domain.record import StartFields

SECONDS = re.compile(r"\d+\.?\d*", re.ASCII)
LATEST = int(wording.LATEST)  # seconds since 1970, a whole number for claim.lua
LONGEST = 64  # bytes of a longer value that are kept
LONGEST_TIMES = 32 * 1024  # bytes of `restart_times`; of a longer value the end is kept
LONGEST_SCHEDULED = 2048  # bytes; a longer value was not written by pytask, and is ignored
RESTARTS = ("never", "failure", "always")  # the words of the field `restart`


def due_ms(text: str) -> int | None:
    """The time of a field `not_before` in milliseconds, rounded up; None if it is no time.

    claim.lua reads the field by the same rules.
    """
    if len(text) > LONGEST or not SECONDS.fullmatch(text):
        return None
    seconds = float(text)
    return math.ceil(seconds * 1000) if seconds <= LATEST else None


def fault_of(fields: StartFields | None) -> str | None:
    """Why a task cannot run with these fields, and what to write instead; None if it can."""
    if fields is None:
        return None
    if fields.not_before:
        return (
            f"not_before is {fields.not_before!r}, which is not a time: write seconds since 1970, in digits"
            " (not milliseconds), such as HSET <task_id> not_before 1764579600.5, and start the task again"
        )
    if fields.group_fault:
        return fault_text(fields.group_fault)
    if fields.restart and fields.restart not in RESTARTS:
        return (
            f"restart is {fields.restart!r}, but only never, failure and always are known: write one of them,"
            " such as HSET <task_id> restart failure (or HDEL <task_id> restart), and start the task again"
        )
    return None
