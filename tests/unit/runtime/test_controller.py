"""Control messages."""

import json

import gevent
import pytest

from pytask.domain.control import StopReason
from pytask.domain.errors import Denied, Refused, SharedChannels, Unavailable
from pytask.domain.messages import Command
from pytask.domain.record import Notice, Verdict
from pytask.domain.task import Task
from pytask.domain.timing import Timing
from pytask.runtime.runs.stacks import DEPTH, MOST
from pytask.runtime.services.controller import IDLE, Controller, ControllerPorts
from tests.unit.runtime.fakes import FakeFeed, World, switch, until

D, H = 60.0, 5.0
STOP, START, RELOAD = Command.STOP, Command.START, Command.RELOAD


@pytest.fixture
def world(gate):
    class Demo(Task):
        class Config:
            NAME = "demo"

        def start(self):
            gate.wait()

    return World(Demo, timing=Timing())


@pytest.fixture
def feed():
    return FakeFeed()


@pytest.fixture
def hints():
    return []


@pytest.fixture
def pings():
    """When each ping was asked for; the heartbeat publishes it at once."""
    return []


@pytest.fixture
def deaf():
    return []


@pytest.fixture
def controller(world, feed, hints, pings, deaf):
    def publish():
        pings.append(world.clock())
        made.pinged(None)

    made = Controller(ControllerPorts(
        store=world.store, feed=feed, executor=world.executor, timing=world.timing, clock=world.clock,
        on_hint=hints.append, request_ping=publish, on_deaf=lambda: deaf.append(world.clock()),
        log_throttle=world.log_throttle,
    ))  # fmt: skip
    return made


def asked(world):
    return [call[:2] for call in world.store.asked("control")]


def message(task_id, command):
    return Notice("control", task_id, command)


@pytest.mark.parametrize(
    ("command", "stop_reason"), [(STOP, StopReason.STOP), (RELOAD, StopReason.RELOAD), (START, None)]
)
def test_the_request_is_written_down_and_then_acted_on(world, controller, command, stop_reason):
    run = world.launch()
    world.store.say("control", lambda *_: [Verdict.REQUESTED] if run.stop_reason is None else [])
    controller.handle([message("a", command)])
    assert asked(world) == [(command, ["a"])]
    until(lambda: run.stop_reason is stop_reason)


@pytest.mark.parametrize("verdict", [Verdict.OK, Verdict.STATE, Verdict.NOHASH])
def test_only_what_is_meant_for_a_living_run_is_acted_on(world, controller, verdict):
    run = world.launch()
    world.store.say("control", [verdict])
    controller.handle([message("a", STOP)])
    assert run.stop_reason is None


def test_a_run_that_lives_elsewhere_is_written_down_all_the_same(world, controller):
    controller.handle([message("elsewhere", STOP)])
    assert asked(world) == [(STOP, ["elsewhere"])]


def test_stop_beats_reload_beats_nothing_in_any_order(world, controller):
    first, second = world.launch("a"), world.launch("b")
    controller.handle([message("a", RELOAD), message("a", STOP), message("b", STOP), message("b", RELOAD)])
    assert (first.stop_reason, second.stop_reason) == (StopReason.STOP, StopReason.STOP)


def test_equal_commands_in_a_row_share_a_call_and_duplicates_fall_away(world, controller):
    controller.handle(
        [message("a", STOP), message("b", STOP), message("a", STOP), message("a", START), message("a", STOP)]
    )
    assert asked(world) == [(STOP, ["a", "b"]), (START, ["a"]), (STOP, ["a"])]


@pytest.mark.parametrize("task_id", ["", "new-task", "pytask:runs", "a\nb", "x" * 513])
def test_an_id_that_cannot_be_a_task_is_dropped(world, controller, task_id):
    controller.handle([message(task_id, STOP), message("a", None)])
    assert world.store.asked("control") == []


def test_the_stacks_of_a_run_are_told_by_an_event(world, controller):
    run = world.launch()
    until(lambda: run.greenlet.gr_frame)
    controller.handle([Notice("stacks", "a"), Notice("stacks", "elsewhere"), Notice("stacks", "a")])
    (change,) = world.commit()
    told = json.loads(change.event)
    assert (change.id, change.run, told["event"]) == ("a", run.ref.run, "stacks")
    assert (told["data"]["run"], told["data"]["more"]) == (run.ref.run, False)
    (stack,) = told["data"]["stacks"]
    assert stack["of"].startswith("greenlet ")
    file, line, function = next(one for one in stack["frames"] if one[2].endswith("Demo.start"))
    assert (file, line > 0, function) == (__file__, True, "world.<locals>.Demo.start")
    assert world.store.asked("control") == []


def test_stacks_are_bounded(world, controller):
    run = world.launch()

    def deep(levels):
        if levels:
            deep(levels - 1)
        else:
            gevent.sleep(1000)

    for _ in range(MOST + 5):
        run.adopt(gevent.spawn(deep, DEPTH + 5))
    switch()
    controller.handle([Notice("stacks", "a")])
    told = json.loads(world.commit()[0].event)["data"]
    assert (len(told["stacks"]), told["more"]) == (MOST, True)
    assert {len(one["frames"]) for one in told["stacks"][1:]} == {DEPTH}  # the first is that of `start()`
    assert told["stacks"][-1]["frames"][-2][2].endswith("deep")


def test_while_too_many_events_wait_nobody_is_answered(world, controller, monkeypatch):
    world.launch()
    monkeypatch.setattr(type(world.committer), "full", True)
    controller.handle([Notice("stacks", "a")])
    assert world.commit() == []


def test_hints_are_passed_on(controller, hints):
    controller.handle([Notice("parked", "resize")])
    assert hints == ["resize"]


def test_without_an_answer_the_message_is_written_down_again(world, controller, passing):
    passing(world.clock)
    run = world.launch()
    world.store.say("control", Unavailable("?"), Unavailable("?"))
    controller.apply(STOP, ["a"])
    assert asked(world) == [(STOP, ["a"])] * 3
    assert run.stop_reason is StopReason.STOP


def test_after_d_it_is_given_up_and_nothing_is_done(world, controller, passing, caplog):
    passing(world.clock)
    run = world.launch()
    world.store.say("control", *[Unavailable("?")] * 100)
    controller.apply(STOP, ["a"])
    assert D <= world.clock() - 1000 < D + 3
    assert run.stop_reason is None
    assert "could not store stop for 1 task" in caplog.text


# -- the ping ----------------------------------------------------------------------------------------------


def test_a_ping_every_2h(world, controller, feed, pings):
    for _ in range(41):
        feed.batches = [[Notice("ping")]]
        controller._pass()
        world.clock.move(H / 10)
    assert len(pings) == 3
    assert controller.listening


def test_not_received_within_h_is_a_dead_subscription_and_all_connections_are_opened_again(
    world, controller, deaf
):
    controller._pass()
    world.clock.move(H)
    controller._pass()
    assert deaf == []
    world.clock.move(0.01)
    with pytest.raises(Unavailable, match="ping of its own worker"):
        controller._pass()
    assert len(deaf) == 1


def test_what_others_say_at_a_primary_of_yesterday_does_not_hide_that_the_ping_is_not_received(
    world, controller, feed
):
    feed.batches = [[message("x", STOP)] for _ in range(20)]
    for _ in range(6):
        controller._pass()
        world.clock.move(H / 5)
    with pytest.raises(Unavailable, match="ping of its own worker"):
        controller._pass()


def test_a_ping_that_is_not_published_is_no_deafness_but_the_feed_is_unproven(world, controller, feed, deaf):
    controller._request_ping = lambda: None  # the heartbeat waits for Redis
    for _ in range(20):
        controller._pass()
        world.clock.move(H)
    assert (deaf, controller.listening) == ([], False)
    controller.pinged(None)
    feed.batches = [[Notice("ping")]]
    controller._pass()
    assert controller.listening


def test_what_keeps_the_ping_from_being_published_is_reported(controller):
    controller._pass()
    controller.pinged(Denied("NOPERM"))
    with pytest.raises(Denied):
        controller._pass()


def test_a_proof_does_not_last(world, controller, feed):
    feed.batches = [[], [Notice("ping")]]
    controller._pass()
    controller._pass()
    world.clock.move(4 * H)
    assert controller.listening
    world.clock.move(0.01)
    assert not controller.listening


def test_it_reads_until_the_ping_has_to_be_looked_at_and_no_longer_than_h(world, controller, feed, pings):
    feed.batches = [[], [Notice("ping")]]
    controller._pass()  # asks for the first one
    controller._pass()
    world.clock.move(H + 1)
    controller._pass()
    assert feed.patience == [pytest.approx(IDLE), H, H - 1]
    world.clock.move(H - 1)
    controller._pass()
    assert len(pings) == 2


def test_the_loop_subscribes_again_with_a_growing_pause(world, controller, feed, passing, caplog):
    naps = passing(world.clock)
    feed.batches = [Unavailable("cut"), Unavailable("cut"), [Notice("ping"), message("a", STOP)]]
    world.store.say("control", lambda *_: controller.end() or [Verdict.OK])
    controller.run()
    assert (feed.opened, feed.closed, controller.reconnects) == (3, 1, 2)
    assert naps[:2] == [0.5, 1.0]
    assert controller.listening
    assert "subscribing again" in caplog.text


def test_a_long_backlog_in_front_of_the_ping_is_no_deafness(world, controller, feed, pings):
    feed.batches += [[message(f"t{n}", STOP)] for n in range(5)]
    feed.behind = True
    for _ in range(5):
        controller._pass()
        world.clock.move(H * 0.9)
    assert len(pings) == 1
    feed.behind = False
    with pytest.raises(Unavailable):
        controller._pass()


def test_what_redis_refuses_is_given_up_at_once_so_that_others_are_served(world, controller):
    world.store.say("control", Refused("OOM", "OOM"))
    controller.apply(START, ["a"])
    assert len(world.store.asked("control")) == 1


def test_a_stop_that_others_obeyed_before_the_last_start_is_known_to_be_old(world, controller):
    controller._starts.listen(world.clock())
    world.clock.move(60.0)
    controller.handle([message("a", STOP), message("b", START), message("b", STOP)])
    ages = {(command, *ids): ages for command, ids, ages in world.store.asked("control")}
    assert ages[STOP, "a"] == [60.0 - H]  # a start within them was not heard here, so it is behind this stop
    assert ages[START, "b"] == [world.timing.tick]
    assert ages[STOP, "b"] == [0.0]  # here the start was heard first


def test_a_start_that_its_sender_carries_out_is_noted_in_its_place_and_not_done_again(world, controller):
    controller._starts.listen(world.clock())
    world.clock.move(60.0)
    controller.handle([message("a", STOP), Notice("started", "a"), message("a", STOP)])
    ages = [(command, ages) for command, ids, ages in world.store.asked("control")]
    assert ages == [(STOP, [60.0 - H]), (STOP, [0.0])]


# -- other db numbers ----------------------------------------------------------------------------------------


@pytest.fixture
def numbered(feed):
    feed.database = 3
    return feed


def test_beside_another_db_number_it_does_not_start(world, controller, numbered):
    world.store.say("databases", [0, 3, 5])
    with pytest.raises(SharedChannels, match=r"does not start. Workers with db 0, 5 .* worker with db 3"):
        controller.join()


def test_where_redis_does_not_answer_at_the_start_the_loop_looks_as_soon_as_it_does(
    world, controller, numbered, passing
):
    passing(world.clock)
    world.store.say("databases", Unavailable("away"), Unavailable("away"), [0, 3])
    controller.join()
    with pytest.raises(SharedChannels):
        controller.run()
    assert (numbered.opened, numbered.closed) == (3, 1)


def test_a_worker_that_was_there_before_goes_on_and_says_it_once(
    world, controller, numbered, passing, caplog
):
    passing(world.clock)
    world.store.say("databases", [3], [0, 3], [0, 3])
    numbered.batches = [Unavailable("cut"), Unavailable("cut"), [message("a", STOP)]]
    world.store.say("control", lambda *_: controller.end() or [Verdict.OK])
    controller.join()
    controller.run()
    assert numbered.opened == 3  # the feed that was opened at the start is read
    assert caplog.text.count("[PT138] Workers with db 0 ") == 1


def test_who_may_not_look_starts(world, controller, numbered):
    world.store.say("databases", Denied("NOPERM"))
    controller.join()
    assert (numbered.opened, world.store.asked("databases")) == (1, [()])


def test_where_there_are_no_db_numbers_nothing_is_asked(world, controller, feed):
    controller.join()
    assert (feed.opened, world.store.calls) == (0, [])
