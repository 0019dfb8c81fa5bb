"""What a coroutine at rest keeps, and the timers of the loop."""

import asyncio
import gc
import sys
from collections import Counter
from functools import partial

import pytest

from pytask import Task
from pytask.runtime.aio import loop as loops
from pytask.runtime.aio.loop import WorkerLoop
from pytask.runtime.aio.timers import WAKE, Nap, Timer
from tests.unit.runtime.fakes import World
from tests.unit.runtime.test_aio import until

RUNS = 64
MOST = 16  # objects of a run that the garbage collector tracks; 15 where this was written, 17 before
LARGEST = 1_900  # their bytes; 1,790 where this was written, 2,110 before


class Sleeper(Task):
    class Config:
        NAME = "demo"

    async def start(self):
        while True:  # noqa: ASYNC110 - as most tasks do
            await asyncio.sleep(3600)


def launch(world, names):
    runs = [world.launch(name) for name in names]
    until(lambda: all(run.coroutines is not None and run.coroutines.tasks() for run in runs))
    until(lambda: all(run.coroutines.root.get_coro().cr_await is not None for run in runs))
    return runs


def test_a_coroutine_at_rest_keeps_few_objects():
    world = World(Sleeper)
    launch(world, ["first"])  # what there is once
    gc.collect()
    before = {id(one) for one in gc.get_objects()}
    runs = launch(world, [f"t{number}" for number in range(RUNS)])
    gc.collect()
    kept = [one for one in gc.get_objects() if id(one) not in before and type(one) not in (set, dict, list)]
    kinds = Counter(type(one).__name__ for one in kept)
    each = {name: count / RUNS for name, count in kinds.items() if count >= RUNS / 2}
    assert sum(each.values()) <= MOST, each
    assert {"TimerHandle", "Timer", "partial", "Rare"}.isdisjoint(each)
    size = sum(sys.getsizeof(one) for one in kept if type(one).__name__ in each) / RUNS
    assert size <= LARGEST, each
    assert all(vars(run) == {} for run in runs)  # no run has what few have
    for run in runs:
        run.coroutines.cancel()
    until(lambda: all(run.over for run in runs))


@pytest.fixture
def loop():
    made = WorkerLoop(2, None)
    yield made
    made.close()


def test_a_sleep_ends_in_time_and_in_order(loop):
    async def after(seconds, name):
        await asyncio.sleep(seconds)
        ended.append(name)

    async def main():
        await asyncio.gather(after(0.005, "last"), after(0.001, "first"), after(0.002, "second"))

    ended = []
    loop.run_until_complete(main())
    assert ended == ["first", "second", "last"]


def test_timers_of_both_kinds_are_in_one_order(loop):
    futures = [loop.create_future() for _ in range(40)]
    for number, future in enumerate(futures):
        at = loop.time() + 50 + number * 7 % 40
        if number % 2:
            loop.call_at(at, WAKE, future, None)
        else:
            loop.call_at(at, list)
    kinds = {type(one) for one in loop._scheduled}
    assert kinds == {Nap, Timer}
    times = [one.when() for one in sorted(loop._scheduled)]
    assert times == sorted(times)


def test_cancelled_sleeps_leave_the_queue(loop):
    async def main():
        tasks = [asyncio.ensure_future(asyncio.sleep(1000)) for _ in range(300)]
        await asyncio.sleep(0)
        assert len(loop._scheduled) == 300
        for one in tasks:
            one.cancel()
        await asyncio.wait(tasks)
        await asyncio.sleep(0)
        return len(loop._scheduled), [one.cancelled() for one in tasks]

    left, cancelled = loop.run_until_complete(main())
    assert left < 300 / 2 + 2  # the loop drops them once more than half are cancelled
    assert all(cancelled)


def test_a_sleep_that_is_over_is_neither_woken_nor_counted_again(loop):
    future = loop.create_future()
    timer = loop.call_at(loop.time(), WAKE, future, None)
    assert not timer.cancelled()
    loop.run_until_complete(future)
    timer.cancel()
    timer._run()
    assert timer.cancelled()
    assert loop._timer_cancelled_count == 0
    other = loop.call_at(loop.time() + 100, WAKE, done := loop.create_future(), None)
    done.set_result("already")
    other._run()
    assert done.result() == "already"


def test_a_result_of_a_sleep_and_debug_have_the_timers_of_the_library(loop):
    assert loop.run_until_complete(asyncio.sleep(0.001, "woken")) == "woken"
    loop.set_debug(True)
    loop.run_until_complete(asyncio.sleep(0.001))
    timer = loop.call_at(loop.time() + 100, WAKE, loop.create_future(), None)
    assert isinstance(timer, Timer)
    with pytest.raises(TypeError, match="coroutines cannot be used"):
        loop.call_later(1, Sleeper.start)


def test_without_the_name_of_the_library_sleeps_are_as_any_timer(loop, monkeypatch):
    monkeypatch.setattr(loops, "WAKE", None)
    loop.run_until_complete(asyncio.sleep(0.001))
    assert isinstance(loop.call_later(100, partial(int)), Timer)


def test_a_closed_loop_takes_no_sleep():
    loop = WorkerLoop(2, None)
    future = loop.create_future()
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_later(1, WAKE, future, None)
