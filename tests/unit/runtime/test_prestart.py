"""Pre-started tasks."""

import gevent
import pytest

from pytask.domain.control import StopReason
from pytask.domain.errors import Refused, Unavailable
from pytask.domain.lifecycle import Trigger
from pytask.domain.record import Verdict
from pytask.domain.task import Task
from pytask.domain.timing import Timing
from tests.unit.runtime.fakes import World, switch, until, won

F = 30.0


@pytest.fixture
def world(gate):
    class Demo(Task):
        class Config:
            NAME = "demo"

        def start(self):
            gate.wait()

    return World(Demo, timing=Timing())


@pytest.fixture
def prestart(world):
    return world.prestart(("demo", b'{"n": 1}'))


def only(world):
    switch()
    (run,) = world.executor.living.values()
    return run


def test_it_starts_once(world, prestart):
    assert [prestart.ensure(), prestart.ensure()] == [1, 0]
    run = only(world)
    assert run.local
    assert world.store.asked("open_local") == [(run.ref, "demo", b'{"n": 1}', "w")]


def test_one_that_redis_never_takes_does_not_hold_up_the_others(world):
    prestart = world.prestart(("demo", b"x" * 1000), ("demo", b'{"n": 1}'), ("demo", b'{"n": 2}'))

    def limited(ref, function, data, _worker):
        if len(data) > 100:
            raise Unavailable("connection closed by the server")
        return won(ref, function, data)

    world.store.say("open_local", *[limited] * 9)
    for _ in range(2):
        with pytest.raises(Unavailable):
            prestart.ensure()
    assert len(world.executor.living) == 2


def test_it_waits_until_the_gate_is_open(world, prestart):
    world.clock.move(F)
    assert prestart.ensure() == 0
    assert world.store.calls == []
    world.lease.acknowledged([], world.clock())
    assert prestart.ensure() == 1


@pytest.mark.parametrize("stop_reason", [StopReason.HAND_BACK, StopReason.FORGET, StopReason.FENCED])
def test_it_starts_again_after_a_loss_under_a_new_id(world, prestart, stop_reason):
    prestart.ensure()
    old = only(world)
    world.executor.stop_reason(old, stop_reason)
    until(lambda: not world.executor.living)
    assert prestart.ensure() == 1
    assert only(world).id != old.id


def test_once_all_run_the_loop_only_waits_for_a_loss(world, prestart, passing):
    naps = passing(world.clock)
    loop = gevent.spawn(prestart.run)
    until(lambda: world.executor.living)
    old = only(world)
    world.executor.stop_reason(old, StopReason.HAND_BACK)
    until(lambda: world.executor.living and old.id not in world.executor.living)
    assert not loop.ready()
    prestart.end()
    loop.join(20)
    assert loop.ready()
    assert naps == []


def test_not_after_it_was_stopped(world, prestart):
    prestart.ensure()
    world.executor.stop_reason(only(world), StopReason.STOP)
    until(lambda: not world.executor.living)
    assert prestart.ensure() == 0


def test_not_after_it_ended(world, prestart, gate):
    prestart.ensure()
    gate.set()
    until(lambda: not world.executor.living)
    assert prestart.ensure() == 0
    assert [trigger for _, trigger in world.ends()] == [Trigger.END]


def test_not_while_the_worker_leaves(world, prestart):
    prestart.ensure()
    only(world)
    world.executor.leaving = True
    world.executor.hand_back_all()
    until(lambda: not world.executor.living)
    prestart.end()
    assert prestart.ensure() == 0


def test_it_can_be_reloaded_and_still_comes_back_after_a_loss(world, prestart):
    prestart.ensure()
    old = only(world)
    world.executor.stop_reason(old, StopReason.RELOAD)
    until(lambda: world.executor.living.get(old.id) not in (None, old))
    assert prestart.ensure() == 0
    world.executor.stop_reason(only(world), StopReason.HAND_BACK)
    until(lambda: not world.executor.living)
    assert prestart.ensure() == 1


@pytest.mark.parametrize("error", [Unavailable("?"), Refused("OOM", "OOM")])
def test_without_an_answer_it_is_released_as_local_and_tried_under_another_id(world, prestart, error):
    world.store.say("open_local", error)
    with pytest.raises(type(error)):
        prestart.ensure()
    (change,) = world.commit()
    first = world.store.asked("open_local")[0][0]
    assert (change.id, change.run) == (first.id, first.run)
    assert (change.trigger, change.local) == (Trigger.RELEASE, True)
    assert prestart.ensure() == 1
    assert only(world).id != first.id


@pytest.mark.parametrize("late", ["too old", "worker leaves"])
def test_an_answer_that_comes_too_late_is_released(world, prestart, late):
    def answer(ref, *_):
        if late == "too old":
            world.clock.move(F)
        else:
            prestart.end()
        return won(ref)

    world.store.say("open_local", answer)
    prestart.ensure()
    assert world.executor.living == {}
    assert [(change.trigger, change.local) for change in world.commit()] == [(Trigger.RELEASE, True)]


def test_what_is_not_won_is_not_started(world, prestart):
    world.store.say("open_local", lambda ref, *_: won(ref, verdict=Verdict.FENCED))
    prestart.ensure()
    assert world.executor.living == {}
    assert world.commit() == []
    assert prestart.ensure() == 1


def test_a_verdict_of_a_newer_release_is_released_as_local(world, prestart):
    world.store.say("open_local", lambda ref, *_: won(ref, verdict=Verdict.UNRECOGNIZED))
    prestart.ensure()
    assert world.executor.living == {}
    assert [(change.run, change.trigger, change.local) for change in world.commit()] == [
        ("s1:1", Trigger.RELEASE, True)
    ]


def test_the_loop_waits_for_redis(world, prestart, passing, caplog):
    passing(world.clock)
    world.store.say("open_local", Unavailable("away"), lambda ref, *_: prestart.end() or won(ref))
    prestart.run()
    assert "pre-started tasks wait for Redis, including demo with 8 bytes of data" in caplog.text
