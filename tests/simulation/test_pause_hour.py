"""An hour of pause on virtual time: the real worker, its real renewals, and nothing is lost."""

import gevent

from pytask import Task, run_loop
from pytask.adapters.memory.backend import MemoryBackend
from pytask.domain.messages import Command
from pytask.domain.timing import Timing
from pytask.runtime.monitor import Monitor
from pytask.runtime.process.host import Process
from pytask.runtime.process.kill_timer import KillTimer
from pytask.runtime.settings import Settings
from pytask.runtime.worker import Worker, WorkerPorts
from pytask.testing.virtual_time import virtual_time

HOUR = 3600.0
TIMEOUT = 100.0


def test_an_hour_of_pause_loses_no_lease():
    with virtual_time() as loop:
        ticks = []

        class Ticking(Task):
            class Config:
                NAME = "ticking"
                TIMEOUT = TIMEOUT

            def start(self):
                run_loop(lambda: ticks.append(loop.time), 10, now=lambda: loop.time)

        backend = MemoryBackend(now=lambda: 1e9 + loop.time)
        worker = Worker(
            [backend],
            Settings(name="w", timing=Timing(), block_limit=None, samples=False),
            {"ticking": Ticking, Monitor.Config.NAME: Monitor},
            [(Monitor.Config.NAME, b"null")],
            WorkerPorts(
                hard_deadline=False,
                clock=lambda: loop.time,
                process=Process(kill_timer=lambda hard: KillTimer(hard=False), used=lambda: 0.0),
            ),
        )
        worker.start()
        store, state = backend.store(), backend.state
        store._state.write("a", function="ticking", data="{}")
        state.queue.insert(0, b"a")
        gevent.sleep(35)
        run = state.runs["a"]
        assert store.control(Command.PAUSE, ["a"]) == ["REQUESTED"]
        gevent.sleep(20)  # a message was lost: the renewal brings it, and the next round waits
        assert "control" not in state.fields("a")
        before, oldest = len(ticks), 0.0
        paused_at = loop.time
        while loop.time < paused_at + HOUR:
            gevent.sleep(1)
            oldest = max(oldest, state.micros() - state.leases["a"])
        assert oldest <= 3 * Timing().heartbeat * 1e6, "it was renewed all the time"
        assert (len(ticks), state.runs["a"]) == (before, run)
        assert "paused" in state.fields("a")
        names = [one.event for one in state.events if one.task_id == "a"]
        assert names == ["running", "paused"]
        store.control(Command.START, ["a"])
        gevent.sleep(10)
        assert len(ticks) > before, "it goes on"
        assert state.runs["a"] == run
        gevent.sleep(TIMEOUT)
        assert state.fields("a")["error"].startswith(b"timed out after 100 s"), "the pause did not count"
        worker.stop()
