"""Watching tasks, and waiting for them."""

import time

import pytest

from pytask import errors
from pytask.client import Event
from pytask.domain import lifecycle as life
from pytask.domain.lifecycle import Trigger
from pytask.domain.record import Change
from tests.contract.benches import SOON
from tests.contract.client.faces import Beside, given, heeded


@pytest.mark.wire
def test_watch_one_task_from_the_call_on(both):
    task_id = both.client.start("f")
    events = both.client.watch(task_id)
    ref = both.bench.ref(task_id)
    both.bench.claim(ref)
    both.client.start("f")
    both.end(ref, output=1)
    both.bench.publish(f"task-{task_id}", "no json")
    both.bench.publish(f"task-{task_id}", '{"event":"own","data":{"x":1}}')
    first, second, third = next(events), next(events), next(events)
    assert (first.id, first.name, first.data["run"]) == (task_id, "running", ref.run)
    assert second == Event(id=task_id, name="ended", data={"output": 1})
    assert third == Event(id=task_id, name="own", data={"x": 1})
    events.close()


@pytest.mark.wire
def test_watch_all(both):
    events = both.client.watch()
    refs = [both.bench.running(f"t{n}") for n in range(3)]
    both.client.stop("t0")  # its word for the workers is no event
    both.end(refs[1])
    found = [next(events) for _ in range(4)]
    assert [(one.id, one.name) for one in found] == [
        ("t0", "running"), ("t1", "running"), ("t2", "running"), ("t1", "ended"),
    ]  # fmt: skip
    events.close()


@pytest.mark.wire
def test_wait_for_the_end(both):
    ref = both.bench.running("t")
    acting = Beside(both.end, ref, output=3, after=0.05)
    task = both.client.wait("t", timeout=SOON)
    assert (task.state, task.output) == (life.ENDED, 3)
    acting.over()
    assert both.client.wait("t", timeout=SOON).state is life.ENDED
    assert both.client.wait("t", ["ERROR", "ENDED"], timeout=SOON).state is life.ENDED


@pytest.mark.wire
def test_wait_for_a_state_that_passes_by(both):
    """Two moves between two reads of the hash: the events tell."""
    task_id = both.client.start("f")

    def worker():
        heeded(both, task_id)
        ref = both.bench.ref(task_id)
        both.bench.claim(ref)
        both.end(ref)

    acting = Beside(worker)
    assert both.client.wait(task_id, "RUNNING", timeout=SOON).state is life.RUNNING
    acting.over()


def test_wait_for_a_task_whose_hash_goes_with_its_end(real):
    ref = real.bench.running("t")
    event = b'{"event":"ended","data":{"output":7}}'
    change = Change(id="t", run=ref.run, event=event, trigger=Trigger.END, keep=0)
    before = given(real.bench.raw, "hgetall")

    def worker():
        # One where the call begins, and one where it begins to wait.
        while given(real.bench.raw, "hgetall") < before + 2:
            time.sleep(0.005)
        real.bench.store.commit([change])

    acting = Beside(worker)
    task = real.client.wait("t", timeout=SOON)
    assert (task.state, task.output) == (life.ENDED, 7)
    acting.over()
    assert not real.bench.exists("t")


@pytest.mark.wire
def test_wait_times_out_and_says_where_the_task_is(both):
    task_id = both.client.start("f")
    with pytest.raises(errors.TimedOut, match=f"it is WAIT. See `pytask why {task_id}`") as late:
        both.client.wait(task_id, timeout=0.05)
    assert late.value.state == "WAIT"
    with pytest.raises(errors.BadData, match="no such state"):
        both.client.wait(task_id, "DONE")
