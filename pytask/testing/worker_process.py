"""A simulated worker process: its clock, its kernel timer, and the real Worker inside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from gevent import Greenlet
from gevent.event import Event as Flag

from pytask.domain.task import Task
from pytask.runtime.monitor import Monitor
from pytask.runtime.process import fork
from pytask.runtime.process.host import Process as Around
from pytask.runtime.process.kill_timer import KillTimer
from pytask.runtime.runs.native_threads import NativePool
from pytask.runtime.services.schedules import Defined
from pytask.runtime.settings import Settings
from pytask.runtime.tree import Service
from pytask.runtime.worker import Worker, WorkerPorts
from pytask.testing.links import Backend, Caller, Network
from pytask.testing.virtual_time import Timer, wait_for_ever


class Place(Network, Protocol):
    """The part of a world that its processes use."""

    monitors: Iterable[str]  # places whose worker starts one
    tails: float  # the share of processes of this release, and not of the one before

    def settings_of(self, process: WorkerProcess) -> Settings:
        """The settings of its worker."""

    def task_classes(self, process: WorkerProcess) -> Mapping[str, type[Task]]:
        """The tasks it knows."""

    def prestarted(self, process: WorkerProcess) -> Sequence[tuple[str, bytes]]:
        """The tasks that start with it."""

    def schedules(self) -> Sequence[Defined]:
        """The schedules that the code defines."""

    def native(self, size: int) -> NativePool:
        """Where its tasks block."""

    def note(self, who: Any, *what: Any) -> None:
        """A line of the log."""

    def broken(self, process: WorkerProcess | None, what: str) -> None:
        """Something failed that never may."""

    def died(self, process: WorkerProcess) -> None:
        """A process is dead."""


class Alarm(KillTimer):
    """The kernel's timer: it holds in a frozen process too, where the signal waits for SIGCONT."""

    def __init__(self, process: WorkerProcess) -> None:
        self.hard = True
        self.armed = False
        self._process = process

    def arm(self, seconds: float | None) -> None:
        """End the process in so many seconds."""
        self.armed = seconds is not None
        self._process.set_alarm(seconds)


class WorkerProcess(Caller):
    """One process at a place ("w0", "w1", ...) of the world."""

    def __init__(self, world: Place, place: str, number: int) -> None:
        super().__init__()
        self.world = world
        self.loop = world.loop
        self.began = world.loop.time
        self.place = place
        self.name = f"{place}.{number}"
        self.settings = world.settings_of(self)
        self.timing = self.settings.timing
        self.random = world.stream(f"process {self.name}")
        self.rate = 1.0 + self.random.uniform(-0.005, 0.005)
        self._offset = self.random.uniform(0, 1e6)
        self._ids = 0
        self.tails = world.stream(f"tails {self.name}").random() < world.tails
        self.stopped = False  # by SIGSTOP
        self.hog: Any = None  # the run that holds the process's only thread
        self.alarm_at: float | None = None
        self._alarm: Timer | None = None
        self.worker: Worker | None = None
        self.leaving = False
        self.clean = False  # whether it has left, and has released all its tasks
        self.started = Flag()
        self.renewals_failed = 0
        self.last_ack = 0.0  # world's time at which the last acknowledged renewal was sent

    def __repr__(self) -> str:
        return self.name

    # -- life -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Boot the worker."""
        self.loop.soon(self, lambda: Greenlet.spawn(self._main))

    def _main(self) -> None:
        world = self.world
        around = Around(exit=self._exit, fresh_id=self._fresh_id, uniform=self.random.uniform,
                        kill_timer=lambda hard: Alarm(self), used=lambda: 0.0)  # fmt: skip  # noqa: ARG005
        tasks: dict[str, type[Task]] = {Monitor.Config.NAME: Monitor, **world.task_classes(self)}
        prestart = [(Monitor.Config.NAME, b"null")] if self.place in world.monitors else []
        prestart += world.prestarted(self)
        worker = Worker(
            [Backend(world, self)], self.settings, tasks, prestart,
            WorkerPorts(
                hard_deadline=True, own_loop=True, clock=self.clock, process=around,
                schedules=world.schedules(), native=world.native,
                on_failed=lambda: world.broken(self, f"a service died: {worker.failed!r}"),
            ),
        )  # fmt: skip
        self.worker = worker
        worker.start()
        fork.release(worker)
        self.started.set()

    def _fresh_id(self) -> str:
        self._ids += 1
        return f"{self.name}s{self._ids}"

    def clock(self) -> float:
        """The steady clock of this process; only its rate means anything."""
        return self._offset + self.loop.time * self.rate

    def terminate(self) -> None:
        """SIGTERM: what `run()` does then."""
        if not self.dead and not self.leaving:
            self.leaving = True
            self.loop.soon(self, lambda: Service.spawn(self._stop))

    def _stop(self) -> None:
        self.started.wait()  # as `run()` does, which looks for a signal then
        self.clean = self.worker is not None and self.worker.stop()
        self.world.note(self, "left" if self.clean else "left, not all released")
        self.kill("exit")
        wait_for_ever()

    def _exit(self, code: int) -> None:
        self.kill(f"exit {code}")
        wait_for_ever()

    def kill(self, why: str) -> None:
        """Kill -9, or another immediate end of a process."""
        if self.dead:
            return
        self.loop.kill(self)
        self.hog = None
        self.world.note(self, "dead:", why)
        self.world.died(self)

    # -- SIGSTOP --------------------------------------------------------------------------------------

    def stop(self) -> None:
        """SIGSTOP."""
        self.stopped = True
        self.loop.freeze(self)

    def cont(self) -> None:
        """SIGCONT: a signal that waited comes first."""
        if self.dead or not self.stopped:
            return
        self.stopped = False
        if self.alarm_at is not None and self.alarm_at <= self.loop.time:
            self.kill("kernel timer at SIGCONT")
        elif self.hog is None:
            self.loop.thaw(self)

    # -- the kernel's timer ---------------------------------------------------------------------------

    def set_alarm(self, seconds: float | None) -> None:
        """Set the timer, or stop it."""
        self.alarm_at = None if seconds is None else self.loop.time + seconds / self.rate
        if self.alarm_at is not None and self._alarm is None:
            self._wait_for_alarm(self.alarm_at)

    def _wait_for_alarm(self, at: float) -> None:
        self._alarm = self.loop.later(None, max(0.0, at - self.loop.time), self._alarm_due)

    def _alarm_due(self) -> None:
        self._alarm = None
        if self.dead or self.alarm_at is None:
            return
        if self.alarm_at > self.loop.time:
            self._wait_for_alarm(self.alarm_at)
        elif not self.stopped:
            self.kill("kernel timer")
