"""A worker of version 1.0 of the wire protocol beside ours: what it does to delayed and failed tasks.

`protocol_1_0.json` has the commands of such a worker as they were sent, for the task "t", its run "old:1" and
the function "f": recorded from the last revision before delays, restarts and schedules.
"""

import json
from pathlib import Path

import pytest

from pytask.domain.lifecycle import ENDED, ERROR, RUNNING, STOPPED, WAIT, Trigger
from pytask.domain.limits import Rule
from pytask.domain.messages import Command
from pytask.domain.record import Change, RunRef, Save, StartFields, Verdict
from tests.contract.benches import X
from tests.contract.test_timers import in_time, make_due, places

RECORDED = json.loads(Path(__file__).with_name("protocol_1_0.json").read_text("utf-8"))
NEW = RunRef("t", "new:1")


@pytest.fixture
def elder(real):
    """Sends what the old worker sends."""

    def send(verb):
        return real.raw.execute_command(*RECORDED[verb])

    return send


def claimed(reply):
    return reply[0].split()[0]


def test_it_starts_a_delayed_task_at_once_and_leaves_its_time(real, elder):
    real.push("t", not_before=(when := in_time(real, 1000)))
    assert claimed(elder("claim")) == b"OK"
    found = real.hash("t")
    assert (found["state"], found["not_before"], found["run"]) == (RUNNING, when, "old:1")
    # It hands the task back: the next worker of ours waits for its time.
    assert elder("release") == b"OK"
    (answer,) = real.claim(NEW)
    assert answer.verdict is Verdict.DELAYED
    assert places(real, "t") == ["timers"]


def test_it_makes_a_failed_task_error_that_ours_would_restart(real, elder):
    real.push("t", restart="failure", restarts="2")
    assert claimed(elder("claim")) == b"OK"
    assert elder("fail") == b"OK"
    found = real.hash("t")
    assert (found["state"], found["restart"], found["restarts"]) == (ERROR, "failure", "2")
    assert places(real, "t") == []


@pytest.mark.parametrize("stops", [False, True])
def test_its_start_does_nothing_to_what_waits_in_the_timers_and_its_stop_holds(real, elder, stops):
    real.push("t", not_before=in_time(real, 1000))
    real.claim(NEW)
    assert elder("start") == [b"STATE"]
    assert (real.hash("t")["state"], places(real, "t")) == (WAIT, ["timers"])
    if stops:
        assert elder("stop") == [b"OK"]
    else:
        real.store.control(Command.START, ["t"])
        assert places(real, "t") == ["queue"]
        return
    # It knows no timers: the entry stays until its time, when ours finds that the task waits no more.
    make_due(real, "t")
    assert real.store.due().moved == 0
    assert (real.hash("t")["state"], places(real, "t")) == (STOPPED, [])


def test_it_claims_a_task_that_was_pushed_out_of_the_timers(real, elder):
    """Ours has put the task into the timers; a client pushes it again, and the old worker takes it."""
    ref = real.running("t")
    fields = {"error": "lost", "restarts": "1", "failed_at": "5.5"}
    real.store.commit([Change("t", ref.run, X, Trigger.RETRY, fields, delay=1000)])
    real.lpush("t")
    assert claimed(elder("claim")) == b"OK"
    make_due(real, "t")
    assert real.store.due().moved == 0, "a running task is not queued by a timer that the old worker left"
    assert (real.hash("t")["state"], places(real, "t")) == (RUNNING, [])
    assert elder("fail") == b"OK"
    assert real.hash("t")["state"] == ERROR
    real.store.control(Command.START, ["t"])
    (answer,) = real.claim(NEW)
    assert answer.won
    assert answer.fields is None, "a start forgets the restarts that the old worker left"
    assert real.store.commit([Change("t", NEW.run, X, Trigger.END)]) == [Verdict.OK]
    assert real.hash("t")["state"] == ENDED


@pytest.mark.parametrize("verb", ["release", "fail"])
def test_it_neither_gives_what_was_saved_to_its_task_nor_removes_it(real, elder, verb):
    real.push("t", saved='{"at":5}', saved_at="1.5", saved_by="x:1 7")
    assert claimed(elder("claim")) == b"OK"
    assert elder(verb) == b"OK"
    if verb == "fail":
        real.store.control(Command.START, ["t"])
    (answer,) = real.claim(NEW)
    assert answer.fields == StartFields(saved=b'{"at":5}')
    assert real.store.renew([NEW], {NEW.run: Save("t", NEW.run, 1, b"6")}) == {}
    assert real.hash("t")["saved"] == "6"


def test_what_it_leaves_after_an_end_is_removed_by_the_next_start_of_ours(real, elder):
    real.push("t", saved="5", saved_at="1.5")
    assert claimed(elder("claim")) == b"OK"
    assert elder("fail") == b"OK"
    real.write("t", state=ENDED)  # what it writes after an end differs in nothing else
    real.lpush("t")
    (answer,) = real.claim(NEW)
    assert answer.fields is None
    assert "saved" not in real.hash("t")


def paused(real, task_id="t"):
    assert real.store.control(Command.PAUSE, [task_id])[0] in (Verdict.OK, Verdict.REQUESTED)


def test_its_start_does_nothing_to_a_paused_task_and_its_stop_holds(real, elder):
    real.push("t")
    paused(real)
    assert elder("start") == [b"STATE"]
    assert (real.hash("t")["state"], real.paused()) == (WAIT, {"t"})
    assert elder("stop") == [b"OK"]
    assert real.hash("t")["state"] == STOPPED
    # What it leaves means nothing to ours, and goes with the next start, or with a sweep.
    assert real.store.control(Command.PAUSE, ["t"]) == [Verdict.STATE]
    assert real.store.control(Command.START, ["t"]) == [Verdict.OK]
    assert "paused" not in real.hash("t")
    assert real.paused() == set()
    assert real.claim(NEW)[0].won


def test_it_goes_on_with_a_run_that_is_to_pause_and_what_it_hands_back_waits_for_a_resume(real, elder):
    real.push("t")
    assert claimed(elder("claim")) == b"OK"
    paused(real)
    assert real.hash("t")["control"] == "pause", "a request that it does not know, and ignores"
    assert elder("release") == b"OK"
    assert real.queue() == ["t"]
    (answer,) = real.claim(NEW)
    assert answer.verdict is Verdict.PAUSED
    assert (real.queue(), real.paused()) == ([], {"t"})


def test_it_starts_a_paused_task_that_it_finds_in_the_queue(real, elder):
    real.push("t")
    paused(real)
    real.lpush("t")
    assert claimed(elder("claim")) == b"OK"
    assert real.hash("t")["state"] == RUNNING
    assert elder("fail") == b"OK"
    assert (real.hash("t")["state"], real.hash("t").get("paused") is None) == (ERROR, False)
    real.lpush("t")
    assert real.claim(NEW)[0].won, "what it left of the pause does not hold a later start"
    assert "paused" not in real.hash("t")


def test_it_starts_a_task_of_a_paused_function(real, elder):
    real.store.hold_functions(["f"])
    real.push("t")
    assert claimed(elder("claim")) == b"OK"


def test_it_knows_no_limits_and_leaves_the_lists(real, elder):
    """What it claims holds no slot, so a run of ours may live beside it.

    A slow sweep of ours gives it one.
    """
    rules = {"f": Rule(group_limit=1)}
    real.push("t", group="g")
    assert claimed(elder("claim")) == b"OK"
    assert real.slots("group:g") == set()
    real.store.repair(0, 90)
    assert real.slots("group:g") == {"t"}
    real.push("u", group="g")
    (answer,) = real.claim(RunRef("u", "new:2"), rules=rules)
    assert answer.verdict is Verdict.WAITING
    # Its end frees nothing: a look of ours finds the slot without a run, and wakes who waits.
    assert elder("fail") == b"OK"
    assert (real.slots("group:g"), real.queue()) == ({"t"}, [])
    real.look_again()
    real.store.serve(rules)
    assert (real.slots("group:g"), real.queue()) == (set(), ["u"])


def test_its_stop_of_a_task_that_waits_for_a_slot_holds(real, elder):
    rules = {"f": Rule(group_limit=1)}
    real.push("a", group="g")
    real.claim(RunRef("a", "new:1"), rules=rules)
    real.push("t", group="g", state=WAIT)
    real.claim(RunRef("t", "new:2"), rules=rules)
    assert elder("stop") == [b"OK"]
    assert (real.hash("t")["state"], real.line("group:g")) == (STOPPED, ["t"])
    real.store.commit([Change("a", "new:1", X, Trigger.END)])
    assert (real.queue(), real.line("group:g")) == ([], [])
