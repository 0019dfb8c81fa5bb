"""Tasks that ended and whose ids wait in the queue again."""

import pytest

from pytask import errors
from pytask.domain import lifecycle as life
from tests.contract.benches import SOON


@pytest.fixture
def again(both):
    """`nightly` has ended, and plain Redis pushed it again, behind another; `rests` has ended."""
    bench = both.bench
    for task_id in ("rests", "nightly"):
        both.end(bench.running(task_id), output="monday")
    bench.push("first")
    bench.push("nightly", data='{"day":"tuesday"}')
    return both


@pytest.mark.wire
def test_an_ended_id_in_the_queue_again_is_one_task_that_waits(again):
    client = again.client
    task = client.get("nightly")
    assert (task.state, task.again, task.data) == (life.WAIT, True, {"day": "tuesday"})
    assert not client.get("first").again
    shown = [(task.id, task.state) for task in client.list()]
    assert shown == [("first", life.WAIT), ("nightly", life.WAIT), ("rests", life.ENDED)]
    assert [task.id for task in client.list(state=life.ENDED)] == ["rests"]
    found = client.count()
    assert (found[life.WAIT], found[life.ENDED], found.total, found.exact) == (2, 1, 3, True)

    # Pushed twice it is still one, and what runs does not wait.
    again.bench.lpush("nightly")
    assert [task.id for task in client.list(state=life.WAIT)] == ["first", "nightly"]
    again.bench.claim(again.bench.ref("first"), again.bench.ref("nightly"))
    again.bench.lpush("nightly")
    found = client.count()
    assert (found[life.WAIT], found[life.RUNNING], found.total) == (0, 2, 3)


def test_to_remove_what_has_ended_leaves_what_waits_again(again):
    client = again.client
    found = client.remove_many(["rests", "nightly", "first"], state=("ENDED", "ERROR", "STOPPED"))
    assert [(one.done, one.state) for one in found] == [(True, None), (False, life.WAIT), (False, life.WAIT)]
    assert again.bench.queue() == ["nightly", "first"]
    assert again.bench.hash("nightly")["data"] == '{"day":"tuesday"}'
    assert client.remove_many(["nightly"], state="WAIT")[0].done
    assert client.remove("first")
    assert again.bench.queue() == []


def test_stop_and_start_of_an_ended_id_that_waits_again(again):
    client, bench = again.client, again.bench
    assert client.start_again("nightly").done
    assert bench.queue() == ["nightly", "first"]  # once
    again.end(bench.claim(bench.ref("first"))[0])
    again.end(bench.claim(bench.ref("nightly"))[0])
    bench.push("nightly")
    bench.events()
    found = client.stop("nightly")
    assert (found.done, found.state) == (True, life.STOPPED)
    assert bench.queue() == []
    assert bench.hash("nightly")["state"] == life.STOPPED
    assert [name for i, name, _ in bench.events() if i == "nightly"] == ["stopped"]


def test_wait_is_for_the_run_that_waits(again):
    bench = again.bench
    with pytest.raises(errors.TimedOut, match="it is WAIT"):
        again.client.wait("nightly", timeout=0)
    _, claim = bench.claim(bench.ref("first"), bench.ref("nightly"))
    again.end(claim, output="tuesday")
    assert again.client.wait("nightly", timeout=SOON).output == "tuesday"
