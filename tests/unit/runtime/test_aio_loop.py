"""The loop of coroutines and its native thread: its start, its end, and the calls that cross into it."""

import asyncio
import subprocess
import sys

from pytask.domain.control import StopReason
from pytask.domain.lifecycle import Trigger
from pytask.domain.record import RunRef
from pytask.domain.task import Task
from pytask.domain.timing import Timing
from pytask.runtime.aio.service import AsyncioLoop
from tests.unit.runtime.fakes import World, really_sleep, won
from tests.unit.runtime.test_aio import begun, forever, run_of, settled, settled_of, until, world_of

FIRST_HUB = """
from gevent import monkey; monkey.patch_all()
from gevent._hub_local import get_hub_if_exists
from pytask.runtime.aio import service

began = []
main = service.AsyncioLoop._main
def look(self, ready):
    began.append(self._hub is not None)
    main(self, ready)
service.AsyncioLoop._main = look
made = service.AsyncioLoop(1)
assert get_hub_if_exists() is None, "the program itself has made one"
made._start()
assert began == [True] and get_hub_if_exists() is made._hub
made.end()
"""


def test_the_thread_starts_after_the_first_hub():
    """Two native threads that each make the first hub of a process lock up."""
    done = subprocess.run(
        [sys.executable, "-c", FIRST_HUB], timeout=60, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_an_ended_loop_starts_again():
    made = AsyncioLoop(1)
    made._start()
    first = made.loop
    made.end()
    assert first.is_closed()
    made._start()
    assert made.loop is not first
    made.end()


def test_a_library_that_cancels_all_tasks_of_the_loop_does_not_end_other_tasks():
    async def start(self):
        self.began = True
        await asyncio.sleep(1000)

    async def cleans(self):
        for task in asyncio.all_tasks():
            if task is not asyncio.current_task():
                task.cancel()

    kinds = [
        type(name, (Task,), {"Config": type("Config", (), {"NAME": name}), "start": method})
        for name, method in (("demo", start), ("cleans", cleans))
    ]
    world = World(*kinds)
    run = world.launch()
    begun(world, run)
    world.launch("b", "cleans")
    until(lambda: "b" not in world.executor.living)
    really_sleep(0.01)
    assert not run.over
    world.executor.ask("a", StopReason.STOP)
    assert [one.trigger for one in [settled_of(world, "a")]] == [Trigger.STOP]


def test_a_run_that_is_only_cancelled_needs_no_greenlet():
    """50,000 of them would cost more than the coroutines that they stop."""
    world = world_of(forever, timing=Timing().scaled(0.1))
    run = world.launch()
    begun(world, run)
    world.executor.ask("a", StopReason.STOP)
    assert run.dead is None
    assert settled(world, run).trigger is Trigger.STOP


def test_runs_that_are_stopped_together_are_cancelled_in_few_calls_of_the_loop(monkeypatch):
    """A call for each would wake the loop's thread for each, and the two would take turns."""
    world = world_of(forever, timing=Timing().scaled(0.1))
    runs = [world.launch(f"t{number}") for number in range(300)]
    for run in runs:
        begun(world, run)
    aio, calls = world.executor.asyncio, []
    put = type(aio.to_loop).put

    def counted(mailbox, fn, *args):
        if mailbox is aio.to_loop:
            calls.append(fn)
        put(mailbox, fn, *args)

    monkeypatch.setattr(type(aio.to_loop), "put", counted)
    for run in runs:
        world.executor.ask(run.id, StopReason.STOP)
    until(lambda: not world.executor.living)
    assert len(calls) == 2  # 256 at most, so that others have their turn
    assert {one.trigger for one in world.commit() if one.trigger is not None} == {Trigger.STOP}


def test_runs_that_start_together_wake_the_thread_of_the_loop_once(monkeypatch):
    world = world_of(forever)
    begun(world, world.launch("first"))
    loop, wakes = world.executor.asyncio.loop, []
    wake = loop.call_soon_threadsafe

    def counted(fn, *args):
        wakes.append(fn)
        return wake(fn, *args)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    for number in range(64):
        world.executor.launch(won(RunRef(f"t{number}", f"s:{number}")), world.clock())
    until(lambda: all(getattr(run.task, "began", False) for run in world.executor.living.values()))
    assert len(wakes) == 1
    monkeypatch.undo()
    for task_id in list(world.executor.living):
        world.executor.ask(task_id, StopReason.STOP)
    until(lambda: not world.executor.living)


def test_a_call_that_was_put_in_when_the_loop_had_ended_is_made_by_the_next_one():
    world = world_of(forever)
    begun(world, run := world.launch())
    aio, made = world.executor.asyncio, []
    world.executor.ask("a", StopReason.STOP)
    settled(world, run)
    aio.end()
    aio.to_loop.put(made.append, "late")
    really_sleep(0.01)
    assert not made
    begun(world, world.launch())
    until(lambda: made == ["late"])
    world.executor.ask("a", StopReason.STOP)
    until(lambda: not world.executor.living)


def test_one_coroutine_that_cannot_be_cancelled_does_not_keep_others_alive(caplog):
    async def stubborn(self):
        self.began = True
        await Odd(asyncio.get_running_loop().create_future())

    class Odd:
        _asyncio_future_blocking = False

        def __init__(self, future):
            self.future = future

        def __await__(self):
            self._asyncio_future_blocking = True
            yield self

        def get_loop(self):
            return self.future.get_loop()

        def add_done_callback(self, fn, *, context):
            self.future.add_done_callback(fn, context=context)

        def cancel(self, msg=None):
            self.future.cancel()
            raise ValueError("not today")

    kinds = [
        type(name, (Task,), {"Config": type("Config", (), {"NAME": name}), "start": method})
        for name, method in (("demo", stubborn), ("sleeps", forever))
    ]
    world = World(*kinds, timing=Timing().scaled(0.1))
    runs = [world.launch(), world.launch("b", "sleeps")]
    for run in runs:
        begun(world, run)
    for run in runs:
        world.executor.ask(run.id, StopReason.STOP)
    until(lambda: "b" not in world.executor.living)
    assert "not today" in caplog.text


def test_a_reload_of_a_run_that_is_only_cancelled_starts_another():
    world = world_of(forever, timing=Timing().scaled(0.1))
    run = world.launch()
    begun(world, run)
    world.executor.ask("a", StopReason.RELOAD)
    until(lambda: world.executor.living.get("a") not in (None, run))
    new = run_of(world)
    begun(world, new)
    world.executor.ask("a", StopReason.STOP)
    until(lambda: new.over)


def test_what_the_process_shares_is_cancelled_when_the_loop_ends():
    made, ended = AsyncioLoop(1), []

    async def background():
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    made._start()
    asyncio.run_coroutine_threadsafe(background(), made.loop)
    really_sleep(0.02)
    made.end()
    assert ended == [True]
