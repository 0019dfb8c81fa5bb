"""Requeueing tasks of dead workers."""

import time

import attrs
import pytest

from pytask import errors
from pytask.client.partitions import own_name
from pytask.domain import lifecycle as life
from pytask.domain.figures import WorkerInfo
from pytask.domain.lifecycle import Trigger
from pytask.domain.record import Change
from tests.contract.client.faces import QUICK, WATCHFUL, Beside, given, silent_run


@pytest.mark.wire
def test_requeue_takes_a_dead_run_after_it_was_watched(both):
    ref = silent_run(both, "dead")
    silent_run(both, "ahead", -3600)  # somebody set the clock of Redis back
    both.client.start("f", id="waits")
    began = time.monotonic()
    outcomes = both.client.requeue_many(["dead", "ahead", "waits", "none", "dead"], timing=QUICK)
    assert time.monotonic() - began >= QUICK.expiry
    assert [(one.id, one.done, one.state, one.refused) for one in outcomes] == [
        ("dead", True, life.WAIT, ""),
        ("ahead", True, life.WAIT, ""),
        ("waits", True, life.WAIT, ""),
        ("none", False, None, ""),
        ("dead", True, life.WAIT, ""),
    ]
    assert sorted(both.bench.queue()) == ["ahead", "dead", "waits"]
    both.bench.store.commit([Change("dead", ref.run, b"", Trigger.END, {}, 60)])  # it was not dead after all
    assert both.client.get("dead").state is life.WAIT
    (move,) = both.client.get("dead").history
    assert (move.trigger, move.who) == ("expire", own_name()[:64])
    assert both.client.get("dead").crashes == 0


def test_requeue_leaves_a_living_run_alone(real):
    living = real.bench.running("living")
    began = time.monotonic()
    with pytest.raises(errors.TaskRunning, match=r"PT085.*renewed \d+ s ago.*after 90 s without a renewal"):
        real.client.requeue("living")
    assert time.monotonic() - began < 60  # nothing was watched
    real.bench.assert_registered(living)
    late = silent_run(real, "late")
    before = given(real.bench.raw, "zscore")

    def owner():
        while given(real.bench.raw, "zscore") == before:  # the lease has been looked at
            time.sleep(0.005)
        real.bench.store.renew([late])

    acting = Beside(owner)
    with pytest.raises(errors.TaskRunning, match="renewed while it was observed"):
        real.client.requeue("late", timing=WATCHFUL)
    acting.over()
    real.bench.assert_registered(late)
    assert real.bench.queue() == []


def test_requeue_waits_as_long_as_the_workers_own_times_ask_for(real):
    patient = WorkerInfo(session="session", name="w", host="h", pid=1, running=1, expiry=1.5)
    real.bench.store.announce(patient)
    silent_run(real, "a")
    began = time.monotonic()
    assert real.client.requeue("a", timing=QUICK).done
    assert time.monotonic() - began >= 1.5
    silent_run(real, "b", seconds=50)
    real.bench.store.announce(attrs.evolve(patient, expiry=1000.0))
    with pytest.raises(errors.TaskRunning, match=r"renewed 5. s ago. Only after 1000 s"):
        real.client.requeue("b", timing=QUICK)


def test_requeue_of_a_dead_run_that_was_to_stop_queues_it(real):
    silent_run(real, "a")
    real.client.stop("a")
    assert real.client.requeue("a", timing=QUICK).state is life.WAIT
    assert [move.trigger for move in real.client.get("a").history][1:] == ["expire_stopped", "start"]
    assert real.bench.queue() == ["a"]


def test_requeue_of_what_rests_and_of_what_says_that_it_runs(real):
    real.end(real.bench.running("ended"))
    assert real.client.requeue("ended").state is life.WAIT
    with pytest.raises(errors.NoSuchTask):
        real.client.requeue("none")
    real.bench.write("odd", function="f", state="RUNNING")
    (odd,) = real.client.requeue_many(["odd"], timing=QUICK)
    assert not odd.done
    assert "is RUNNING without a registered run" in odd.refused
    with pytest.raises(errors.TaskRunning, match="is RUNNING without a registered run"):
        real.client.requeue("odd")
