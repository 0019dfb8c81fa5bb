"""The service that moves tasks whose time has come."""

import logging

import gevent
import pytest

from pytask.domain.errors import Unavailable
from pytask.domain.lifecycle import Trigger
from pytask.domain.record import Change, Claim, Due, RunRef, Verdict
from pytask.domain.timing import Timing
from pytask.runtime.monitor import Monitor
from pytask.runtime.runs.run import Run
from pytask.runtime.services.timers import GAP, LAG_FIRST, LAG_LAST, Timers, TimersPorts
from tests.unit.runtime.fakes import World, switch, until

SWEEP = Timing().sweep


@pytest.fixture
def world():
    return World(timing=Timing())


@pytest.fixture
def timers(world):
    return timers_of(world)


def timers_of(world, **ports):
    options = {
        "store": world.store, "timing": world.timing, "clock": world.clock,
        "log_throttle": world.log_throttle, "uniform": lambda low, high: high,
    }  # fmt: skip
    return Timers(TimersPorts(**options | ports))


def due(moved=0, timer=None, schedule=None):
    return Due(moved=moved, timer=timer, schedule=schedule)


@pytest.mark.parametrize(
    ("found", "wait"),
    [
        (due(), SWEEP),
        (due(timer=3.0), 3.0),
        (due(timer=1e9), SWEEP),
        (due(schedule=2.0), 2.0),
        (due(timer=3.0, schedule=2.0), 2.0),
        (due(timer=3.0, schedule=5.0), 3.0),
        (due(timer=0.001), GAP),
    ],
)
def test_it_looks_again_when_the_next_is_due_or_after_a_sweep(world, timers, found, wait):
    world.store.say("due", found)
    assert timers.look() == pytest.approx(wait)


def test_it_moves_all_that_is_due(world, timers):
    world.store.say("due", due(256, timer=0.0), due(0, timer=0.0), due(9, timer=4.0))
    assert timers.look() == pytest.approx(4.0)
    assert len(world.store.asked("due")) == 3


def test_a_stop_ends_it_between_two_steps(world, timers):
    def end(*_):
        timers.end()
        return due(256, timer=0.0)

    world.store.say("due", end)
    timers.look()
    assert len(world.store.asked("due")) == 1


def test_what_it_delayed_itself_is_looked_at_in_time(world, timers):
    timers.soon(7.0)
    timers.soon(5.0)
    timers.soon(SWEEP + 1)  # a look comes before that anyway
    assert timers.look() == pytest.approx(5.0)
    world.clock.move(5.0)
    world.store.say("due", due(1, timer=2.0))
    assert timers.look() == pytest.approx(2.0)
    world.clock.move(2.0)
    assert timers.look() == pytest.approx(SWEEP)


def test_a_new_delay_shortens_the_wait(world, timers):
    greenlet = gevent.spawn(timers.run)
    switch()
    assert len(world.store.asked("due")) == 1
    timers.soon(0.0)
    until(lambda: len(world.store.asked("due")) > 1)
    timers.soon(SWEEP + 1)
    looks = len(world.store.asked("due"))
    switch()
    assert len(world.store.asked("due")) == looks
    timers.end()
    greenlet.join(timeout=5)
    assert greenlet.successful()


def test_of_many_workers_the_one_that_was_first_looks_first(world, timers):
    """The others look a little later, and later each time, up to a second; until they are first once."""
    world.store.say("due", due(timer=3.0))
    assert timers.look() == pytest.approx(3.0)
    waits = []
    for _ in range(8):
        world.store.say("due", due(0, timer=3.0))  # another one has moved what was due
        waits.append(timers.look() - 3.0)
    assert waits[:3] == pytest.approx([LAG_FIRST, 2 * LAG_FIRST, 4 * LAG_FIRST])
    assert waits[-2:] == pytest.approx([LAG_LAST, LAG_LAST])
    timers.soon(2.0)
    world.store.say("due", due(0, timer=2.0))
    assert timers.look() == pytest.approx(2.0)  # its own are not left to others
    world.clock.move(2.0)
    world.store.say("due", due(1, timer=3.0))
    assert timers.look() == pytest.approx(3.0)


def test_a_look_without_a_reason_says_nothing_of_others(world, timers):
    for _ in range(3):
        timers.look()
    world.store.say("due", due(timer=3.0))
    assert timers.look() == pytest.approx(3.0)


class Fire:
    """What fires schedules."""

    def __init__(self):
        self.pressing, self.asked = False, []

    def __call__(self, store):
        self.asked.append(store)
        return 1.5


def test_a_run_that_is_over_is_a_reason_to_fire_before_anything_is_due(world):
    fire = Fire()
    timers = timers_of(world, schedules=fire)
    world.store.say("due", *[due(schedule=4.0)] * 9)
    greenlet = gevent.spawn(timers.run)
    until(lambda: world.store.asked("due"))
    assert fire.asked == []
    fire.pressing = True
    timers.wake()
    until(lambda: fire.asked)
    timers.end()
    greenlet.join(timeout=5)
    assert greenlet.successful()


def test_schedules_that_are_due_are_fired(world):
    fire = Fire()
    timers, asked = timers_of(world, schedules=fire), fire.asked
    world.store.say("due", due(schedule=4.0), due(schedule=0.0))
    assert timers.look() == pytest.approx(4.0)
    assert asked == []
    assert timers.look() == pytest.approx(1.5)
    assert asked == [world.store]


def test_without_schedules_a_due_one_costs_nothing(world, timers):
    world.store.say("due", due(schedule=0.0))
    assert timers.look() == pytest.approx(SWEEP)


def test_it_survives_a_lost_redis_and_its_own_faults(world, timers, monkeypatch, caplog):
    monkeypatch.setattr(gevent, "sleep", lambda _: None)
    world.store.say("due", Unavailable("gone"), ValueError("odd"), due(1))
    with caplog.at_level(logging.WARNING, "pytask"):
        greenlet = gevent.spawn(timers.run)
        until(lambda: len(world.store.asked("due")) >= 3)
    timers.end()
    greenlet.join(timeout=5)
    assert greenlet.successful()
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
    assert len(world.store.asked("reset")) == 2  # what is in the connection is not known


def test_the_consumer_tells_of_a_delayed_task(world):
    told = []
    consumer = world.consumer(on_delayed=told.append)
    world.store.say("peek", [b"a"])
    world.store.say("claim", lambda request: [Claim("a", request.refs[0].run, Verdict.DELAYED, delay=7.5)])
    assert consumer.consume() == (1, 1)
    assert told == [7.5]
    assert world.executor.living == {}
    assert world.store.asked("reject") == world.store.asked("park") == []


@pytest.mark.parametrize("verdict", [Verdict.OK, Verdict.ALREADY, Verdict.FENCED])
def test_the_committer_tells_of_a_task_that_is_tried_again(verdict):
    world = World(timing=Timing())
    world.store.say("commit", [verdict])
    ref = RunRef("a", "s:1")
    world.committer.put(Change(ref.id, ref.run, b"", Trigger.RETRY, {}, delay=3.5))
    world.commit()
    assert world.delayed == ([] if verdict is Verdict.FENCED else [3.5])


def test_a_monitor_looks_at_the_timers(world):
    claim = Claim("m", "s:m", Verdict.OK, "pytask/monitor", b"{}")
    run = Run(world.executor, claim, RunRef(claim.id, claim.run), Monitor, world.clock())
    monitor, data = run._prepared()
    monitor.__init__(data)
    world.store.say("due", due(256, timer=0.0), due(3, timer=8.0))
    monitor.check_tasks()
    assert len(world.store.asked("due")) == 2
