"""Control requests in the store: stop, start and reload, and which replaces which."""

import pytest

from pytask.domain.lifecycle import STOPPED, WAIT, Trigger
from pytask.domain.messages import Command
from pytask.domain.record import (
    Verdict,
)
from tests.contract.benches import X, ended


@pytest.mark.wire
def test_stop_takes_a_waiting_task_out_of_the_queue(bench):
    for task_id in ("a", "b", "a"):
        bench.push(task_id)
    bench.set_ttl("a", 100)
    assert bench.store.control(Command.STOP, ["a"]) == [Verdict.OK]
    assert bench.queue() == ["b"]
    bench.assert_at_rest("a", STOPPED)
    assert bench.ttl("a") is None
    assert bench.events() == [("a", "stopped", None)]
    assert bench.store.control(Command.STOP, ["a"]) == [Verdict.STATE]
    assert bench.events() == []


@pytest.mark.wire
def test_stop_takes_a_parked_task_out_of_its_list(bench):
    bench.push("a", function="g")
    bench.store.park("a", "g", X)
    assert bench.store.control(Command.STOP, ["a"]) == [Verdict.OK]
    bench.assert_at_rest("a", STOPPED)
    assert bench.parking("g") == []
    assert bench.store.parked() == []


@pytest.mark.wire
def test_stop_of_a_run_is_written_down_for_its_owner(bench):
    ref = bench.running("a")
    bench.events()
    for _ in range(2):
        assert bench.store.control(Command.STOP, ["a"]) == [Verdict.REQUESTED]
    assert bench.hash("a")["control"] == "stop"
    bench.assert_registered(ref)
    assert bench.events() == []
    assert bench.store.renew([ref]) == {ref: Command.STOP}


@pytest.mark.wire
@pytest.mark.parametrize("command", [Command.STOP, Command.PAUSE])
def test_a_message_for_many_reaches_those_that_wait_too(bench, command):
    bench.push("parked", function="g")
    bench.store.park("parked", "g", X)
    bench.push("queued", function="h")
    bench.store.commit([ended(bench.running("over"))])
    ref = bench.running("runs")
    asked = ["queued", "runs", "nobody", "parked", "over"]
    expected = [Verdict.OK, Verdict.REQUESTED, Verdict.NOHASH, Verdict.OK, Verdict.STATE]
    assert bench.store.control(command, asked, [0.0] * 5) == expected
    assert (bench.queue(), bench.parking("g")) == ([], [])
    for task_id in ("queued", "parked"):
        bench.assert_at_rest(task_id, STOPPED if command is Command.STOP else WAIT)
    assert bench.store.renew([ref]) == {ref: command}


def test_stop_reaches_a_run_that_the_registry_forgot(bench):
    ref = bench.running("a")
    bench.drop("runs")
    assert bench.store.control(Command.STOP, ["a"]) == [Verdict.REQUESTED]
    assert bench.store.renew([ref]) == {ref: Command.STOP}


def test_a_stop_of_a_hash_recreated_under_a_dying_run_is_carried_out_and_not_only_acknowledged(bench):
    bench.running("a")
    bench.delete("a")
    bench.push("a")
    assert bench.store.control(Command.RELOAD, ["a"]) == [Verdict.STATE]
    assert bench.store.control(Command.STOP, ["a"]) == [Verdict.REQUESTED]  # its owner is told, too
    assert (bench.hash("a")["state"], bench.queue()) == (STOPPED, [])
    assert "control" not in bench.hash("a")


def test_reload_does_not_replace_a_stop(bench):
    ref = bench.running("a")
    bench.store.control(Command.STOP, ["a"])
    assert bench.store.control(Command.RELOAD, ["a"]) == [Verdict.REQUESTED]
    assert bench.store.renew([ref]) == {ref: Command.STOP}


def test_stop_replaces_a_reload(bench):
    ref = bench.running("a")
    bench.store.control(Command.RELOAD, ["a"])
    bench.store.control(Command.STOP, ["a"])
    assert bench.store.renew([ref]) == {ref: Command.STOP}


@pytest.mark.parametrize("trigger", [Trigger.END, Trigger.FAIL, Trigger.STOP])
def test_stop_and_start_of_what_rested_and_was_pushed_again(bench, trigger):
    bench.store.commit([ended(bench.running("a"), trigger)])
    bench.push("a")
    bench.events()
    assert bench.store.control(Command.STOP, ["a"]) == [Verdict.OK]
    assert bench.queue() == []
    bench.assert_at_rest("a", STOPPED)
    assert bench.events() == [("a", "stopped", None)]
    bench.push("a")
    assert bench.store.control(Command.START, ["a"]) == [Verdict.OK]
    assert bench.queue() == ["a"]
    bench.assert_at_rest("a", WAIT)


@pytest.mark.wire
def test_start_puts_a_task_at_rest_into_the_queue(bench):
    for task_id, trigger in zip("abc", (Trigger.END, Trigger.FAIL, Trigger.STOP), strict=True):
        bench.store.commit([ended(bench.running(task_id, crashes="2"), trigger, keep=100)])
    bench.write("c", control="stop")
    bench.events()
    assert bench.store.control(Command.START, ["a", "b", "c"]) == [Verdict.OK] * 3
    assert bench.queue() == ["c", "b", "a"]
    for task_id in "abc":
        bench.assert_at_rest(task_id, WAIT)
        assert bench.ttl(task_id) is None
        assert bench.hash(task_id)["crashes"] == "0"
    assert "control" not in bench.hash("c")
    assert bench.events() == [(i, "queued", None) for i in "abc"]
    assert bench.store.control(Command.START, ["a"]) == [Verdict.STATE]


def test_a_stop_from_before_the_last_start_does_not_undo_it(bench):
    bench.store.commit([ended(bench.running("a"), Trigger.STOP)])
    assert bench.store.control(Command.START, ["a"]) == [Verdict.OK]
    assert bench.store.control(Command.STOP, ["a"], [60.0]) == [Verdict.STATE]
    assert bench.queue() == ["a"]
    ref = bench.ref("a")
    bench.claim(ref)
    assert bench.store.control(Command.STOP, ["a"], [60.0]) == [Verdict.STATE]
    assert "control" not in bench.hash("a")
    assert bench.store.control(Command.STOP, ["a"], [0.0]) == [Verdict.REQUESTED]
    assert bench.store.renew([ref]) == {ref: Command.STOP}


def test_one_start_that_two_workers_carry_out_starts_a_short_task_once(bench):
    bench.store.commit([ended(bench.running("a"))])
    assert bench.store.control(Command.START, ["a"], [60.0]) == [Verdict.OK]
    ref = bench.ref("a")
    bench.claim(ref)
    bench.store.commit([ended(ref)])
    assert bench.store.control(Command.START, ["a"], [60.0]) == [Verdict.STATE]
    assert bench.store.control(Command.START, ["a"], [0.0]) == [Verdict.OK]


@pytest.mark.parametrize("rubbish", ["", "soon", "nan", "inf", "-1", "99999999999"])
def test_a_time_of_start_that_cannot_be_right_hides_no_stop(bench, rubbish):
    bench.push("a")
    bench.write("a", start_at=rubbish)
    assert bench.store.control(Command.STOP, ["a"], [60.0]) == [Verdict.OK]


@pytest.mark.parametrize("command", list(Command))
def test_control_of_what_is_no_task(bench, command):
    bench.set_string("s")
    before = bench.dump()
    nothing = Verdict.STATE if command is Command.RELOAD else Verdict.NOHASH
    assert bench.store.control(command, ["absent", "s"]) == [nothing, Verdict.BADTYPE]
    assert bench.dump() == before
    assert bench.store.control(command, []) == []
