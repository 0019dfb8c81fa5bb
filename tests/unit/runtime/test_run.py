"""One run: how it comes out, and which greenlets are of it."""

import json
import sys
from contextvars import ContextVar

import attrs
import gevent
import pytest
from gevent.pool import Pool

from pytask import codec
from pytask.domain.control import StopReason
from pytask.domain.errors import BadData
from pytask.domain.lifecycle import Trigger
from pytask.domain.task import Task
from pytask.domain.timing import Timing
from pytask.runtime.process.log_format import JsonLines
from pytask.runtime.runs.failure import describe
from pytask.runtime.tree import Service, current_run
from tests.unit.runtime.fakes import World, switch, until


def demo(start, data=None, **methods):
    """A task class of this `start`."""
    config = type("Config", (), {"NAME": "demo", "DATA": data})
    return type("Demo", (Task,), {"Config": config, "start": start, **methods})


def world_of(start, data=None, **methods):
    return World(demo(start, data, **methods), timing=Timing())


def outcome(world):
    """The one end that reached the store."""
    (change,) = [change for change in world.commit() if change.trigger is not None]
    return change


def result_of(start, **launch):
    world = world_of(start)
    world.launch(**launch)
    return outcome(world)


def raiser(error):
    def start(_self):
        raise error

    return start


# -- ends well ---------------------------------------------------------------------------------------------


def test_nothing_returned():
    change = result_of(lambda _: None)
    assert (change.trigger, change.fields) == (Trigger.END, {})
    assert json.loads(change.event) == {"event": "ended", "data": {"output": None}}
    assert change.keep == 7 * 86400


@pytest.mark.parametrize("value", [0, False, "", [], "text", 1.5, {"a": [1, None]}])
def test_what_start_returns_is_the_output(value):
    change = result_of(lambda _: value)
    assert change.trigger is Trigger.END
    assert json.loads(change.fields["output"]) == value
    assert json.loads(change.event) == {"event": "ended", "data": {"output": value}}


def test_output_that_is_not_json_is_an_error():
    change = result_of(lambda _: object())
    assert change.trigger is Trigger.FAIL
    assert "what start() returned is not JSON" in change.fields["error"]


def test_a_returned_greenlet_exit_is_no_output():
    """`start()` joined its loop, and the loop was killed."""
    change = result_of(lambda _: gevent.GreenletExit())
    assert (change.trigger, change.fields) == (Trigger.END, {})


def test_data_and_id_are_there_in_the_constructor():
    seen = []

    def init(self, task_data):
        self.emit("built", {"id": self.id, "epoch": self.epoch})
        seen.append(task_data)

    world = world_of(lambda _: None, __init__=init)
    world.launch(data=b'{"url": "x"}', epoch=7)
    assert seen == [{"url": "x"}]
    assert world.commit()[0].event == b'{"event":"built","data":{"id":"a","epoch":7}}'


def test_without_a_constructor_the_data_is_task_data():
    seen = []
    world_of(lambda self: seen.append(self.task_data)).launch(data=b'{"n": 1}')
    assert seen == [{"n": 1}]


# -- ends badly --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("broken"), "ValueError: broken"),
        (SystemExit(3), "SystemExit: 3"),
        (SystemExit("bye"), "SystemExit: bye"),
        (KeyboardInterrupt(), "KeyboardInterrupt: "),
        (gevent.Timeout(5), "Timeout: 5 seconds"),
        (gevent.GreenletExit(), "killed: other code killed the greenlet of start()"),
    ],
)
def test_whatever_is_raised_is_an_error_of_the_task_alone(error, text):
    change = result_of(raiser(error))
    assert change.trigger is Trigger.FAIL
    assert change.fields["error"].partition("\n")[0] == text
    assert json.loads(change.event) == {"event": "error", "data": {"error": text}}
    assert change.keep == 30 * 86400


@pytest.mark.parametrize("code", [(), (0,)])
@pytest.mark.parametrize("where", [lambda leave: leave(), lambda leave: gevent.spawn(leave).join()])
def test_exit_is_an_end(code, where, caplog):
    def start(self):
        where(lambda: sys.exit(*code))

    assert result_of(start).trigger is Trigger.END
    assert "failed" not in caplog.text


def test_an_error_with_a_code_of_its_own_keeps_its_name():
    class HttpError(Exception):
        code = 404

    assert describe(HttpError("not found")) == "HttpError: not found"


def test_a_group_of_errors_names_the_first_of_them():
    found = ExceptionGroup("unhandled errors in a TaskGroup", [ExceptionGroup("more", [KeyError("price")])])
    assert describe(found) == (
        "ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception), first KeyError: 'price'"
    )
    assert describe(ExceptionGroup("two", [Task.Error("no customer"), ValueError()])) == (
        "ExceptionGroup: two (2 sub-exceptions), first no customer"
    )


def test_an_error_that_cannot_be_shown_still_settles_the_run():
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError

    assert result_of(raiser(Mute())).fields["error"].startswith("Mute: (its __str__ failed)")


def test_the_error_has_text_and_traceback_from_the_users_code_on():
    text = result_of(raiser(ValueError("broken"))).fields["error"]
    assert "Traceback" in text
    assert "in start" in text
    assert text.count("File ") == 1  # no line of pytask


@pytest.mark.parametrize("name", [None, 7, "pytask_of_mine"])
def test_code_whose_module_has_another_name_is_the_users(name):
    code = {"__name__": name}
    exec("def start(self):\n    raise ValueError('broken')\n", code)
    text = result_of(code["start"]).fields["error"]
    assert text.startswith("ValueError: broken\nTraceback")
    assert "in start" in text


@pytest.mark.parametrize("letter", ["x", "\u00e9", "\u20ac", "\U0001f600"])
@pytest.mark.parametrize("shift", range(4))
def test_text_and_traceback_are_cut_to_8_kib(letter, shift):
    def deep(n):
        if n:
            deep(n - 1)
        raise ValueError("s" * shift + letter * 50_000)

    text = result_of(lambda _: deep(20)).fields["error"]
    size = len(text.encode())
    assert 8000 < size <= 8192
    assert text.startswith("ValueError: ")
    assert "\ufffd" not in text


def test_a_task_error_has_no_traceback():
    def start(self):
        raise self.Error("no such customer")

    assert result_of(start).fields["error"] == "no such customer"


@pytest.mark.parametrize("letter", ["x", "\u20ac"])
def test_and_is_cut_too(letter):
    def start(self):
        raise self.Error(letter * 50_000)

    assert 8180 <= len(result_of(start).fields["error"].encode()) <= 8192


def test_text_that_is_no_utf8_can_be_sent():
    assert result_of(raiser(ValueError("a\udcffb"))).fields["error"].startswith("ValueError: a?b")


@pytest.mark.parametrize(
    ("launch", "says"),
    [
        ({"data": b"{oops"}, "data is not JSON"),
        ({"data": b"[1]"}, "not an array"),
        ({"function": ""}, "the hash has no function"),
        ({"data": None, "oversize": 99_000_000}, "data has 99000000 bytes, over the limit max_data="),
    ],
)
def test_what_cannot_be_run_is_an_error(launch, says):
    change = result_of(lambda _: None, **launch)
    assert change.trigger is Trigger.FAIL
    assert says in change.fields["error"]


def test_data_that_does_not_fit_its_class_points_at_the_path():
    @attrs.define
    class Order:
        count: int

    world = world_of(lambda _: None, data=Order)
    world.launch(data=b'{"count": "three"}')
    assert "$.count" in outcome(world).fields["error"]


def test_a_constructor_that_raises_is_an_error():
    world = world_of(lambda _: None, __init__=lambda self, data: data["missing"])
    world.launch()
    assert outcome(world).fields["error"].startswith("KeyError: 'missing'")


# -- the tree ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spawn",
    [
        lambda _task, fn: gevent.spawn(fn),
        lambda _task, fn: gevent.spawn_later(0, fn),
        lambda _task, fn: Pool(1).spawn(fn),
        lambda _task, fn: Pool(1).map_async(lambda _: fn(), [1]),
        lambda _task, fn: gevent.spawn(gevent.spawn, fn),
        lambda task, fn: task.spawn(fn),
    ],
    ids=["spawn", "spawn_later", "Pool", "Pool.map_async", "grandchild", "Task.spawn"],
)
def test_a_run_lasts_until_its_last_greenlet_has_ended(spawn, gate):
    """The seed's own example spawns a loop and returns at once."""
    seen = []

    def work():
        seen.append(current_run())
        gate.wait()

    world = world_of(lambda self: spawn(self, work) and None)
    run = world.launch()
    until(lambda: seen)
    assert run.returned
    assert seen == [run]
    assert "a" in world.executor.living
    assert world.commit() == []
    gate.set()
    switch()
    assert outcome(world).trigger is Trigger.END
    assert world.executor.living == {}


def test_greenlets_of_the_worker_are_never_of_a_run(gate):
    services = []
    world = world_of(lambda _: services.append(Service.spawn(gate.wait)))
    world.launch()
    assert outcome(world).trigger is Trigger.END
    assert not services[0].ready()


def test_greenlets_spawned_outside_are_of_no_run(gate):
    world = world_of(lambda _: gate.wait())
    run = world.launch()
    assert gevent.spawn(current_run).get() is None
    assert not run.children


def test_spawn_from_outside_belongs_to_the_run_all_the_same(gate):
    run = world_of(lambda _: gate.wait()).launch()
    child = run.task.spawn(gate.wait)
    switch()
    assert run.children == {child}
    assert child.pytask_run is run


def test_spawn_copies_the_context():
    who = ContextVar("who")
    seen = []

    def start(self):
        who.set("me")
        self.spawn(lambda: seen.append(who.get()))

    world_of(start).launch()
    assert seen == ["me"]


def test_a_child_that_fails_after_start_returned_fails_the_run():
    def fail():
        raise ValueError("in the loop")

    def start(self):
        gevent.spawn(fail)

    change = result_of(start)
    assert change.trigger is Trigger.FAIL
    assert change.fields["error"].startswith("ValueError: in the loop")


def fail():
    raise ValueError("of a child")


@pytest.mark.parametrize(
    "watch",
    [
        lambda child, gate: gate.wait(),  # blocks in something else, as in a loop that never ends
        lambda child, gate: child.join(),
        lambda child, gate: gevent.joinall([child, gevent.spawn(gate.wait)]),
        lambda child, gate: (child.link_value(lambda _: None), gate.wait()),
    ],
)
def test_a_child_that_fails_under_start_fails_the_run(watch, gate):
    def start(self):
        watch(gevent.spawn(fail), gate)

    world = world_of(start)
    world.launch()
    for _ in range(6):
        switch()
    assert world.executor.living == {}
    (change,) = world.commit()
    assert change.trigger is Trigger.FAIL
    assert change.fields["error"].startswith("ValueError: of a child\n")


def test_a_pool_s_item_that_fails_fails_the_run(gate):
    def start(self):
        Pool(2).spawn(fail)
        gate.wait()

    assert result_of(start).fields["error"].startswith("ValueError: of a child\n")


@pytest.mark.parametrize(
    "use",
    [
        lambda: gevent.spawn(fail).get(),
        lambda: Pool(2).apply(fail),
        lambda: Pool(2).map(lambda _: fail(), [1, 2]),
        lambda: list(Pool(2).imap_unordered(lambda _: fail(), [1, 2])),
    ],
)
def test_a_failure_that_start_receives_is_its_own_business(use):
    def start(self):
        with pytest.raises(ValueError, match="of a child"):
            use()
        gevent.sleep(0)
        return "handled"

    change = result_of(start)
    assert (change.trigger, change.fields) == (Trigger.END, {"output": b'"handled"'})


def test_a_failure_that_has_a_link_is_its_own_business():
    seen = []

    def start(self):
        child = gevent.spawn(fail)
        child.link_exception(seen.append)
        child.join()
        gevent.sleep(0)

    assert result_of(start).trigger is Trigger.END
    assert len(seen) == 1


def test_a_failed_task_is_logged_with_its_traceback(caplog):
    result_of(raiser(ValueError("in start")), epoch=7)
    (record,) = [r for r in caplog.records if "failed" in r.getMessage()]
    assert (record.levelname, record.getMessage()) == ("ERROR", "task a failed: ValueError: in start")
    assert (record.task, record.function, record.epoch) == ("a", "demo", 7)
    assert record.exc_info[0] is ValueError
    line = json.loads(JsonLines().format(record))
    assert (line["task"], line["function"], line["epoch"]) == ("a", "demo", 7)
    assert line["exception"].startswith("Traceback (most recent call last):")
    assert line["exception"].endswith("ValueError: in start")
    assert "_start" not in line["exception"]  # no line of pytask


def test_a_failure_of_the_task_s_own_needs_no_traceback(caplog):
    result_of(raiser(Task.Error("as asked")))
    (record,) = [r for r in caplog.records if "failed" in r.getMessage()]
    assert (record.levelname, record.exc_info, record.task) == ("WARNING", None, "a")


def test_data_that_does_not_fit_needs_no_traceback_of_pytask_s_own_files(caplog):
    size = attrs.make_class("Size", {"width": attrs.field(type=int)})
    world = world_of(lambda _: None, size)
    world.launch(data=b'{"width": "wide"}')
    error = outcome(world).fields["error"]
    assert error.startswith("[PT030] data does not fit Size: ")
    assert "\n" not in error
    (record,) = [r for r in caplog.records if "failed" in r.getMessage()]
    assert (record.levelname, record.exc_info) == ("ERROR", None)


def test_an_error_of_pytask_that_the_task_s_code_met_has_a_traceback():
    def start(_self):
        codec.encode(object(), "an order")

    error = result_of(start).fields["error"]
    assert error.startswith("[PT030] ")
    assert "in start" in error


def test_a_child_killed_by_its_task_is_no_failure(gate):
    def start(self):
        child = gevent.spawn(gate.wait)
        gevent.sleep(0)
        child.kill()

    assert result_of(start).trigger is Trigger.END


def test_a_child_killed_before_its_first_switch_does_not_keep_the_run(gate):
    def start(self):
        gevent.spawn(gate.wait).kill(block=False)

    assert result_of(start).trigger is Trigger.END


# -- what the task sees ------------------------------------------------------------------------------------


def test_events_and_the_end_keep_their_order():
    def start(self):
        for n in range(3):
            self.emit("step", n)

    world = world_of(start)
    world.launch()
    changes = world.commit()
    assert [json.loads(change.event)["data"] for change in changes[:3]] == [0, 1, 2]
    assert [change.trigger for change in changes] == [None, None, None, Trigger.END]
    assert {change.run for change in changes} == {"s1:1"}


def test_an_event_that_is_not_json_is_raised_where_it_was_emitted():
    caught = []

    def start(self):
        with pytest.raises(BadData, match="data of event 'bad'") as info:
            self.emit("bad", object())
        caught.append(info)
        self.emit("good")

    world = world_of(start)
    world.launch()
    assert caught
    assert world.commit()[0].event == b'{"event":"good","data":null}'


def test_a_client_is_made_on_first_use_and_closed_with_the_run():
    clients = []
    world = world_of(lambda self: clients.extend([self.redis, self.redis]))
    world.launch()
    assert clients[0] is clients[1]
    assert [one.name for one in world.backend.opened] == ["a"]
    assert world.backend.closed == world.backend.opened


def test_without_use_there_is_no_client():
    world = world_of(lambda _: None)
    world.launch()
    assert world.backend.opened == []


def test_a_request_silences_what_the_children_raise(gate):
    def loop():
        try:
            gate.wait()
        except gevent.GreenletExit:
            raise ValueError("on the way out") from None

    world = world_of(lambda _: gevent.spawn(loop) and None)
    run = world.launch()
    world.executor.stop_reason(run, StopReason.STOP)
    switch()
    assert outcome(world).trigger is Trigger.STOP


def test_a_start_that_raises_takes_its_greenlets_with_it(gate):
    class Raises(Task):
        class Config:
            NAME = "demo"

        def start(self):
            self.spawn(gate.wait)
            raise ValueError("first line")

        def stop(self):
            raise AssertionError("stop() is for tasks that are asked to stop")

    world = World(Raises)
    run = world.launch()
    for _ in range(5):
        switch()
    assert run.over
    assert world.executor.living == {}
    (change,) = list(world.committer._waiting)
    assert change.trigger is Trigger.FAIL
    assert change.fields["error"].startswith("ValueError: first line")


def test_a_child_that_fails_alone_takes_the_others_with_it(gate):
    class Two(Task):
        class Config:
            NAME = "demo"

        def start(self):
            self.spawn(gate.wait)
            self.spawn(lambda: 1 / 0)

    world = World(Two)
    world.launch()
    for _ in range(6):
        switch()
    assert world.executor.living == {}
    assert [change.trigger for change in world.committer._waiting] == [Trigger.FAIL]


def test_what_a_link_starts_is_of_the_run_too(gate):
    seen = []

    def start(self):
        child = gevent.spawn(lambda: None)
        child.link(lambda source: (seen.append(source is child), gevent.spawn(gate.wait)))

    world = world_of(start)
    run = world.launch()
    for _ in range(6):
        switch()
    assert seen == [True]
    assert not run.over
    assert len(run.alive()) == 1
    gate.set()
    for _ in range(6):
        switch()
    assert run.over


def test_a_link_that_restarts_what_is_killed_does_not_outlive_a_stop(gate):
    rounds = []

    def start(self):
        def again(_=None):
            rounds.append(1)
            gevent.spawn(gate.wait).link(again)

        again()

    world = world_of(start)
    run = world.launch()
    switch()
    world.executor.stop_reason(run, StopReason.STOP)
    until(lambda: run.over)
    assert rounds == [1]
    assert [change.trigger for change in world.commit()] == [Trigger.STOP]


def test_a_link_can_be_taken_back(gate):
    seen = []

    def start(self):
        child = gevent.spawn(lambda: None)
        child.link(seen.append)
        child.unlink(seen.append)

    world_of(start).launch()
    for _ in range(4):
        switch()
    assert seen == []


def test_an_output_or_event_that_is_too_large_is_an_error_of_the_task():
    change = result_of(lambda _: "x" * (17 * 1024 * 1024))
    assert change.trigger is Trigger.FAIL
    assert "over the limit max_data" in change.fields["error"]
    change = result_of(lambda self: self.emit("big", "x" * (17 * 1024 * 1024)))
    assert change.trigger is Trigger.FAIL
    assert "event 'big'" in change.fields["error"]
