"""A simulated worker process: its clock, its kernel timer, and the real Worker inside."""

from __future__ import annotations

from gevent import Greenlet
from gevent.event import Event as Flag

from pytask.runtime.monitor import Monitor
from pytask.runtime.process import fork
from pytask.runtime.process.host import Process as Around
from pytask.runtime.process.kill_timer import KillTimer
from pytask.runtime.tree import Service
from pytask.runtime.worker import Worker, WorkerPorts
from pytask.testing.virtual_time import Life, wait_for_ever
from tests.simulation.network import Backend


class Alarm(KillTimer):
    """The kernel's timer: it holds in a frozen process too, where the signal waits for SIGCONT."""

    def __init__(self, process):
        self.hard = True
        self.armed = False
        self._process = process

    def arm(self, seconds):
        self.armed = seconds is not None
        self._process.set_alarm(seconds)


class Process(Life):
    """One process at a place ("w0", "w1", ...) of the world."""

    def __init__(self, world, place, number):
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
        self.hog = None  # the run that holds the process's only thread
        self.alarm_at = None
        self._alarm = None
        self.worker = None
        self.leaving = False
        self.started = Flag()
        self.renewals_failed = 0
        self.last_ack = 0.0  # world's time at which the last acknowledged renewal was sent

    def __repr__(self):
        return self.name

    # -- life -----------------------------------------------------------------------------------------

    def start(self):
        """Boot the worker."""
        self.loop.soon(self, lambda: Greenlet.spawn(self._main))

    def _main(self):
        world = self.world
        around = Around(exit=self._exit, fresh_id=self._fresh_id, uniform=self.random.uniform,
                        kill_timer=lambda hard: Alarm(self), used=lambda: 0.0)  # fmt: skip
        tasks = {Monitor.Config.NAME: Monitor, **world.task_classes(self)}
        prestart = [(Monitor.Config.NAME, b"null")] if self.place in world.monitors else []
        self.worker = worker = Worker(
            [Backend(world, self)], self.settings, tasks, prestart,
            WorkerPorts(
                hard_deadline=True, clock=self.clock, process=around, schedules=world.policies.defined(),
                on_failed=lambda: world.evidence.broken(self, f"a service died: {worker.failed!r}"),
            ),
        )  # fmt: skip
        worker.start()
        fork.release(worker)
        self.started.set()

    def _fresh_id(self):
        self._ids += 1
        return f"{self.name}s{self._ids}"

    def clock(self):
        """The steady clock of this process; only its rate means anything."""
        return self._offset + self.loop.time * self.rate

    def terminate(self):
        """SIGTERM: what `run()` does then."""
        if not self.dead and not self.leaving:
            self.leaving = True
            self.loop.soon(self, lambda: Service.spawn(self._stop))

    def _stop(self):
        self.started.wait()  # as `run()` does, which looks for a signal then
        clean = self.worker.stop()
        self.world.note(self, "left" if clean else "left, not all handed back")
        self.kill("exit")
        wait_for_ever()

    def _exit(self, code):
        self.kill(f"exit {code}")
        wait_for_ever()

    def kill(self, why):
        """Kill -9, or another immediate end of a process."""
        if self.dead:
            return
        self.loop.kill(self)
        self.hog = None
        self.world.note(self, "dead:", why)
        self.world.died(self)

    # -- SIGSTOP and a CPU loop -----------------------------------------------------------------------

    def stop(self):
        self.stopped = True
        self.loop.freeze(self)

    def cont(self):
        """SIGCONT: a signal that waited comes first."""
        if self.dead or not self.stopped:
            return
        self.stopped = False
        if self.alarm_at is not None and self.alarm_at <= self.loop.time:
            self.kill("kernel timer at SIGCONT")
        elif self.hog is None:
            self.loop.thaw(self)

    def begin_hog(self, run):
        self.hog = run
        self.loop.freeze(self)
        self._spin(run)

    def _spin(self, run):
        if self.hog is not run or self.dead:
            return
        if not self.stopped:
            self.world.evidence.act(run)
        self.loop.later(None, 0.05, self._spin, run)

    def end_hog(self):
        if self.dead or self.hog is None:
            return
        self.hog = None
        if not self.stopped:
            self.loop.thaw(self)

    # -- the kernel's timer ---------------------------------------------------------------------------

    def set_alarm(self, seconds):
        self.alarm_at = None if seconds is None else self.loop.time + seconds / self.rate
        if self.alarm_at is not None and self._alarm is None:
            self._wait_for_alarm()

    def _wait_for_alarm(self):
        self._alarm = self.loop.later(None, max(0.0, self.alarm_at - self.loop.time), self._alarm_due)

    def _alarm_due(self):
        self._alarm = None
        if self.dead or self.alarm_at is None:
            return
        if self.alarm_at > self.loop.time:
            self._wait_for_alarm()
        elif not self.stopped:
            self.kill("kernel timer")
