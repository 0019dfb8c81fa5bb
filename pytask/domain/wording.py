"""Times, and numbers with their nouns, as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

LATEST = 253402300799.0  # the end of the year 9999, the last date


def ago(seconds: float | None) -> str | None:
    """A time span in at most two units: 5s, 12m, 3h20m, 4d2h; None stays None."""
    if seconds is None:
        return None
    left = int(min(max(0.0, seconds), LATEST))  # what a client wrote may be infinite
    for size, unit, small, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if left >= size:
            rest = left % size // small
            return f"{left // size}{unit}{rest}{smaller}" if rest else f"{left // size}{unit}"
    return f"{left}s"


def at(moment: float | None, *, millis: bool = False) -> str | None:
    """A time (seconds since 1970) with its date, in UTC; None for 0 and None."""
    if not moment:
        return None
    if not 0 < moment <= LATEST:  # out of range, or not a number
        return f"{moment:.0f} s after 1970"
    found = datetime.fromtimestamp(moment, UTC)
    return f"{found:%Y-%m-%d %H:%M:%S}{f'.{found.microsecond // 1000:03}' if millis else ''}Z"


def counted(number: int, one: str, many: str = "") -> str:
    """`1 task`, `2 tasks`; `many` is an irregular plural."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def verb(number: int, one: str, many: str) -> str:
    """The singular or plural form of a verb."""
    return one if number == 1 else many
