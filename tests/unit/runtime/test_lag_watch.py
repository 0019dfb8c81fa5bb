"""A blocked asyncio loop: who blocks it, and what becomes of its runs."""

import asyncio

import pytest
from gevent import monkey

from pytask.domain.control import StopReason
from pytask.domain.task import Task
from pytask.runtime.aio.lag_watch import LagWatch, LagWatchPorts
from tests.unit.runtime.fakes import Clock, World, asyncio_loop, really_sleep
from tests.unit.runtime.test_aio import begun, until

sleep = monkey.get_original("time", "sleep")


class Blocks(Task):
    class Config:
        NAME = "demo"

    def __init__(self, data):
        super().__init__(data)
        self.release = []

    async def start(self):
        await asyncio.sleep(0)
        self.began = True
        while not self.release:
            sleep(0.001)  # this line blocks


@pytest.fixture
def blocked():
    """A world of which the loop is blocked, the task, and a watch with a clock that only the test moves."""
    world = World(Blocks)
    run = world.launch()
    task = begun(world, run)
    silent = []
    watch = LagWatch(LagWatchPorts(
        loop=asyncio_loop(), limit=2.0, lease=60.0, clock=Clock(), on_silent=lambda: silent.append(True)
    ))  # fmt: skip
    yield world, task, watch, silent
    task.release.append(True)
    until(lambda: not world.executor.living)


def test_a_coroutine_that_blocks_the_loop_is_named_with_its_line(blocked, caplog):
    _, _, watch, silent = blocked
    watch.look()
    watch._ports.clock.move(1.9)
    watch.look()
    assert not caplog.records
    watch._ports.clock.move(0.2)
    watch.look()
    watch.look()
    (record,) = caplog.records
    said = record.getMessage()
    assert said.startswith("[PT217] task a (demo) blocks the asyncio loop for more than 2.1 s at ")
    assert "test_lag_watch.py:" in said
    assert said.endswith("or work in a native thread: `await self.blocking(f, *args)`")
    assert not silent


def test_after_a_lease_of_silence_its_runs_count_as_blocked(blocked, caplog):
    _, _, watch, silent = blocked
    watch.look()
    watch._ports.clock.move(59.9)
    watch.look()
    assert not silent
    watch._ports.clock.move(0.1)
    watch.look()
    watch.look()
    assert silent == [True]
    assert "[PT218] the asyncio loop has not answered for 60 s" in caplog.text


def test_a_run_that_cannot_be_stopped_as_the_loop_is_blocked_ends_the_process(blocked):
    world, task, _, _ = blocked
    exits = []
    world.executor.stopping._exit = exits.append
    world.executor.stopping._kill_timer.hard = True
    world.executor.ask("a", StopReason.HAND_BACK)
    until(lambda: exits)
    assert exits[0] == 70
    assert "a" in world.executor.living
    task.release.append(True)


def test_a_loop_that_answers_is_not_named_and_one_that_answers_again_is_asked_again(blocked, caplog):
    world, task, watch, _ = blocked
    watch.look()
    watch._ports.clock.move(5)
    watch.look()
    assert len(caplog.records) == 1
    task.release.append(True)
    until(lambda: not watch.lag)
    for _ in range(5):
        watch._ports.clock.move(1)
        watch.look()
        until(lambda: not watch.lag)
    assert len([one for one in caplog.records if "PT217" in one.getMessage()]) == 1
    until(lambda: not world.executor.living)


def test_greenlets_and_renewals_go_on_while_the_loop_is_blocked(blocked):
    world, _, _, _ = blocked
    really_sleep(0.001)
    world.clock.move(world.timing.heartbeat)
    world.heartbeat().beat()
    assert world.store.asked("renew")
