"""What `commit` promises: an end is written once, by the run that the hash names."""

import pytest

from pytask.domain.lifecycle import ENDED, ERROR, RESTING, STOPPED, WAIT, Trigger
from pytask.domain.record import (
    Change,
    Expiry,
    RunRef,
    Verdict,
)
from tests.contract.benches import STRANGER, X, ended, words


@pytest.mark.wire
@pytest.mark.parametrize(
    ("trigger", "fields", "state"),
    [
        (Trigger.END, {"output": b'{"x":1}'}, ENDED),
        (Trigger.FAIL, {"error": "it broke"}, ERROR),
        (Trigger.STOP, {}, STOPPED),
        (Trigger.RELEASE, {}, WAIT),
    ],
)
def test_an_end_is_written_once(bench, trigger, fields, state):
    ref = bench.running("a")
    bench.events()
    change = ended(ref, trigger, fields=fields)
    assert bench.store.commit([change]) == [Verdict.OK]
    bench.assert_at_rest("a", state)
    found = bench.hash("a")
    assert found["last_run"] == ref.run
    for name, value in fields.items():
        assert found[name] == (value.decode() if isinstance(value, bytes) else value)
    assert bench.queue() == (["a"] if trigger is Trigger.RELEASE else [])
    assert bench.events() == [("a", "x", None)]
    before = bench.dump()
    assert bench.store.commit([change]) == [Verdict.ALREADY]
    assert bench.dump() == before
    assert bench.events() == []


@pytest.mark.wire
def test_a_released_task_is_taken_next_and_an_expired_one_last(bench):
    released, expired = bench.running("r"), bench.running("e")
    for task_id in "ab":
        bench.push(task_id)
    bench.store.commit([ended(released, Trigger.RELEASE)])
    bench.store.expire([bench.expiry(expired)])
    assert bench.queue() == ["e", "b", "a", "r"]
    assert bench.store.peek(1) == [b"r"]


@pytest.mark.wire
def test_a_wrong_run_changes_and_says_nothing(bench):
    bench.running("a")
    bench.events()
    before = bench.dump()
    wrong = RunRef("a", STRANGER)
    changes = [Change("a", STRANGER, X), *(ended(wrong, t) for t in (Trigger.END, Trigger.RELEASE))]
    assert bench.store.commit(changes) == [Verdict.FENCED] * 3
    assert bench.store.renew([wrong]) == {wrong: Verdict.FENCED}
    assert bench.store.reload(wrong, bench.ref("a"), "w", 9).verdict is Verdict.FENCED
    assert bench.store.open_local(wrong, "f", b"1", "w").verdict is Verdict.FENCED
    assert bench.store.expire([Expiry(id="a", run=STRANGER, seen=bench.leases()["a"])]) == [Verdict.FENCED]
    assert bench.dump() == before
    assert bench.events() == []


def test_the_end_of_an_older_run_does_not_reach_the_newer(bench):
    old = bench.running("a")
    bench.store.expire([bench.expiry(old)])
    new = bench.ref("a")
    assert words(bench.claim(new)) == [Verdict.OK]
    assert bench.store.commit([ended(old)]) == [Verdict.ALREADY]  # it did end: by expiry
    bench.assert_registered(new)


@pytest.mark.wire
def test_the_events_of_a_batch_are_published_in_order(bench):
    a, b = bench.running("a"), bench.running("b")
    bench.events()
    batch = [
        Change("a", a.run, b'{"event":"one","data":1}'),
        Change("b", STRANGER, b'{"event":"stranger","data":null}'),
        Change("b", b.run, b'{"event":"two","data":{"x":[1]}}'),
        Change("a", a.run, b'{"event":"three","data":"\xc3\xbc"}'),
        Change("a", a.run, b"", Trigger.END),
        Change("a", a.run, b'{"event":"late","data":null}'),
    ]
    verdicts = bench.store.commit(batch)
    assert verdicts == ["OK", "FENCED", "OK", "OK", "OK", "FENCED"]
    assert bench.events() == [("a", "one", 1), ("b", "two", {"x": [1]}), ("a", "three", "ü")]
    bench.assert_at_rest("a", ENDED)
    bench.assert_registered(b)


def test_the_end_twice_in_a_batch_is_done_once(bench):
    ref = bench.running("a")
    assert bench.store.commit([ended(ref), ended(ref)]) == [Verdict.OK, Verdict.ALREADY]
    assert [name for _, name, _ in bench.events()] == ["running", "x"]


@pytest.mark.parametrize("trigger", [Trigger.END, Trigger.FAIL, Trigger.STOP, Trigger.RELEASE])
@pytest.mark.parametrize("anew", [False, True])
def test_a_deleted_hash_is_not_made_again(bench, trigger, anew):
    ref = bench.running("a")
    bench.events()
    bench.delete("a")
    if anew:
        bench.write("a", function="f")
    assert bench.store.commit([ended(ref, trigger)]) == [Verdict.GONE]
    assert bench.exists("a") == anew
    assert bench.hash("a") == ({"function": "f"} if anew else {})
    assert (bench.runs(), bench.leases(), bench.queue()) == ({}, {}, [])
    assert not any(bench.index(state) for state in RESTING)
    assert bench.events() == []


def test_a_finished_hash_has_no_expiry_of_its_own(bench):
    days, forever, not_at_all = (bench.running(i) for i in "abc")
    changes = [ended(days, keep=100), ended(forever), ended(not_at_all, keep=0)]
    assert bench.store.commit(changes) == [Verdict.OK] * 3
    assert bench.ttl("a") is bench.ttl("b") is None
    assert not bench.exists("c")
    assert bench.index(ENDED) == {"a", "b"}
    assert [i for i, name, _ in bench.events() if name == "x"] == ["a", "b", "c"]


def test_an_ended_run_forgives_crashes_and_a_failed_one_does_not(bench):
    good, bad = (bench.running(i, crashes="2", crash_at="5") for i in "ab")
    bench.store.commit([ended(good), ended(bad, Trigger.FAIL)])
    assert "crashes" not in bench.hash("a")
    assert bench.hash("b")["crashes"] == "2"


def test_an_end_is_taken_although_the_registry_lost_the_run(bench):
    ref = bench.running("a")
    bench.drop("runs")
    assert bench.store.commit([Change("a", ref.run, X), ended(ref)]) == [Verdict.OK, Verdict.OK]
    bench.assert_at_rest("a", ENDED)
