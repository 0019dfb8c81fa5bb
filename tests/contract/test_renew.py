"""What `renew` promises: the lease of each run, and the name of each that is not well."""

import pytest

from pytask.domain.leases import Chunk
from pytask.domain.lifecycle import Trigger
from pytask.domain.messages import Command
from pytask.domain.record import (
    RunRef,
    Verdict,
)
from tests.contract.benches import STRANGER, ended


@pytest.mark.wire
def test_renew_moves_the_lease_and_names_only_what_is_not_well(bench):
    ours, fenced, deleted, anew, stopped, reloaded = (bench.running(i) for i in "abcdef")
    bench.set_lease("a", 5)
    bench.write("a", state="WAIT")  # a client's doing
    bench.delete("c")
    bench.delete("d")
    bench.write("d", function="f")
    bench.store.control(Command.STOP, ["e"])
    bench.store.control(Command.RELOAD, ["f"])
    other = RunRef(fenced.id, STRANGER)
    before = bench.dump()
    assert bench.store.renew([other]) == {other: Verdict.FENCED}
    assert bench.dump() == before
    assert bench.store.renew([ours, deleted, anew, stopped, reloaded]) == {
        deleted: Verdict.GONE,
        anew: Verdict.GONE,
        stopped: Command.STOP,
        reloaded: Command.RELOAD,
    }
    bench.assert_registered(ours)
    assert abs(bench.leases()["a"] - bench.now()) < 60e6
    assert not bench.exists("c")  # no ghost
    assert bench.hash("d") == {"function": "f"}
    assert bench.store.renew([]) == {}


@pytest.mark.wire
def test_a_large_renewal_names_the_right_ones_in_each_of_its_calls(bench):
    refs = [bench.running(f"t{number}") for number in range(610)]
    gone, stopped, fenced, reloaded = (refs[n] for n in (0, 249, 250, 609))
    bench.delete(gone.id)
    bench.store.control(Command.STOP, [stopped.id])
    bench.store.control(Command.RELOAD, [reloaded.id])
    refs[250] = other = RunRef(fenced.id, STRANGER)
    bench.set_lease(refs[400].id, 5)
    expected = {
        gone: Verdict.GONE,
        stopped: Command.STOP,
        other: Verdict.FENCED,
        reloaded: Command.RELOAD,
    }
    chunk = Chunk(refs)  # as a worker sends it: packed once, sent every time
    assert bench.store.renew(chunk) == expected
    bench.forget_scripts()
    assert bench.store.renew(chunk) == expected
    assert abs(bench.leases()[refs[400].id] - bench.now()) < 60e6


@pytest.mark.parametrize("lost", [["runs"], ["leases"], ["runs", "leases"]])
def test_renew_restores_a_lost_registry(bench, lost):
    refs = [bench.running("a"), bench.running("b")]
    for name in lost:
        bench.drop(name)
    assert bench.store.renew(refs) == {}
    for ref in refs:
        bench.assert_registered(ref)


@pytest.mark.wire
def test_an_ended_run_is_not_restored_by_a_late_renewal(bench):
    ref = bench.running("a")
    bench.store.commit([ended(ref)])
    before = bench.dump()
    assert bench.store.renew([ref]) == {ref: Verdict.GONE}
    assert bench.dump() == before


def test_a_key_of_another_type_does_not_fail_the_chunk(bench):
    broken, well = bench.running("a"), bench.running("b")
    bench.delete("a")
    bench.set_string("a")
    assert bench.store.renew([broken, well]) == {broken: Verdict.GONE}
    assert bench.store.commit([ended(broken, Trigger.RELEASE)]) == [Verdict.GONE]
    assert (set(bench.runs()), set(bench.leases())) == ({"b"}, {"b"})


@pytest.mark.parametrize("word", ["hop", "GONE!", ""])
def test_a_request_of_a_newer_release_is_ignored(bench, word):
    ref = bench.running("a", control=word)
    bench.write("a", control=word)
    assert bench.store.renew([ref]) == {}


def test_two_runs_of_one_id_in_a_renewal_are_judged_by_one_look_at_the_registry(bench):
    """A worker that gives up an old run may still hold it beside the new one: the answer has no order."""
    old, new = bench.ref("t"), bench.running("t")
    bench.drop("runs")
    assert bench.store.renew([new, old]) == {old: Verdict.GONE}
    assert bench.store.renew([new, old]) == {old: Verdict.FENCED}


def later(bench, ref):
    """Whether a renewal since has written `last_update`."""
    moved = bench.hash(ref.id)["last_update"] != "5"
    bench.write(ref.id, last_update="5")
    return moved


@pytest.mark.wire
def test_a_renewal_writes_last_update_where_it_is_asked_to(bench):
    ref = bench.running("a")
    chunk = Chunk([ref])
    bench.write("a", last_update="5")
    found = []
    for chunk.stamps in (True, False, False, True):
        bench.set_lease("a", 5)
        assert bench.store.renew(chunk) == {}
        assert abs(bench.leases()["a"] - bench.now()) < 60e6  # the lease is moved each time
        found.append(later(bench, ref))
    assert found == [True, False, False, True]
    assert bench.store.renew([ref]) == {}
    assert later(bench, ref)


@pytest.mark.wire
def test_a_renewal_without_last_update_looks_at_the_hash_all_the_same(bench):
    well, gone, stopped, lost = (bench.running(i) for i in "abcd")
    chunk = Chunk([well, gone, stopped, lost])
    chunk.stamps = False
    bench.delete("b")
    bench.store.control(Command.STOP, ["c"])
    bench.drop("runs")
    bench.write("d", last_update="5")
    assert bench.store.renew(chunk) == {gone: Verdict.GONE, stopped: Command.STOP}
    assert not bench.exists("b")
    bench.assert_registered(lost)
    assert later(bench, lost)  # restored, it is as after a claim


@pytest.mark.wire
@pytest.mark.parametrize(
    "values", [["s:1 s:2", ""], ["", "s:1 s:2"], ["s:1", " s:2"], ["s:1", "s:3"], ["%0", "%1"]]
)
def test_runs_are_not_taken_for_others_that_look_alike_together(bench, values):
    """The runs of a call are compared in one piece: what a client writes must not look like two of them."""
    bench.running("a"), bench.running("b")
    ours = [RunRef("a", "s:1"), RunRef("b", "s:2")]
    for ref, value in zip(ours, values, strict=True):
        bench.write(ref.id, run=ref.run)
        bench.set_run(ref.id, value)
    found = bench.store.renew(Chunk(ours))
    assert found == {ref: Verdict.FENCED for ref, value in zip(ours, values, strict=True) if value != ref.run}
