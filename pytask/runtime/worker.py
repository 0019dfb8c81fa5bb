"""One worker: a lane for each partition, started in one order and stopped in the reverse."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

import attrs
import gevent

from pytask.domain.errors import Denied, PytaskError, SharedChannels, StoreError
from pytask.domain.ports import Backend
from pytask.domain.task import Task
from pytask.logger import get_logger
from pytask.runtime import thread_owners, tree
from pytask.runtime.monitor import Monitor
from pytask.runtime.partition_worker import Lane, LanePorts
from pytask.runtime.process import fork
from pytask.runtime.process.clock import steady
from pytask.runtime.process.cpu_usage import Load
from pytask.runtime.process.host import Process
from pytask.runtime.process.patched import require_patched, warn_of_early
from pytask.runtime.process.patched_locks import use_locks
from pytask.runtime.runs import leftover_sockets, output, threads
from pytask.runtime.runs.blocking_libraries import warn_of_blockers
from pytask.runtime.runs.capacity import Places
from pytask.runtime.runs.executor import Executor
from pytask.runtime.runs.log_handler import TaskLines
from pytask.runtime.runs.loop_monitor import BlockedWatch
from pytask.runtime.runs.native_threads import NativePool
from pytask.runtime.runs.run import Run
from pytask.runtime.runs.start_rate import Allowance, Turns
from pytask.runtime.services.controller import Controller
from pytask.runtime.settings import Settings

log = get_logger(__name__)

DRAIN_STEP = 0.02  # seconds between looks while the worker drains


@attrs.frozen(kw_only=True)
class WorkerPorts:
    """The process around a worker, and how a failure is reported to it."""

    hard_deadline: bool = False  # the kernel kills the process at the deadline
    prefix: str = ""  # of its session ids; chosen by a supervisor
    clock: Callable[[], float] = steady
    process: Process = attrs.Factory(Process)
    on_failed: Callable[[], None] = lambda: None  # a service of the worker died


class Worker:
    """Lanes, and what they share: places, the process, start and stop."""

    def __init__(
        self,
        backends: Sequence[Backend],
        settings: Settings,
        tasks: Mapping[str, type[Task]],
        prestart: Sequence[tuple[str, bytes]],
        ports: WorkerPorts,
    ) -> None:
        if any(backend.cooperative for backend in backends):
            require_patched()
            warn_of_early()
            use_locks()  # of conditions that are made from here on, where `pytask run` has not done it before
        self.forked = False
        self.draining = False
        self.failed: BaseException | None = None
        self.settings = settings
        self._on_failed = ports.on_failed
        self._clock = ports.clock
        self._pid = os.getpid()
        self._greenlets: dict[str, tree.Service] = {}
        self.places = Places(settings.max_tasks, Allowance(settings.start_rate, ports.clock))
        # A monitor sees one partition; the user's own pre-started tasks are wanted once a worker.
        monitors = [spec for spec in prestart if spec[0] == Monitor.Config.NAME]
        shared = LanePorts(
            tasks=tasks, places=self.places, turns=Turns(tasks, ports.clock),
            native=NativePool(settings.blocking_threads),
            load=Load(
                clock=ports.clock, used=ports.process.used, pause=settings.timing.heartbeat / 2
            ),
            process=ports.process, clock=ports.clock, on_reached=self._reached,
            hard=ports.hard_deadline, prefix=ports.prefix,
        )  # fmt: skip
        self.lanes = [
            Lane(backend, settings, monitors if index else prestart, shared)
            for index, backend in enumerate(backends)
        ]
        self._unreached = len(self.lanes)  # lanes without an acknowledged renewal so far
        self.blocked = None
        if settings.block_limit is not None:
            ours = {lane.executor for lane in self.lanes}
            self.blocked = BlockedWatch(settings.block_limit, ours=lambda run: run.host in ours)

    @property
    def executor(self) -> Executor:
        """The first lane's: the only one, unless there are partitions."""
        return self.lanes[0].executor

    @property
    def controller(self) -> Controller:
        """The first lane's: the only one, unless there are partitions."""
        return self.lanes[0].controller

    @property
    def living(self) -> list[Run]:
        """The runs of all lanes."""
        return [run for lane in self.lanes for run in lane.executor.living.values()]

    def now(self) -> float:
        """The worker's own steady clock."""
        return self._clock()

    @property
    def queued(self) -> int:
        """Living runs that came from the queue; the pre-started ones end with the worker."""
        return sum(lane.executor.queued for lane in self.lanes)

    def drain(self) -> None:
        """Take no more tasks, for good: those that run may end by themselves."""
        self.draining = True
        self.places.close(closed=True)

    def be_quiet(self, quiet: bool) -> None:
        """Take no more tasks, or take tasks again; those that run are let be."""
        if self.draining:
            return
        if quiet is not self.places.closed:
            log.warning("%s", "takes no more tasks, until SIGCONT" if quiet else "takes tasks again")
        self.places.close(closed=quiet)

    # -- start ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start all services.  Redis may be away (they wait for it).

        Raises `Denied` for a wrong password, `SharedChannels` where another db number hears the same.
        """
        if self._check():
            self._join()
        if not fork.is_working():  # else what is there may be of its runs
            thread_owners.note_all()
        tree.watch_spawns()
        threads.install()
        leftover_sockets.watch()
        fork.guard(self)
        if self.blocked is not None:
            self.blocked.start()
            warn_of_blockers()
        if self.settings.task_logs:
            TaskLines.install()
            output.install()
        for index, lane in enumerate(self.lanes):
            for name, run in lane.services():
                self._spawn(f"{name} {index}" if len(self.lanes) > 1 else name, run)

    def _reached(self) -> None:
        """Every claim waits for the first acknowledged renewal, so that only then it takes tasks."""
        self._unreached -= 1
        if self._unreached:
            return
        log.info(
            "worker %s takes tasks from %s%s: %s",
            self.settings.name, self.lanes[0].backend.describe(),
            f", {len(self.lanes)} partitions" if len(self.lanes) > 1 else "",
            ", ".join(sorted(self.executor.tasks)) or "none",
        )  # fmt: skip

    def _check(self) -> bool:
        """Whether Redis answers."""
        backend = self.lanes[0].backend
        try:
            backend.check()
            for risk in backend.risks(self.settings.max_data):
                log.warning("[%s] Redis %s: %s. Fix: %s", risk.code, backend.describe(), risk.what, risk.fix)
        except Denied:
            raise
        except StoreError as error:
            log.error("worker %s waits for Redis %s: %s", self.settings.name, backend.describe(), error)
            self.lanes[0].complaints.may(self._clock(), first=True)
            return False
        return True

    def _join(self) -> None:
        """Listen to control messages first: a worker that is refused has taken no task."""
        try:
            for lane in self.lanes:
                lane.controller.join()
        except BaseException:
            for lane in self.lanes:
                lane.close()
            raise

    def _spawn(self, name: str, run: Callable[[], None]) -> None:
        greenlet = tree.Service.spawn(run)
        greenlet.name = f"pytask {name}"
        greenlet.link(self._ended)
        self._greenlets[name] = greenlet

    def _ended(self, greenlet: tree.Service) -> None:
        # A worker without one of its services keeps no promise.  Handing back needs the others.
        error = greenlet.exception or greenlet.value  # to gevent the kill of a greenlet is a success
        if not isinstance(error, BaseException) or greenlet.mortal:
            return
        self.failed = error
        self._on_failed()
        if isinstance(error, SharedChannels):  # Redis was away at the start, or the start would have said so
            log.error("%s", error)
            return
        log.critical("service %s died of %r: this is a bug in pytask", greenlet.name, error)

    def raise_failure(self) -> None:
        """Raise what ended the worker, if anything did."""
        if isinstance(self.failed, SharedChannels):
            raise self.failed
        if self.failed is not None:
            raise PytaskError(f"a service of the worker died: {self.failed!r}") from self.failed

    # -- stop -----------------------------------------------------------------------------------------

    def stop(self, timeout: float | None = None) -> bool:
        """Hand everything back as WAIT; True if all was handed back within `timeout` seconds.

        Stops claiming, keeps renewing, stops all runs in parallel, releases each when it is dead.  What
        will not die stays RUNNING: the process must end, and a monitor hands it on.
        """
        self._check_process()
        limit = self.settings.timing.shutdown if timeout is None else timeout
        until = self._clock() + limit
        for lane in self.lanes:
            lane.leave()
        clean = self._drain(until)
        for run in self.living:
            log.error("task %s could not be stopped; it stays RUNNING until a monitor hands it on", run.id)
        self._end_services(until)
        fork.release(self)
        return clean

    def _drain(self, until: float) -> bool:
        while self._clock() < until:
            # All of them are looked at each time: a look also ends waits and hands late claims back.
            looks = [lane.drained(self._consumer_of(index)) for index, lane in enumerate(self.lanes)]
            if all(looks):
                return True
            gevent.sleep(DRAIN_STEP)
        return all(lane.idle for lane in self.lanes)

    def _consumer_of(self, index: int) -> Callable[[], bool]:
        return self._greenlets[f"consumer {index}" if len(self.lanes) > 1 else "consumer"].ready

    def _end_services(self, until: float) -> None:
        limit = max(0.2, min(1.0, until - self._clock()))
        gevent.joinall([tree.Service.spawn(lane.say_goodbye, limit) for lane in self.lanes])
        for lane in self.lanes:
            lane.end_services()
        # Their sockets are thrown away with them, so killing them here mixes up no replies.
        tree.end_services(list(self._greenlets.values()), timeout=2)
        for lane in self.lanes:
            lane.close()
        if self.blocked is not None:
            self.blocked.stop()
        if self.settings.task_logs:
            TaskLines.remove()
            output.remove()

    def _check_process(self) -> None:
        if self.forked or os.getpid() != self._pid:
            raise PytaskError("this process was forked from a worker: it is not one, and owns no tasks")
