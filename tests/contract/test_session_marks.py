"""Sessions that name the expiry of their runs, through every verb that sees run ids."""

import pytest

from pytask.domain import lifecycle as life
from pytask.domain.crashes import Watch
from pytask.domain.lifecycle import Trigger
from pytask.domain.record import Change, RunRef, Verdict

T = 90.0
SHORT = "w.4f1c~e249"


@pytest.fixture
def fleet(bench):
    """A run of a worker with a short failover, and one of a worker without."""
    refs = RunRef("a", f"{SHORT}:1"), RunRef("b", "w.77aa:1")
    for ref in refs:
        bench.push(ref.id)
    assert [claim.won for claim in bench.claim(*refs)] == [True, True]
    return refs


def test_a_monitor_reads_the_expiry_of_each_with_its_run(bench, fleet):
    found = {one.run: one for one in bench.store.suspects(-5, 5)}
    assert found.keys() == {ref.run for ref in fleet}
    watch, suspects = Watch(T), list(found.values())
    assert watch.observe(suspects, 0) == []
    (dead,) = watch.observe(suspects, 25)
    assert bench.store.expire([dead]) == [Verdict.OK]
    assert (bench.hash("a")["state"], bench.hash("b")["state"]) == (life.WAIT, life.RUNNING)
    assert watch.observe([found["w.77aa:1"]], 89) == []


def test_both_are_renewed_in_one_call_saved_and_ended(bench, fleet):
    short, long = fleet
    assert bench.store.renew([short, long]) == {}
    assert bench.store.renew([RunRef("a", f"{SHORT}:2"), long]).keys() == {RunRef("a", f"{SHORT}:2")}
    assert bench.store.commit([Change("a", short.run, b"", Trigger.RELEASE)]) == [Verdict.OK]
    (again,) = bench.claim(RunRef("a", f"{SHORT}:3"))
    assert again.won


def test_the_runs_of_a_dead_process_are_found_by_its_prefix(bench, fleet):
    found, cursor = {}, 0
    while True:
        cursor, some = bench.store.runs_of("w.4f1c", cursor)
        found |= {one.id: one.session for one in some}
        if not cursor:
            break
    assert found == {"a": SHORT}


def test_a_run_that_the_registry_lost_keeps_its_expiry(bench, fleet):
    bench.drop_entry("runs", "a")
    found = {one.id: one.session for one in bench.store.suspects(-5, 5)}
    assert found["a"] == SHORT
