"""What a client returns of schedules."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from typing import Any

import attrs

from pytask.domain import schedules
from pytask.domain.errors import BadSchedule
from pytask.domain.firing import FAULT, LEAST_SCORE, is_paused
from pytask.domain.occurrences import Occurrence
from pytask.domain.schedules import NEVER


@attrs.frozen(kw_only=True)
class ScheduleInfo:
    """A schedule as stored, with what became of its last occurrences where that was read."""

    name: str
    function: str = ""
    every: str = ""  # seconds, as written
    cron: str = ""
    tz: str = "UTC"
    jitter: str = ""
    overlap: str = "skip"
    missed: str = "once"
    deadline: str = ""
    paused: bool = False
    error: str = ""  # why it cannot be used; a worker wrote it, and starts nothing
    origin: str = ""  # "code" (of workers) or "client"; "" where it was written by hand
    next: float | None = None  # seconds since 1970; None: not known yet, or never
    last: float | None = None  # the time of the last occurrence that was started
    last_id: str = ""  # and its task
    fires: int = 0  # occurrences that were started
    behind: float | None = None  # the occurrence that waits until the run of an earlier one has ended
    raw_data: bytes | None = attrs.field(default=None, repr=False)  # JSON
    occurrences: tuple[Occurrence, ...] = ()  # newest first, at most 100

    @property
    def data(self) -> Any:
        """The data of its tasks, decoded; raises ValueError where it is not JSON."""
        return None if self.raw_data is None else json.loads(self.raw_data)

    @property
    def definition(self) -> schedules.Schedule:
        """Its definition; raises `BadSchedule` where it makes no sense."""
        names = ("function", "every", "cron", "tz", "jitter", "overlap", "missed", "deadline")
        fields = {name: getattr(self, name) for name in names}
        if not self.cron and self.tz == "UTC":
            del fields["tz"]
        return schedules.read(self.name, fields)

    @property
    def words(self) -> str:
        """When it is due, as a sentence; what is wrong where it makes no sense."""
        try:
            return self.definition.words()
        except BadSchedule as error:
            return str(error.args[0])

    def upcoming(self, count: int, now: float) -> list[float]:
        """The next times, in seconds since 1970; none where its definition makes no sense.

        Args:
            count: How many.
            now: From when on, if its next time is not known yet.
        """
        try:
            definition = self.definition
        except BadSchedule:
            return []
        first = [] if self.next is None else [self.next]
        after = round((now if self.next is None else self.next) * 1000)
        rest = islice(definition.times(after), count - len(first))
        return [*first, *(at / 1000 for at in rest)]


def read_schedule(
    name: str, score: float | None, fields: Mapping[str, str], data: bytes | None = None
) -> ScheduleInfo:
    """The schedule of a hash; `score` is its time in the set of all, None if it is not there."""
    known: dict[str, Any] = {
        field: fields[field]
        for field in ("function", "every", "cron", "tz", "jitter", "overlap", "missed", "deadline", "origin")
        if fields.get(field)
    }
    error = fields.get("error", "") if fields.get("error") else ""
    if not error and score is None:
        error = f"it has no time in pytask:schedules: ZADD pytask:schedules 0 {name}"
    return ScheduleInfo(
        name=name,
        **known,
        paused=is_paused(fields) or fields.get("paused") == FAULT,
        error=error,
        next=_next(score, fields),
        last=_seconds(fields.get("last_ms")),
        last_id=fields.get("last_id", ""),
        fires=int(fields["fires"]) if fields.get("fires", "").isdecimal() else 0,
        behind=_seconds(fields.get("behind")),
        raw_data=data,
    )


def _next(score: float | None, fields: Mapping[str, str]) -> float | None:
    if fields.get("behind") and (found := _seconds(fields.get("next_ms"))) is not None:
        return found
    if score is None or not LEAST_SCORE <= score < NEVER:
        return None
    return score / 1000


def _seconds(text: str | None) -> float | None:
    return int(text) / 1000 if text and text.isascii() and text.isdigit() and len(text) < 17 else None
