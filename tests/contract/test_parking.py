"""What happens inside a parking list, and to names that are not text."""

import pytest

from pytask.adapters.rules import Retention
from pytask.domain.lifecycle import STOPPED, WAIT
from pytask.domain.messages import Command, IdFault
from pytask.domain.record import Verdict

X = b'{"event":"x","data":null}'
ODD = "caf\udce9"  # the byte 0xE9 as it is read from a hash


def park(bench, task_id, function):
    bench.push(task_id, function=function)
    assert bench.store.park(task_id, function, X) is Verdict.OK


def verdict(bench, task_id, *, functions, source):
    (claim,) = bench.claim(bench.ref(task_id), functions=functions, source=source)
    return claim.verdict


def test_a_parked_id_whose_hash_went_is_rejected_from_the_parking_list(bench):
    park(bench, "a", "g")
    park(bench, "b", "g")
    bench.delete("a")
    assert verdict(bench, "a", functions=["g"], source="g") is Verdict.NOHASH
    assert bench.store.reject(b"a", IdFault.NO_HASH) is Verdict.MOVED  # it is not in the queue
    assert bench.store.reject(b"a", IdFault.NO_HASH, "g") is Verdict.OK
    assert bench.parking("g") == ["b"]


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


def test_a_verdict_that_a_client_wrote_into_control_is_no_verdict(bench):
    bench.push("a")
    ref = bench.ref("a")
    bench.claim(ref)
    bench.write("a", control="GONE")
    assert bench.store.renew([ref]) == {}


def test_a_huge_word_in_control_is_no_wish(bench):
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
