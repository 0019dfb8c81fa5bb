"""Stopping tasks, and what is common to all control requests."""

import os
import time

import pytest

from pytask import errors
from pytask.client import Client, watch
from pytask.client.control import await_stop
from pytask.client.partitions import own_name
from pytask.domain import lifecycle as life
from pytask.domain.lifecycle import Trigger
from pytask.domain.messages import Command
from tests.contract.benches import SOON
from tests.contract.client.faces import Beside, settle


@pytest.mark.wire
def test_stop_a_task_that_waits(both):
    task_id = both.client.start("f")
    outcome = both.client.stop(task_id)
    assert (outcome.done, outcome.state, outcome.requested) == (True, "STOPPED", False)
    both.bench.assert_at_rest(task_id, "STOPPED")
    assert both.bench.queue() == []
    assert both.client.stop(task_id).done


@pytest.mark.wire
def test_stop_a_task_that_runs_is_recorded_and_reported(both):
    ref = both.bench.running("t")
    subscription = both.bench.raw.pubsub(ignore_subscribe_messages=True)
    subscription.subscribe(both.bench.keys.hint_channel)
    subscription.psubscribe(both.bench.keys.control_pattern)
    settle(subscription)
    outcome = both.client.stop("t")
    assert (outcome.done, outcome.state, outcome.requested, outcome.listeners) == (False, "RUNNING", True, 1)
    assert both.bench.store.renew([ref]) == {ref: Command.STOP}
    message = subscription.get_message(timeout=SOON)
    assert (message["channel"], message["data"]) == (both.bench.keys.control("t").encode(), b"stop")
    subscription.close()


@pytest.mark.wire
def test_stop_waits_until_the_task_has_stopped(both):
    ref = both.bench.running("t")

    def worker():
        while both.bench.store.renew([ref]) != {ref: Command.STOP}:
            time.sleep(0.01)
        both.end(ref, Trigger.STOP, "stopped")

    acting = Beside(worker)
    outcome = both.client.stop("t", wait=SOON)
    assert (outcome.done, outcome.state, outcome.requested) == (True, "STOPPED", True)
    acting.over()
    assert both.client.get("t").state is life.STOPPED


@pytest.mark.parametrize("detour", ["reload", "release"])
def test_a_stop_is_not_done_in_another_run_or_in_the_queue(real, detour):
    """As by a worker of an older release, which deletes `control` on the way."""
    ref, after = real.bench.running("t"), real.bench.ref("t")

    def worker():
        while real.bench.store.renew([ref]) != {ref: Command.STOP}:
            time.sleep(0.01)
        real.bench.erase("t", "control")
        if detour == "reload":
            assert real.bench.store.reload(ref, after, "w", 1000).won
        else:
            real.end(ref, Trigger.RELEASE, "requeued")
            assert real.bench.claim(after)[0].won
        time.sleep(0.1)  # for the client to take it for the end, if it does
        real.end(after, Trigger.STOP, "stopped")

    acting = Beside(worker)
    outcome = real.client.stop("t", wait=SOON)
    acting.over()
    assert (outcome.done, outcome.state) == (True, "STOPPED")


def test_a_stop_that_was_replaced_is_reported_as_not_done(real):
    real.bench.running("t")
    subscription = real.bench.raw.pubsub()
    subscription.subscribe(real.bench.keys.hint_channel)
    settle(subscription, 1)
    assert real.client.stop("t").requested
    real.bench.erase("t", "control")
    with Client(real.bench.raw) as client, pytest.raises(errors.TimedOut, match=r"is no longer stored"):
        client._driver.run(await_stop(client._partitions, "t", 0.05))
    subscription.close()


def test_a_stop_whose_hash_is_gone_is_done(real, monkeypatch):
    monkeypatch.setattr(watch, "LOOK_EVERY", 0.05)
    ref = real.bench.running("t")

    def worker():
        while real.bench.store.renew([ref]) != {ref: Command.STOP}:
            time.sleep(0.01)
        real.bench.delete("t")  # no event tells of it

    acting = Beside(worker)
    outcome = real.client.stop("t", wait=SOON)
    acting.over()
    assert (outcome.done, outcome.state) == (True, None)


def test_a_stop_that_nobody_hears_or_obeys(both):
    both.bench.running("t")
    with pytest.raises(errors.NoListeners, match="PT086"):
        both.client.stop("t", wait=0.05)
    subscription = both.bench.raw.pubsub()
    subscription.subscribe(both.bench.keys.hint_channel)
    subscription.psubscribe(both.bench.keys.control_pattern)
    settle(subscription)
    with pytest.raises(
        errors.TimedOut, match=r"PT082.*RUNNING, and the request remains stored. See `pytask why t`"
    ) as late:
        both.client.stop("t", wait=0.05)
    assert late.value.state is life.RUNNING
    assert both.bench.hash("t")["control"] == "stop"
    subscription.close()


@pytest.mark.wire
@pytest.mark.parametrize("verb", ["stop", "start_again", "reload", "get", "wait"])
def test_no_such_task(both, verb):
    with pytest.raises(errors.NoSuchTask, match="PT080"):
        getattr(both.client, verb)("none")
    assert not both.bench.exists("none")


@pytest.mark.parametrize("verb", ["stop", "start_again", "reload"])
def test_a_key_of_another_type_is_no_task(both, verb):
    both.bench.set_string("s")
    with pytest.raises(errors.WrongKeyType):
        getattr(both.client, verb)("s")
    both.client.start("f", id="t")
    odd, task = getattr(both.client, f"{verb}_many")(["s", "t"])
    assert (odd.done, odd.state, "is not a hash" in odd.refused) == (False, None, True)
    assert (task.state, task.refused) == ("STOPPED" if verb == "stop" else "WAIT", "")


@pytest.mark.wire
def test_the_history_says_who_asked(both):
    named = both.connect(name="ops: 100 % älter")
    task_id = named.start("f")
    both.client.stop(task_id)
    named.start_again(task_id)
    ref = both.bench.ref(task_id)
    both.bench.claim(ref)
    named.reload_many([task_id])
    both.client.stop(task_id)
    unnamed = own_name()[:64]
    assert [(move.trigger, move.who, move.why) for move in both.client.get(task_id).history] == [
        ("cancel", unnamed, ""),
        ("start", "ops: 100 % älter", ""),
        ("claim", "w", ""),
        ("request", "ops: 100 % älter", "reload"),
        ("request", unnamed, "stop"),
    ]


def test_a_user_without_a_name_is_named_by_its_process(monkeypatch):
    def nobody(_uid):
        raise KeyError

    monkeypatch.setattr("pwd.getpwuid", nobody)
    monkeypatch.setattr("os.getuid", lambda: 987_654)
    assert own_name() == f"{os.uname().nodename}:{os.getpid()}"


def test_a_name_that_is_no_text_is_refused(real):
    with pytest.raises(errors.ConfigError, match="a client's name must be a string, not 5"):
        real.connect(name=5)


@pytest.mark.wire
def test_many_at_once(both):
    ids = both.client.start_many(["f"] * 300)
    outcomes = both.client.stop_many([*ids, "none", ids[0]])
    assert [one.id for one in outcomes] == [*ids, "none", ids[0]]
    assert all(one.done for one in outcomes[:300])
    assert outcomes[300].state is None
    assert all(one.done for one in both.client.start_again_many(ids))
    assert not any(one.requested for one in both.client.reload_many(ids))
    assert sorted(both.bench.queue()) == sorted(ids)
