"""Values that are the same in every call: inserted into each script that names them, and not sent."""

from __future__ import annotations

from collections.abc import Mapping

from pytask.adapters.redis.scope import UNKNOWN
from pytask.adapters.rules import RECORD_KEPT, SHORT_LIST, event
from pytask.domain import delays, limits, traces
from pytask.domain import lifecycle as life
from pytask.domain.crashes import QUARANTINE_FROM
from pytask.domain.firing import FAULT
from pytask.domain.lifecycle import Trigger, destination
from pytask.domain.messages import MAX_ID_BYTES, Command, Event
from pytask.domain.record import Verdict
from pytask.domain.schedules import DEFINITION, TIMES

CONSTANTS: Mapping[str, str | int | tuple[str, ...]] = {
    "resting": life.RESTING,  # the resting states, in the order of their `indexes`
    "running": life.RUNNING,
    "unknown": UNKNOWN,  # the state of a hash whose state is not a resting one
    "stop": Verdict.STOP,  # the request to stop, as written to `control`
    "short_list": SHORT_LIST,  # copies of a claimed id are removed from lists up to this length
    "crashes_from": QUARANTINE_FROM,  # how many crashes make a task need one of the `places`
    "longest_id": MAX_ID_BYTES,
    "record_kept": RECORD_KEPT,  # seconds
    "long_value": "-" * 65,  # longer than hash-max-listpack-value, by default
    "fault": FAULT,  # the mark in `paused` of an invalid schedule
    "definition": DEFINITION,  # the fields that define a schedule
    "timed_by": TIMES,  # those of them on which its times depend
    "pause_word": Command.PAUSE,
    "start_word": Command.START,
    "reload_word": Command.RELOAD,
    "paused_event": event(Event.PAUSED),
    "resumed_event": event(Event.RESUMED),
    "ended_state": destination(Trigger.END),
    "delayed": destination(Trigger.DELAY),
    "delayed_event": event(Event.DELAYED, {"delay": 0}).removesuffix("0}}"),
    "latest": delays.LATEST,  # seconds since 1970 that a task may be delayed until
    "longest_field": delays.LONGEST,
    "longest_times": delays.LONGEST_TIMES,
    "longest_scheduled": delays.LONGEST_SCHEDULED,
    "longest_trace": traces.LONGEST,
    "wait": life.WAIT,
    "waiting_event": event(Event.WAITING, {"kind": ""}).removesuffix('""}}'),
    "longest_group": limits.LONGEST_GROUP,
    "largest_read": limits.LARGEST_READ,
    "limit_digits": limits.DIGITS,
    "arrivals": limits.ARRIVALS,
}


def in_lua(value: str | int | tuple[str, ...]) -> str:
    """The value as Lua source."""
    if isinstance(value, tuple):
        return "{" + ", ".join(map(in_lua, value)) + "}"
    return f"'{value}'" if isinstance(value, str) else str(value)
