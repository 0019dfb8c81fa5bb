"""What a worker counts of its runs, for its figures."""

import gevent
import pytest

from pytask.domain.control import StopReason
from pytask.domain.metrics import ROUNDS, RestartReason
from pytask.domain.record import Due
from pytask.domain.restarts import Restart
from pytask.domain.task import Task
from pytask.runtime.loop import run_loop
from pytask.runtime.runs.tally import Loop, Measured, Tally
from tests.unit.runtime.fakes import FAST, Clock, World, switch, until
from tests.unit.runtime.test_timers import timers_of


class Demo(Task):
    class Config:
        NAME = "demo"

    def start(self):
        gevent.sleep(1000)


class Failing(Task):
    class Config:
        NAME = "demo"
        RESTART = Restart("failure")

    def start(self):
        raise self.Error("as always")


def test_a_measurement_counts_in_the_first_bucket_that_has_room():
    measured = Measured(ROUNDS)
    for value in (0.005, 0.006, 2000.0):
        measured.add(value)
    assert measured.found.counts == (1, 1, *(0,) * 8, 1)
    assert measured.found.sum == 2000.011


def test_runs_by_function_and_their_latency():
    worker = World(Demo, timing=FAST)
    tally = worker.executor.tally
    runs = [worker.launch(task_id) for task_id in "ab"]
    assert tally.runs == {"demo": 2}
    assert sum(tally.starts.found.counts) == 2
    worker.executor.stop_reason(runs[0], StopReason.STOP)
    gevent.sleep(0.1)
    assert tally.runs == {"demo": 1}
    assert tally.restarts == {}


def test_why_tasks_run_again():
    worker = World(Demo, timing=FAST)
    tally = worker.executor.tally
    run = worker.launch("a", crashes=1, silent=91.5)
    assert tally.restarts == {"demo": {RestartReason.DEATH: 1}}
    assert tally.takeovers.found.counts[9:11] == (1, 0)
    worker.executor.stop_reason(run, StopReason.MOVE)
    gevent.sleep(0.1)
    worker.executor.hand_back_all()
    worker.launch("b")
    worker.executor.hand_back_all()
    gevent.sleep(0.1)
    assert tally.restarts == {
        "demo": {RestartReason.DEATH: 1, RestartReason.MOVE: 1, RestartReason.RELEASE: 1}
    }


def test_a_restart_by_its_policy_is_put_off():
    worker = World(Failing, timing=FAST)
    tally = worker.executor.tally
    worker.launch("a")
    switch()
    assert (tally.restarts, tally.backing_off) == ({"demo": {RestartReason.FAILURE: 1}}, 0 + 1)
    tally.clock = worker.clock
    tally._put_off[:] = [worker.clock() + 5.0]
    worker.clock.move(4.9)
    assert tally.backing_off == 1
    worker.clock.move(0.2)
    assert tally.backing_off == 0


@pytest.mark.parametrize(
    ("policy", "cause", "reason"),
    [
        (Restart("always"), None, RestartReason.END),
        (Restart("failure"), StopReason.TIMEOUT, RestartReason.TIMEOUT),
        (None, StopReason.RELOAD, RestartReason.RELOAD),
    ],
)
def test_each_reason_is_counted_as_itself(policy, cause, reason):
    class Other(Task):
        class Config:
            NAME = "demo"
            RESTART = policy

        def start(self):
            if cause is not None:
                gevent.sleep(1000)

    world = World(Other, timing=FAST)
    run = world.launch("a")
    if cause is not None:
        world.executor.stop_reason(run, cause)
    until(lambda: world.executor.tally.restarts)
    assert world.executor.tally.restarts == {"demo": {reason: 1}}


def test_the_age_of_the_round_that_turned_least_recently():
    clock = Clock()
    tally = Tally(clock)
    one, two = Loop(tally, "a"), Loop(tally, "a")
    one.begin()
    clock.move(1)
    two.begin()
    clock.move(2)
    assert tally.round_age == {"a": 3.0}
    one.begin()
    assert tally.round_age == {"a": 2.0}
    clock.move(0.5)
    one.end()
    assert tally.rounds.found.sum == 0.5
    two.rest()
    one.rest()
    assert tally.round_age == {}


class Turning(Task):
    class Config:
        NAME = "demo"

    def start(self):
        run_loop(lambda: None, 1000)


def test_a_loop_of_a_task_tells_of_its_rounds_until_its_run_is_over():
    worker = World(Turning, timing=FAST)
    tally = worker.executor.tally
    run = worker.launch()
    assert set(tally.round_age) == {"demo"}
    assert sum(tally.rounds.found.counts) == 1
    worker.executor.stop_reason(run, StopReason.STOP)
    gevent.sleep(0.1)
    assert tally.round_age == {}


def test_a_paused_task_need_not_turn():
    worker = World(Turning, timing=FAST)
    run = worker.launch()
    loop = run.loop()
    loop.begin()
    loop.rest()
    assert set(worker.executor.tally.turning["demo"]) != {loop}


def test_a_loop_outside_of_a_worker_counts_nothing():
    with pytest.raises(ZeroDivisionError):
        run_loop(lambda: 1 / 0, 1)


def test_how_late_timers_are():
    late = []
    world = World()
    service = timers_of(world, on_late=late.append)
    world.store.say(
        "due", Due(moved=0, timer=None, schedule=None), Due(moved=2, timer=9.0, schedule=None, late=0.25)
    )
    service.look()
    service.look()
    assert late == [0.25]
