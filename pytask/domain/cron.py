"""Times of a cron expression in a time zone, and which time zone data they come from.

The rules for the day, the gap and the fold of a change of the clock are those of Debian's cron, as `cronsim`
has them.  The same expression and zone always give the same times, from any moment on, so that all workers
agree without communication.
"""

from __future__ import annotations

import math
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Final

import attrs

from pytask.domain.errors import BadSchedule

if TYPE_CHECKING:
    from cronsim import CronSim

LONGEST: Final = 200  # characters of an expression
LAST_YEAR: Final = 9000  # later times are no dates that all platforms can compute with
COUNTED: Final = 100  # times that are looked at for the shortest interval
START: Final = datetime(2000, 1, 1, tzinfo=UTC)  # from when an expression must have a time at all
NAMES: Final = ("minute", "hour", "day-of-month", "month", "day-of-week")
MACROS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
SYNTAX: Final = "minute hour day-of-month month day-of-week, such as '0 3 * * *' for 03:00 every day"


@attrs.frozen
class Cron:
    """A valid expression in a known zone."""

    expression: str
    zone: tzinfo

    def after(self, ms: int) -> int | None:
        """The first time after `ms` (since 1970, as the result); None if there is none within 50 years."""
        return next(self.times(ms), None)

    def times(self, ms: int) -> Iterator[int]:
        """The times after `ms`, in order."""
        start = datetime.fromtimestamp(ms // 1000, UTC) if 0 <= ms // 1000 < _LATEST else None
        if start is None or start.year >= LAST_YEAR:
            return
        last = ms
        for found in _iterator(self.expression, start.astimezone(self.zone)):
            if found.year >= LAST_YEAR:
                return
            at = int(found.timestamp()) * 1000
            # In the fold of a change of the clock a time of the day comes twice: the first one counts.
            if at > last:
                last = at
                yield at

    def words(self) -> str:
        """The expression as a sentence."""
        return _iterator(self.expression, START).explain()


@lru_cache(maxsize=1024)
def shortest(expression: str, zone: str) -> float:
    """The shortest of its first intervals from 2000 on, in seconds."""
    times = list(islice(cron(expression, zone).times(int(START.timestamp()) * 1000), COUNTED))
    return min((after - at for at, after in pairwise(times)), default=math.inf) / 1000


_LATEST = datetime(LAST_YEAR, 1, 1, tzinfo=UTC).timestamp()


def _iterator(expression: str, start: datetime) -> CronSim:
    from cronsim import CronSim

    return CronSim(expression, start)


@lru_cache(maxsize=4096)
def cron(expression: str, zone: str = "UTC") -> Cron:
    """The expression in the zone.  Raises `BadSchedule` with what is wrong, and how to write it."""
    where = f"cron {expression[:LONGEST]!r}"
    fields = expression.split()
    if expression.strip() in MACROS:
        raise BadSchedule(f"{where}: names are not supported; write {MACROS[expression.strip()]!r}")
    if len(expression) > LONGEST or not expression.isascii():
        raise BadSchedule(f"{where}: at most {LONGEST} ASCII characters are allowed; it is {SYNTAX}")
    if len(fields) == len(NAMES) + 1:
        raise BadSchedule(
            f"{where} has six fields, but seconds are not supported: leave out the first field, or use an"
            " interval (every)"
        )
    if len(fields) != len(NAMES):
        raise BadSchedule(f"{where} has {len(fields)} fields instead of five: it is {SYNTAX}")
    _check(fields, where)
    found = Cron(" ".join(fields), zone_of(zone))
    if found.after(int(START.timestamp()) * 1000) is None:
        raise BadSchedule(f"{where} never comes: no date within 50 years fits all of its fields")
    return found


def _check(fields: list[str], where: str) -> None:
    """Each field by itself, so that the message can name it; then all of them together."""
    from cronsim import CronSim, CronSimError

    for at, (name, text) in enumerate(zip(NAMES, fields, strict=True)):
        alone = ["*"] * len(NAMES)
        alone[at] = text
        try:
            CronSim(" ".join(alone), START)
        except (CronSimError, ValueError, AssertionError, RecursionError) as error:
            raise BadSchedule(f"{where}: the field {name} cannot be {text!r}; {_ALLOWED[name]}") from error
    try:
        CronSim(" ".join(fields), START)
    except CronSimError as error:
        raise BadSchedule(
            f"{where} never comes: no month of {fields[3]!r} has the day {fields[2]!r}; 'L' is the last day"
            " of a month"
        ) from error


_ALLOWED = {
    "minute": "allowed: 0-59, *, lists (0,30), ranges (0-15), steps (*/5)",
    "hour": "allowed: 0-23, *, lists (6,18), ranges (9-17), steps (*/2)",
    "day-of-month": "allowed: 1-31, L (the last), LW (the last weekday), *, lists, ranges, steps",
    "month": "allowed: 1-12, JAN-DEC, *, lists, ranges, steps",
    "day-of-week": "allowed: 0-7 (0 and 7 are Sunday), SUN-SAT, 5L (the last Friday), 1#2 (the second"
    " Monday), *, lists, ranges, steps",
}


@lru_cache(maxsize=1024)
def zone_of(name: str) -> tzinfo:
    """The time zone of that name.  Raises `BadSchedule`, with similar names."""
    if name in ("", "UTC"):
        return UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        pass
    from difflib import get_close_matches

    known = zoneinfo.available_timezones()
    folded = {one.casefold(): one for one in known}
    asked = name[:LONGEST].casefold()
    near = [asked] if asked in folded else get_close_matches(asked, folded, n=3, cutoff=0.6)
    meant = f"; did you mean {' or '.join(folded[one] for one in near)}?" if near else ""
    raise BadSchedule(
        f"tz {name[:LONGEST]!r} is not one of the {len(known)} time zones that this machine knows"
        f"{meant or ': write a name of the IANA database, such as Europe/Berlin or UTC'}"
    )


def local_time(seconds: float, zone: str = "UTC") -> str:
    """A time (since 1970) in a zone, with its day: `Mon 2026-11-30 03:00:00 CET`; UTC where it is unknown."""
    try:
        found = datetime.fromtimestamp(seconds, zone_of(zone))
    except BadSchedule:
        found = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{seconds:.0f} s after 1970"
    return f"{found:%a %Y-%m-%d %H:%M:%S %Z}"
