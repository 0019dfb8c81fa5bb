"""Tasks whose `start()` is a coroutine: how they end, who belongs to them, and how they are stopped."""

import asyncio
import contextlib
import gc
import json
import logging
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import attrs
import gevent
import pytest

from pytask import Restart, run_loop, shared
from pytask.domain.control import StopReason
from pytask.domain.lifecycle import Trigger
from pytask.domain.messages import Command
from pytask.domain.task import Task
from pytask.domain.timing import Timing
from pytask.runtime.process.greenlet_dump import report
from pytask.runtime.runs.log_relay import get_ident
from tests.unit.runtime.fakes import FAST, World, really_sleep, won


def until(condition, seconds=10):
    """Wait for the other thread, on a busy machine."""
    for _ in range(int(seconds / 0.002)):
        if condition():
            return
        really_sleep(0.002)
    raise AssertionError("it did not come to that")


def world_of(start, timing=FAST, **methods):
    config = type("Config", (), {"NAME": "demo"})
    return World(type("Demo", (Task,), {"Config": config, "start": start, **methods}), timing=timing)


def settled(world, run):
    """The one end of a run."""
    until(lambda: run.id not in world.executor.living)
    (change,) = [one for one in world.commit() if one.trigger is not None]
    return change


def settled_of(world, task_id):
    until(lambda: task_id not in world.executor.living)
    return [one for one in world.commit() if one.trigger is not None and one.id == task_id][-1]


def result_of(start, **methods):
    world = world_of(start, **methods)
    return settled(world, world.launch() or run_of(world))


def run_of(world):
    return world.executor.living["a"]


def test_what_it_returns_is_the_output():
    async def start(self):
        await asyncio.sleep(0)
        return {"id": self.id}

    change = result_of(start)
    assert change.trigger is Trigger.END
    assert json.loads(change.fields["output"]) == {"id": "a"}


def test_an_executor_that_a_coroutine_makes_answers_all_calls():
    async def start(self):
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as own:
            return [await asyncio.wait_for(loop.run_in_executor(own, abs, number), 10) for number in range(5)]

    assert json.loads(result_of(start).fields["output"]) == [0, 1, 2, 3, 4]


def test_an_exception_is_the_error_with_the_lines_of_the_task():
    async def start(self):
        await asyncio.sleep(0)
        raise KeyError("missing")

    change = result_of(start)
    assert change.trigger is Trigger.FAIL
    assert change.fields["error"].startswith("KeyError: 'missing'\n")
    assert "test_aio.py" in change.fields["error"]


@pytest.mark.parametrize(("code", "trigger"), [(0, Trigger.END), (3, Trigger.FAIL)])
def test_an_exit_ends_the_task_and_not_the_loop(code, trigger):
    async def start(self):
        await asyncio.sleep(0)
        sys.exit(code)

    assert result_of(start).trigger is trigger
    assert result_of(start).trigger is trigger  # the loop goes on


def test_what_is_not_json_is_an_error():
    async def start(self):
        return object()

    change = result_of(start)
    assert change.trigger is Trigger.FAIL
    assert "what start() returned is not JSON" in change.fields["error"]


def test_init_runs_where_the_coroutine_runs():
    def init(self, data):
        self.loop = asyncio.get_running_loop()

    async def start(self):
        return self.loop is asyncio.get_running_loop()

    assert result_of(start, __init__=init).fields["output"] == b"true"


def test_a_run_lasts_as_long_as_what_it_has_created():
    async def later(self):
        await self.sleep(0.02)
        self.emit("last")

    async def start(self):
        self.later = asyncio.create_task(later(self))
        return 1

    world = world_of(start)
    change = settled(world, world.launch())
    events = [json.loads(one.event)["event"] for one in world.commit()]
    assert change.trigger is Trigger.END
    assert events == ["last", "ended"]


def test_events_progress_and_saves_come_in_order_and_before_the_end():
    async def start(self):
        for number in range(100):
            self.emit("tick", number)
            self.save({"at": number})
            self.progress(number, 100)
            assert self.saved == {"at": number}
        raise self.Error("enough")

    world = world_of(start)
    change = settled(world, world.launch())
    ticks = [json.loads(one.event)["data"] for one in world.commit()[:-1]]
    assert ticks == list(range(100))
    assert json.loads(change.fields["saved"]) == {"at": 99}
    assert change.fields["error"] == "enough"


def test_reports_are_coalesced_while_the_other_thread_is_busy():
    """One call for any number of saves: the loop's thread does not flood the hub."""
    done = []

    async def start(self):
        for number in range(1000):
            self.save(number)
            self.progress(number)
        done.append(len(self._run.coroutines.service.to_hub))

    world = world_of(start)
    run = world.launch()
    settled(world, run)
    assert done[0] <= 4


def waits(self):
    return self.sleep(1000)


async def forever(self):
    self.began = True
    await self.sleep(1000)


def begun(world, run):
    until(lambda: run.task is not None and getattr(run.task, "began", False))
    return run.task


def test_a_stop_cancels_it():
    world = world_of(forever)
    run = world.launch()
    begun(world, run)
    world.executor.ask("a", StopReason.STOP)
    assert settled(world, run).trigger is Trigger.STOP


def test_a_stop_before_it_begins_calls_nothing():
    called = []

    async def start(self):
        called.append(self)

    world = world_of(start)
    run = world.launch()
    world.executor.ask("a", StopReason.HAND_BACK)
    assert settled(world, run).trigger in (Trigger.RELEASE, Trigger.END)
    assert run.over


def test_a_finally_that_waits_is_not_cut_off():
    """It is cancelled once, and has what is left of the grace."""
    seen = []

    async def start(self):
        try:
            await forever(self)
        finally:
            for _ in range(5):
                await asyncio.sleep(0.02)
            seen.append("closed")

    world = world_of(start, timing=Timing().scaled(0.1))
    run = world.launch()
    begun(world, run)
    world.clock.move(0)
    world.executor.ask("a", StopReason.STOP)
    assert settled(world, run).trigger is Trigger.STOP
    assert seen == ["closed"]


def test_tasks_of_a_group_are_cancelled_once_too():
    cancelled = []

    async def child(number):
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0.01)
            cancelled.append(number)

    async def start(self):
        async with asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(child(number))
            await forever(self)

    world = world_of(start, timing=Timing().scaled(0.1))
    run = world.launch()
    begun(world, run)
    world.executor.ask("a", StopReason.STOP)
    assert settled(world, run).trigger is Trigger.STOP
    assert sorted(cancelled) == [0, 1, 2]


def test_what_it_left_behind_is_cancelled_after_it():
    order = []

    async def background():
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0)
            order.append("background")

    async def start(self):
        self.kept = asyncio.create_task(background())
        try:
            await forever(self)
        finally:
            await asyncio.sleep(0.01)
            order.append("start")

    world = world_of(start, timing=Timing().scaled(0.1))
    run = world.launch()
    begun(world, run)
    world.executor.ask("a", StopReason.STOP)
    assert settled(world, run).trigger is Trigger.STOP
    assert order == ["start", "background"]


def test_an_async_stop_is_awaited_with_the_reason():
    async def start(self):
        self.event = asyncio.Event()
        self.began = True
        await self.event.wait()
        return self.reason

    async def stop(self, reason):
        await asyncio.sleep(0)
        self.reason = reason
        self.event.set()

    world = world_of(start, stop=stop, timing=Timing().scaled(0.1))
    run = world.launch()
    begun(world, run)
    world.executor.ask("a", StopReason.HAND_BACK)
    change = settled(world, run)
    assert change.trigger is Trigger.RELEASE
    assert run.output == b'"release"'


def test_a_stop_without_async_is_called_in_the_loop_too():
    async def start(self):
        self.loop = asyncio.get_running_loop()
        self.event = asyncio.Event()
        self.began = True
        await self.event.wait()

    def stop(self):
        assert asyncio.get_running_loop() is self.loop
        self.event.set()

    world = world_of(start, stop=stop, timing=Timing().scaled(0.1))
    run = world.launch()
    begun(world, run)
    world.executor.ask("a", StopReason.STOP)
    assert settled(world, run).trigger is Trigger.STOP


def test_one_that_swallows_the_cancel_is_not_requeued_and_stays_registered(caplog):
    """It is cancelled again only at the end of each grace, and the operator is told where it is."""
    release = []

    async def start(self):
        self.began, self.swallowed = True, 0
        while not release:
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                self.swallowed += 1

    world = world_of(start)
    run = world.launch()
    task = begun(world, run)
    world.executor.ask("a", StopReason.STOP)
    try:
        until(lambda: "[PT042] task a survives being killed" in caplog.text)
        assert "coroutine a (in start at " in caplog.text
        assert "a" in world.executor.living
        until(lambda: any(b"stop-timeout" in one.event for one in world.commit()))
        assert not [one for one in world.commit() if one.trigger is not None]
        assert world.executor.stopping.stuck == ("a",)
        until(lambda: task.swallowed >= 2)  # the thread of its loop has its own turns
    finally:
        release.append(True)  # or all tests after this one would have it beside them
        until(lambda: not world.executor.living)


def test_one_that_survives_the_loss_of_its_lease_ends_the_process():
    exits, release = [], []

    async def start(self):
        self.began = True
        while not release:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)

    world = world_of(start)
    world.executor.stopping._exit = exits.append
    world.executor.stopping._kill_timer.hard = True
    run = world.launch()
    begun(world, run)
    world.executor.ask("a", StopReason.FENCED)
    until(lambda: exits)
    release.append(True)
    until(lambda: not world.executor.living)
    assert exits[0] == 70


def test_a_background_task_that_fails_fails_the_run(caplog):
    """Nobody holds it, so nobody will look at its exception: the run would go on without it."""

    async def fails():
        raise ValueError("lost")

    async def start(self):
        asyncio.create_task(fails())  # noqa: RUF006
        await forever(self)

    world = world_of(start)
    change = settled(world, world.launch())
    assert change.trigger is Trigger.FAIL
    assert change.fields["error"].startswith("ValueError: lost")


def test_a_failure_that_is_kept_and_not_looked_at_fails_the_run():
    async def fails():
        raise ValueError("kept")

    async def start(self):
        self.kept = asyncio.create_task(fails())
        await asyncio.sleep(0.01)

    assert result_of(start).fields["error"].startswith("ValueError: kept")


def test_a_failure_that_is_handled_is_none():
    async def fails():
        raise ValueError("seen")

    async def start(self):
        kept = asyncio.create_task(fails())
        await asyncio.sleep(0.01)
        try:
            await kept
        except ValueError as error:
            return str(error)

    assert result_of(start).fields["output"] == b'"seen"'


def test_lines_are_of_the_task_and_pass_no_handler_in_its_thread(caplog):
    threads = []

    class Handler(logging.Handler):
        def emit(self, record):
            threads.append(get_ident())

    async def start(self):
        logging.getLogger("some.library").warning("from %s", self.id)

    handler = Handler()
    logging.getLogger("some").addHandler(handler)
    try:
        world = world_of(start)
        settled(world, world.launch())
        until(lambda: threads)
    finally:
        logging.getLogger("some").removeHandler(handler)
    assert threads == [get_ident()]
    (record,) = [one for one in caplog.records if one.name == "some.library"]
    assert record.task == "a"
    assert record.getMessage() == "from a"


# -- pauses, reloads, rounds --------------------------------------------------------------------------------


class Looping(Task):
    class Config:
        NAME = "demo"

    rounds = 0
    told = ()

    async def start(self):
        self.began = True
        await run_loop(self.one, 0.001)

    async def one(self):
        self.rounds += 1

    async def on_pause(self):
        self.told = (*self.told, "pause")

    def on_resume(self):
        self.told = (*self.told, "resume")

    async def on_reload(self, data):
        await asyncio.sleep(0)
        if data.get("refused"):
            raise ValueError("not this one")
        self.took = data


def told(world):
    return [one.word for (batch,) in world.store.asked("confirm") for one in batch]


@pytest.fixture
def looping():
    world = World(Looping, timing=Timing().scaled(0.1))
    run = world.launch()
    begun(world, run)
    yield world, run
    world.executor.hand_back_all()
    until(lambda: not world.executor.living)


def test_a_paused_coroutine_waits_at_the_gate_and_goes_on(looping):
    world, run = looping
    until(lambda: run.task.rounds > 2)
    world.executor.pauses.ask("a", Command.PAUSE)
    until(lambda: told(world) == [Command.PAUSE])
    stood = run.task.rounds
    really_sleep(0.02)
    assert run.task.rounds == stood
    world.executor.pauses.ask("a", Command.START)
    until(lambda: run.task.rounds > stood)
    until(lambda: run.task.told == ("pause", "resume"))


def test_the_gates_of_a_coroutine_are_those_that_its_page_names():
    passed = {"sleep": 0, "emit": 0, "gate": 0, "in_greenlet": 0}
    gated = []  # closed for those that wait for it at the beginning

    async def start(self):
        def at_a_gate():
            gevent.sleep(0.001)
            self.gate()

        async def turn(name):
            while True:
                await self.sleep(0.001)
                if name == "emit":
                    await self.emit("x")
                elif name == "gate" and gated:
                    await self.gate()
                elif name == "in_greenlet" and gated:
                    await self.in_greenlet(at_a_gate)
                passed[name] += 1

        async with asyncio.TaskGroup() as group:
            for name in passed:
                group.create_task(turn(name))

    def counted():
        before = dict(passed)
        really_sleep(0.05)
        gevent.sleep(0.02)
        return {name for name in passed if passed[name] > before[name]}

    world = world_of(start, timing=Timing().scaled(0.1))
    world.launch()
    until(lambda: all(passed.values()))
    world.executor.pauses.ask("a", Command.PAUSE)
    until(lambda: counted() == set(passed))  # none of the others is a gate
    assert told(world) == []
    gated.append(True)
    until(lambda: world.commit() is not None and Command.PAUSE in told(world))  # its events come first
    until(lambda: counted() == {"sleep", "emit"})
    world.executor.pauses.ask("a", Command.START)
    until(lambda: counted() == set(passed))
    world.executor.hand_back_all()
    until(lambda: not world.executor.living)


def test_a_stop_of_a_paused_coroutine_does_no_further_round(looping):
    world, run = looping
    world.executor.pauses.ask("a", Command.PAUSE)
    until(lambda: told(world) == [Command.PAUSE])
    task, stood = run.task, run.task.rounds
    world.executor.ask("a", StopReason.STOP)
    assert settled(world, run).trigger is Trigger.STOP
    assert task.rounds == stood


def test_data_is_taken_in_place(looping):
    world, run = looping
    world.store.say("preview", won(run.ref, data=b'{"n": 2}'))
    world.executor.ask("a", StopReason.RELOAD)
    until(lambda: world.store.asked("accept"))
    assert run.task.took == {"n": 2}
    assert run.task.task_data == {"n": 2}
    assert not run.over


def test_data_that_it_does_not_take_is_refused(looping):
    world, run = looping
    world.store.say("preview", won(run.ref, data=b'{"refused": true}'))
    world.executor.ask("a", StopReason.RELOAD)
    until(lambda: world.store.asked("refuse"))
    assert world.store.asked("refuse")[0][1:3] == ("$", "not this one")
    assert not run.over


def test_the_rounds_of_a_coroutine_are_counted_and_have_an_age(looping):
    world, run = looping
    tally = world.executor.tally
    until(lambda: sum(tally.rounds.found.counts) > 2)
    assert set(tally.round_age) == {"demo"}
    world.executor.stop_reason(run, StopReason.STOP)
    until(lambda: run.over)
    assert tally.round_age == {}


def test_rounds_go_on_after_an_error_that_is_handled():
    class Failing(Looping):
        async def start(self):
            self.errors = []
            await run_loop(self.one, 0.001, on_error=self.handle)

        async def one(self):
            self.rounds += 1
            raise (ValueError if self.rounds < 3 else self.Fatal)("no")

        async def handle(self, error):
            self.errors.append(error)

    world = World(Failing)
    run = world.launch()
    assert settled(world, run).trigger is Trigger.FAIL
    assert run.failure.startswith("no")


# -- both kinds in one worker -------------------------------------------------------------------------------

where = ContextVar("where", default="nowhere")


async def double(number):
    await asyncio.sleep(0)
    if number < 0:
        raise ValueError(where.get())
    return 2 * number


def test_a_task_without_async_waits_for_a_coroutine():
    def start(self):
        where.set("in start()")
        try:
            self.aio(double(-1))
        except ValueError as error:
            return [self.aio(double(4)), str(error)]

    assert json.loads(result_of(start).fields["output"]) == [8, "in start()"]


def test_a_stop_of_a_task_that_waits_for_a_coroutine_ends_both():
    cancelled = []

    async def wait(self):
        try:
            await forever(self)
        finally:
            cancelled.append(self.id)

    def start(self):
        self.aio(wait(self))

    world = world_of(start, timing=Timing().scaled(0.1))
    run = world.launch()
    begun(world, run)
    world.executor.ask("a", StopReason.STOP)
    assert settled(world, run).trigger is Trigger.STOP
    assert cancelled == ["a"]


def test_a_timeout_of_a_greenlet_cancels_the_coroutine():
    cancelled = []

    async def wait():
        try:
            await asyncio.sleep(1000)
        finally:
            cancelled.append(True)

    def start(self):
        with gevent.Timeout(0.01, False):
            self.aio(wait())
        return "timed out"

    assert result_of(start).fields["output"] == b'"timed out"'
    assert cancelled == [True]


def test_aio_in_a_coroutine_says_what_to_write():
    async def start(self):
        self.aio(double(1))

    assert "[PT215] task a: self.aio() waits in a greenlet. Fix: await" in result_of(start).fields["error"]


def test_spawn_in_a_coroutine_says_what_to_write():
    async def start(self):
        self.spawn(print)

    assert "use asyncio.create_task() instead of spawn()" in result_of(start).fields["error"]


def test_a_coroutine_calls_in_a_greenlet_and_in_a_native_thread():
    def home(self, number):
        gevent.sleep(0.001)
        assert self._run.host.native.is_home
        return number + 1

    def native(number):
        return number * 2

    async def start(self):
        return await self.in_greenlet(home, self, 1), await self.blocking(native, 4)

    assert json.loads(result_of(start).fields["output"]) == [2, 8]


def test_to_thread_is_a_native_thread_that_knows_the_task(caplog):
    def work(name):
        logging.getLogger("work").warning("in %s", name)
        return get_ident()

    async def start(self):
        where.set("copied")
        ident = await asyncio.to_thread(work, "a thread")
        assert ident != get_ident()
        return await asyncio.to_thread(where.get)

    assert result_of(start).fields["output"] == b'"copied"'
    until(lambda: "in a thread" in caplog.text)
    (record,) = [one for one in caplog.records if one.name == "work"]
    assert record.task == "a"


def test_programs_signals_and_loops_within_say_what_to_do_instead():
    async def start(self):
        said = []
        loop = asyncio.get_running_loop()
        for attempt in (
            lambda: asyncio.create_subprocess_exec("true"),
            lambda: asyncio.sleep(0, loop.add_signal_handler(15, print)),
            lambda: asyncio.sleep(0, asyncio.run(asyncio.sleep(0))),
        ):
            try:
                await attempt()
            except Exception as error:
                said.append(f"{type(error).__name__} {error}")
        return said

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the coroutine that asyncio.run() refused
        program, signal, run = json.loads(result_of(start).fields["output"])
    assert program.startswith("NotInLoop [PT215] asyncio cannot start programs in a worker")
    assert signal.startswith("NotImplementedError signal 15 belongs to the worker")
    assert run == "RuntimeError asyncio.run() cannot be called from a running event loop"


def test_what_is_created_in_a_shared_block_belongs_to_the_process():
    kept = []

    async def start(self):
        with shared():
            kept.append(asyncio.create_task(asyncio.sleep(1000)))
        return 1

    assert result_of(start).trigger is Trigger.END
    assert not kept[0].done()
    kept[0].get_loop().call_soon_threadsafe(kept[0].cancel)
    until(kept[0].done)


def test_emits_that_are_awaited_wait_for_room_and_others_are_refused():
    async def start(self):
        for number in range(100):
            await self.emit("tick", number)
        return 1

    async def floods(self):
        while True:
            self.emit("tick")

    kinds = [
        type(name, (Task,), {"Config": type("Config", (), {"NAME": name}), "start": method})
        for name, method in (("waits", start), ("floods", floods))
    ]
    world = World(*kinds, max_pending=20)
    run = world.launch(function="waits")
    until(lambda: world.committer.full)
    really_sleep(0.02)
    assert world.committer.pending <= 21
    until(lambda: world.commit() and run.over)
    run = world.launch(function="floods")
    until(lambda: run.over)
    assert "[PT216] task a: too many events wait for Redis" in run.failure


# -- what is unchanged --------------------------------------------------------------------------------------


def test_data_restarts_and_timeouts_are_those_of_any_task():
    @attrs.frozen
    class Order:
        turns: int

    async def start(self):
        if self.task_data.turns > 1:
            await forever(self)
        raise self.Error(f"attempt {self.attempt}")

    config = {"NAME": "demo", "DATA": Order, "RESTART": Restart("failure", first=1), "TIMEOUT": 0.05}
    kind = type("Demo", (Task,), {"Config": type("Config", (), config), "start": start})
    world = World(kind, timing=Timing().scaled(0.1))
    assert "turns" in settled(world, world.launch(data=b'{"turns": "many"}')).fields["error"]
    world.launch("b", data=b'{"turns": 1}')
    change = settled_of(world, "b")
    assert (change.trigger, change.fields["error"]) == (Trigger.RETRY, "attempt 1")
    world.launch("c", data=b'{"turns": 2}')
    assert settled_of(world, "c").fields["error"] == "timed out after 0.05 s"


def test_what_a_callback_creates_after_the_cancel_may_finish():
    """asyncpg cancels a statement at the server by a task that the callback of a cancelled future creates."""
    done = []

    async def cleanup():
        await asyncio.sleep(0.02)
        done.append("cleaned up")

    async def start(self):
        self.began = True
        loop = asyncio.get_running_loop()
        try:
            await asyncio.sleep(1000)
        finally:
            loop.call_soon(lambda: setattr(self, "kept", loop.create_task(cleanup())))
            await asyncio.sleep(0)

    world = world_of(start, timing=Timing().scaled(0.1))
    run = world.launch()
    begun(world, run)
    world.executor.ask("a", StopReason.STOP)
    assert settled(world, run).trigger is Trigger.STOP
    assert done == ["cleaned up"]


def test_an_asyncio_task_that_keeps_a_run_from_ending_is_named(caplog):
    async def left_behind():
        await asyncio.sleep(1000)

    async def start(self):
        self.kept = asyncio.create_task(left_behind(), name="poller")

    world = world_of(start)
    world.launch()
    until(lambda: "[PT045] task a: start() returned" in caplog.text)
    assert "coroutine poller (in left_behind at " in caplog.text
    assert list(world.executor.lingering.kept_by) == ["a"]
    world.executor.ask("a", StopReason.STOP)
    until(lambda: not world.executor.living)


def test_the_dump_of_greenlets_has_the_coroutines():
    world = world_of(forever)
    run = world.launch()
    begun(world, run)
    lines = report().splitlines()
    assert " and 1 coroutines of process " in lines[0]
    at = lines.index("1 x coroutine of task demo: a")
    assert "test_aio.py" in lines[at + 1]
    assert lines[at + 1].endswith(" in forever")
    world.executor.ask("a", StopReason.STOP)
    until(lambda: run.over)


def test_ends_of_many_runs_on_their_way_do_not_count_as_events():
    """The mailbox also carries ends: 50,000 at once must not make an emit fail."""

    async def start(self):
        for _ in range(100):
            self._run.coroutines.service.to_hub.put(list)
        self.emit("fine")
        return 1

    world = World(
        type("Demo", (Task,), {"Config": type("Config", (), {"NAME": "demo"}), "start": start}), max_pending=5
    )
    assert settled(world, world.launch()).trigger is Trigger.END


def test_what_was_saved_last_is_read_in_either_thread():
    def in_a_greenlet(self):
        before = self.saved
        self.save({"by": "a greenlet"})
        return before

    async def start(self):
        self.save({"by": "a coroutine"})
        before = await self.in_greenlet(in_a_greenlet, self)
        return [before, self.saved]

    found = json.loads(result_of(start).fields["output"])
    assert found == [{"by": "a coroutine"}, {"by": "a greenlet"}]


def test_failures_that_were_handled_are_not_kept():
    async def fails(number):
        raise ValueError(number)

    async def start(self):
        for number in range(100):
            await asyncio.gather(fails(number), return_exceptions=True)
        gc.collect()
        rare = self._run.coroutines.rare
        return len((rare and rare.failed) or ())

    assert json.loads(result_of(start).fields["output"]) <= 1
