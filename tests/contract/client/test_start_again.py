"""Starting tasks again."""

import time

import pytest

from pytask import errors
from pytask.domain import lifecycle as life
from pytask.domain.lifecycle import Trigger
from pytask.domain.messages import Command
from pytask.domain.record import Change, Save, Verdict
from tests.contract.benches import SOON
from tests.contract.client.faces import Beside, settle


@pytest.mark.parametrize("verb", ["start_again", "requeue"])
def test_a_start_that_is_stopped_in_the_queue_did_not_run(real, verb):
    real.end(real.bench.running("t"))

    def other():
        while real.bench.hash("t")["state"] != "WAIT":
            time.sleep(0.01)
        assert real.bench.store.control(Command.STOP, ["t"]) == [Verdict.OK]

    acting = Beside(other)
    with pytest.raises(errors.TaskNotRunning, match=r"PT088.*'t' finished before it was run: it is STOPPED"):
        getattr(real.client, verb)("t", wait=SOON)
    acting.over()


def test_a_start_that_no_worker_takes_says_why_and_where_the_task_is(both):
    both.end(both.bench.running("t"))
    with pytest.raises(
        errors.NoListeners, match=r"PT086.*no worker is subscribed: 't' is queued and starts"
    ) as nobody:
        both.client.start_again("t", wait=0.05)
    assert nobody.value.state is life.WAIT
    subscription = both.bench.raw.pubsub()
    subscription.subscribe(both.bench.keys.hint_channel)
    settle(subscription, 1)
    for verb in ("start_again", "requeue"):
        with pytest.raises(
            errors.TimedOut, match=r"PT082.*within 0.05 s: it is WAIT. See `pytask why t`"
        ) as late:
            getattr(both.client, verb)("t", wait=0.05)
        assert late.value.state is life.WAIT
    assert both.bench.queue() == ["t"]
    subscription.close()


@pytest.mark.wire
def test_start_again(both):
    ref = both.bench.running("t")
    assert both.client.start_again("t").done  # it runs: nothing to do
    assert both.bench.queue() == []
    both.end(ref, output=5)
    subscription = both.bench.raw.pubsub(ignore_subscribe_messages=True)
    subscription.subscribe(both.bench.keys.hint_channel)
    subscription.psubscribe(both.bench.keys.control_pattern)
    settle(subscription)
    outcome = both.client.start_again("t", {"b": 2})
    assert outcome.done  # seen while it ran, or while it waits
    both.bench.assert_at_rest("t", "WAIT")
    assert both.bench.queue() == ["t"]
    assert both.bench.hash("t")["data"] == '{"b":2}'
    assert subscription.get_message(timeout=SOON)["data"] == b"started"
    assert both.client.start_again("t").done
    assert both.bench.queue() == ["t"]
    subscription.close()


@pytest.mark.parametrize("verb", ["start_again", "requeue"])
def test_a_start_that_failed_at_once_and_is_tried_again_did_run(real, verb):
    real.end(real.bench.running("t"))

    def worker():
        ref = real.bench.ref("t")
        while real.bench.hash("t")["state"] != "WAIT":
            time.sleep(0.01)
        assert real.bench.claim(ref)[0].won
        again = Change(ref.id, ref.run, b"", Trigger.RETRY, {"restarts": "1"}, delay=600)
        assert real.bench.store.commit([again]) == [Verdict.OK]

    acting = Beside(worker)
    outcome = getattr(real.client, verb)("t", wait=SOON)
    assert outcome.done  # seen while it ran, or while it waits
    acting.over()


@pytest.mark.wire
def test_start_again_waits_until_it_runs_again(both):
    both.end(both.bench.running("t"))

    def worker():
        while not both.bench.claim(both.bench.ref("t"))[0].won:
            time.sleep(0.01)

    acting = Beside(worker)
    outcome = both.client.start_again("t", wait=SOON)
    assert (outcome.done, outcome.state) == (True, "RUNNING")
    acting.over()


@pytest.mark.wire
def test_a_fresh_start_takes_away_what_was_saved(both):
    for task_id in "ab":
        both.client.start("f", id=task_id)
        ref = both.bench.ref(task_id)
        both.bench.claim(ref)
        change = Change(ref.id, ref.run, b"", Trigger.FAIL, {"saved": b'{"at":5}', "error": "x"})
        both.bench.store.commit([change])
    info = both.client.get("a")
    assert (info.saved, info.raw_saved) == ({"at": 5}, b'{"at":5}')
    assert info.saved_at == pytest.approx(info.last_update, abs=1)
    assert not {"saved", "saved_at", "saved_by"} & info.more.keys()
    assert both.client.start_again("a").done
    assert both.client.get("a").saved == {"at": 5}
    outcomes = both.client.start_again_many(["a", "b", "none"], fresh=True)
    assert [(one.done, one.state) for one in outcomes] == [(True, "WAIT"), (True, "WAIT"), (False, None)]
    assert both.client.get("a").saved is both.client.get("b").saved is None


@pytest.mark.wire
@pytest.mark.parametrize("wait", [0, 0.05])
def test_a_fresh_start_of_what_runs_is_refused_and_changes_nothing(both, wait):
    ref = both.bench.running("t")
    both.bench.store.renew([ref], {ref.run: Save("t", ref.run, 1, b"5")})
    outcome = both.client.start_again("t", wait=wait, fresh=True)
    assert (outcome.done, outcome.state) == (False, "RUNNING")
    assert "'t' is running, so what it has saved was not removed: stop it first" in str(outcome.refused)
    assert both.client.get("t").saved == 5


@pytest.mark.wire
@pytest.mark.parametrize("wait", [0, 0.05])
def test_a_fresh_start_of_a_paused_run_says_so_and_changes_nothing(both, wait):
    ref = both.bench.running("t", data='{"a":1}')
    both.bench.store.renew([ref], {ref.run: Save("t", ref.run, 1, b"5")})
    both.client.pause("t")
    before = both.bench.hash("t")
    outcome = both.client.start_again("t", {"a": 2}, wait=wait, fresh=True)
    assert (outcome.done, outcome.state, outcome.requested) == (False, "RUNNING", False)
    expected = "'t' runs, and is paused, so it was neither resumed nor was what it has saved removed: "
    assert str(outcome.refused).startswith(
        f"{expected}start_again('t') resumes it; or stop it first, stop('t'"
    )
    assert both.bench.hash("t") == before, "the data, too"
    (many,) = both.client.start_again_many(["t"], fresh=True)
    assert str(many.refused) == str(outcome.refused)
    assert both.bench.hash("t") == before


@pytest.mark.wire
def test_a_fresh_start_of_a_paused_task_that_waits_resumes_it_without_its_value(both):
    both.client.start("f", id="t")
    both.bench.write("t", saved="5")
    assert both.client.pause("t").done
    outcome = both.client.start_again("t", {"a": 2}, fresh=True)
    assert (outcome.done, outcome.state) == (True, "WAIT")
    info = both.client.get("t")
    assert (info.saved, info.paused, info.data) == (None, 0, {"a": 2})
    assert both.bench.queue() == ["t"]
