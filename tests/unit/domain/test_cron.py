"""Times of cron expressions, over changes of the clock too."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from pytask.domain.cron import START, cron, zone_of
from pytask.domain.errors import BadSchedule

BERLIN = ZoneInfo("Europe/Berlin")


def ms(*when, zone=UTC, fold=0):
    return int(datetime(*when, tzinfo=zone, fold=fold).timestamp() * 1000)


def times(expression, zone, start, count):
    found = cron(expression, zone).times(start)
    return [datetime.fromtimestamp(next(found) / 1000, ZoneInfo(zone)).isoformat() for _ in range(count)]


def test_a_time_in_the_gap_comes_once_after_it():
    assert times("30 2 * * *", "Europe/Berlin", ms(2026, 3, 28), 3) == [
        "2026-03-28T02:30:00+01:00",
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:30:00+02:00",
    ]


def test_a_time_in_the_fold_comes_once():
    assert times("30 2 * * *", "Europe/Berlin", ms(2026, 10, 24), 3) == [
        "2026-10-24T02:30:00+02:00",
        "2026-10-25T02:30:00+02:00",
        "2026-10-26T02:30:00+01:00",
    ]


def test_every_hour_comes_every_hour_of_the_fold():
    assert times("0 * * * *", "Europe/Berlin", ms(2026, 10, 24, 23, 30), 4) == [
        "2026-10-25T02:00:00+02:00",
        "2026-10-25T02:00:00+01:00",
        "2026-10-25T03:00:00+01:00",
        "2026-10-25T04:00:00+01:00",
    ]


@pytest.mark.parametrize("expression", ["30 2 * * *", "0 3 * * *", "*/7 1-3 * * *", "15 2,3 * * SUN"])
@pytest.mark.parametrize("day", [(2026, 3, 29), (2026, 10, 25)])
def test_the_times_do_not_depend_on_when_they_are_asked_for(expression, day):
    """Two workers that look at different moments agree."""
    one = cron(expression, "Europe/Berlin")
    begin, end = ms(*day) - 3 * 3600_000, ms(*day) + 6 * 3600_000
    known = []
    for at in one.times(begin - 1):
        if at > end:
            break
        known.append(at)
    assert known == sorted(set(known))
    for moment in range(begin, end, 60_000):
        after = next((at for at in known if at > moment), None)
        if after is not None:
            assert one.after(moment) == after


def test_days_of_month_and_week_are_alternatives_as_in_cron():
    found = cron("0 0 13 * FRI").times(ms(2026, 2, 1))
    days = [datetime.fromtimestamp(next(found) / 1000, UTC).day for _ in range(4)]
    assert days == [6, 13, 20, 27]


def test_the_29th_of_february():
    assert cron("0 0 29 2 *").after(ms(2026, 1, 1)) == ms(2028, 2, 29)


def test_no_time_beyond_the_calendar():
    assert cron("0 0 1 1 *").after(ms(8999, 12, 1)) is None
    assert cron("0 0 1 1 *").after(10**17) is None
    assert cron("0 0 1 1 *").after(-(10**17)) is None


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("0 0 30 2 *", ["never comes", "'30'", "'2'"]),
        ("61 * * * *", ["minute", "'61'", "0-59"]),
        ("* 25 * * *", ["hour", "'25'"]),
        ("* * 0 * *", ["day-of-month", "'0'"]),
        ("* * * JANUARY *", ["month", "JAN-DEC"]),
        ("* * * * 8", ["day-of-week", "'8'", "Sunday"]),
        ("*/0 * * * *", ["minute", "'*/0'"]),
        ("5-1 * * * *", ["minute", "'5-1'"]),
        (", * * * *", ["minute"]),
        ("* * * *", ["4 fields", "five"]),
        ("", ["0 fields"]),
        ("0 * * * * *", ["six fields", "every"]),
        ("@daily", ["0 0 * * *"]),
        ("\u0663 * * * *", ["ASCII"]),
        ("1," * 200 + "1 * * * *", ["200"]),
    ],
)
def test_what_cannot_be_is_refused_with_the_fix(expression, words):
    with pytest.raises(BadSchedule) as error:
        cron(expression)
    for word in words:
        assert word in str(error.value)


def test_an_unknown_zone_is_refused_with_similar_names():
    with pytest.raises(BadSchedule, match=r"tz 'Europe/Berln' is not one of the \d+ .*Europe/Berlin"):
        zone_of("Europe/Berln")
    with pytest.raises(BadSchedule, match=r"did you mean Europe/Berlin\?$"):  # the same name, no others
        zone_of("europe/berlin")
    for name in ("../../etc/passwd", "/etc/passwd", "Europe", "\0", "", "x" * 10_000)[:4]:
        with pytest.raises(BadSchedule):
            zone_of(name)
    assert zone_of("") is UTC


def test_words():
    assert cron("0 3 * * *").words() == "At 03:00 every day"
    assert cron("30 2 1 * MON").after(int(START.timestamp() * 1000))
