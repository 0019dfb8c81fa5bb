"""What a schedule says, and what becomes of what is due."""

from datetime import UTC, datetime

import pytest

from pytask.domain.errors import BadSchedule
from pytask.domain.firing import (
    COUNTED,
    FIRES_MOST,
    Plan,
    Skip,
    Slot,
    Stored,
    plan,
    starts,
    task_id,
)
from pytask.domain.occurrences import Occurrence, skipped_line
from pytask.domain.occurrences import read as read_lines
from pytask.domain.partition import partition_of
from pytask.domain.schedules import NEVER, Missed, Overlap, Reason, Schedule, read

MINUTE, HOUR, DAY = 60_000, 3600_000, 86400_000


def ms(*when):
    return int(datetime(*when, tzinfo=UTC).timestamp() * 1000)


NOON = ms(2026, 6, 1, 12)


def made(name="n", **fields):
    fields = {"function": "f", **fields}
    return read(name, fields if "cron" in fields else {"every": "60", **fields})


def test_a_definition_and_its_fields():
    found = made(
        "nightly",
        cron="0 3 * * *",
        tz="Europe/Berlin",
        jitter="30",
        overlap="queue",
        missed="skip",
        deadline="9",
    )
    assert found == Schedule(
        name="nightly",
        function="f",
        cron="0 3 * * *",
        tz="Europe/Berlin",
        jitter=30,
        overlap=Overlap.QUEUE,
        missed=Missed.SKIP,
        deadline=9,
    )
    assert read("nightly", found.fields()) == found
    assert found.words() == "At 03:00 every day, Europe/Berlin"
    assert made().fields() == {"function": "f", "every": "60"}
    assert made(every="0.1e2").words() == "every 10 s"
    assert read("n", made(every="90061.001").fields()) == made(every="90061.001")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"function": ""}, ["no function"]),
        ({"function": "x" * 513}, ["longer than 512"]),
        ({"every": ""}, ["neither every nor cron"]),
        ({"every": "60", "cron": "* * * * *"}, ["both every and cron"]),
        ({"every": "0"}, ["every '0'", "from 1 to"]),
        ({"every": "0.5"}, ["every '0.5'"]),
        ({"every": "nan"}, ["every 'nan'"]),
        ({"every": "inf"}, ["every 'inf'"]),
        ({"every": "-60"}, ["every '-60'"]),
        ({"every": "1_000"}, ["every '1_000'"]),
        ({"every": "\u0663\u0663"}, ["every"]),
        ({"every": "1e300"}, ["every '1e300'"]),
        ({"every": "1 minute"}, ["every '1 minute'", "seconds"]),
        ({"every": "60", "tz": "Europe/Berlin"}, ["tz", "cron only"]),
        ({"every": "60", "jitter": "60"}, ["jitter 60", "shorter"]),
        ({"every": "", "cron": "0,5 3 * * *", "jitter": "300"}, ["jitter 300", "the 300 s between two"]),
        (
            {"every": "", "cron": "30 2 * * *", "tz": "Europe/Berlin", "jitter": "86400"},
            ["jitter 86400", "between two times of cron '30 2 * * *'"],
        ),
        ({"jitter": "-1"}, ["jitter '-1'"]),
        ({"overlap": "both"}, ["overlap 'both'", "skip, queue, allow, replace"]),
        ({"missed": "twice"}, ["missed 'twice'", "once, skip, all"]),
        ({"missed": "all"}, ["missed 'all'", "overlap 'allow'"]),
        ({"deadline": "0"}, ["deadline '0'"]),
        ({"cron": "* * * * *", "tz": "Mars/Base"}, ["tz 'Mars/Base'"]),
        ({"cron": "* * * * *", "tz": "x" * 600}, ["tz is longer"]),
    ],
)
def test_what_makes_no_sense_is_refused_with_where_and_why(fields, words):
    with pytest.raises(BadSchedule) as error:
        made(**fields)
    for word in ["schedule 'n'", *words]:
        assert word in str(error.value)


@pytest.mark.parametrize("name", ["", "x" * 513, "a\nb", "new-task", "pytask:x", "\udcff"])
def test_a_name_that_can_be_no_id_is_refused(name):
    with pytest.raises(BadSchedule, match="also the id of its task"):
        made(name)


def test_a_long_name_has_no_room_for_a_time():
    made("x" * 512)
    with pytest.raises(BadSchedule, match="may have 472 bytes"):
        made("x" * 480, overlap="allow")


# -- times --------------------------------------------------------------------------------------------


def test_intervals_are_counted_from_1970():
    """So the next time does not depend on when a worker, or a new release of the code, was started."""
    hourly = made(every="3600")
    assert hourly.next(NOON) == NOON + HOUR
    assert hourly.next(NOON - 1) == NOON
    assert hourly.interval(NOON) == HOUR


def test_jitter_is_the_same_for_every_worker_and_below_the_limit():
    schedule = made(jitter="10")
    delays = [schedule.delay(NOON + n * MINUTE) for n in range(1000)]
    assert delays == [made(jitter="10").delay(NOON + n * MINUTE) for n in range(1000)]
    assert 0 <= min(delays) < 500
    assert 9500 < max(delays) < 10_000
    (start,) = starts(schedule, [Slot(NOON)])
    assert start.not_before == f"{(NOON + delays[0]) / 1000:.3f}"
    assert starts(made(), [Slot(NOON)])[0].not_before == ""


def test_ids():
    assert task_id(made(), NOON) == "n"
    beside = made(overlap="allow")
    assert task_id(beside, NOON) == "n@2026-06-01T12:00:00Z"
    assert task_id(beside, NOON + 1) == "n@2026-06-01T12:00:00.001Z"
    for partition in range(7):
        found = task_id(beside, NOON, (partition, 7))
        assert partition_of(found, 7) == partition
        assert found == task_id(beside, NOON, (partition, 7))


# -- what is due --------------------------------------------------------------------------------------


def test_nothing_is_due():
    assert plan(made(), NOON + 1, NOON) == Plan(next=NOON + 1)


def test_on_time():
    assert plan(made(), NOON, NOON + 50) == Plan(slots=(Slot(NOON),), next=NOON + MINUTE)


def test_once_starts_the_last_one_and_names_the_others():
    found = plan(made(), NOON, NOON + 10 * MINUTE + 5)
    assert found.slots == (Slot(NOON + 10 * MINUTE, 10),)
    assert found.skipped == (Skip(NOON, Reason.LATE, NOON + 9 * MINUTE, 10),)
    assert found.next == NOON + 11 * MINUTE


def test_once_skips_all_that_are_later_than_the_deadline():
    daily = made(cron="0 3 * * *")
    at = ms(2026, 6, 1, 3)
    assert plan(daily, at, at + HOUR).slots == (Slot(at),)
    late = plan(daily, at, at + HOUR + 1)
    assert late == Plan(skipped=(Skip(at, Reason.LATE),), next=at + DAY)
    assert plan(made(cron="0 3 * * *", deadline="7200"), at, at + HOUR + 1).slots == (Slot(at),)
    two = plan(daily, at - DAY, at + 2 * HOUR)
    assert two.skipped == (Skip(at - DAY, Reason.LATE, at, 2),)


def test_the_deadline_is_no_longer_than_the_interval():
    assert made(every="60").limit(NOON) == MINUTE
    assert made(every="86400").limit(NOON) == HOUR
    assert made(every="86400", missed="skip").limit(NOON) == 30_000
    assert made(every="5", missed="skip").limit(NOON) == 5_000


def test_missed_skip_starts_only_what_is_on_time():
    hourly = made(every="3600", missed="skip")
    assert plan(hourly, NOON, NOON + 29_000).slots == (Slot(NOON),)
    late = plan(hourly, NOON, NOON + 31_000)
    assert (late.slots, late.skipped) == ((), (Skip(NOON, Reason.LATE),))


def test_missed_all_starts_each():
    found = plan(made(missed="all", overlap="allow"), NOON, NOON + 3 * MINUTE)
    assert found.slots == tuple(Slot(NOON + n * MINUTE) for n in range(4))
    assert found.skipped == ()


def test_missed_all_starts_100_at_most():
    found = plan(made(missed="all", overlap="allow"), NOON, NOON + 500 * MINUTE)
    assert len(found.slots) == FIRES_MOST
    assert found.slots[0] == Slot(NOON + 401 * MINUTE, 401)
    assert found.slots[-1] == Slot(NOON + 500 * MINUTE)
    assert found.skipped == (Skip(NOON, Reason.LATE, NOON + 400 * MINUTE, 401),)


def test_missed_all_with_a_deadline():
    found = plan(made(missed="all", overlap="allow", deadline="120"), NOON, NOON + 5 * MINUTE)
    assert [slot.at for slot in found.slots] == [NOON + n * MINUTE for n in (3, 4, 5)]
    assert found.skipped == (Skip(NOON, Reason.LATE, NOON + 2 * MINUTE, 3),)


def test_paused():
    found = plan(made(), NOON, NOON + 2 * MINUTE, paused=True)
    assert found == Plan(skipped=(Skip(NOON, Reason.PAUSED, NOON + 2 * MINUTE, 3),), next=NOON + 3 * MINUTE)


def test_a_time_that_was_set_by_hand_counts():
    found = plan(made(), NOON + 7, NOON + MINUTE)
    assert found.slots == (Slot(NOON + MINUTE, 1),)
    assert found.skipped == (Skip(NOON + 7, Reason.LATE),)


@pytest.mark.parametrize(
    ("cron", "started"), [("* * * * *", FIRES_MOST), ("*/5 * * * *", FIRES_MOST), ("0 0 1 1 *", 47)]
)
def test_after_years_the_work_is_bounded(cron, started):
    begin, now = ms(1980, 1, 1), ms(2026, 1, 1, 0, 0, 5)
    found = plan(made(cron=cron, missed="all", overlap="allow"), begin, now)
    assert found.slots[-1].at == ms(2026, 1, 1)
    assert len(found.slots) == started
    if found.skipped:
        assert (found.skipped[0].count + FIRES_MOST, found.skipped[0].more) == (COUNTED, True)
        assert found.skipped[0].until < found.slots[0].at


@pytest.mark.parametrize("number", [COUNTED - 1, COUNTED, COUNTED + 1, COUNTED + 50])
def test_a_row_about_as_long_as_is_counted(number):
    found = plan(made(cron="* * * * *"), NOON, NOON + (number - 1) * MINUTE)
    assert found.slots == (Slot(NOON + (number - 1) * MINUTE, number - 1),)
    assert found.skipped == (Skip(NOON, Reason.LATE, NOON + (number - 2) * MINUTE, number - 1),)


def test_years_of_seconds():
    found = plan(made(every="1"), ms(1980, 1, 1), NOON)
    assert found.slots == (Slot(NOON, (NOON - ms(1980, 1, 1)) // 1000),)


def test_one_that_never_comes_again():
    assert made(cron="0 0 1 1 *").next(ms(8999, 12, 31)) == NEVER
    assert plan(made(cron="0 0 1 1 *"), ms(8999, 12, 31), ms(8999, 12, 31)).next == NEVER


# -- what is stored -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("score", "fresh"), [(0, True), (-1, True), (float("-inf"), True), (1.7e9, True)])
def test_a_time_in_seconds_is_no_time(score, fresh):
    """No guess: its time is computed, and nothing is started for it."""
    assert Stored(name="n", score=score, fields={}).fresh is fresh
    assert not Stored(name="n", score=NOON, fields={}).fresh


def test_the_next_time_while_an_occurrence_waits():
    fields = {"behind": "1", "next_ms": str(NOON)}
    assert Stored(name="n", score=5e12, fields=fields).pending == NOON
    assert Stored(name="n", score=5e12, fields={"next_ms": str(NOON)}).pending == 5e12
    assert Stored(name="n", score=5e12, fields={"behind": "1", "next_ms": "x"}).pending == 5e12


@pytest.mark.parametrize(("mark", "paused"), [("", False), ("0", False), ("1", True), ("error", False)])
def test_paused_marks(mark, paused):
    assert Stored(name="n", score=0, fields={"paused": mark}).paused is paused


def test_lines():
    row = skipped_line(Skip(5000, Reason.LATE, 9000, 3, more=True))
    lines = [
        b'{"at":1500,"id":"n"}',
        row,
        b"x",
        b"[]",
        b'{"at":"x"}',
        b'{"at":1e999}',
        b'{"id":"n"}',
        b'{"at":true}',
    ]
    assert read_lines(lines) == (
        Occurrence(at=1.5, id="n"),
        Occurrence(at=5, reason="late", until=9, count=3, more=True),
    )
    assert read_lines(lines)[0].fired
