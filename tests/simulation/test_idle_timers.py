"""What waits for a time costs an idle fleet nothing: real workers on virtual time."""

from collections import Counter

import gevent

from pytask import Task
from pytask.adapters.memory.backend import MemoryBackend
from pytask.adapters.memory.schedule_verbs import MemoryTimetable
from pytask.adapters.memory.store import MemoryStore
from pytask.domain.timing import Timing
from pytask.runtime.process.host import Process
from pytask.runtime.process.kill_timer import KillTimer
from pytask.runtime.settings import Settings
from pytask.runtime.worker import Worker, WorkerPorts
from pytask.testing.virtual_time import virtual_time

SPAN = 900.0
YEAR_3000 = 32503680000000  # ms
WORKERS, WAITING = 3, 1000
VERBS = {MemoryStore: ("due", "claim", "serve"), MemoryTimetable: ("due", "fire")}


class Nothing(Task):
    class Config:
        NAME = "nothing"

    def start(self):
        pass


def calls(monkeypatch, waiting):
    """How often the fleet called each verb in a quarter of an hour, with so many tasks and schedules."""
    made = Counter()

    def counted(owner, verb):
        real = getattr(owner, verb)

        def call(*args, **how):
            made[f"{owner.__name__}.{verb}"] += 1
            return real(*args, **how)

        patch.setattr(owner, verb, call)

    with monkeypatch.context() as patch, virtual_time() as loop:
        for owner, verbs in VERBS.items():
            for verb in verbs:
                counted(owner, verb)
        backend = MemoryBackend(now=lambda: 1e9 + loop.time)
        for number in range(waiting):
            backend.state.write(f"t{number}", function="nothing", state="WAIT")
            backend.state.timers[f"t{number}"] = YEAR_3000
            backend.state.write(f"pytask:schedule:s{number}", function="nothing", every="60")
            backend.state.schedules[f"s{number}"] = YEAR_3000
        crew = [
            Worker(
                [backend], Settings(name=f"w{number}", timing=Timing(), block_limit=None, samples=False),
                {"nothing": Nothing}, [],
                WorkerPorts(
                    hard_deadline=False, clock=lambda: loop.time,
                    process=Process(
                        kill_timer=lambda hard: KillTimer(hard=False), used=lambda: 0.0,
                        # Pauses between two looks at the queue are drawn, and those of the timers, too.
                        uniform=lambda least, most: (least + most) / 2,
                    ),
                ),
            )
            for number in range(WORKERS)
        ]  # fmt: skip
        for worker in crew:
            worker.start()
        gevent.sleep(SPAN)
        for worker in crew:
            worker.stop()
    return made


def test_what_waits_for_a_time_costs_an_idle_fleet_nothing(monkeypatch):
    idle = calls(monkeypatch, 0)
    looks = idle["MemoryStore.due"]
    assert looks <= WORKERS * (SPAN / Timing().sweep + 2)
    assert calls(monkeypatch, WAITING) == idle
