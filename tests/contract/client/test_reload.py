"""Reloading tasks: done, refused, failed, or not settled in time."""

import time

import pytest

from pytask import errors
from pytask.domain.lifecycle import Trigger
from pytask.domain.messages import Command
from pytask.domain.record import Change, InForce, Verdict
from tests.contract.benches import SOON
from tests.contract.client.faces import Beside

GOOD = InForce("f", b'{"a":1}')


@pytest.mark.parametrize("trigger", [Trigger.END, Trigger.STOP])
def test_a_run_that_came_to_rest_before_its_reload_was_not_reloaded(real, trigger):
    ref = real.bench.running("t")

    def worker():
        while real.bench.store.renew([ref]) != {ref: Command.RELOAD}:
            time.sleep(0.01)
        real.end(ref, trigger, "stopped" if trigger is Trigger.STOP else "ended")

    acting = Beside(worker)
    with pytest.raises(errors.TaskNotRunning, match=r"PT088.*'t' finished before it was reloaded") as rests:
        real.client.reload("t", wait=SOON)
    acting.over()
    assert rests.value.state == real.bench.hash("t")["state"]


def test_a_reload_is_not_done_in_the_queue_but_in_the_run_that_follows(real):
    ref, after = real.bench.running("t"), real.bench.ref("t")

    def worker():
        while real.bench.store.renew([ref]) != {ref: Command.RELOAD}:
            time.sleep(0.01)
        real.end(ref, Trigger.RELEASE, "requeued")
        time.sleep(0.1)  # for the client to take it for the new run, if it does
        assert real.bench.claim(after)[0].won

    acting = Beside(worker)
    outcome = real.client.reload("t", wait=SOON)
    acting.over()
    assert (outcome.done, outcome.state) == (True, "RUNNING")


@pytest.mark.wire
def test_reload_waits_for_the_new_run(both):
    ref = both.bench.running("t")
    after = both.bench.ref("t")

    def worker():
        while both.bench.store.renew([ref]) != {ref: Command.RELOAD}:
            time.sleep(0.01)
        assert both.bench.store.reload(ref, after, "w", 1000).data == b'{"n":2}'
        lives.append(False)
        time.sleep(0.3)  # for the client to take its birth for its life, if it does
        lives[0] = True
        assert both.bench.store.settle(after) is Verdict.OK

    lives = []
    acting = Beside(worker)
    outcome = both.client.reload("t", {"n": 2}, wait=SOON)
    assert lives == [True]
    assert (outcome.done, outcome.state, outcome.requested) == (True, "RUNNING", True)
    acting.over()
    assert both.client.get("t").run == after.run


@pytest.mark.wire
def test_a_reload_that_is_refused_is_reported_with_path_and_reason(both):
    ref = both.bench.running("t")
    for number in range(2):  # also twice in a row
        reason = f"expected int {number}"
        acting = Beside(lambda reason=reason: refuses(both, ref, "$.n", reason))
        outcome = both.client.reload("t", {"n": "many"}, wait=SOON)
        acting.over()
        assert (outcome.done, bool(outcome), outcome.state) == (False, False, "RUNNING")
        assert (outcome.refusal.path, outcome.refusal.reason) == ("$.n", reason)
        assert reason in outcome.refused
    task = both.client.get("t")
    assert (task.run, task.refusal.reason, task.control) == (ref.run, reason, "")


@pytest.mark.wire
def test_an_earlier_refusal_is_not_taken_for_that_of_a_reload_that_is_accepted(both):
    ref, after = both.bench.running("t"), both.bench.ref("t")
    assert both.bench.store.refuse(both.bench.store.preview(ref, 1000), "$", "bad", GOOD) is Verdict.OK

    def worker():
        while both.bench.store.renew([ref]) != {ref: Command.RELOAD}:
            time.sleep(0.01)
        time.sleep(0.1)
        assert both.bench.store.reload(ref, after, "w", 1000).won
        assert both.bench.store.settle(after) is Verdict.OK

    acting = Beside(worker)
    outcome = both.client.reload("t", wait=SOON)
    acting.over()
    assert (outcome.done, outcome.refusal) == (True, None)
    assert both.client.get("t").refusal is None


def test_a_reload_whose_new_run_fails_at_once_is_not_done(both):
    ref, after = both.bench.running("t"), both.bench.ref("t")

    def worker():
        while both.bench.store.renew([ref]) != {ref: Command.RELOAD}:
            time.sleep(0.01)
        assert both.bench.store.reload(ref, after, "w", 1000).won
        event = b'{"event":"error","data":{"error":"no such host"}}'
        failed = Change("t", after.run, event, Trigger.FAIL, {"error": "no such host"})
        assert both.bench.store.commit([failed]) == [Verdict.OK]

    acting = Beside(worker)
    with pytest.raises(errors.RunFailed, match=r"PT141.*failed at once: no such host"):
        both.client.reload("t", wait=SOON)
    acting.over()


def test_a_reload_by_an_older_worker_is_done_when_its_new_run_is_born(both):
    """It neither refuses nor settles anything; a field of an earlier run means nothing."""
    ref, after = both.bench.running("t"), both.bench.ref("t")
    both.bench.write("t", settling="5", reload_refused='{"epoch":5,"at":1,"path":"$","reason":"bad"}')

    def worker():
        while both.bench.store.renew([ref]) != {ref: Command.RELOAD}:
            time.sleep(0.01)
        assert both.bench.store.reload(ref, after, "w", 1000).won
        both.bench.write("t", settling="5")

    acting = Beside(worker)
    outcome = both.client.reload("t", wait=SOON)
    acting.over()
    assert (outcome.done, outcome.state) == (True, "RUNNING")


@pytest.mark.wire
def test_many_reloads_are_reported_at_once_and_each_has_its_outcome(both):
    good, bad = both.bench.running("good"), both.bench.running("bad")
    after = both.bench.ref("good")

    def worker():
        refuses(both, bad, "$.n", "expected int")
        assert both.bench.store.reload(good, after, "w", 1000).won
        assert both.bench.store.settle(after) is Verdict.OK

    acting = Beside(worker)
    found = both.client.reload_many(["good", "bad", "none"], wait=SOON)
    acting.over()
    assert [outcome.done for outcome in found] == [True, False, False]
    assert [outcome.refusal and outcome.refusal.path for outcome in found] == [None, "$.n", None]
    assert both.client.reload_many(["good"])[0].requested


def test_a_run_that_does_not_settle_in_time_is_reported_as_that(both):
    ref, after = both.bench.running("t"), both.bench.ref("t")

    def worker():
        while both.bench.store.renew([ref]) != {ref: Command.RELOAD}:
            time.sleep(0.01)
        assert both.bench.store.reload(ref, after, "w", 1000).won

    acting = Beside(worker)
    with pytest.raises(errors.TimedOut, match=r"was restarted, but its start\(\) has not run"):
        both.client.reload("t", wait=1)
    acting.over()


def test_reload_does_not_replace_a_stop_and_leaves_a_resting_task_alone(both):
    both.bench.running("t")
    both.client.stop("t")
    assert both.client.reload("t").requested
    assert both.bench.hash("t")["control"] == "stop"
    both.bench.push("w")
    outcome = both.client.reload("w", wait=SOON)
    assert (outcome.done, outcome.requested, outcome.state) == (False, False, "WAIT")


def refuses(both, ref, path, reason):
    while both.bench.store.renew([ref]) != {ref: Command.RELOAD}:
        time.sleep(0.01)
    judged = both.bench.store.preview(ref, 1000)
    assert both.bench.store.refuse(judged, path, reason, GOOD) is Verdict.OK
