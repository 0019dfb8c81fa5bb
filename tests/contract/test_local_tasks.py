"""Pre-started tasks: runs without a push."""

import pytest

from pytask.domain.lifecycle import Trigger
from pytask.domain.record import (
    Verdict,
)
from tests.contract.benches import ended


@pytest.mark.wire
def test_a_local_task_is_a_run_like_any_other(bench):
    ref = bench.ref("a", session="s-1")
    claim = bench.store.open_local(ref, "f", b"[1]", "w")
    assert (claim.verdict, claim.function, claim.data) == (Verdict.OK, "f", b"[1]")
    bench.assert_registered(ref)
    assert (bench.hash("a")["local"], bench.queue()) == ("s-1", [])
    assert bench.events() == [("a", "running", {"worker": "w", "run": ref.run, "epoch": claim.epoch})]
    before = bench.dump()
    again = bench.store.open_local(ref, "f", b"[1]", "w")
    assert (again.verdict, again.epoch, again.data) == (Verdict.ALREADY, claim.epoch, b"[1]")
    assert bench.dump() == before
    assert bench.store.renew([ref]) == {}


@pytest.mark.wire
@pytest.mark.parametrize("recreated", [False, True])
def test_one_whose_hash_is_another_by_now_is_not_told_to_run(bench, recreated):
    ref = bench.ref("a")
    bench.store.open_local(ref, "f", b"[1]", "w")
    bench.delete("a")
    if recreated:
        bench.push("a", data=b"[2]")
    assert bench.store.open_local(ref, "f", b"[1]", "w").verdict is Verdict.GONE


@pytest.mark.wire
def test_a_released_local_task_is_deleted(bench):
    ref = bench.ref("a")
    bench.store.open_local(ref, "f", b"null", "w")
    assert bench.store.commit([ended(ref, Trigger.RELEASE, local=True)]) == [Verdict.OK]
    assert not bench.exists("a")
    assert (bench.runs(), bench.leases(), bench.queue()) == ({}, {}, [])


@pytest.mark.wire
def test_an_expired_local_task_is_deleted(bench):
    ref = bench.ref("a")
    bench.store.open_local(ref, "f", b"null", "w")
    assert bench.store.expire([bench.expiry(ref)]) == [Verdict.OK]
    assert not bench.exists("a")
    assert (bench.runs(), bench.leases(), bench.queue()) == ({}, {}, [])
