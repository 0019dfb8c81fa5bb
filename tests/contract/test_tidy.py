"""Finished hashes and their index: deleted when they were kept long enough."""

import pytest

from pytask.domain.lifecycle import ENDED, ERROR, RESTING, STOPPED, Trigger, destination
from tests.contract.benches import ended


def finished(bench, task_id, trigger, seconds):
    """A task that ended so long ago."""
    bench.store.commit([ended(bench.running(task_id), trigger, keep=60)])
    bench.set_index(destination(trigger), task_id, bench.now() / 1e6 - seconds)


@pytest.mark.wire
def test_hashes_go_once_they_rested_as_long_as_they_are_kept(bench):
    # ENDED is kept for 60 s here, ERROR for 120 s, STOPPED for ever.
    for trigger in (Trigger.END, Trigger.FAIL, Trigger.STOP):
        for seconds in (0, 90, 150):
            finished(bench, f"{trigger}-{seconds}", trigger, seconds)
    bench.store.retire()
    assert bench.index(ENDED) == {"end-0"}
    assert bench.index(ERROR) == {"fail-0", "fail-90"}
    assert bench.index(STOPPED) == {"stop-0", "stop-90", "stop-150"}
    there = {f"{t}-{s}" for t in ("end", "fail", "stop") for s in (0, 90, 150)}
    assert {i for i in there if bench.exists(i)} == there - {"end-90", "end-150", "fail-150"}


@pytest.mark.wire
def test_a_hash_stays_while_its_id_waits_again(bench):
    """As plain Redis pushes it: nothing in the hash tells of it but the data."""
    finished(bench, "weekly", Trigger.END, 10_000)
    finished(bench, "other", Trigger.END, 10_000)
    bench.push("weekly", data='{"week":2}')
    bench.store.retire()
    assert not bench.exists("other")
    assert bench.hash("weekly")["data"] == '{"week":2}'
    bench.store.retire()
    (claim,) = bench.claim(bench.ref("weekly"))
    assert (claim.won, claim.data) == (True, b'{"week":2}')
    bench.store.retire()
    assert bench.hash("weekly")["state"] == "RUNNING"


@pytest.mark.parametrize("change", ["gone", "string", "claimed", "stale"])
def test_an_index_entry_that_is_no_longer_true_deletes_nothing(bench, change):
    if change == "string":
        bench.set_string("a")
    if change == "claimed":
        bench.running("a")
    if change == "stale":
        bench.write("a", function="f")
    before = bench.hash("a")
    bench.set_index(ENDED, "a", 1_000_000)
    bench.store.retire()
    assert bench.index(ENDED) == set()
    assert bench.hash("a") == before
    assert bench.exists("a") is (change != "gone")


def test_the_index_follows_the_state(bench):
    ref = bench.running("a")
    for trigger, state in ((Trigger.END, ENDED), (Trigger.FAIL, ERROR), (Trigger.STOP, STOPPED)):
        bench.store.commit([ended(ref, trigger)])
        assert [s for s in RESTING if bench.index(s)] == [state]
        ref = bench.running("a")
        assert not any(bench.index(s) for s in RESTING)
