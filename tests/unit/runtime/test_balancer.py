"""Rounds of handing back runs, with a clock that the test controls."""

import gevent
import pytest

from pytask.domain.control import StopReason
from pytask.domain.figures import WorkerInfo
from pytask.domain.task import Task
from pytask.domain.timing import Timing
from pytask.runtime.services.balancer import Balancer, BalancerPorts
from tests.unit.runtime.fakes import World, switch

H = 5.0


class Demo(Task):
    class Config:
        NAME = "demo"

    def start(self):
        gevent.event.Event().wait()


class Other(Demo):
    class Config:
        NAME = "other"


@pytest.fixture
def world():
    made = World(Demo, Other, timing=Timing())
    yield made
    for run in list(made.executor.living.values()):
        made.executor.stop_reason(run, StopReason.STOP)
    switch(20)


@pytest.fixture
def balancer(world, passing):
    world.naps = passing(world.clock)
    world.consumer_ = world.consumer()
    presence = world.presence(session=lambda: "me")
    return Balancer(BalancerPorts(
        rate=10, store_proxy=world.store_proxy, executor=world.executor, consumer=world.consumer_,
        lease=world.lease, info=presence.info, clock=world.clock,
    ))  # fmt: skip


def idle(functions=("demo",), tasks=0):
    return WorkerInfo(
        session="idle", name="i", host="h", pid=1, running=tasks, functions=functions, tasks=tasks,
        max_tasks=10_000,
    )  # fmt: skip


def fill(world, number, **more):
    for i in range(number):
        world.launch(f"{more.get('function', 'demo')}{i}", **more)


def test_half_is_given_at_the_rate_youngest_first(world, balancer):
    fill(world, 60)
    world.store.say("recent_workers", [idle()])
    began = world.clock()
    world.clock.move(0)
    balancer.look()
    assert balancer.moved == 30
    assert world.clock() - began >= 3.0  # ten a second
    assert set(world.executor.living) == {f"demo{i}" for i in range(30)}
    assert {change.event for change in world.commit()} == {
        b'{"event":"requeued","data":{"reason":"rebalanced"}}'
    }
    assert balancer._beats == 2
    assert world.consumer_._back_until <= world.clock()


def test_nothing_moves_within_the_tolerance_or_without_others(world, balancer):
    fill(world, 20)
    world.store.say("recent_workers", [], [idle(tasks=20)], [idle(functions=("else",))])
    for _ in range(3):
        assert balancer.look().give == 0
    assert balancer.moved == 0
    assert world.naps == []


def test_only_what_the_other_knows_and_nothing_pre_started(world, balancer):
    fill(world, 5, function="demo", local=True)
    fill(world, 10, function="other")
    world.launch("crashed", function="other", crashes=1)
    world.store.say("recent_workers", [idle(functions=("other",))])
    balancer.look()
    assert balancer.moved == 5
    assert "crashed" in world.executor.living
    assert len([i for i in world.executor.living if i.startswith("demo")]) == 5


def test_where_nobody_takes_it_claims_again_and_waits_longer(world, balancer):
    fill(world, 60)
    beats = []
    for _ in range(7):
        world.store.say("recent_workers", [idle()])
        world.store.say("peek", *[[b"demo%d" % i for i in range(60)]] * 60)
        began = world.clock()
        balancer.look()
        world.store._lined_up["peek"].clear()
        world.lease.acknowledged([], world.clock())
        beats.append(balancer._beats)
        assert 2.0 <= world.clock() - began <= 2.5
        assert world.consumer_._back_until <= world.clock()
    assert beats == [4, 8, 16, 32, 64, 64, 64][: len(beats)]


def test_one_at_its_share_stands_back_for_the_one_below(world, balancer):
    fill(world, 10)
    world.store.say("recent_workers", [idle(), idle_full := WorkerInfo(
        session="full", name="f", host="h", pid=1, running=20, functions=("demo",), tasks=20, max_tasks=10_000
    )])  # fmt: skip
    assert idle_full.tasks == 20
    share = balancer.look()
    assert (share.give, share.back_off) == (0, True)
    assert world.store.asked("claim") == []


def test_a_consumer_that_stands_back_takes_nothing(world, passing):
    passing(world.clock)
    consumer = world.consumer()
    consumer.back_off(2.0)
    began = world.clock()
    seen = []

    def peek(*_):
        seen.append(world.clock() - began)
        consumer.end()
        return []

    world.store.say("peek", peek)
    consumer.run()
    assert seen[0] >= 2.0


def test_a_leaving_worker_gives_nothing(world, balancer):
    fill(world, 20)
    world.executor.leaving = True
    assert balancer.look().give == 0
    assert world.store.asked("recent_workers") == []


def test_a_worker_that_takes_nothing_shows_no_room_and_moves_nothing(world, balancer):
    fill(world, 20)
    world.store.say("recent_workers", [idle()])
    world.consumer_._capacity.close(closed=True)
    assert balancer.look().give == 0
    assert world.ends() == []
    presence = world.presence(session=lambda: "me", closed=lambda: world.consumer_.closed)
    assert presence.info().max_tasks == 0


def test_a_run_that_will_not_move_does_not_end_the_process(world, monkeypatch, timer):
    """Handing back for the sake of balance is no need: only a lost lease is."""
    monkeypatch.setattr("os._exit", lambda code: pytest.fail(f"exit {code}"))
    world.kill_timer.hard = True
    run = world.launch("a")
    run.stop_reason = StopReason.MOVE
    run.dead = None
    world.executor.stopping.outlived(run, leaving=False)
    assert "a" in world.executor.living
