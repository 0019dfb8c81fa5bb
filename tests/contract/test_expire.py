"""What a monitor does with runs whose lease is silent."""

import time

import pytest

from pytask.adapters.rules import Retention
from pytask.domain.lifecycle import ERROR, STOPPED, WAIT
from pytask.domain.messages import Command
from pytask.domain.record import (
    Verdict,
)
from tests.contract.benches import ended


@pytest.mark.wire
def test_suspects_lie_on_both_sides_of_the_window(bench):
    refs = {i: bench.running(i, crashes="1") for i in ("old", "young", "well", "near", "ahead")}
    now = bench.now()
    # Far apart, as time goes on while they are set and looked at.
    ages = {"old": -1000, "young": -100, "well": 0, "near": 100, "ahead": 1000}
    for task_id, age in ages.items():
        bench.set_lease(task_id, now + age * 1_000_000)
    found = bench.store.suspects(500, 500)
    assert [one.id for one in found] == ["old", "ahead"]
    (old, _) = found
    assert (old.run, old.lease, old.crashes) == (refs["old"].run, now - 1_000_000_000, 1)
    assert old.epoch == int(bench.hash("old")["epoch"])
    assert old.session == "session"
    assert {one.id for one in bench.store.suspects(50, 50)} == {"old", "young", "near", "ahead"}
    assert [one.id for one in bench.store.suspects(50, 50, limit=1)] == ["old", "near"]
    bench.drop("runs")  # their hashes name them still
    assert [(one.id, one.run) for one in bench.store.suspects(500, 500)] == [
        (i, refs[i].run) for i in ("old", "ahead")
    ]


def test_a_suspect_without_a_hash(bench):
    ref = bench.running("a")
    bench.delete("a")
    bench.set_string("a")
    bench.set_lease("a", 7)
    (one,) = bench.store.suspects(1, 1)
    assert (one.run, one.lease, one.epoch, one.crashes, one.age) == (ref.run, 7, 0, 0, 0.000007)


@pytest.mark.wire
def test_expiry_hands_the_task_on(bench):
    ref = bench.running("a")
    bench.events()
    expiry = bench.expiry(ref, crashes=2)
    assert bench.store.expire([expiry]) == [Verdict.OK]
    bench.assert_at_rest("a", WAIT)
    assert (bench.hash("a")["crashes"], bench.queue()) == ("2", ["a"])
    assert bench.events() == [("a", "requeued", {"reason": "lease expired"})]
    before = bench.dump()
    assert bench.store.expire([expiry]) == [Verdict.ALREADY]
    assert bench.dump() == before


def test_a_renewed_lease_is_not_expired(bench):
    ref = bench.running("a")
    bench.events()
    expiry = bench.expiry(ref)
    time.sleep(0.001)
    assert bench.store.renew([ref]) == {}
    before = bench.dump()
    assert bench.store.expire([expiry]) == [Verdict.RENEWED]
    assert bench.dump() == before
    assert bench.events() == []


def test_a_task_asked_to_stop_is_not_handed_on(bench):
    ref = bench.running("a")
    bench.store.control(Command.STOP, ["a"])
    bench.events()
    assert bench.store.expire([bench.expiry(ref, crashes=4, poison=True)]) == [Verdict.OK]
    bench.assert_at_rest("a", STOPPED)
    assert bench.queue() == []
    assert "control" not in bench.hash("a")
    assert bench.events() == [("a", "stopped", None)]


@pytest.mark.wire
def test_poison_is_an_error(bench):
    ref = bench.running("a")
    bench.events()
    assert bench.store.expire([bench.expiry(ref, crashes=4, poison=True)]) == [Verdict.OK]
    bench.assert_at_rest("a", ERROR)
    fields = bench.hash("a")
    assert fields["crashes"] == "4"
    assert fields["error"].startswith("poison")
    assert bench.queue() == []
    assert bench.ttl("a") is None
    assert bench.events() == [("a", "error", {"error": fields["error"]})]


@pytest.mark.parametrize("kept", [None, 0, 30])
def test_poison_is_kept_as_long_as_other_errors(make, kept):
    bench = make(retention=Retention(error=kept))
    ref = bench.running("a")
    assert bench.store.expire([bench.expiry(ref, crashes=4, poison=True)]) == [Verdict.OK]
    assert bench.exists("a") is (kept != 0)
    assert bench.ttl("a") is None
    assert bench.index(ERROR) == (set() if kept == 0 else {"a"})
    assert (bench.runs(), bench.leases()) == ({}, {})


@pytest.mark.parametrize("change", ["delete", "anew", "string"])
def test_expiry_of_what_is_gone_only_clears_the_registry(bench, change):
    ref = bench.running("a")
    bench.events()
    bench.delete("a")
    if change == "anew":
        bench.write("a", function="f")
    if change == "string":
        bench.set_string("a")
    assert bench.store.expire([bench.expiry(ref)]) == [Verdict.OK]
    assert (bench.runs(), bench.leases(), bench.queue()) == ({}, {}, [])
    assert bench.hash("a") == ({"function": "f"} if change == "anew" else {}) if change != "string" else True
    assert bench.events() == []


@pytest.mark.wire
def test_a_batch_of_expiries(bench):
    refs = [bench.running(i) for i in "abc"]
    batch = [bench.expiry(ref) for ref in refs]
    bench.store.commit([ended(refs[1])])
    bench.set_lease("c", 5)
    assert bench.store.expire(batch) == ["OK", "ALREADY", "RENEWED"]
    assert bench.queue() == ["a"]


@pytest.mark.wire
@pytest.mark.parametrize(("name", "value"), [("state", "ENDED"), ("run", "not a run"), ("run", "")])
def test_a_lease_whose_hash_names_no_run_that_runs_is_no_suspect(bench, name, value):
    bench.running("a")
    bench.set_lease("a", 7)
    bench.drop("runs")
    bench.write("a", **{name: value})
    assert bench.store.suspects(500, 500) == []


@pytest.mark.parametrize("odd", ["9" * 20, "-1", "inf", "nan", "many"])
def test_a_monitor_counts_spoiled_numbers_as_the_scripts_do(bench, odd):
    ref = bench.running("a")
    bench.write("a", crashes=odd, epoch=odd)
    (suspect,) = bench.store.suspects(-1000, 0)
    assert (suspect.run, suspect.crashes, suspect.epoch) == (ref.run, 0, 0)


@pytest.mark.wire
@pytest.mark.parametrize("crashes", [0, 1])
def test_the_claim_after_a_death_knows_how_long_nobody_ran_the_task(bench, crashes):
    ref = bench.running("a")
    lease = bench.now() - 40_000_000
    bench.set_lease("a", lease)
    bench.store.expire([bench.expiry(ref, crashes=crashes)])
    assert bench.hash("a")["lost_at"] == f"{lease / 1e6:.6f}"
    again = bench.ref("a")
    (claim,) = bench.claim(again)
    assert (claim.crashes, 40 <= claim.silent < 60) == (crashes, True)
    (repeated,) = bench.claim(again)  # its reply was lost: it is counted once
    assert (repeated.verdict, repeated.crashes, repeated.silent) == (Verdict.ALREADY, crashes, None)
    bench.store.commit([ended(again)])
    assert "lost_at" not in bench.hash("a")


def test_a_claim_after_something_else_was_done_is_no_takeover(bench):
    ref = bench.running("a")
    bench.store.expire([bench.expiry(ref)])
    bench.store.control(Command.STOP, ["a"])
    bench.store.control(Command.START, ["a"])
    (claim,) = bench.claim(bench.ref("a"))
    assert (claim.won, claim.silent) == (True, None)


def test_an_older_release_wrote_no_time(bench):
    bench.push("a", state="WAIT", crashes="1", crash_at="5.000001", last_update="5.000001", last_run="x:1")
    (claim,) = bench.claim(bench.ref("a"))
    assert (claim.crashes, claim.silent) == (1, None)
