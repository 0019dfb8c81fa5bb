"""Workers of the first release of version 1.1 of the wire beside ours: what becomes of reloads.

`protocol_1_1_first.json` has the commands of such a worker as they were sent, for the task "t", its runs
"old:1" and "old:2" and the function "f": recorded from the last revision before reloads on trial.
"""

import json
from pathlib import Path

import pytest

from pytask.domain.crashes import Watch
from pytask.domain.lifecycle import ERROR, RUNNING
from pytask.domain.messages import Command
from pytask.domain.record import InForce, RunRef, Verdict

RECORDED = json.loads(Path(__file__).with_name("protocol_1_1_first.json").read_text("utf-8"))
DATA = b'{"a":1}'
GOOD = InForce("f", DATA)
OURS = RunRef("t", "new:1")


@pytest.fixture
def elder(real):
    """Sends what the old worker sends."""

    def send(verb):
        return real.raw.execute_command(*RECORDED[verb])

    return send


def test_it_leaves_refused_data_in_the_hash_and_removes_no_answer(real, elder):
    real.push("t")
    assert elder("claim")[0].split()[0] == b"OK"
    real.write("t", data="5")
    assert elder("refuse") == b"OK"
    assert (real.hash("t")["data"], "data_bad" in real.hash("t")) == ("5", False)
    # Ours, which takes the task over, starts with it: nothing says that it was refused.
    assert elder("release") == b"OK"
    (claim,) = real.claim(OURS)
    assert (claim.data, claim.trial) == (b"5", False)


def test_it_reloads_without_a_trial_and_ignores_one_that_ours_has_left(real, elder):
    real.push("t", trial="new:0", data_ok="9", reloaded="{}")
    assert elder("claim")[0].split()[0] == b"OK"
    assert elder("reload")[0] == b"OK"
    assert elder("settle") == b"OK"
    assert elder("fail") == b"OK"
    found = real.hash("t")
    assert (found["state"], found["data"], found["data_ok"]) == (ERROR, DATA.decode(), "9")
    # The next reload by ours is not mistaken for the continuation of that trial.
    real.store.control(Command.START, ["t"])
    assert real.claim(OURS)[0].won
    assert not real.store.reload(OURS, RunRef("t", "new:2"), "w", 1000).trial
    assert not {"trial", "data_ok", "reloaded"} & set(real.hash("t"))


def test_it_goes_on_with_the_new_data_of_a_run_of_ours_that_was_on_trial(real, elder):
    real.push("t")
    assert real.claim(OURS)[0].won
    real.write("t", data="2")
    second = RunRef("t", "new:2")
    assert real.store.reload(OURS, second, "w", 1000, lived=GOOD).trial
    assert real.store.expire([real.expiry(second)]) == [Verdict.OK]
    assert elder("claim")[0].split()[0] == b"OK"
    found = real.hash("t")
    assert (found["state"], found["data"]) == (RUNNING, "2")
    assert not {"trial", "data_ok"} & set(found), "the death of its worker has ended the trial"


def test_a_message_that_it_stores_late_is_recognized_by_the_owner(real, elder):
    """It does not look at the answer; ours does, before it restarts the task with the data that it has."""
    real.push("t")
    assert real.claim(OURS)[0].won
    real.write("t", data="5")
    real.store.control(Command.RELOAD, ["t"])
    assert real.store.refuse(real.store.preview(OURS, 1000), "$", "bad", GOOD) is Verdict.OK
    assert elder("request") == [b"REQUESTED"]
    assert real.store.renew([OURS]) == {OURS: Command.RELOAD}
    assert real.store.preview(OURS, 1000).answered
    assert real.store.settle(OURS, repeated=True) is Verdict.OK
    assert real.store.renew([OURS]) == {}


def test_its_runs_have_the_default_expiry_for_a_monitor_of_ours(real, elder):
    real.push("t")
    assert elder("claim")[0].split()[0] == b"OK"
    suspects, watch = real.store.suspects(-5, 5), Watch(90.0)
    assert [one.session for one in suspects] == ["old"]
    assert watch.observe(suspects, 0) == watch.observe(suspects, 90) == []
    assert len(watch.observe(suspects, 90.1)) == 1


def test_its_monitor_requeues_a_run_of_ours_with_a_shorter_expiry_only_later(real):
    """It reads and expires run ids whatever they are: its calls are ours, which did not change."""
    real.push("t")
    ours = RunRef("t", "new~e249:1")
    assert real.claim(ours)[0].won
    suspects, theirs = real.store.suspects(-5, 5), Watch(90.0, uniform=True)  # as it knows no sessions
    assert theirs.observe(suspects, 0) == theirs.observe(suspects, 25) == []
    assert Watch(90.0).observe(suspects, 0) == []
    (dead,) = theirs.observe(suspects, 90.1)
    assert dead.run == ours.run
    assert real.store.expire([dead]) == [Verdict.OK]
