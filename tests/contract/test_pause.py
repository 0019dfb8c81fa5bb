"""Pause and resume: by id, of what waits and of what runs; and of functions, whose tasks no worker starts."""

import pytest

from pytask.domain.lifecycle import RUNNING, STOPPED, WAIT, Trigger
from pytask.domain.messages import Command
from pytask.domain.record import Adoption, Change, Confirmation, Expiry, Verdict
from tests.contract.benches import X, ended

FUTURE = "9999999999"


def pause(bench, *ids, ages=()):
    return bench.store.control(Command.PAUSE, ids, ages)


def resume(bench, *ids, ages=()):
    return bench.store.control(Command.START, ids, ages)


def confirm(bench, ref, word):
    (answer,) = bench.store.confirm([Confirmation(ref.id, ref.run, word)])
    return answer


def places(bench, task_id):
    found = {
        "queue": task_id in bench.queue(),
        "parked": task_id in bench.parking("f") + bench.parking("g"),
        "timers": task_id in bench.timers(),
        "paused": task_id in bench.paused(),
    }
    return [name for name, there in found.items() if there]


def names(bench):
    return [name for _, name, _ in bench.events()]


def held_run(bench, task_id="a", **fields):
    """A run that its owner has paused."""
    ref = bench.running(task_id, **fields)
    assert pause(bench, task_id) == [Verdict.REQUESTED]
    assert confirm(bench, ref, Command.PAUSE) is Command.PAUSE
    bench.events()
    return ref


# -- what waits -------------------------------------------------------------------------------------------


@pytest.mark.wire
def test_a_task_in_the_queue_is_set_aside_and_comes_back_with_a_start(bench):
    bench.push("a")
    assert pause(bench, "a", "nobody") == [Verdict.OK, Verdict.NOHASH]
    found = bench.hash("a")
    assert found["state"] == WAIT
    assert abs(float(found["paused"]) - bench.now() / 1e6) < 60
    assert places(bench, "a") == ["paused"]
    assert bench.events() == [("a", "paused", None)]
    before = bench.dump()
    assert pause(bench, "a") == [Verdict.OK], "it can be repeated"
    assert bench.dump() == before
    assert bench.store.peek(5) == []
    assert resume(bench, "a") == [Verdict.OK]
    assert places(bench, "a") == ["queue"]
    assert "paused" not in bench.hash("a")
    assert bench.events() == [("a", "resumed", None)]
    assert resume(bench, "a") == [Verdict.STATE]
    (answer,) = bench.claim(bench.ref("a"))
    assert answer.won


@pytest.mark.parametrize("place", ["timers", "parked", "retry"])
def test_it_leaves_each_place_where_it_waits(bench, place):
    if place == "timers":
        bench.push("a", not_before=FUTURE)
        bench.claim(bench.ref("a"))
    elif place == "parked":
        bench.push("a", function="g")
        bench.claim(bench.ref("a"))
        assert bench.store.park("a", "g", X) is Verdict.OK
    else:
        ref = bench.running("a")
        bench.store.commit([Change("a", ref.run, X, Trigger.RETRY, {"restarts": "1"}, delay=1000)])
    assert places(bench, "a") == ["parked" if place == "parked" else "timers"]
    assert pause(bench, "a") == [Verdict.OK]
    assert places(bench, "a") == ["paused"]
    assert resume(bench, "a") == [Verdict.OK]
    assert places(bench, "a") == ["queue"]
    functions = ("f",)
    (answer,) = bench.claim(bench.ref("a"), functions=functions)
    expected = {"timers": Verdict.DELAYED, "parked": Verdict.UNKNOWN, "retry": Verdict.DELAYED}
    assert answer.verdict is expected[place], "a time in the future counts again"


def due_of(bench, task_id="a"):
    return bench.timers()[task_id]


@pytest.mark.wire
@pytest.mark.parametrize("before", [None, "1", FUTURE])
def test_a_retry_that_is_paused_while_it_waits_waits_for_the_rest_as_it_is_resumed(bench, before):
    ref = bench.running("a")
    bench.store.commit([Change("a", ref.run, X, Trigger.RETRY, {"restarts": "1"}, delay=1000)])
    if before:
        bench.write("a", not_before=before)
    due = due_of(bench)
    assert pause(bench, "a") == [Verdict.OK]
    assert pause(bench, "a") == [Verdict.OK]
    assert bench.hash("a")["not_before"] == (before if before == FUTURE else f"{due / 1000:.3f}")
    assert resume(bench, "a") == [Verdict.OK]
    (answer,) = bench.claim(bench.ref("a"))
    assert answer.verdict is Verdict.DELAYED
    assert due_of(bench) == (int(FUTURE) * 1000 if before == FUTURE else due), "not a millisecond later"
    assert bench.hash("a")["restarts"] == "1", "the count of its restarts stays"
    assert resume(bench, "a") == [Verdict.OK], "a start does not wait"
    assert "not_before" not in bench.hash("a")
    (answer,) = bench.claim(bench.ref("a"))
    assert answer.won


@pytest.mark.wire
def test_a_run_that_fails_while_it_is_paused_waits_for_its_delay_as_it_is_resumed(bench):
    ref = held_run(bench)
    before = bench.now() / 1e6
    bench.store.commit([Change("a", ref.run, X, Trigger.RETRY, {"restarts": "1"}, delay=1000)])
    assert places(bench, "a") == ["paused"]
    assert before + 999 < float(bench.hash("a")["not_before"]) < bench.now() / 1e6 + 1001
    resume(bench, "a")
    (answer,) = bench.claim(bench.ref("a"))
    assert (answer.verdict, places(bench, "a")) == (Verdict.DELAYED, ["timers"])


def test_a_retry_whose_time_came_while_it_was_paused_starts_as_it_is_resumed(bench):
    ref = bench.running("a")
    bench.store.commit([Change("a", ref.run, X, Trigger.RETRY, {"restarts": "1"}, delay=0.001)])
    while due_of(bench) * 1000 > bench.now():
        pass
    pause(bench, "a")
    assert "not_before" not in bench.hash("a")
    resume(bench, "a")
    (answer,) = bench.claim(bench.ref("a"))
    assert answer.won


def test_what_a_rate_has_put_off_asks_again_as_it_is_resumed(bench):
    bench.write("a", function="f", state=WAIT)
    bench.set_timer("a", bench.now() // 1000 + 10**6)
    pause(bench, "a")
    assert "not_before" not in bench.hash("a")


@pytest.mark.wire
def test_an_id_that_is_pushed_again_stays_paused(bench):
    bench.push("a")
    pause(bench, "a")
    bench.lpush("a")
    bench.push("b")
    a, b = bench.claim(bench.ref("a"), bench.ref("b"))
    assert (a.verdict, b.verdict) == (Verdict.PAUSED, Verdict.OK)
    assert places(bench, "a") == ["paused"]
    assert names(bench).count("paused") == 1


def test_a_task_may_be_made_paused(bench):
    bench.push("a", paused="1")
    (answer,) = bench.claim(bench.ref("a"))
    assert answer.verdict is Verdict.PAUSED
    assert (bench.hash("a")["state"], places(bench, "a")) == (WAIT, ["paused"])
    assert names(bench) == ["paused"]


@pytest.mark.parametrize("trigger", [Trigger.END, Trigger.FAIL, Trigger.STOP])
def test_a_task_at_rest_is_not_paused_and_a_field_that_was_left_there_means_nothing(bench, trigger):
    ref = bench.running("a")
    bench.store.commit([ended(ref, trigger)])
    before = bench.dump()
    assert pause(bench, "a") == [Verdict.STATE]
    assert bench.dump() == before
    bench.write("a", paused="1")  # as a worker does that does not know it
    bench.set_paused("a")
    bench.lpush("a")
    (answer,) = bench.claim(bench.ref("a"))
    assert answer.won
    assert "paused" not in bench.hash("a")
    assert bench.paused() == set()


def test_one_that_was_pushed_again_after_its_end_waits_and_is_paused(bench):
    ref = bench.running("a")
    bench.store.commit([ended(ref)])
    bench.lpush("a")
    assert pause(bench, "a") == [Verdict.OK]
    assert (bench.hash("a")["state"], places(bench, "a")) == (WAIT, ["paused"])


@pytest.mark.wire
def test_stop_and_remove_find_it_there(bench):
    for task_id in "ab":
        bench.push(task_id)
    pause(bench, "a", "b")
    assert bench.store.control(Command.STOP, ["a"]) == [Verdict.OK]
    assert (bench.hash("a")["state"], places(bench, "a")) == (STOPPED, [])
    assert "paused" not in bench.hash("a")
    bench.delete("b")
    sweep(bench)
    assert bench.paused() == set()
    assert resume(bench, "a") == [Verdict.OK]
    assert bench.claim(bench.ref("a"))[0].won


# -- what runs --------------------------------------------------------------------------------------------


@pytest.mark.wire
def test_a_run_is_told_until_its_owner_confirms(bench):
    ref = bench.running("a")
    bench.events()
    assert pause(bench, "a") == [Verdict.REQUESTED]
    found = bench.hash("a")
    assert (found["state"], found["control"], "paused" in found) == (RUNNING, "pause", True)
    assert bench.paused() == {"a"}
    assert pause(bench, "a") == [Verdict.REQUESTED]
    assert bench.events() == []
    for _ in range(2):
        assert bench.store.renew([ref]) == {ref: Command.PAUSE}, "a message that got lost is made good"
    assert confirm(bench, ref, Command.PAUSE) is Command.PAUSE
    assert confirm(bench, ref, Command.PAUSE) is Command.PAUSE, "it can be repeated"
    assert names(bench) == ["paused"]
    assert "control" not in bench.hash("a")
    assert pause(bench, "a") == [Verdict.OK]
    assert bench.store.renew([ref]) == {}
    assert resume(bench, "a") == [Verdict.REQUESTED]
    assert resume(bench, "a") == [Verdict.REQUESTED]
    assert "paused" not in bench.hash("a")
    assert bench.paused() == set()
    assert bench.store.renew([ref]) == {ref: Command.START}
    assert confirm(bench, ref, Command.START) is Command.START
    assert names(bench) == ["resumed"]
    assert bench.store.renew([ref]) == {}
    assert resume(bench, "a") == [Verdict.STATE]
    bench.assert_registered(ref)


def test_the_owner_hears_that_it_was_resumed_before_it_told(bench):
    ref = bench.running("a")
    pause(bench, "a")
    resume(bench, "a")
    before = bench.dump()
    assert confirm(bench, ref, Command.PAUSE) is Command.START
    assert bench.dump() == before
    assert confirm(bench, ref, Command.START) is Command.START
    assert names(bench) == ["running", "resumed"]


def test_only_the_current_run_may_tell(bench):
    ref = held_run(bench)
    other = bench.ref("a")
    assert confirm(bench, other, Command.PAUSE) is Verdict.FENCED
    bench.delete("a")
    assert confirm(bench, ref, Command.PAUSE) is Verdict.GONE
    assert not bench.exists("a")


@pytest.mark.wire
@pytest.mark.parametrize("resumed", [False, True])
def test_a_run_whose_registry_entry_was_lost_is_told_what_holds(bench, resumed):
    """A failover lost the pause, and a client the registry: the run would wait at its gate for ever."""
    ref = held_run(bench)
    if resumed:
        resume(bench, "a")
    bench.drop("runs")
    assert confirm(bench, ref, Command.PAUSE) is (Command.START if resumed else Command.PAUSE)
    assert confirm(bench, bench.ref("a"), Command.PAUSE) is Verdict.GONE


def test_a_stored_stop_or_reload_is_stronger(bench):
    bench.running("a")
    bench.store.control(Command.STOP, ["a"])
    assert pause(bench, "a") == [Verdict.STATE]
    assert (bench.hash("a")["control"], bench.paused()) == ("stop", set())
    bench.running("b")
    bench.store.control(Command.RELOAD, ["b"])
    assert pause(bench, "b") == [Verdict.REQUESTED]
    assert bench.hash("b")["control"] == "reload"
    assert "paused" in bench.hash("b")
    bench.running("c")
    pause(bench, "c")
    assert bench.store.control(Command.STOP, ["c"]) == [Verdict.REQUESTED]
    assert bench.hash("c")["control"] == "stop"
    assert resume(bench, "c") == [Verdict.REQUESTED]
    assert bench.hash("c")["control"] == "stop", "a start of a run never undoes a stop"


def test_a_pause_that_is_older_than_a_start_does_nothing(bench):
    ref = held_run(bench)
    resume(bench, "a")
    assert pause(bench, "a", ages=[1000.0]) == [Verdict.STATE]
    assert "paused" not in bench.hash("a")
    assert confirm(bench, ref, Command.START) is Command.START


@pytest.mark.parametrize("trigger", [Trigger.RELEASE, Trigger.RETRY, Trigger.ROLL_BACK])
def test_a_paused_run_that_waits_again_is_not_started(bench, trigger):
    ref = held_run(bench)
    delay = 5.0 if trigger is Trigger.RETRY else 0.0
    assert bench.store.commit([Change("a", ref.run, X, trigger, delay=delay)]) == [Verdict.OK]
    assert (bench.hash("a")["state"], places(bench, "a")) == (WAIT, ["paused"])
    assert bench.store.commit([Change("a", ref.run, X, trigger, delay=delay)]) == [Verdict.ALREADY]
    assert resume(bench, "a") == [Verdict.OK]
    assert bench.claim(bench.ref("a"))[0].won is (trigger is not Trigger.RETRY), "that one has a delay"


@pytest.mark.parametrize("trigger", [Trigger.END, Trigger.FAIL, Trigger.STOP])
@pytest.mark.parametrize("keep", [None, 0])
def test_an_end_takes_the_pause_away(bench, trigger, keep):
    ref = held_run(bench)
    other = held_run(bench, "b")
    assert bench.store.commit([ended(ref, trigger, keep=keep)]) == [Verdict.OK]
    assert bench.paused() == {"b"}
    assert "paused" not in bench.hash("a")
    assert bench.exists("a") == (keep is None)
    bench.assert_registered(other)


@pytest.mark.wire
@pytest.mark.parametrize("end", ["expire", "stopped", "poison"])
def test_a_paused_run_of_a_dead_worker(bench, end):
    ref = held_run(bench)
    if end == "stopped":
        bench.store.control(Command.STOP, ["a"])
    expiry = Expiry(id="a", run=ref.run, seen=bench.leases()["a"], crashes=1, poison=end == "poison")
    assert bench.store.expire([expiry]) == [Verdict.OK]
    assert places(bench, "a") == (["paused"] if end == "expire" else [])
    assert ("paused" in bench.hash("a")) == (end == "expire")
    assert bench.store.expire([expiry]) == [Verdict.ALREADY]


def test_no_new_run_of_a_reload_begins_while_it_is_paused(bench):
    ref = held_run(bench)
    bench.store.control(Command.RELOAD, ["a"])
    new = bench.ref("a")
    assert bench.store.reload(ref, new, "w", 1000).verdict is Verdict.PAUSED
    bench.assert_registered(ref)
    assert bench.store.commit([ended(ref, Trigger.RELEASE)]) == [Verdict.OK]
    assert places(bench, "a") == ["paused"]
    bench.store.control(Command.STOP, ["a"])
    assert places(bench, "a") == []


def test_a_pre_started_task_is_replaced_although_it_is_paused(bench):
    """Released, it would be deleted."""
    ref = bench.ref("a")
    bench.store.open_local(ref, "f", b"1", "w")
    pause(bench, "a")
    assert bench.store.reload(ref, bench.ref("a"), "w", 1000).won
    assert "paused" in bench.hash("a")


def sweep(bench):
    cursor, repaired = bench.store.repair(0, -10)
    while cursor:
        cursor, more = bench.store.repair(cursor, -10)
        repaired += more
    return repaired


def test_the_slow_sweep_mends_the_set(bench):
    held_run(bench)
    bench.push("b")
    pause(bench, "b")
    bench.running("c")
    for task_id in ("c", "gone"):
        bench.set_paused(task_id)  # of tasks that are not paused
    bench.drop("paused")
    for task_id in ("c", "gone"):
        bench.set_paused(task_id)
    sweep(bench)
    assert bench.paused() == {"a", "b"}
    bench.erase("b", "paused")  # by hand: so it is to run
    sweep(bench)
    sweep(bench)
    assert places(bench, "b") == ["queue"]


def test_a_run_that_nobody_knows_waits_in_the_set(bench):
    held_run(bench)
    for name in ("runs", "leases"):
        bench.drop_entry(name, "a")
    bench.erase("a", "run")
    assert sweep(bench) >= 1
    assert places(bench, "a") == ["paused"]


@pytest.mark.parametrize("told", [True, False])
def test_an_owner_that_puts_its_run_back_says_whether_it_is_paused(bench, told):
    ref = bench.running("a")
    if not told:
        pause(bench, "a")
        bench.erase("a", "control")  # confirmed, and then the resume was lost with the data
    epoch = int(bench.hash("a")["epoch"])
    bench.drop("runs")
    assert bench.store.adopt([Adoption("a", ref.run, epoch, told)], "w") == [Verdict.OK]
    assert "paused" in bench.hash("a")
    assert bench.paused() == {"a"}
    assert bench.hash("a").get("control") == (None if told else "pause"), "the pause is told again"


def test_the_pause_of_an_earlier_run_is_over_for_a_later_one(bench):
    bench.push("a")
    pause(bench, "a")
    later = Adoption("a", "s:9", 10**13)
    assert bench.store.adopt([later], "w") == [Verdict.OK]
    assert "paused" not in bench.hash("a")
    assert bench.paused() == set()


@pytest.mark.wire
def test_a_paused_task_that_was_lost_with_all_data_is_restored_as_paused(bench):
    assert bench.store.restore("a", "f", b"1", paused=True) is Verdict.OK
    assert (bench.hash("a")["state"], places(bench, "a")) == (WAIT, ["paused"])


# -- functions --------------------------------------------------------------------------------------------


def hold(bench, *functions):
    return bench.store.hold_functions(functions)


@pytest.mark.wire
@pytest.mark.parametrize("name", ["f", "*"])
def test_the_tasks_of_a_paused_function_wait_in_its_parking_list(bench, name):
    running = bench.running("r")
    assert hold(bench, name) == [True]
    assert hold(bench, name) == [False]
    assert bench.store.held_functions() == {name}
    bench.push("a")
    (answer,) = bench.claim(bench.ref("a"))
    assert (answer.verdict, answer.function) == (Verdict.UNKNOWN, "f")
    assert bench.store.park("a", "f", X, held=True) is Verdict.OK
    assert places(bench, "a") == ["parked"]
    (answer,) = bench.claim(bench.ref("a"), source="f")
    assert answer.verdict is Verdict.UNKNOWN
    assert places(bench, "a") == ["parked"], "it stays there"
    bench.assert_registered(running)
    assert bench.store.renew([running]) == {}, "what runs goes on"
    assert bench.store.hold_functions([name], resume=True) == [True]
    assert bench.store.hold_functions([name], resume=True) == [False]
    (answer,) = bench.claim(bench.ref("a"), source="f")
    assert answer.won


def test_other_functions_are_claimed_as_ever(bench):
    hold(bench, "g")
    bench.push("a")
    bench.push("b", function="g")
    a, b = bench.claim(bench.ref("a"), bench.ref("b"), functions=("f", "g"))
    assert (a.verdict, b.verdict) == (Verdict.OK, Verdict.UNKNOWN)


def test_a_task_is_not_parked_for_a_function_that_was_resumed_meanwhile(bench):
    bench.push("a")
    assert bench.store.park("a", "f", X, held=True) is Verdict.MOVED
    assert places(bench, "a") == ["queue"]


def test_a_repeated_claim_of_a_run_that_was_won_before_the_pause_is_answered(bench):
    bench.push("a")
    ref = bench.ref("a")
    bench.claim(ref)
    hold(bench, "f")
    (again,) = bench.claim(ref)
    assert (again.verdict, again.function) == (Verdict.ALREADY, "f")


def test_a_set_of_another_type_is_met_before_anything_is_written(real):
    ref = real.running("b")
    real.push("a")
    real.raw.set(real.keys.paused, "x")
    before = real.dump()
    for verb in (
        lambda: real.claim(real.ref("a")),
        lambda: pause(real, "a"),
        lambda: resume(real, "a"),
        lambda: real.store.control(Command.STOP, ["a"]),
    ):
        with pytest.raises(Exception, match="WRONGTYPE"):
            verb()
    assert real.dump() == before
    assert real.store.commit([ended(ref, Trigger.RELEASE)]) == [Verdict.OK], "what is not paused may end"
