"""Parking: ids of functions that no worker here knows, in lists of their own."""

import json

import pytest

from pytask.adapters.rules import Retention
from pytask.domain.lifecycle import STOPPED, WAIT
from pytask.domain.messages import Command, IdFault
from pytask.domain.record import Verdict
from tests.contract.benches import X, words

ODD = "caf\udce9"  # the byte 0xE9 as it is read from a hash


def park(bench, task_id, function):
    bench.push(task_id, function=function)
    assert bench.store.park(task_id, function, X) is Verdict.OK


def verdict(bench, task_id, *, functions, source):
    (claim,) = bench.claim(bench.ref(task_id), functions=functions, source=source)
    return claim.verdict


@pytest.mark.wire
def test_a_parked_id_whose_hash_went_is_rejected_from_the_parking_list(bench):
    park(bench, "a", "g")
    park(bench, "b", "g")
    bench.delete("a")
    assert verdict(bench, "a", functions=["g"], source="g") is Verdict.NOHASH
    assert bench.store.reject(b"a", IdFault.NO_HASH) is Verdict.MOVED  # it is not in the queue
    assert bench.store.reject(b"a", IdFault.NO_HASH, "g") is Verdict.OK
    assert bench.parking("g") == ["b"]


@pytest.mark.wire
def test_a_parked_id_whose_function_changed_moves_to_the_other_list(bench):
    park(bench, "a", "g")
    bench.write("a", function="h")
    assert verdict(bench, "a", functions=["g"], source="g") is Verdict.UNKNOWN
    assert bench.store.park("a", "h", X, "g") is Verdict.OK
    assert (bench.parking("g"), bench.parking("h")) == ([], ["a"])
    assert bench.index(WAIT) == {"a"}


def test_a_function_that_is_not_text_is_parked_like_any_other(bench):
    bench.push("a", function=b"caf\xe9")
    (claim,) = bench.claim(bench.ref("a"))
    assert (claim.verdict, claim.function) == (Verdict.UNKNOWN, ODD)
    assert bench.store.park("a", claim.function, X) is Verdict.OK
    assert (bench.queue(), bench.parking(ODD), bench.store.parked()) == ([], ["a"], [ODD])
    bench.store.hint(ODD)
    assert bench.store.control(Command.STOP, ["a"]) == [Verdict.OK]
    assert (bench.parking(ODD), bench.store.parked()) == ([], [])


@pytest.mark.wire
@pytest.mark.parametrize("kept", [0, 60, None])
def test_the_hash_of_a_stopped_task_is_kept_as_long_as_asked(make, kept):
    bench = make(retention=Retention(stopped=kept))
    bench.push("waits")
    assert bench.store.control(Command.STOP, ["waits"]) == [Verdict.OK]
    bench.push("ran")
    ref = bench.ref("ran")
    bench.claim(ref)
    bench.store.control(Command.STOP, ["ran"])
    assert bench.store.expire([bench.expiry(ref, crashes=1)]) == [Verdict.OK]
    for task_id in ("waits", "ran"):
        assert bench.exists(task_id) is (kept != 0)
        assert bench.ttl(task_id) is None
    assert bench.index(STOPPED) == (set() if kept == 0 else {"waits", "ran"})
    assert bench.queue() == []


@pytest.mark.wire
def test_a_verdict_that_a_client_wrote_into_control_is_no_verdict(bench):
    bench.push("a")
    ref = bench.ref("a")
    bench.claim(ref)
    bench.write("a", control="GONE")
    assert bench.store.renew([ref]) == {}


def test_a_huge_word_in_control_is_no_request(bench):
    bench.push("a")
    ref = bench.ref("a")
    bench.claim(ref)
    bench.write("a", control="x" * 1_000_000)
    assert bench.store.renew([ref]) == {}
    bench.assert_registered(ref)


def test_a_sweep_looks_at_no_more_than_a_thousand_parking_lists(real):
    with real.raw.pipeline(transaction=False) as pipe:
        for number in range(10_000):
            pipe.sadd(real.keys.parked, f"made-up-{number}")
            pipe.lpush(real.keys.parking(f"made-up-{number}"), "a")
        pipe.execute()
    assert len(set(real.store.parked())) == 1000


@pytest.mark.wire
def test_park_and_claim_from_the_parking_list(bench):
    bench.push("a", function="g")
    bench.set_ttl("a", 100)
    assert bench.store.park("a", "g", b'{"event":"parked","data":{"function":"g"}}') is Verdict.OK
    assert (bench.queue(), bench.parking("g")) == ([], ["a"])
    assert bench.ttl("a") is None
    assert bench.events() == [("a", "parked", {"function": "g"})]
    assert bench.store.parked() == ["g"]
    assert bench.store.peek(5, "g") == [b"a"]
    ref = bench.ref("a")
    assert words(bench.claim(ref, functions=["g"], source="g")) == [Verdict.OK]
    bench.assert_registered(ref)
    assert bench.parking("g") == []
    assert bench.store.parked() == []


def test_an_id_that_left_the_queue_is_not_parked(bench):
    bench.write("a", function="g")
    before = bench.dump()
    assert bench.store.park("a", "g", X) is Verdict.MOVED
    assert bench.store.park("nothing", "g", X) is Verdict.MOVED
    assert bench.dump() == before


def test_one_copy_is_parked_at_a_time(bench):
    bench.push("a", function="g")
    bench.push("b")
    bench.push("a", function="g")
    assert bench.store.park("a", "g", X) is Verdict.OK
    assert bench.queue() == ["a", "b"]


def test_names_that_json_must_escape(bench):
    bench.push('a"b\\')
    ref = bench.ref('a"b\\')
    (claim,) = bench.store.claim(bench.request(ref))
    assert claim.verdict is Verdict.OK
    ((task_id, name, data),) = bench.events()
    assert (task_id, name, data["run"]) == ('a"b\\', "running", ref.run)
    assert json.dumps(data)
