"""When a task starts: a delay or a time, as callers and people write it."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta
from typing import Any

from pytask.domain.errors import BadData
from pytask.domain.wording import LATEST

LONGEST = 250e9  # seconds: with a longer delay the time would be later than that
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])", re.ASCII)


def not_before(delay: float | None = None, at: float | datetime | None = None) -> str:
    """What a start asks for: "" at once, `+seconds` after the present time of Redis, or seconds since 1970.

    Raises :class:`BadData` for both together, and for what is no time.
    """
    if delay is not None and at is not None:
        raise BadData("give either delay= (seconds from now) or at= (a time), not both")
    if delay is not None:
        seconds = _seconds("delay", delay)
        if seconds > LONGEST:
            raise BadData(f"delay must be at most {LONGEST:.0f} seconds (7922 years), not {delay!r}")
        return f"+{seconds:.6f}" if delay else ""
    return "" if at is None else f"{_moment(at):.6f}"


def _moment(at: float | datetime) -> float:
    if not isinstance(at, datetime):
        return _seconds("at", at)
    if at.tzinfo is None:
        raise BadData(
            f"at={at!r} has no time zone, so it is a different moment on each machine: use"
            " datetime(..., tzinfo=...), for example datetime.now(timezone.utc)"
        )
    return _seconds("at", at.timestamp())


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        hint = "seconds" if name == "delay" else "seconds since 1970 or a datetime with a time zone"
        raise BadData(f"{name} must be {hint}, not {value!r}{_meant(name, value)}")
    if not 0 <= value <= LATEST:
        unit = " (seconds, not milliseconds)" if value > 0 else ""
        raise BadData(f"{name} must be 0 or more seconds, up to the year 9999, not {value!r}{unit}")
    return float(value)


def _meant(name: str, value: Any) -> str:
    """What to write instead of a text or a timedelta; "" where that is not clear."""
    if name == "delay" and isinstance(value, timedelta):
        return f": write {value.total_seconds():g}, as .total_seconds() returns it"
    if isinstance(value, str):
        try:
            return f": write {read_duration(value) if name == 'delay' else read_moment(value):.15g}"
        except BadData:
            return ""
    return ""


def read_duration(text: str) -> float:
    """Seconds of a duration such as `90`, `1.5h`, `10m` or `1h30m`.  Raises :class:`BadData`."""
    words = text.strip().lower().replace(" ", "")
    parts = PART.findall(words)
    if parts and "".join(number + unit for number, unit in parts) == words:
        return sum(float(number) * UNITS[unit] for number, unit in parts)
    if re.fullmatch(r"\d+(\.\d+)?", words, re.ASCII):
        return float(words)
    raise BadData(
        f"{text!r} is not a duration: write seconds, or numbers with units, such as 90, 10m, 1h30m or 2d"
    )


def read_moment(text: str) -> float:
    """Seconds since 1970 of an ISO 8601 time with a zone.  Raises :class:`BadData`."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise BadData(
            f"{text!r} is not a time: write ISO 8601 with a zone, such as 2026-12-01T09:00Z or"
            " 2026-12-01T09:00+01:00"
        ) from None
    if found.tzinfo is None:
        raise BadData(
            f"{text!r} has no time zone: add Z for UTC or an offset, such as"
            f" {found.isoformat(timespec='minutes')}Z or {found.isoformat(timespec='minutes')}+01:00"
        )
    return _moment(found)
