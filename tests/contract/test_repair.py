"""What is found and mended where registry, leases and hashes do not agree."""

import pytest

from pytask.adapters.redis import monitor_calls
from pytask.adapters.redis.scope import Scope
from pytask.domain.lifecycle import WAIT, Trigger
from pytask.domain.messages import Command
from pytask.domain.record import (
    Change,
    Expiry,
    Verdict,
)
from tests.contract.benches import X


def read_runs_of(bench, prefix):
    found, cursor = [], 0
    while True:
        cursor, some = bench.store.runs_of(prefix, cursor)
        found += some
        if not cursor:
            return {one.id: one for one in found}


@pytest.mark.wire
def test_the_runs_of_a_process_are_found_by_their_prefix(bench):
    for i in range(600):  # enough for a hash that is scanned in steps
        session = "dead.s1" if i % 200 == 0 else "deadly.s2"
        task_id = f"t{i}"
        bench.push(task_id, crashes="1")
        assert bench.claim(bench.ref(task_id, session))[0].won
    found = read_runs_of(bench, "dead.")
    assert set(found) == {"t0", "t200", "t400"}
    for task_id, one in found.items():
        fields = bench.hash(task_id)
        assert (one.run, one.lease) == (fields["run"], bench.leases()[task_id])
        assert (one.epoch, one.crashes) == (int(fields["epoch"]), 1)
    assert read_runs_of(bench, "nobody.") == {}


def test_a_registered_run_without_lease_or_hash_is_found_too(bench):
    ref = bench.running("a")
    bench.delete("a")
    bench.drop("leases")
    found = read_runs_of(bench, "session:")
    assert [(one.id, one.run, one.lease, one.crashes) for one in found.values()] == [("a", ref.run, 0, 0)]
    expiry = Expiry(id="a", run=ref.run, seen=0)
    assert bench.store.expire([expiry]) == ["OK"]
    assert bench.runs() == {}


@pytest.mark.wire
def test_a_lease_of_nobody_is_dropped(bench):
    """Found by chaos: a worker died, a client deleted its task's hash, and another one `pytask:runs`."""
    bench.running("gone")
    named = bench.running("named")
    bench.set_lease("gone", 7)
    bench.set_lease("named", 8)
    bench.delete("gone")
    bench.drop("runs")
    assert [one.id for one in bench.store.suspects(1, 1)] == ["named"]
    assert list(bench.leases()) == ["named"]  # its owner may live: the next renewal registers it again
    assert bench.store.renew([named]) == {}
    assert bench.runs() == {"named": named.run}


@pytest.mark.wire
def test_a_registered_run_without_a_lease_gets_one_in_the_slow_sweep(bench):
    ref = bench.running("a")
    bench.drop("leases")
    assert bench.store.repair(0, 90)[1] == 1
    bench.assert_registered(ref)


@pytest.mark.wire
def test_a_registered_run_without_a_lease_or_a_hash_is_cleared_away(bench):
    """Its worker is dead, a client deleted the hash, and the leases were lost: no monitor would see it."""
    refs = [bench.running(task_id) for task_id in ("gone", "anew", "stays")]
    bench.delete("gone")
    bench.delete("anew")
    bench.push("anew")
    bench.drop("leases")
    assert bench.store.suspects(500, 500) == []
    assert set(bench.leases()) == {ref.id for ref in refs}
    found = [Expiry(id=r.id, run=r.run, seen=bench.leases()[r.id], crashes=0, poison=False) for r in refs]
    assert bench.store.expire(found[:2]) == [Verdict.OK, Verdict.OK]
    assert set(bench.runs()) == set(bench.leases()) == {"stays"}
    assert bench.hash("gone") == {}


@pytest.mark.parametrize("lost", ["runs", "leases"])
def test_a_dead_run_is_handed_on_though_a_client_deleted_the_registry_or_the_leases(bench, lost):
    ref, living = bench.running("a"), bench.running("b")
    bench.set_lease("a", 7)
    bench.drop(lost)
    bench.store.suspects(500, 500)  # the first sweep: runs without a lease are given one
    bench.store.renew([living])
    bench.set_lease("a", 7)
    (suspect,) = bench.store.suspects(500, 500)
    assert (suspect.id, suspect.run, suspect.lease) == ("a", ref.run, 7)
    expiry = Expiry(id="a", run=suspect.run, seen=suspect.lease)
    bench.events()
    assert bench.store.expire([expiry]) == [Verdict.OK]
    bench.assert_at_rest("a", WAIT)
    assert bench.queue() == ["a"]
    assert bench.store.expire([expiry]) == [Verdict.ALREADY]
    bench.assert_registered(living)


def test_a_living_owner_that_registers_again_keeps_its_run(bench):
    ref = bench.running("a")
    bench.set_lease("a", 7)
    bench.drop("runs")
    (suspect,) = bench.store.suspects(500, 500)
    bench.store.renew([ref])
    assert bench.store.expire([Expiry(id="a", run=suspect.run, seen=suspect.lease)]) == [Verdict.RENEWED]
    bench.assert_registered(ref)


@pytest.mark.parametrize("odd", ["9" * 20, "-1", "1e400", "nan", "yesterday"])
def test_a_spoiled_time_does_not_keep_a_task_from_repair(bench, odd):
    bench.write("a", function="f", state="RUNNING", last_update=odd)
    assert bench.store.repair(0, 90)[1] == 1
    assert bench.queue() == ["a"]


def sweep(bench, expiry=-10):
    repaired, cursor = 0, None
    while cursor != 0:
        cursor, more = bench.store.repair(cursor or 0, expiry)
        repaired += more
    return repaired


@pytest.mark.wire
@pytest.mark.parametrize("place", ["timers", "queue"])
def test_a_task_that_waits_in_no_place_is_queued_in_the_slow_sweep(bench, place):
    """A client deleted the place."""
    bench.store.commit([Change(r.id, r.run, X, Trigger.RETRY, {}, delay=1e6) for r in [bench.running("a")]])
    bench.push("b", not_before=f"{bench.now() / 1e6 + 1e6:.3f}")
    bench.claim(bench.ref("b"))
    if place == "queue":
        for task_id in "ab":
            bench.set_timer(task_id, 5)
        bench.store.due()
    bench.push("new")  # never claimed: its hash has no state, and nothing is said of it
    bench.drop(place)
    bench.events()
    assert sweep(bench, 90) == 0  # not yet: a client may be about to write
    assert sweep(bench) == 2
    assert set(bench.queue()) - {"new"} == {"a", "b"}
    reason = {"reason": "it was in none of the places where tasks wait"}
    assert sorted(bench.events()) == [("a", "requeued", reason), ("b", "requeued", reason)]
    assert sweep(bench) == 0
    (a, b) = bench.claim(bench.ref("a"), bench.ref("b"))
    assert (a.verdict, b.verdict) == (Verdict.OK, Verdict.DELAYED)


def test_a_task_in_its_place_stays_there_in_the_slow_sweep(bench):
    bench.push("parked", function="g")
    bench.claim(bench.ref("parked"))
    assert bench.store.park("parked", "g", X) is Verdict.OK
    bench.push("timed", not_before=f"{bench.now() / 1e6 + 1e6:.3f}")
    bench.claim(bench.ref("timed"))
    bench.push("queued", state="WAIT")
    bench.push("paused")
    bench.store.control(Command.PAUSE, ["paused"])
    before = bench.dump()
    assert sweep(bench) == 0
    assert bench.dump() == before


def test_a_list_that_is_too_long_is_taken_to_have_the_task(real):
    real.write("a", function="f", state="WAIT")
    real.raw.lpush(real.keys.queue, *range(10_001))
    assert sweep(real) == 0
    real.raw.ltrim(real.keys.queue, 0, 9)
    real.raw.lpush(real.keys.parking("f"), *range(10_001))
    assert sweep(real) == 0
    real.raw.delete(real.keys.parking("f"))
    assert sweep(real) == 1


def test_what_changed_since_it_was_seen_is_not_queued(real):
    """The first script tells what may be lost, the second one looks again."""
    for task_id in "abc":
        real.write(task_id, function="f", state="WAIT")
    calls = monitor_calls.put_back(Scope(real.keys), ["a", "b", "c"], [b"f", b"g", b"f"])
    real.set_timer("a", 5)
    assert real.raw.execute_command(*calls.command(whole=True)) == 1
    assert real.queue() == ["c"]
