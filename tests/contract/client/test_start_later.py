"""Starting tasks later, and what is to happen after a failure."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from pytask import errors
from pytask.client import New
from pytask.domain.lifecycle import Trigger
from pytask.domain.record import Change


def due(both, task_id):
    return float(both.bench.hash(task_id)["not_before"])


@pytest.mark.wire
def test_a_delayed_task_is_what_the_documented_commands_make(both):
    at = datetime.now(UTC) + timedelta(days=36525)
    delayed = both.client.start("f", {"a": 1}, delay=60)
    timed = both.client.start("f", at=at, restart="failure")
    assert due(both, delayed) == pytest.approx(time.time() + 60, abs=30)
    assert both.bench.hash(timed) == {
        "function": "f",
        "not_before": f"{at.timestamp():.6f}",
        "restart": "failure",
    }
    assert both.bench.queue() == [timed, delayed]


def test_of_many_each_has_its_own_time(both):
    tasks = [New("f", None, f"t{n}", at=4e9 + n) if n % 2 else New("f", {"n": n}, f"t{n}") for n in range(6)]
    assert both.client.start_many(tasks) == [f"t{n}" for n in range(6)]
    for n in range(6):
        found = both.bench.hash(f"t{n}")
        assert found.get("not_before") == (f"{4e9 + n:.6f}" if n % 2 else None)
    assert sorted(both.bench.queue()) == [f"t{n}" for n in range(6)]


@pytest.mark.parametrize("ms", [float("inf"), 1e300, float("-inf")])
def test_a_time_that_somebody_wrote_into_the_timers_is_bounded(both, ms):
    both.bench.write("x", function="f", state="WAIT")
    both.bench.set_timer("x", ms)
    assert both.client.get("x").due == (0.0 if ms < 0 else 253402300799.0)


def test_a_repeated_start_changes_no_time(both):
    both.client.start("f", {"a": 1}, id="x", delay=60)
    before = due(both, "x")
    both.client.start("f", {"a": 1}, id="x", delay=600)
    assert due(both, "x") == before
    assert both.bench.queue() == ["x"]


@pytest.mark.parametrize("restarts", [0, 3])
def test_a_task_that_has_ended_can_start_again_later(both, restarts):
    both.client.start("f", {"a": 1}, id="nightly")
    ref = both.bench.ref("nightly")
    both.bench.claim(ref)
    fields = {"error": "x", **({"restarts": "3"} if restarts else {})}
    both.bench.store.commit([Change(ref.id, ref.run, b"", Trigger.FAIL, fields)])
    both.client.start("f", {"a": 2}, id="nightly", delay=60)
    found = both.bench.hash("nightly")
    assert found["data"] == '{"a":2}'
    assert due(both, "nightly") == pytest.approx(time.time() + 60, abs=30)
    assert "restarts" not in found, "a new start forgets the failures"
    assert both.bench.queue() == ["nightly"]


@pytest.mark.parametrize(
    ("when", "what"),
    [
        ({"delay": -1}, "delay"),
        ({"at": float("nan")}, "at must"),
        ({"restart": "sometimes"}, "'never', 'failure'"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_sent(both, when, what):
    with pytest.raises(errors.BadData, match=what):
        both.client.start("f", id="x", **when)
    with pytest.raises(errors.BadData, match=what):
        both.client.start_many(["f", New("f", id="x", **when)])
    assert both.bench.queue() == []
