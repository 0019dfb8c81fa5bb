"""Ids that are taken out of the queue, because no task can be run under them."""

import time

import pytest

from pytask.domain.messages import IdFault
from pytask.domain.record import (
    Verdict,
)
from tests.contract.benches import words


@pytest.mark.wire
@pytest.mark.parametrize("reason", [IdFault.ENCODING, IdFault.CONTROL, IdFault.LONG, IdFault.RESERVED])
def test_an_impossible_id_is_noted_in_hex(bench, reason):
    raw = b"bad\xff\n"
    bench.lpush(raw)
    bench.push("good")
    assert bench.store.reject(raw, reason) is Verdict.OK
    assert bench.queue() == ["good"]
    (note,) = bench.rejected()
    assert (note["id_hex"], note["reason"]) == (raw.hex(), reason)
    assert abs(note["at"] - time.time()) < 60
    assert bench.events() == []  # no such channel
    assert bench.store.reject(raw, reason) is Verdict.MOVED


def test_an_id_without_a_hash_is_rejected_only_while_it_has_none(bench):
    bench.lpush("a")
    bench.write("a", function="f")
    assert bench.store.reject(b"a", IdFault.NO_HASH) is Verdict.MOVED
    assert bench.queue() == ["a"]
    bench.delete("a")
    assert bench.store.reject(b"a", IdFault.NO_HASH) is Verdict.OK
    assert (bench.queue(), bench.exists("a")) == ([], False)
    assert bench.events() == [("a", "rejected", {"reason": "no-hash"})]


def test_a_key_of_another_type_is_rejected_and_kept(bench):
    bench.lpush("a")
    assert bench.store.reject(b"a", IdFault.WRONG_TYPE) is Verdict.MOVED
    bench.set_string("a")
    assert bench.store.reject(b"a", IdFault.WRONG_TYPE) is Verdict.OK
    assert (bench.queue(), bench.exists("a")) == ([], True)
    assert bench.events() == [("a", "rejected", {"reason": "wrong-type"})]


@pytest.mark.wire
def test_the_id_of_a_local_task_is_rejected(bench):
    ref = bench.ref("a")
    bench.store.open_local(ref, "f", b"null", "w")
    bench.lpush("a")
    # While it runs the copy is a duplicate like any other.
    assert words(bench.claim(bench.ref("a"))) == [Verdict.DUPLICATE]
    bench.drop("runs")
    bench.drop("leases")
    bench.lpush("a")
    assert words(bench.claim(bench.ref("a"))) == [Verdict.LOCAL]
    assert bench.store.reject(b"a", IdFault.LOCAL) is Verdict.OK
    assert bench.queue() == []
    bench.push("b")
    assert bench.store.reject(b"b", IdFault.LOCAL) is Verdict.MOVED


@pytest.mark.wire
def test_a_key_of_another_type_is_not_rejected_as_a_local_task(bench):
    bench.lpush("a")
    bench.set_string("a")
    assert bench.store.reject(b"a", IdFault.LOCAL) is Verdict.MOVED
    assert bench.queue() == ["a"]
