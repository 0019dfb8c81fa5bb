"""Tasks of a user's test, in memory and on virtual time."""

import asyncio
import re
import time
from pathlib import Path

import gevent
import pytest

from pytask import PyTask, Restart, Task, run_loop
from pytask.errors import NotRun, NotSimulated
from pytask.testing import app, memory_app, recording


class Double(Task):
    class Config:
        NAME = "double"

    def start(self):
        self.emit("half", {"n": self.task_data["n"]})
        self.sleep(600)
        return self.task_data["n"] * 2


class Clock(Task):
    class Config:
        NAME = "clock"

    def start(self):
        self.count = self.saved or 0
        run_loop(self.tick, 60)

    def tick(self):
        self.count += 1
        self.save(self.count)
        self.emit("tick", self.count)


class Flaky(Task):
    class Config:
        NAME = "flaky"
        RESTART = Restart(first=100, limit=5)

    def start(self):
        if self.attempt < 3:
            raise self.Error("no such feed")
        return self.attempt


def test_ten_minutes_take_no_time():
    began = time.monotonic()
    with app(Double) as kit:
        task = kit.run(Double, {"n": 21})
        assert (task.state, task.output) == ("ENDED", 42)
        kit.assert_event(task.id, "half", {"n": 21})
        assert kit.events(task.id)[-1] == ("ended", {"output": 42})
        assert task.last_update == pytest.approx(1_800_000_600, abs=2)
    assert time.monotonic() - began < 20


def test_an_endless_task_goes_through_rounds():
    with app(Clock) as kit:
        kit.client.start("clock", id="c")
        kit.rounds("clock", 3)
        assert kit.events("c", "tick") == [1, 2, 3]
        kit.advance(60)
        assert kit.events("c", "tick") == [1, 2, 3, 4]
        kit.assert_saved("c", 4)
        assert kit.client.stop("c", wait=30).state == "STOPPED"
        kit.client.start_again("c", wait=30)
        kit.rounds(Clock)
        kit.assert_event("c", "tick", 5)
        with pytest.raises(AssertionError, match="0 of 1 rounds of run_loop within 30 s"):
            kit.rounds("other", within=30)


def test_a_client_for_asyncio_waits_on_the_clock_of_the_test():
    async def steered(client):
        await client.start("clock", id="c")
        assert (await client.wait("c", "RUNNING")).worker
        events = await client.watch("c", seconds=60)
        assert (await client.stop("c", wait=30)).state == "STOPPED"
        return [event.name async for event in events]

    with app(Clock) as kit:
        began = kit.now
        assert "stopped" in asyncio.run(steered(kit.aio_client))
        assert kit.now - began >= 60


def test_all_that_a_client_waits_for_passes_on_the_clock_of_the_test():
    with app(Clock) as kit:
        client = kit.client
        client.start("clock", id="c")
        assert client.wait("c", "RUNNING").worker
        assert client.pause("c", wait=100).done
        kit.advance(200)
        assert len(kit.events("c", "tick")) <= 2
        assert client.start_again("c", wait=30).done
        assert client.reload("c", {"x": 1}, wait=60).done
        assert [worker.running for worker in client.workers()] == [1]
        assert client.count()["RUNNING"] == 1
        seen = [event.name for event in client.watch("c", seconds=61)]
        assert "tick" in seen
        client.limits.set(5, function="clock")
        client.schedules.add("hourly", "clock", every=600)
        kit.advance(610)
        assert client.schedules.get("hourly").occurrences
        assert {task.id for task in client.list()} == {"hourly", "c"}


def test_a_delay_a_restart_and_a_failure():
    with app(Flaky, Double) as kit:
        late = kit.client.start("double", {"n": 1}, delay=900)
        flaky = kit.client.start(Flaky)
        kit.assert_output(flaky, 3)
        assert kit.now > 1_800_000_100
        assert kit.client.get(late).state == "WAIT"
        kit.assert_output(late, 2)
        bad = kit.client.start("double", {"m": 1})
        kit.assert_error(bad, "KeyError")
        with pytest.raises(AssertionError, match="is ERROR, not RUNNING: KeyError"):
            kit.assert_state(bad, "RUNNING")
        kit.assert_started(Double, {"m": 1}, times=1)
        with pytest.raises(AssertionError, match="'flaky' with 3 was started 0 times"):
            kit.assert_started("flaky", 3)


def test_the_apps_of_a_program_keep_their_schedules_and_stay_as_they_are():
    mine = PyTask("redis://127.0.0.1:1")
    mine.every(300, Clock, name="hourly")
    with app(mine, history=3) as kit:
        kit.advance(301)
        assert kit.client.get("hourly").state == "RUNNING"
        assert kit.app.settings.history == 3
    assert mine.settings.history == 16
    assert mine.worker is None
    assert "127.0.0.1:1" in mine.address


class Waits(Task):
    class Config:
        NAME = "waits"

    async def start(self):
        await self.sleep(0.01)
        return 1


def test_coroutines_need_real_time():
    with pytest.raises(NotSimulated, match=r"PT225.*real_time=True"), app(Waits):
        pass
    with app(Waits, real_time=True) as kit:
        assert kit.run(Waits, within=20).output == 1


def test_what_blocks_takes_no_virtual_time():
    class Sums(Task):
        class Config:
            NAME = "sums"

        def start(self):
            return self.blocking(sum, (1, 2))

    with app(Sums) as kit:
        assert kit.run(Sums, within=30).output == 3


def test_the_loop_of_the_thread_is_there_again():
    hub = gevent.get_hub()
    with app(Double):
        assert gevent.get_hub() is not hub
    assert gevent.get_hub() is hub


def test_a_task_that_is_constructed():
    with recording(saved=6, id="c") as seen:
        clock = Clock({"n": 1})
        clock.count = clock.saved
        clock.tick()
        clock.progress(1, 2)
        assert clock.save(8) is True
        assert clock.save(9, now=True)
        assert clock.id == "c"
        with pytest.raises(Exception, match="PT"):
            clock.emit("x", object())
    assert seen.events == [("tick", 7)]
    assert seen.saves == [7, 8, 9]
    assert seen.progresses == [{"done": 1, "total": 2}]
    assert seen.saved == 9
    with pytest.raises(NotRun):
        Clock().emit("tick")


@pytest.mark.parametrize("program", ["testing_tasks", "testing_faults"])
def test_the_examples_of_the_page(program):
    text = (Path(__file__).parents[3] / "docs" / "testing.md").read_text("utf-8")
    (found,) = re.findall(rf"^```python {program}\.py\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    names = {}
    exec(found, names)
    tests = [test for name, test in names.items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test()


def test_a_thread_that_is_held_costs_no_lease(monkeypatch):
    """By a debugger, for example."""
    now = [0.0]
    monkeypatch.setattr(memory_app, "steady", lambda: now[0])
    clock = memory_app.Unhurried()
    now[0] = 4.0
    assert clock() == 4.0
    now[0] = 4000.0
    assert clock() == 14.0
    now[0] = 4001.0
    assert clock() == 15.0
