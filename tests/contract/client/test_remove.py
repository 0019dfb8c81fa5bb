"""Removing tasks."""

import pytest

from pytask import errors
from pytask.domain import lifecycle as life
from pytask.domain.record import Verdict


@pytest.mark.wire
def test_remove(both):
    task_id = both.client.start("f")
    assert both.client.remove(task_id) is True
    assert not both.bench.exists(task_id)
    assert both.bench.queue() == []
    assert both.client.remove(task_id) is False
    ref = both.bench.running("t")
    with pytest.raises(errors.TaskRunning, match="PT085"):
        both.client.remove("t")
    both.bench.assert_registered(ref)
    both.end(ref)
    assert both.client.remove("t") is True
    assert not any(both.bench.index(state) for state in life.RESTING)
    both.bench.set_string("s")
    with pytest.raises(errors.WrongKeyType):
        both.client.remove("s")
    assert both.bench.is_string("s")


@pytest.mark.wire
def test_remove_many_and_what_became_of_each(both):
    running = both.bench.running("t")
    ids = both.client.start_many(["f"] * 300)
    both.bench.set_string("s")
    asked = [*ids[:200], "t", "none", "s", *ids[200:], ids[0]]
    found = both.client.remove_many(asked)
    assert [one.id for one in found] == asked
    rest = {one.id: one for one in found if not one.done}
    assert sorted(rest) == ["none", "s", "t"]
    assert (rest["none"].state, rest["none"].refused) == (None, "")
    assert "is not a hash" in rest["s"].refused
    assert rest["t"].state is life.RUNNING
    assert rest["t"].refused == "'t' is running: stop it first, stop('t', wait=30), then remove it"
    both.bench.assert_registered(running)
    assert both.bench.queue() == []
    assert not any(both.bench.exists(task_id) for task_id in ids)
    assert both.client.remove_many([]) == []


def test_remove_a_parked_task(both):
    both.bench.push("t", function="unknown")
    assert both.bench.store.park("t", "unknown", b"{}") is Verdict.OK
    both.bench.push("other", function="unknown")
    assert both.bench.store.park("other", "unknown", b"{}") is Verdict.OK
    assert both.client.remove("t") is True
    assert both.bench.raw.smembers(both.bench.keys.parked) == {b"unknown"}  # something waits for it
    assert both.client.remove("other") is True
    assert both.bench.parking("unknown") == []
    assert not both.bench.raw.exists(both.bench.keys.parked)
    assert not both.bench.index(life.WAIT)
