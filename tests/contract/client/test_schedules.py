"""Schedules from a client."""

from datetime import timedelta

import attrs
import pytest

from pytask import Task, errors
from pytask.client import ScheduleInfo
from pytask.domain.occurrences import Occurrence
from pytask.domain.schedules import NEVER
from pytask.runtime.services.schedules import Schedules


@attrs.frozen
class Limit:
    limit: int


class Report(Task):
    class Config:
        NAME = "report"
        DATA = Limit

    def start(self):
        pass


@pytest.mark.wire
def test_the_life_of_a_schedule(both):
    calls = both.client.schedules
    made = calls.add("nightly", Report, Limit(5), cron="0 3 * * *", tz="Europe/Berlin", jitter=30)
    assert made == ScheduleInfo(
        name="nightly",
        function="report",
        cron="0 3 * * *",
        tz="Europe/Berlin",
        jitter="30",
        origin="client",
        raw_data=b'{"limit":5}',
    )
    assert made.data == {"limit": 5}
    assert made.words == "At 03:00 every day, Europe/Berlin"
    assert "limit" not in repr(made)
    Schedules()(both.bench.store)  # a worker's look
    placed = calls.get("nightly")
    now = both.bench.now() / 1e6
    assert now < placed.next <= now + 25 * 3600
    coming = placed.upcoming(5, now)
    assert coming[0] == placed.next
    assert len(coming) == 5
    assert calls.pause("nightly") is True
    assert calls.pause("nightly") is False
    assert calls.get("nightly").paused
    assert calls.resume("nightly") is True
    assert calls.resume("nightly") is False
    assert calls.get("nightly").next == placed.next  # the cadence is as it was
    assert calls.remove("nightly") is True
    assert calls.remove("nightly") is False
    assert not list(both.bench.raw.scan_iter(match="*schedule:*"))
    with pytest.raises(errors.NoSuchSchedule, match=r"PT156.*no schedule 'nightly'"):
        calls.get("nightly")
    for call in (calls.pause, calls.resume):
        with pytest.raises(errors.NoSuchSchedule):
            call("nightly")


@pytest.mark.wire
def test_what_it_did_is_shown(both):
    calls = both.client.schedules
    calls.add("s", "f", {"a": 1}, every=60)
    Schedules()(both.bench.store)
    (at,) = both.bench.times().values()
    both.bench.set_schedule("s", at - 180_000)
    Schedules()(both.bench.store)
    found = calls.get("s")
    assert (found.fires, found.last, found.last_id) == (1, at / 1000 - 60, "s")
    assert found.next == at / 1000
    assert found.occurrences == (
        Occurrence(at=at / 1000 - 60, id="s"),
        Occurrence(at=at / 1000 - 180, reason="late", until=at / 1000 - 120, count=2),
    )
    # Other data, the same times: the next one stays.
    calls.add("s", "f", {"a": 2}, every=60)
    assert calls.get("s").next == at / 1000
    assert calls.get("s").fires == 1


def test_after_a_pause_nothing_is_made_up_for(both):
    calls = both.client.schedules
    calls.add("s", "f", every=60)
    calls.pause("s")
    both.bench.set_schedule("s", both.bench.now() // 1000 - 600_000)
    calls.resume("s")
    Schedules()(both.bench.store)
    assert both.bench.queue() == []
    assert calls.get("s").next > both.bench.now() / 1e6


def test_what_was_due_during_a_pause_that_no_worker_saw_is_reported(both):
    calls = both.client.schedules
    calls.add("s", "f", every=60)
    at = both.bench.now() // 1000 - 1000
    both.bench.set_schedule("s", at)
    calls.pause("s")
    calls.resume("s")
    assert both.bench.times() == {"s": 0}
    assert both.bench.occurrences("s") == [{"at": at, "reason": "paused"}]


@pytest.mark.wire
def test_a_list_in_the_order_of_time(both):
    calls = both.client.schedules
    assert calls.list() == []
    for number in range(3):
        calls.add(f"s{number}", "f", every=60)
        both.bench.set_schedule(f"s{number}", 10**15 - number)
    both.bench.set_schedule("odd", 10**15 + 5)
    both.bench.spoil_schedule("odd")
    both.bench.set_schedule("empty", 10**15 + 6)
    found = calls.list()
    assert [one.name for one in found] == ["s2", "s1", "s0", "odd", "empty"]
    assert "no hash" in found[3].error
    assert "no fields" in found[4].error
    assert [one.name for one in calls.list(limit=2)] == ["s2", "s1"]
    assert calls.get("odd").error


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        ({"cron": "0 0 30 2 *"}, "never comes"),
        ({"cron": "* * * * *", "tz": "Europe/Berln"}, "Europe/Berlin"),
        ({"every": 0}, "every '0'"),
        ({"every": True}, "every cannot be True"),
        ({}, "neither every nor cron"),
        ({"every": 60, "overlap": "x"}, "overlap 'x' must be one of"),
        ({"every": 60, "overlp": "skip"}, "no option 'overlp'; did you mean 'overlap'"),
        ({"every": 60, "zzz": None}, "the options are every, cron"),
        ({"every": timedelta(minutes=1)}, "every cannot be .*: write seconds"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(both, definition, words):
    with pytest.raises(errors.BadSchedule, match=rf"PT155.*schedule 's'.*{words}"):
        both.client.schedules.add("s", "f", **definition)
    with pytest.raises(errors.BadData, match=r"limit"):
        both.client.schedules.add("s", Report, {"limit": "x"}, every=60)
    assert both.bench.times() == {}
    assert both.bench.schedule("s") == {}


def test_one_that_was_written_badly_is_shown_with_the_reason(both):
    both.bench.set_schedule("s", 0, function="f", every="soon")
    assert "every 'soon'" in both.client.schedules.get("s").words
    Schedules()(both.bench.store)
    found = both.client.schedules.get("s")
    assert found.paused
    assert "every 'soon'" in found.error
    assert found.next is None
    assert found.upcoming(5, 0) == []
    assert both.bench.times() == {"s": NEVER}
    assert both.client.schedules.add("s", "f", every=60).error == ""
    assert not both.client.schedules.get("s").paused
