"""Delays and times, as callers and people write them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from pytask.domain.errors import BadData
from pytask.domain.start_time import LONGEST, not_before, read_duration, read_moment
from pytask.domain.wording import LATEST

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, ""),
        ({"delay": 0}, ""),
        ({"delay": 1.5}, "+1.500000"),
        ({"at": NOON}, f"{NOON.timestamp():.6f}"),
        ({"at": NOON.astimezone(timezone(timedelta(hours=-5)))}, f"{NOON.timestamp():.6f}"),
        ({"at": 4e9}, "4000000000.000000"),  # in a hundred years
        ({"at": 1}, "1.000000"),  # the past: at once
    ],
)
def test_a_delay_counts_from_the_time_of_redis_and_a_time_is_absolute(given, text):
    assert not_before(**given) == text


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"delay": -1}, "delay must be 0 or more seconds"),
        ({"delay": float("nan")}, "delay must be seconds"),
        ({"delay": "10m"}, "delay must be seconds, not '10m': write 600$"),
        ({"delay": timedelta(minutes=1.5)}, r"write 90, as .total_seconds\(\) returns it"),
        ({"at": "2126-12-01T12:00Z"}, "write 4951800000$"),
        ({"at": "noon"}, "not 'noon'$"),
        ({"delay": True}, "delay must be seconds"),
        ({"at": float("inf")}, "at must be seconds since 1970 or a datetime with a time zone"),
        ({"at": LATEST + 1}, r"up to the year 9999, .*not milliseconds"),
        ({"delay": LONGEST + 1}, "at most 250000000000 seconds"),
        ({"at": datetime(2026, 12, 1)}, "no time zone"),  # noqa: DTZ001
        ({"at": NOON, "delay": 1}, "not both"),
    ],
)
def test_what_is_no_time_is_refused_where_it_is_written(given, what):
    with pytest.raises(BadData, match=what):
        not_before(**given)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("1.5", 1.5),
        ("10m", 600),
        ("1h30m", 5400),
        ("2d", 172800),
        ("1w 1s", 604801),
        ("250ms", 0.25),
    ],
)
def test_a_duration(text, seconds):
    assert read_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1", "10 parsecs", "m", "1h-2m", "1e3", "٣"])
def test_what_is_no_duration(text):
    with pytest.raises(BadData, match="10m, 1h30m"):
        read_duration(text)


def test_a_time_needs_a_zone():
    assert read_moment("2026-12-01T12:00Z") == NOON.timestamp() == read_moment("2026-12-01T13:00+01:00")
    with pytest.raises(BadData, match=r"no time zone: add Z for UTC or an offset, such as 2026-12-01T12:00Z"):
        read_moment("2026-12-01T12:00")
    with pytest.raises(BadData, match="ISO 8601"):
        read_moment("tomorrow")
