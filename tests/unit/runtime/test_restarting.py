"""Restart policies and timeouts, as a worker applies them to its runs."""

import json
import logging
from contextlib import suppress
from types import SimpleNamespace

import attrs
import gevent
import pytest

from pytask import codec
from pytask.domain.control import StopReason
from pytask.domain.errors import BadData
from pytask.domain.lifecycle import Trigger
from pytask.domain.messages import Event
from pytask.domain.record import StartFields
from pytask.domain.restarts import Restart
from pytask.domain.task import Task
from pytask.domain.timing import Timing
from tests.unit.runtime.fakes import World, switch, until

EPOCH = 1_800_000_000_000  # ms, the time of the claims by the clock of Redis
FIRST = str(EPOCH)


def task(work, policy=None, **config):
    """A class whose `start()` is `work`."""

    class Demo(Task):
        Config = type("Config", (), {"NAME": "demo", "RESTART": policy, **config})

        def start(self):
            return work(self)

    return Demo


def boom(_self):
    raise RuntimeError("boom")


def only(world):
    """The one change that ended a run."""
    until(lambda: not world.executor.living)
    (change,) = [one for one in world.commit() if one.trigger is not None]
    return change


def after(work, policy=None, *, lived=0.0, fields=None, **more):
    """The change after a run that did this, and the world."""
    world = World(task(lambda self: (world.clock.move(lived), work(self))[1], policy))
    world.launch(epoch=EPOCH, fields=fields, **more)
    return only(world), world


# -- schedules ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("work", "policy", "schedule", "told"),
    [
        (lambda _: None, None, "a", ["a"]),
        (boom, None, "a", ["a"]),
        (boom, Restart(), "a", []),  # it waits for its next attempt
        (lambda _: None, None, "nightly", []),  # one beside others, with an id of its own
    ],
)
def test_the_end_of_a_run_is_told_to_its_schedule(work, policy, schedule, told):
    told_by = codec.encode({"schedule": schedule, "scheduled_for": 5.0, "missed": 0}, "it")
    _, world = after(work, policy, fields=StartFields(scheduled=told_by))
    assert world.schedules == told


# -- which runs start again --------------------------------------------------------------------------------


def test_a_failure_without_a_policy_is_an_error_as_ever():
    change, _ = after(boom)
    assert change.trigger is Trigger.FAIL
    assert list(change.fields) == ["error"]


def test_a_failure_with_a_policy_is_tried_again_and_keeps_its_error(caplog):
    with caplog.at_level(logging.INFO, "pytask"):
        change, _ = after(boom, Restart(first=10), lived=2.0)
    assert change.trigger is Trigger.RETRY
    assert change.delay == 7.5
    assert change.keep is None
    error = change.fields["error"]
    assert error.startswith("RuntimeError: boom\n")
    assert dict(change.fields) == {
        "restarts": "1", "restart_times": str(EPOCH + 2000), "failed_at": "1800000002.000", "error": error,
    }  # fmt: skip
    assert json.loads(change.event) == {
        "event": "retrying", "data": {"attempt": 2, "delay": 7.5, "error": "RuntimeError: boom"},
    }  # fmt: skip
    (line,) = caplog.records
    assert line.levelname == "WARNING"
    assert line.getMessage() == "task a failed: RuntimeError: boom; attempt 2 in 7.5 s"
    assert line.exc_info is None


def test_always_tries_again_after_a_success_and_keeps_the_output():
    change, _ = after(lambda _self: {"n": 1}, Restart("always", first=4))
    assert (change.trigger, change.delay) == (Trigger.RETRY, 3.0)
    assert dict(change.fields) == {"restarts": "1", "restart_times": FIRST, "output": b'{"n":1}'}
    assert json.loads(change.event)["data"] == {"attempt": 2, "delay": 3.0, "error": None}


def test_a_success_ends_a_task_that_restarts_after_failures():
    change, _ = after(lambda _self: None, Restart())
    assert change.trigger is Trigger.END


@pytest.mark.parametrize(
    ("word", "policy", "trigger"),
    [
        ("failure", None, Trigger.RETRY),
        ("always", None, Trigger.RETRY),
        ("never", Restart(), Trigger.FAIL),
        ("", Restart(), Trigger.RETRY),
    ],
)
def test_the_hash_field_overrides_the_class(word, policy, trigger):
    change, _ = after(boom, policy, fields=StartFields(restart=word))
    assert change.trigger is trigger


def test_any_way_to_fail_is_a_failure():
    def killed(_self):
        raise gevent.GreenletExit

    def child(self):
        self.spawn(boom, None).join()

    def exits(_self):
        raise SystemExit(3)

    def unwritable(_self):
        return object()

    for work in (killed, child, exits, unwritable, lambda self: (_ for _ in ()).throw(self.Error("x"))):
        assert after(work, Restart())[0].trigger is Trigger.RETRY


# -- what another run would repeat -------------------------------------------------------------------------


def test_a_fatal_failure_is_final_wherever_it_is_raised():
    def fatal(self):
        raise self.Fatal("bad key")

    def in_a_child(self):
        self.spawn(fatal, self).join()

    for work in (fatal, in_a_child):
        change, _ = after(work, Restart("always"))
        assert (change.trigger, change.fields["error"]) == (Trigger.FAIL, "bad key")


def test_a_fatal_failure_is_final_in_a_group_of_failures_too():
    def fatal(self):
        raise ExceptionGroup("unhandled errors in a TaskGroup", [ValueError("x"), self.Fatal("bad key")])

    assert after(fatal, Restart("always"))[0].trigger is Trigger.FAIL


@attrs.define
class Url:
    url: str


def test_data_that_does_not_fit_is_final():
    for data in (b"{", b"[]", b"{}"):
        world = World(task(boom, Restart(), DATA=Url))
        world.launch(data=data)
        change = only(world)
        assert change.trigger is Trigger.FAIL
        assert "[PT030]" in change.fields["error"]


def test_an_init_that_refuses_the_data_is_final_but_one_that_fails_otherwise_is_not():
    class Demo(task(boom, Restart())):
        def __init__(self, task_data):
            if task_data["wrong"]:
                raise BadData("no such account")
            raise OSError("no route")

    for data, trigger in ((b'{"wrong": true}', Trigger.FAIL), (b'{"wrong": false}', Trigger.RETRY)):
        world = World(Demo)
        world.launch(data=data)
        assert only(world).trigger is trigger


def test_bad_data_of_start_itself_is_a_failure_like_any_other():
    def work(_self):
        raise BadData("of another service")

    assert after(work, Restart())[0].trigger is Trigger.RETRY


def test_data_that_is_too_large_and_a_missing_function_are_final():
    for more in ({"oversize": 10**9}, {"function": ""}):
        change, _ = after(boom, Restart(), fields=StartFields(restart="always"), **more)
        assert change.trigger is Trigger.FAIL


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (
            StartFields(restart="sometimes"),
            "[PT030] restart is 'sometimes', but only never, failure and always",
        ),
        (StartFields(not_before="soon"), "[PT030] not_before is 'soon', which is not a time"),
    ],
)
def test_a_field_that_makes_no_sense_fails_the_run_before_it_starts(fields, says):
    change, _ = after(lambda _self: pytest.fail("it must not start"), Restart(), fields=fields)
    assert change.trigger is Trigger.FAIL
    assert change.fields["error"].startswith(says)


# -- the count ---------------------------------------------------------------------------------------------


def test_the_count_goes_on_from_the_hash_and_the_task_sees_its_attempt():
    attempts = []
    change, _ = after(
        lambda self: (attempts.append(self.attempt), boom(self)), Restart(),
        fields=StartFields(restarts=3, failed="17"),
    )  # fmt: skip
    assert attempts == [4]
    assert (change.fields["restarts"], change.fields["restart_times"], change.delay) == ("4", "17", 6.0)
    assert json.loads(change.event)["data"]["attempt"] == 5


@pytest.mark.parametrize(("lived", "restarts"), [(599.0, "4"), (601.0, "1")])
def test_a_healthy_run_resets_it(lived, restarts):
    change, _ = after(boom, Restart(), lived=lived, fields=StartFields(restarts=3))
    assert change.fields["restarts"] == restarts


def test_the_first_run_is_attempt_1():
    attempts = []
    after(lambda self: attempts.append(self.attempt))
    assert attempts == [1]


def test_a_run_that_its_worker_survived_ends_the_row_of_crashes():
    """Or a few deaths of workers in a year would make a task that fails now and then poison."""
    assert after(boom, Restart(), crashes=3)[0].fields["crashes"] == "0"
    assert "crashes" not in after(boom, Restart())[0].fields


@pytest.mark.parametrize("stop_reason", [StopReason.HAND_BACK, StopReason.MOVE])
def test_a_deploy_and_a_rebalance_spend_no_restart(gate, stop_reason):
    world = World(task(lambda _self: gate.wait(), Restart(limit=1)))
    run = world.launch(fields=StartFields(restarts=1))
    world.executor.stop_reason(run, stop_reason)
    change = only(world)
    assert change.trigger is Trigger.RELEASE
    assert dict(change.fields) == {}


def test_a_task_that_fails_while_its_worker_leaves_is_handed_back_without_a_count(gate):
    def work(self):
        try:
            gate.wait()
        finally:
            boom(self)

    world = World(task(work, Restart()))
    world.executor.stop_reason(world.launch(), StopReason.HAND_BACK)
    assert only(world).trigger is Trigger.RELEASE


def test_a_stop_is_no_failure(gate):
    world = World(task(lambda _self: gate.wait(), Restart("always")))
    world.executor.stop_reason(world.launch(), StopReason.STOP)
    assert only(world).trigger is Trigger.STOP


def test_a_reload_keeps_the_count(gate):
    attempts = []
    world = World(task(lambda self: (attempts.append(self.attempt), gate.wait(), boom(self)), Restart()))
    world.executor.stop_reason(world.launch(fields=StartFields(restarts=2)), StopReason.RELOAD)
    until(lambda: len(attempts) == 2)
    gate.set()
    change = only(world)
    assert attempts == [3, 3]
    assert change.fields["restarts"] == "3"


# -- giving up ---------------------------------------------------------------------------------------------


def test_a_give_up_is_an_error_that_says_so(caplog):
    with caplog.at_level(logging.INFO, "pytask"):
        change, _ = after(boom, Restart(limit=3), fields=StartFields(restarts=3, failed=str(EPOCH - 90_000)))
    assert change.trigger is Trigger.FAIL
    first = change.fields["error"].partition("\n")[0]
    assert first == (
        "[PT163] gave up after 3 restarts in 1m30s: the limit is 3 in a row, each run shorter than 10m;"
        " the last failure: RuntimeError: boom"
    )
    assert json.loads(change.event) == {"event": "error", "data": {"error": first}}
    (line,) = caplog.records
    assert line.levelname == "ERROR"
    assert line.getMessage() == f"task a failed: {first}"


def test_the_next_start_after_a_final_error_begins_a_new_count():
    def fatal(self):
        raise self.Fatal("x")

    for work in (boom, fatal):
        change, _ = after(work, Restart(limit=3), fields=StartFields(restarts=3))
        assert (change.fields["restarts"], change.fields["restart_times"]) == ("0", "")


def test_giving_up_on_runs_that_end_keeps_the_output():
    change, _ = after(lambda _self: 5, Restart("always", limit=1), fields=StartFields(restarts=1))
    assert change.trigger is Trigger.FAIL
    assert change.fields["output"] == b"5"
    assert change.fields["error"].endswith("; the last run ended")


# -- timeouts ----------------------------------------------------------------------------------------------


def test_a_run_that_takes_too_long_is_stopped_and_is_a_failure(gate, caplog):
    stops = []

    class Demo(task(lambda _self: gate.wait(), TIMEOUT=0.02)):
        def stop(self):
            stops.append(True)

    world = World(Demo)
    world.launch()
    with caplog.at_level(logging.INFO, "pytask"):
        change = only(world)
    assert stops == [True]
    assert (change.trigger, change.fields["error"]) == (Trigger.FAIL, "timed out after 0.02 s")
    hint, failure = [one.getMessage() for one in caplog.records]
    assert hint.startswith("[PT179] task a: stop() returned, and the task did not end within ")
    assert failure == "task a failed: timed out after 0.02 s"


def test_a_timeout_is_tried_again_if_the_policy_says_so(gate):
    world = World(task(lambda _self: gate.wait(), Restart(), TIMEOUT=0.02))
    world.launch()
    change = only(world)
    assert (change.trigger, change.fields["error"]) == (Trigger.RETRY, "timed out after 0.02 s")


def test_what_a_run_returns_while_it_is_being_stopped_is_not_its_output(gate):
    class Demo(task(lambda _self: gate.wait(), TIMEOUT=0.01)):
        def stop(self):
            gate.set()

    world = World(Demo)
    world.launch()
    change = only(world)
    assert (change.trigger, list(change.fields)) == (Trigger.FAIL, ["error"])


@pytest.mark.parametrize(
    ("stop_reason", "trigger"), [(StopReason.STOP, Trigger.STOP), (StopReason.HAND_BACK, Trigger.RELEASE)]
)
def test_a_stop_and_a_deploy_are_stronger_than_a_timeout(gate, stop_reason, trigger):
    world = World(task(lambda _self: gate.wait(), TIMEOUT=0.01))
    run = world.launch()
    world.executor.stop_reason(run, StopReason.TIMEOUT)
    world.executor.stop_reason(run, stop_reason)
    assert only(world).trigger is trigger


def test_a_timeout_is_stronger_than_a_reload(gate):
    world = World(task(lambda _self: gate.wait(), TIMEOUT=0.01))
    run = world.launch()
    world.executor.stop_reason(run, StopReason.TIMEOUT)
    world.executor.stop_reason(run, StopReason.RELOAD)
    assert only(world).trigger is Trigger.FAIL


def test_a_run_that_survives_its_timeout_stays_registered_and_is_said(gate):
    def work(_self):
        while not gate.is_set():
            with suppress(gevent.GreenletExit):
                gate.wait()

    world = World(task(work, Restart(), TIMEOUT=0.01))
    run = world.launch()
    told = codec.event(Event.STOP_TIMEOUT, {"seconds": world.timing.grace})
    until(lambda: told in [one.event for one in world.commit()])
    assert world.executor.stopping.stuck == ("a",)
    assert world.executor.living["a"] is run
    gate.set()
    until(lambda: not world.executor.living)
    assert world.commit()[-1].trigger is Trigger.RETRY


def test_an_error_of_the_kill_is_not_that_of_the_run(gate, caplog):
    def work(self):
        try:
            gate.wait()
        finally:
            boom(self)

    world = World(task(work, TIMEOUT=0.01))
    world.launch()
    assert only(world).fields["error"] == "timed out after 0.01 s"
    (line,) = caplog.records
    assert (line.levelname, line.exc_info) == ("WARNING", None)


def test_the_timer_is_cancelled_with_the_run(gate):
    world = World(task(lambda _self: gate.wait(), TIMEOUT=30))
    run = world.launch()
    timeouts = world.executor._timeouts
    timer = timeouts.timers[run].event
    gate.set()
    assert only(world).trigger is Trigger.END
    assert timeouts.timers == {}
    assert not timer.active
    timeouts._over(run)  # even if it fired at that moment
    assert run.stop_reason is None


def test_a_run_whose_work_is_done_is_not_timed_out_while_its_programs_end(gate):
    world = World(task(lambda _self: gate.wait(), TIMEOUT=30))
    run = world.launch()
    run.returned = True
    world.executor._timeouts._over(run)
    assert run.stop_reason is None
    run.children = {object()}  # start() has returned, but not what it spawned
    world.executor._timeouts._over(run)
    assert run.stop_reason is StopReason.TIMEOUT
    run.children, run.returned = None, False


def test_a_run_without_a_timeout_has_no_timer(gate):
    world = World(task(lambda _self: gate.wait()))
    world.launch()
    assert world.executor._timeouts.timers == {}


def test_the_wait_for_a_turn_is_part_of_neither_the_timeout_nor_the_life_of_a_run(gate):
    begun = []

    def work(self):
        begun.append(self.id)
        if self.id == "b":
            boom(self)
        gate.wait()

    world = World(task(work, Restart(healthy=60), TIMEOUT=30, START_RATE=20))
    world.launch("a")
    waits = world.launch("b", fields=StartFields(restarts=5))
    assert list(world.executor._timeouts.timers) == [world.executor.living["a"]]
    world.clock.move(100)  # spent waiting
    until(lambda: begun == ["a", "b"])
    switch()
    assert waits.began == waits.started + 100
    (change,) = [one for one in world.commit() if one.trigger is not None]
    assert change.fields["restarts"] == "6"


# -- pre-started tasks -------------------------------------------------------------------------------------


def test_a_pre_started_task_starts_again_after_its_delay_and_counts():
    attempts = []
    world = World(
        task(lambda self: (attempts.append(self.attempt), boom(self)), Restart(first=8, limit=2)),
        timing=Timing(),
    )
    prestart = world.prestart(("demo", b"{}"))
    assert prestart.ensure() == 1
    until(lambda: not world.executor.living)
    change = world.commit()[-1]
    assert (change.trigger, change.local) == (Trigger.RELEASE, True)  # its hash is deleted
    assert json.loads(change.event)["data"]["attempt"] == 2
    world.clock.move(5.9)
    assert prestart.ensure() == 0
    world.clock.move(0.2)
    assert prestart.ensure() == 1
    until(lambda: not world.executor.living)
    world.clock.move(20)
    prestart.ensure()
    until(lambda: not world.executor.living)
    assert attempts == [1, 2, 3]
    assert world.commit()[-1].trigger is Trigger.FAIL
    assert prestart.ensure() == 0


def test_the_service_waits_for_the_delay_of_a_pre_started_task():
    world = World(task(boom, Restart(first=8)), timing=Timing())
    prestart = world.prestart(("demo", b"{}"))
    waits = []
    prestart._wake = SimpleNamespace(
        clear=lambda: None, set=lambda: None, wait=lambda *args: waits.append(args)
    )
    prestart._pass()
    until(lambda: not world.executor.living)
    prestart._pass()
    assert waits == [(), (6.0,)]


def test_a_loss_of_the_lease_spends_no_restart_of_a_pre_started_task(gate):
    attempts = []
    world = World(task(lambda self: (attempts.append(self.attempt), gate.wait()), Restart()))
    prestart = world.prestart(("demo", b"{}"))
    prestart.ensure()
    switch()
    (run,) = world.executor.living.values()
    world.executor.stop_reason(run, StopReason.HAND_BACK)
    until(lambda: not world.executor.living)
    assert prestart.ensure() == 1
    switch()
    assert attempts == [1, 1]


def test_a_worker_that_leaves_restarts_no_pre_started_task():
    world = World(task(boom, Restart()), timing=Timing())
    prestart = world.prestart(("demo", b"{}"))
    prestart.ensure()
    world.executor.leaving = True
    until(lambda: not world.executor.living)
    world.clock.move(2)
    assert prestart.ensure() == 0
