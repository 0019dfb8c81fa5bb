"""Schedules in words."""

from __future__ import annotations

from pytask.client.schedule_records import ScheduleInfo
from pytask.domain.cron import local_time
from pytask.domain.occurrences import Occurrence
from pytask.domain.wording import ago

NEXT = 5  # times that are shown
WHY = {
    "overlap": "the last run had not ended",
    "late": "no worker could start it in time",
    "paused": "the schedule was paused",
    "taken": "another task or program has the key of its id",
}


def state_of(found: ScheduleInfo) -> str:
    """Whether it starts tasks."""
    return "error" if found.error else "paused" if found.paused else "active"


def moment_text(at: float, zone: str, now: float) -> str:
    """A time in its zone, and how far it is from now."""
    left = at - now
    return f"{local_time(at, zone)}  ({f'in {ago(left)}' if left >= 0 else f'due since {ago(-left)}'})"


def result_text(one: Occurrence, zone: str) -> str:
    """What became of an occurrence, as a sentence."""
    when = local_time(one.at, zone)
    if one.fired:
        return f"{when}  started {one.id}"
    why = f"skipped: {one.reason}" + (f" ({WHY[one.reason]})" if one.reason in WHY else "")
    if one.count == 1:
        return f"{when}  {why}"
    more = f"{one.count} or more" if one.more else str(one.count)
    return f"{when} to {local_time(one.until, zone)}  {more} {why}"
