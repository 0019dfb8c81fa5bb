"""What is found and mended where registry, leases and hashes do not agree."""

import pytest

from pytask.domain.lifecycle import WAIT
from pytask.domain.record import (
    Expiry,
    Verdict,
)


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
