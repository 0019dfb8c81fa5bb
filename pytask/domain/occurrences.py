"""What became of the occurrences of a schedule: lines of JSON, which the scripts write, too.

`{"at": ms, "id": "nightly"}` was started as that task; `{"at": ms, "reason": "overlap"}` was skipped.  A row
of skipped ones is one line, with `until` (the last one) and `count`; `"more": true` says that the
count is not exact: there were more.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import attrs

from pytask.domain.metrics import STARTED

if TYPE_CHECKING:  # tasks need this file, and few of them schedules
    from pytask.domain.firing import Skip


@attrs.frozen(kw_only=True)
class Occurrence:
    """What became of one occurrence, or of a row of skipped ones."""

    at: float  # its time, seconds since 1970
    id: str = ""  # of the task that was started; "" if it was skipped
    reason: str = ""  # why it was skipped: overlap, late, paused, taken; a newer release may have more
    until: float = 0.0  # the time of the last one of a row
    count: int = 1  # how many
    more: bool = False  # there were more than `count`

    @property
    def fired(self) -> bool:
        """Whether it was started."""
        return not self.reason


def fired_line(at: int, quoted: str) -> str:
    """The line of a started occurrence; `quoted` is the id of its task as JSON."""
    return f'{{"at":{at},"id":{quoted}}}'


def skipped_line(skip: Skip) -> str:
    """The line of skipped occurrences."""
    found: dict[str, object] = {"at": skip.at, "reason": skip.reason}
    if skip.count > 1:
        found |= {"until": skip.until, "count": skip.count}
    if skip.more:
        found["more"] = True
    return json.dumps(found, separators=(",", ":"))


def scheduled_field(quoted: str, at: int, missed: int) -> str:
    """The field `scheduled` of the task of an occurrence; `quoted` is the name of the schedule as JSON."""
    return f'{{"schedule":{quoted},"scheduled_for":{at / 1000:.3f},"missed":{missed}}}'


def read(lines: Iterable[bytes | str]) -> tuple[Occurrence, ...]:
    """The occurrences of some lines, in their order; what is none is left out."""
    found = (_read(line) for line in lines)
    return tuple(one for one in found if one is not None)


def outcomes(lines: Iterable[bytes | str]) -> Counter[str]:
    """How many of the occurrences of some lines were started, and skipped for each reason."""
    found: Counter[str] = Counter()
    for one in read(lines):
        found[one.reason or STARTED] += one.count
    return found


def _read(line: bytes | str) -> Occurrence | None:
    try:
        fields = json.loads(line)
        at, until = _seconds(fields["at"]), _seconds(fields.get("until", 0))
        count = fields.get("count", 1)
        return Occurrence(
            at=at,
            id=str(fields.get("id", "")),
            reason=str(fields.get("reason", "")),
            until=until,
            count=count if type(count) is int and count > 0 else 1,
            more=fields.get("more") is True,
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return None


def _seconds(ms: object) -> float:
    if isinstance(ms, bool) or not isinstance(ms, int | float) or not 0 <= ms < 2**53:
        raise ValueError("no time")
    return ms / 1000


@attrs.frozen(kw_only=True)
class Scheduled:
    """The occurrence of a schedule that started a task: `self.scheduled`."""

    schedule: str  # its name
    scheduled_for: float  # the time of the occurrence, seconds since 1970
    missed: int = 0  # occurrences before it that were not started, as no worker was there in time


def read_scheduled(text: bytes | str) -> Scheduled | None:
    """The field `scheduled` of a task; None where it is none, as in a task that no schedule started."""
    try:
        fields = json.loads(text)
        missed = fields.get("missed", 0)
        return Scheduled(
            schedule=str(fields["schedule"]),
            scheduled_for=_seconds(fields["scheduled_for"] * 1000),
            missed=missed if type(missed) is int and missed >= 0 else 0,
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return None
