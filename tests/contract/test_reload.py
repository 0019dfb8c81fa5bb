"""What `reload` promises: a new run in place, or a refusal that is written down."""

import hashlib
import json

import attrs
import pytest

from pytask.domain import history
from pytask.domain.lifecycle import STOPPED, WAIT, Trigger
from pytask.domain.messages import Command
from pytask.domain.record import Change, InForce, RunRef, Trial, Verdict
from tests.contract.benches import X

DATA = b'{"a":1}'
GOOD = InForce("f", DATA)


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
    bench.write("a", data="5")
    bench.events()
    judged = bench.store.preview(ref, 1000)
    assert bench.store.refuse(judged, "$.a", 'it is "odd"', GOOD) is Verdict.OK
    bench.assert_registered(ref)
    fields = bench.hash("a")
    assert "control" not in fields
    assert (fields["data"], fields["data_bad"]) == (DATA.decode(), "5")
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
    assert bench.store.refuse(judged, "$", "bad", GOOD) is Verdict.MOVED
    assert (bench.dump(), bench.events()) == (before, [])
    assert bench.store.refuse(bench.store.preview(ref, 1000), "$", "bad", GOOD) is Verdict.OK


def test_data_that_was_not_read_is_refused_by_its_size(bench):
    ref = bench.running("a")
    bench.write("a", data="x" * 20)
    judged = bench.store.preview(ref, 10)
    bench.write("a", data="x" * 21)
    assert bench.store.refuse(judged, "$", "bad", GOOD) is Verdict.MOVED
    assert bench.store.refuse(bench.store.preview(ref, 10), "$", "bad", GOOD) is Verdict.OK


@pytest.mark.wire
def test_a_refusal_keeps_a_stop_and_writes_nothing_for_another_run(bench):
    ref = bench.running("a")
    judged = bench.store.preview(ref, 1000)
    bench.store.control(Command.STOP, ["a"])
    assert bench.store.refuse(judged, "$", "bad", GOOD) is Verdict.OK
    assert bench.hash("a")["control"] == "stop"
    before = bench.dump()
    other = bench.ref("a")
    assert bench.store.refuse(attrs.evolve(judged, run=other.run), "$", "bad", GOOD) is Verdict.FENCED
    assert bench.store.settle(other) is Verdict.FENCED
    assert bench.dump() == before
    bench.delete("a")
    assert bench.store.refuse(judged, "$", "bad", GOOD) is bench.store.settle(ref) is Verdict.GONE
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


@pytest.mark.wire
@pytest.mark.parametrize(("good", "bad"), [(DATA, b"5"), (None, b"5"), (DATA, None), (b'{"x":2}', DATA)])
def test_a_refusal_puts_back_what_is_in_force_and_can_be_repeated(bench, good, bad):
    ref = bench.running("a")
    write(bench, data=bad)
    bench.write("a", function="g")
    bench.store.control(Command.RELOAD, ["a"])
    judged, force = bench.store.preview(ref, 1000), InForce("f", good)
    assert bench.store.refuse(judged, "$", "bad", force) is Verdict.OK
    assert texts(bench, "function", "data", "data_bad") == ["f", shown(good), shown(bad)]
    before = bench.dump()
    bench.events()
    assert bench.store.refuse(judged, "$", "bad", force) is Verdict.ALREADY
    assert (bench.dump(), bench.events()) == (before, [])
    # Refused twice in a row: the last one is kept.
    bench.write("a", data="oops")
    again = bench.store.preview(ref, 1000)
    assert bench.store.refuse(again, "$", "bad", force) is Verdict.OK
    assert texts(bench, "data", "data_bad") == [shown(good), "oops"]


def test_a_refusal_of_data_that_was_not_read_keeps_it(bench):
    ref = bench.running("a")
    bench.write("a", data="x" * 20)
    judged = bench.store.preview(ref, 10)
    assert bench.store.refuse(judged, "$", "bad", GOOD) is Verdict.OK
    assert texts(bench, "data", "data_bad") == [DATA.decode(), "x" * 20]
    assert bench.store.refuse(judged, "$", "bad", GOOD) is Verdict.ALREADY


@pytest.mark.wire
def test_new_data_is_on_trial_until_it_has_lived(bench):
    old, new = bench.running("a"), bench.ref("a")
    bench.write("a", data="2", data_bad="old", rolled_back="old", reloaded="old")
    claim = bench.store.reload(old, new, "w", 1000, lived=GOOD)
    assert claim.trial
    fields = bench.hash("a")
    assert (fields["trial"], fields["data_ok"], fields["data"]) == (new.run, DATA.decode(), "2")
    assert not {"data_bad", "rolled_back", "reloaded"} & set(fields)
    assert bench.store.reload(old, new, "w", 1000, lived=GOOD).trial, "a repeated call"
    assert bench.store.settle(new) is Verdict.OK
    assert bench.hash("a")["trial"] == new.run
    assert bench.store.settle(new, "another") is Verdict.OK
    assert bench.hash("a")["trial"] == new.run
    assert bench.store.settle(new, new.run) is Verdict.OK
    assert not {"trial", "data_ok"} & set(bench.hash("a"))


@pytest.mark.parametrize("data", [DATA, None])
def test_the_same_data_is_not_on_trial(bench, data):
    old, new = bench.running("a"), bench.ref("a")
    write(bench, data=data)
    claim = bench.store.reload(old, new, "w", 1000, lived=InForce("f", data))
    assert (claim.verdict, claim.trial) == (Verdict.OK, False)
    assert not {"trial", "data_ok"} & set(bench.hash("a"))
    assert not bench.store.reload(old, new, "w", 1000, lived=InForce("f", data)).trial


def test_data_too_large_to_be_read_is_on_trial_also_where_no_data_lived(bench):
    old, new = bench.running("a", data="0123456789x"), bench.ref("a")
    claim = bench.store.reload(old, new, "w", 10, lived=InForce("f", None))
    assert (claim.verdict, claim.trial) == (Verdict.OK, True)


def test_a_reload_during_a_trial_keeps_the_data_that_lived(bench):
    old, second, third = bench.running("a"), bench.ref("a"), bench.ref("a")
    bench.write("a", data="2")
    bench.store.reload(old, second, "w", 1000, lived=GOOD)
    bench.write("a", data="3")
    assert bench.store.reload(second, third, "w", 1000).trial
    assert texts(bench, "trial", "data_ok", "data") == [third.run, DATA.decode(), "3"]
    # In place, and back to what had lived: no trial is left.
    bench.write("a", data="4")
    taken = bench.store.accept(bench.store.preview(third, 1000), f"{third.run}#1", "w")
    assert (taken.verdict, taken.trial) == (Verdict.OK, True)
    assert texts(bench, "trial", "data_ok") == [f"{third.run}#1", DATA.decode()]
    bench.write("a", data=DATA.decode())
    assert not bench.store.accept(bench.store.preview(third, 1000), f"{third.run}#2", "w").trial
    assert not {"trial", "data_ok"} & set(bench.hash("a"))


@pytest.mark.parametrize("in_place", [False, True])
def test_data_that_was_on_trial_when_the_caller_looked(bench, in_place):
    old, second, third = bench.running("a"), bench.ref("a"), bench.ref("a")
    looked = InForce("f", b"2", on_trial=True)

    def reload():
        if in_place:
            return bench.store.accept(bench.store.preview(second, 1000), f"{second.run}#1", "w", looked)
        return bench.store.reload(second, third, "w", 1000, lived=looked)

    bench.write("a", data="2")
    bench.store.reload(old, second, "w", 1000, lived=GOOD)
    bench.write("a", data="3")
    bench.store.settle(second, second.run)
    assert reload().trial, "it has passed since: back to it"
    assert texts(bench, "data_ok", "data") == ["2", "3"]


@pytest.mark.parametrize("in_place", [False, True])
def test_data_that_is_still_on_trial_is_not_what_a_reload_goes_back_to(bench, in_place):
    old, second, third = bench.running("a"), bench.ref("a"), bench.ref("a")
    looked = InForce("f", b"2", on_trial=True)
    bench.write("a", data="2")
    bench.store.reload(old, second, "w", 1000, lived=GOOD)
    bench.write("a", data="3")
    if in_place:
        made = bench.store.accept(bench.store.preview(second, 1000), f"{second.run}#1", "w", looked)
    else:
        made = bench.store.reload(second, third, "w", 1000, lived=looked)
    assert made.trial
    assert texts(bench, "data_ok", "data") == [DATA.decode(), "3"]


def test_a_trial_of_another_run_is_not_continued(bench):
    old, new = bench.running("a"), bench.ref("a")
    bench.write("a", data="2", trial="other:1", data_ok="0")
    assert not bench.store.reload(old, new, "w", 1000).trial
    assert not {"trial", "data_ok"} & set(bench.hash("a"))


@pytest.mark.wire
def test_a_reload_in_place_is_recorded_and_the_run_goes_on(bench):
    ref, mark = (made := bench.running("a")), f"{made.run}#1"
    bench.store.control(Command.RELOAD, ["a"])
    bench.write("a", data="2", reload_refused="{}", data_bad="9", rolled_back="{}")
    bench.events()
    judged = bench.store.preview(ref, 1000)
    taken = bench.store.accept(judged, mark, "w2", GOOD)
    assert (taken.verdict, taken.trial, taken.data) == (Verdict.OK, True, b"2")
    bench.assert_registered(ref)
    fields = bench.hash("a")
    assert not {"control", "reload_refused", "data_bad", "rolled_back"} & set(fields)
    told = json.loads(fields["reloaded"])
    assert (told["epoch"], told["mark"], told["at"] > 0) == (judged.epoch, mark, True)
    assert (fields["trial"], fields["data_ok"], fields["data"]) == (mark, DATA.decode(), "2")
    about = {"worker": "w2", "run": ref.run, "epoch": judged.epoch, "in_place": True}
    assert bench.events() == [("a", "reloaded", about)]
    line = history.read(fields["history"])[-1]
    assert (line.trigger, line.source, line.target, line.who, line.why) == (
        "reload", "RUNNING", "RUNNING", "w2", "in place",
    )  # fmt: skip
    dump = bench.dump()
    again = bench.store.accept(judged, mark, "w2", GOOD)
    assert (again.verdict, again.trial) == (Verdict.ALREADY, True)
    assert (bench.dump(), bench.events()) == (dump, [])
    assert bench.store.renew([ref]) == {}


@pytest.mark.wire
def test_a_reload_in_place_records_nothing_for_other_data_or_another_run(bench):
    ref = bench.running("a")
    judged = bench.store.preview(ref, 1000)
    other = bench.ref("a")
    bench.store.control(Command.STOP, ["a"])
    assert bench.store.accept(judged, "m", "w", GOOD).verdict is Verdict.OK
    assert bench.hash("a")["control"] == "stop"
    bench.write("a", data="3")
    before = bench.dump()
    bench.events()
    assert bench.store.accept(judged, "n", "w", GOOD).verdict is Verdict.MOVED
    assert bench.store.accept(attrs.evolve(judged, run=other.run), "n", "w").verdict is Verdict.FENCED
    assert (bench.dump(), bench.events()) == (before, [])
    bench.delete("a")
    assert bench.store.accept(judged, "n", "w").verdict is Verdict.GONE
    assert not bench.exists("a")


@pytest.mark.wire
def test_a_repeated_request_can_be_dropped(bench):
    ref = bench.running("a")
    bench.write("a", settling="5")
    bench.store.control(Command.RELOAD, ["a"])
    assert bench.store.settle(ref, repeated=True) is Verdict.OK
    assert bench.hash("a")["control"] == "reload", "it was not answered yet"
    bench.write("a", reloaded="{}")
    assert bench.store.settle(ref, repeated=True) is Verdict.OK
    assert "control" not in bench.hash("a")
    assert bench.hash("a")["settling"] == "5"
    bench.store.control(Command.STOP, ["a"])
    assert bench.store.settle(ref, repeated=True) is Verdict.OK
    assert bench.hash("a")["control"] == "stop"


@pytest.mark.wire
@pytest.mark.parametrize("good", [DATA, None])
def test_a_run_that_fails_on_trial_is_queued_first_with_the_data_before(bench, good):
    old, new = bench.running("a"), bench.ref("a")
    bench.push("b")
    bench.write("a", data="2")
    assert bench.store.reload(old, new, "w", 1000, lived=InForce("f", good)).trial
    bench.events()
    change = failed(new, b"2")
    assert bench.store.commit([change]) == [Verdict.OK]
    bench.assert_at_rest("a", WAIT)
    assert bench.queue() == ["b", "a"]
    assert texts(bench, "data", "data_bad", "error") == [shown(good), "2", "no such host"]
    assert bench.hash("a")["rolled_back"] == "{}"
    assert not {"trial", "data_ok", "settling"} & set(bench.hash("a"))
    assert bench.events() == [("a", "x", None)]
    line = history.read(bench.hash("a")["history"])[-1]
    assert (line.trigger, line.target, line.why) == ("roll_back", "WAIT", "no such host")
    dump = bench.dump()
    assert bench.store.commit([change]) == [Verdict.ALREADY]
    assert bench.dump() == dump
    (again,) = bench.claim(bench.ref("a"))
    assert (again.won, again.data, again.trial) == (True, good, False)


@pytest.mark.wire
@pytest.mark.parametrize("how", ["requeued", "stopped", "poison", "in place", "paused", "unregistered"])
def test_the_death_of_the_worker_ends_a_trial_and_rolls_nothing_back(bench, how):
    """It need not be the fault of the data, and may have hit hundreds of tasks that nobody reloaded."""
    old, new = bench.running("a"), bench.ref("a")
    bench.write("a", data="2")
    if how == "in place":
        new = old
        assert bench.store.accept(bench.store.preview(old, 1000), f"{old.run}#1", "w", GOOD).trial
    else:
        assert bench.store.reload(old, new, "w", 1000, lived=GOOD).trial
    if how in ("stopped", "paused"):
        bench.store.control(Command.STOP if how == "stopped" else Command.PAUSE, ["a"])
    if how == "unregistered":
        bench.drop("runs")
    assert bench.store.expire([bench.expiry(new, poison=how == "poison")]) == [Verdict.OK]
    bench.assert_at_rest("a", {"stopped": "STOPPED", "poison": "ERROR"}.get(how, WAIT))
    fields = bench.hash("a")
    assert not {"trial", "data_ok", "data_bad", "rolled_back"} & set(fields)
    assert fields["data"] == "2"
    if how in ("requeued", "in place", "unregistered"):
        (again,) = bench.claim(bench.ref("a"))
        assert (again.won, again.data, again.trial) == (True, b"2", False)


@pytest.mark.parametrize("stops", [False, True])
def test_a_hash_that_nobody_runs_is_repaired_without_its_trial(bench, stops):
    control = {"control": "stop"} if stops else {}
    bench.write(
        "a", function="f", data="2", state="RUNNING", last_update=1, trial="x:1", data_ok="1", **control
    )
    assert bench.store.repair(0, 90)[1] == 1
    fields = bench.hash("a")
    assert (fields["state"], fields["data"]) == ("STOPPED" if stops else WAIT, "2")
    assert not {"trial", "data_ok", "control"} & set(fields)


@pytest.mark.parametrize("case", ["other data", "trial over", "nothing to go back to"])
def test_a_rollback_overwrites_nothing_that_was_written_since(bench, case):
    old, new = bench.running("a"), bench.ref("a")
    bench.write("a", data="2")
    bench.store.reload(old, new, "w", 1000, lived=GOOD)
    if case == "other data":
        bench.write("a", data="3")
    elif case == "trial over":
        bench.write("a", trial="other:1")
    else:
        bench.erase("a", "data_ok")
    data = bench.hash("a")["data"]
    assert bench.store.commit([failed(new, b"2")]) == [Verdict.OK]
    bench.assert_at_rest("a", WAIT)
    assert bench.hash("a")["data"] == data
    assert not {"trial", "data_ok", "data_bad"} & set(bench.hash("a"))
    assert "rolled_back" not in bench.hash("a"), "who waits for the newer data would take it for the answer"


@pytest.mark.wire
def test_a_stop_is_carried_out_with_a_rollback(bench):
    old, new = bench.running("a"), bench.ref("a")
    bench.write("a", data="2")
    bench.store.reload(old, new, "w", 1000, lived=GOOD)
    bench.store.control(Command.STOP, ["a"])
    bench.events()
    assert bench.store.commit([failed(new, b"2")]) == [Verdict.OK]
    bench.assert_at_rest("a", STOPPED)
    assert bench.queue() == []
    assert texts(bench, "data", "data_bad") == [DATA.decode(), "2"]
    assert bench.events() == [("a", "stopped", None)]


@pytest.mark.wire
@pytest.mark.parametrize("good", [DATA, b"", b"two words 1 \n\x00"])
def test_a_rollback_before_the_trial_is_stored_has_the_data_with_it(bench, good):
    """A task takes data in place and fails at once: its end reaches Redis before the record."""
    ref = bench.running("a")
    bench.write("a", data="2")
    judged = bench.store.preview(ref, 1000)
    assert bench.store.commit([failed(ref, b"2", good)]) == [Verdict.OK]
    (again,) = bench.claim(bench.ref("a"))
    assert (again.data or b"", bench.hash("a")["data_bad"]) == (good, "2")
    assert bench.store.accept(judged, f"{ref.run}#1", "w", GOOD).verdict is Verdict.FENCED


def test_a_rollback_goes_back_to_what_is_stored_if_there_is_something(bench):
    ref = bench.running("a")
    bench.write("a", data="2")
    bench.store.accept(bench.store.preview(ref, 1000), f"{ref.run}#1", "w", GOOD)
    assert bench.store.commit([failed(ref, b"2", b"9")]) == [Verdict.OK]
    assert bench.hash("a")["data"] == DATA.decode()


def test_a_rollback_by_another_run_changes_nothing(bench):
    bench.running("a")
    before = bench.dump()
    other = RunRef("a", "nobody:1")
    assert bench.store.commit([failed(other, b"2")]) == [Verdict.FENCED]
    assert bench.dump() == before


def failed(ref, data, good=None):
    rejected = hashlib.sha1(data, usedforsecurity=False).hexdigest()
    trial = Trial(rejected=rejected, good=good)
    return Change(
        ref.id, ref.run, X, Trigger.ROLL_BACK, {"error": "no such host", "rolled_back": "{}"}, trial=trial
    )


def write(bench, data):
    if data is None:
        bench.erase("a", "data")
    else:
        bench.write("a", data=data.decode())


def texts(bench, *names):
    return [bench.hash("a").get(name) for name in names]


def shown(data):
    return None if data is None else data.decode()


@pytest.mark.parametrize("accepted", [True, False])
def test_a_message_that_comes_after_the_answer_is_not_stored_again(bench, accepted):
    """Every worker receives it, and one of them is slower than the owner of the run."""
    ref = bench.running("a")
    bench.write("a", data="5")
    judged = bench.store.preview(ref, 1000)
    if accepted:
        assert bench.store.accept(judged, "m", "w", GOOD).won
    else:
        assert bench.store.refuse(judged, "$", "bad", GOOD) is Verdict.OK
    assert bench.store.control(Command.RELOAD, ["a"], [0.1]) == [Verdict.STATE]
    assert "control" not in bench.hash("a")
    # With other data it is another one, and so is what a client stores itself.
    bench.write("a", data="6")
    assert bench.store.control(Command.RELOAD, ["a"], [0.1]) == [Verdict.REQUESTED]
    bench.erase("a", "control")
    bench.write("a", data="5" if accepted else DATA.decode())
    assert bench.store.control(Command.RELOAD, ["a"]) == [Verdict.REQUESTED]
    assert bench.store.control(Command.RELOAD, ["a"], [0.1]) == [Verdict.REQUESTED], "it is there"
    # And so is one that comes long after.
    name = "reloaded" if accepted else "reload_refused"
    kept = json.loads(bench.hash("a")[name])
    bench.erase("a", "control")
    bench.write("a", **{name: json.dumps(kept | {"at": kept["at"] - 10}, separators=(",", ":"))})
    assert bench.store.control(Command.RELOAD, ["a"], [0.1]) == [Verdict.REQUESTED]


@pytest.mark.wire
def test_a_client_that_asks_again_is_told_apart_from_a_message_that_comes_late(bench):
    ref = bench.running("a")
    assert not bench.store.preview(ref, 1000).answered
    bench.write("a", data="5")
    assert bench.store.refuse(bench.store.preview(ref, 1000), "$", "bad", GOOD) is Verdict.OK
    bench.store.control(Command.RELOAD, ["a"])  # of a worker of an earlier release, which received it later
    assert bench.store.preview(ref, 1000).answered
    bench.store.control(Command.RELOAD, ["a"], fresh=True)
    assert not bench.store.preview(ref, 1000).answered
    assert "reload_refused" not in bench.hash("a")
    assert bench.store.accept(bench.store.preview(ref, 1000), "m", "w", GOOD).verdict is Verdict.OK
    assert bench.store.preview(ref, 1000).answered
    bench.store.control(Command.STOP, ["a"])
    bench.store.control(Command.RELOAD, ["a"], fresh=True)
    assert bench.hash("a")["control"] == "stop"
    assert "reloaded" not in bench.hash("a"), "the client must not take it for an answer to its request"


@pytest.mark.wire
def test_the_verbs_of_a_reload_work_while_the_registry_lacks_the_run(bench):
    """As a renewal does, which restores it: the hash names the run, so nobody has claimed the id since."""
    ref, other = bench.running("a"), bench.ref("a")
    bench.write("a", data="2")
    bench.drop("runs")
    judged = bench.store.preview(ref, 1000)
    assert (judged.verdict, judged.data) == (Verdict.OK, b"2")
    assert bench.store.refuse(judged, "$", "bad", GOOD) is Verdict.OK
    assert bench.store.accept(bench.store.preview(ref, 1000), "m", "w").verdict is Verdict.OK
    assert bench.store.settle(ref) is Verdict.OK
    for verdict in (
        bench.store.preview(other, 1000).verdict,
        bench.store.refuse(attrs.evolve(judged, run=other.run), "$", "bad", GOOD),
        bench.store.accept(attrs.evolve(judged, run=other.run), "n", "w").verdict,
        bench.store.settle(other),
        bench.store.reload(other, bench.ref("a"), "w", 1000).verdict,
    ):
        assert verdict is Verdict.GONE
    assert bench.runs() == {}
    new = bench.ref("a")
    assert bench.store.reload(ref, new, "w", 1000).verdict is Verdict.OK
    bench.assert_registered(new)
    bench.drop("runs")
    assert bench.store.reload(ref, new, "w", 1000).verdict is Verdict.ALREADY
