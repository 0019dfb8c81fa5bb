"""What `reload` promises: a new run in place, or a refusal that is written down."""

import json

import attrs
import pytest

from pytask.domain import history
from pytask.domain.messages import Command
from pytask.domain.record import (
    Verdict,
)


@pytest.mark.wire
def test_what_a_reload_would_begin_with_can_be_read_before(bench):
    ref = bench.running("a")
    bench.write("a", data="2")
    before = bench.dump()
    claim = bench.store.preview(ref, 1000)
    assert (claim.verdict, claim.run, claim.function, claim.data) == (Verdict.OK, ref.run, "f", b"2")
    assert claim.epoch == int(bench.hash("a")["epoch"])
    assert bench.store.preview(bench.ref("a"), 1000).verdict is Verdict.FENCED
    bench.write("a", data="x" * 11)
    assert (bench.store.preview(ref, 10).oversize, bench.store.preview(ref, 10).data) == (11, None)
    bench.write("a", data="2")
    assert bench.dump() == before
    bench.delete("a")
    assert bench.store.preview(ref, 1000).verdict is Verdict.GONE


@pytest.mark.wire
def test_a_refused_reload_leaves_the_run_and_says_so(bench):
    ref = bench.running("a")
    bench.store.who = "yew"
    bench.store.control(Command.RELOAD, ["a"])
    bench.events()
    judged = bench.store.preview(ref, 1000)
    assert bench.store.refuse(judged, "$.a", 'it is "odd"') is Verdict.OK
    bench.assert_registered(ref)
    fields = bench.hash("a")
    assert "control" not in fields
    kept = json.loads(fields["reload_refused"])
    assert (kept["epoch"], kept["path"], kept["reason"]) == (judged.epoch, "$.a", 'it is "odd"')
    assert kept["at"] > 0
    refusal = {"path": "$.a", "reason": 'it is "odd"', "epoch": judged.epoch}
    assert bench.events() == [("a", "reload-refused", refusal)]
    line = history.read(fields["history"])[-1]
    assert (line.trigger, line.target, line.who, line.why) == ("refuse", "RUNNING", "yew", '$.a: it is "odd"')
    assert bench.store.renew([ref]) == {}


@pytest.mark.wire
@pytest.mark.parametrize("changed", [{"data": "3"}, {"function": "g"}, {"data": ""}])
def test_other_data_than_was_judged_is_not_refused(bench, changed):
    ref = bench.running("a")
    judged = bench.store.preview(ref, 1000)
    bench.store.control(Command.RELOAD, ["a"])
    bench.write("a", **changed)
    before = bench.dump()
    bench.events()
    assert bench.store.refuse(judged, "$", "bad") is Verdict.MOVED
    assert (bench.dump(), bench.events()) == (before, [])
    assert bench.store.refuse(bench.store.preview(ref, 1000), "$", "bad") is Verdict.OK


def test_data_that_was_not_read_is_refused_by_its_size(bench):
    ref = bench.running("a")
    bench.write("a", data="x" * 20)
    judged = bench.store.preview(ref, 10)
    bench.write("a", data="x" * 21)
    assert bench.store.refuse(judged, "$", "bad") is Verdict.MOVED
    assert bench.store.refuse(bench.store.preview(ref, 10), "$", "bad") is Verdict.OK


@pytest.mark.wire
def test_a_refusal_keeps_a_stop_and_writes_nothing_for_another_run(bench):
    ref = bench.running("a")
    judged = bench.store.preview(ref, 1000)
    bench.store.control(Command.STOP, ["a"])
    assert bench.store.refuse(judged, "$", "bad") is Verdict.OK
    assert bench.hash("a")["control"] == "stop"
    before = bench.dump()
    other = bench.ref("a")
    assert bench.store.refuse(attrs.evolve(judged, run=other.run), "$", "bad") is Verdict.FENCED
    assert bench.store.settle(other) is Verdict.FENCED
    assert bench.dump() == before
    bench.delete("a")
    assert bench.store.refuse(judged, "$", "bad") is bench.store.settle(ref) is Verdict.GONE
    assert not bench.exists("a")


@pytest.mark.wire
def test_the_run_that_a_reload_began_settles_once_it_lives(bench):
    old, new = bench.running("a"), bench.ref("a")
    assert "settling" not in bench.hash("a")
    claim = bench.store.reload(old, new, "w", 1000)
    assert bench.hash("a")["settling"] == str(claim.epoch)
    assert bench.store.settle(old) is Verdict.FENCED
    assert bench.store.settle(new) is Verdict.OK
    assert "settling" not in bench.hash("a")
    assert bench.store.settle(new) is Verdict.OK


@pytest.mark.wire
def test_a_reload_is_a_new_run_in_place(bench):
    old = bench.running("a")
    bench.store.control(Command.RELOAD, ["a"])
    bench.write("a", data="2")
    before = int(bench.hash("a")["epoch"])
    bench.events()
    new = bench.ref("a")
    claim = bench.store.reload(old, new, "w2", 1000)
    assert (claim.verdict, claim.run, claim.function, claim.data) == (Verdict.OK, new.run, "f", b"2")
    assert claim.epoch > before
    bench.assert_registered(new)
    fields = bench.hash("a")
    assert "control" not in fields
    assert (fields["worker"], fields["last_run"]) == ("w2", old.run)
    assert bench.events() == [("a", "reloaded", {"worker": "w2", "run": new.run, "epoch": claim.epoch})]
    dump = bench.dump()
    again = bench.store.reload(old, new, "w2", 1000)
    assert (again.verdict, again.epoch, again.data) == (Verdict.ALREADY, claim.epoch, b"2")
    assert bench.dump() == dump
    assert bench.events() == []
    assert bench.store.renew([old]) == {old: Verdict.FENCED}


def test_a_reload_with_too_much_data_does_not_read_it(bench):
    old = bench.running("a", data="x" * 20)
    claim = bench.store.reload(old, bench.ref("a"), "w", 10)
    assert (claim.verdict, claim.data, claim.oversize) == (Verdict.OK, None, 20)


@pytest.mark.parametrize("change", ["delete", "anew", "string"])
def test_a_reload_of_what_is_gone(bench, change):
    old = bench.running("a")
    bench.delete("a")
    if change == "anew":
        bench.write("a", function="f")
    if change == "string":
        bench.set_string("a")
    before = bench.dump()
    assert bench.store.reload(old, bench.ref("a"), "w", 10).verdict is Verdict.GONE
    assert bench.dump() == before
