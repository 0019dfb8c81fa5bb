"""One worker: a `PartitionWorker` per partition, started in order and stopped in reverse order."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import attrs
import gevent
from gevent.event import Event as Flag

from pytask.domain.control import StopReason
from pytask.domain.errors import Denied, PytaskError, SharedChannels, StoreError
from pytask.domain.ports import Backend
from pytask.domain.task import Task
from pytask.logger import get_logger
from pytask.runtime import thread_owners, tree
from pytask.runtime.aio.lag_watch import LagWatch, LagWatchPorts
from pytask.runtime.aio.service import AsyncioLoop
from pytask.runtime.monitor import Monitor
from pytask.runtime.partition_worker import PartitionWorker, PartitionWorkerPorts
from pytask.runtime.process import fork
from pytask.runtime.process.clock import steady
from pytask.runtime.process.cpu_usage import Load
from pytask.runtime.process.host import Process
from pytask.runtime.process.life_lock import Life
from pytask.runtime.process.patched import require_patched, warn_of_early
from pytask.runtime.process.patched_locks import use_locks
from pytask.runtime.runs import leftover_sockets, output, threads
from pytask.runtime.runs.blocking_libraries import warn_of_blockers
from pytask.runtime.runs.capacity import Capacity
from pytask.runtime.runs.executor import Executor
from pytask.runtime.runs.log_handler import TaskLines
from pytask.runtime.runs.loop_monitor import BlockedWatch
from pytask.runtime.runs.native_threads import NativePool
from pytask.runtime.runs.run import Run
from pytask.runtime.runs.start_rate import Allowance, Turns
from pytask.runtime.services.controller import Controller
from pytask.runtime.services.neighbors import Neighbors, NeighborsPorts
from pytask.runtime.services.schedules import Defined
from pytask.runtime.settings import Settings
from pytask.runtime.standby import Standby
from pytask.runtime.tracing import Tracing

log = get_logger(__name__)

DRAIN_STEP = 0.02  # seconds between checks during shutdown


@attrs.frozen(kw_only=True)
class WorkerPorts:
    """The process around a worker, and how it is notified of a failure."""

    hard_deadline: bool = False  # the kernel kills the process at the deadline
    own_loop: bool = False  # nothing but the worker and its tasks runs in the event loop
    prefix: str = ""  # of its session ids, chosen by a supervisor
    clock: Callable[[], float] = steady
    process: Process = attrs.Factory(Process)
    on_failed: Callable[[], None] = lambda: None  # a service of the worker died
    on_blocked: Callable[[str, str], None] = lambda _who, _place: None  # as of `BlockedWatch`
    schedules: Sequence[Defined] = ()  # those that the code defines
    life: Life = attrs.Factory(Life)  # the lock that proves the death of this process
    native: Callable[[int], NativePool] = NativePool
    standby: Standby | None = None  # it takes no tasks until it is told to


class Worker:
    """The partition workers and what they share: slots, the process, start and stop."""

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
            use_locks()  # for conditions created from here on, unless `pytask run` has already done it
        self.forked = False
        self.draining = False
        self.failed: BaseException | None = None
        self.settings = settings
        self._on_failed = ports.on_failed
        self._clock = ports.clock
        self._pid = os.getpid()
        self._greenlets: dict[str, tree.Service] = {}
        self.capacity = Capacity(settings.max_tasks, Allowance(settings.start_rate, ports.clock))
        self.capacity.close(closed=ports.standby is not None)
        self.asyncio = AsyncioLoop(settings.blocking_threads)
        # A monitor sees one partition; other pre-started tasks run once per worker.
        monitors = [spec for spec in prestart if spec[0] == Monitor.Config.NAME]
        shared = PartitionWorkerPorts(
            tasks=tasks, capacity=self.capacity, turns=Turns(tasks, ports.clock),
            native=ports.native(settings.blocking_threads), asyncio=self.asyncio,
            load=Load(
                clock=ports.clock, used=ports.process.used, pause=settings.timing.heartbeat / 2
            ),
            process=ports.process, clock=ports.clock, on_reached=self._reached,
            hard=ports.hard_deadline, own_loop=ports.own_loop, prefix=ports.prefix, life=ports.life,
            schedules=ports.schedules, tracing=Tracing(settings.name) if settings.traces else None,
        )  # fmt: skip
        count = len(backends)
        self.partitions = [
            PartitionWorker(backend, settings, monitors if index else prestart, shared, (index, count))
            for index, backend in enumerate(backends)
        ]
        self.lag_watch = LagWatch(LagWatchPorts(
            loop=self.asyncio, limit=settings.block_limit, lease=settings.timing.lease, clock=ports.clock,
            on_silent=self._loop_is_silent,
        ))  # fmt: skip
        self._life = ports.life
        self._standby = ports.standby
        self.reached = Flag()  # whether all partitions have an acknowledged renewal
        self.neighbors = None
        if ports.life.lock is not None:
            self.neighbors = Neighbors(NeighborsPorts(
                own=ports.life.lock, store_proxies=[one.store_proxy for one in self.partitions],
                timing=settings.timing, clock=ports.clock,
            ))  # fmt: skip
        self._unreached = len(self.partitions)  # partitions without an acknowledged renewal so far
        self.blocked = None
        if settings.block_limit is not None:
            ours = {partition.executor for partition in self.partitions}
            self.blocked = BlockedWatch(
                settings.block_limit, ours=lambda run: run.host in ours, on_blocked=ports.on_blocked
            )

    @property
    def executor(self) -> Executor:
        """The first lane's: the only one, unless there are partitions."""
        return self.partitions[0].executor

    @property
    def controller(self) -> Controller:
        """The first lane's: the only one, unless there are partitions."""
        return self.partitions[0].controller

    @property
    def living(self) -> list[Run]:
        """The runs of all partitions."""
        return [run for partition in self.partitions for run in partition.executor.living.values()]

    def now(self) -> float:
        """The worker's own monotonic clock."""
        return self._clock()

    @property
    def queued(self) -> int:
        """The number of living runs from the queue; pre-started tasks do not count."""
        return sum(partition.executor.queued for partition in self.partitions)

    def drain(self) -> None:
        """Stop claiming permanently; running tasks may end by themselves."""
        self.draining = True
        self.capacity.close(closed=True)

    def pause_intake(self, quiet: bool) -> None:
        """Stop or resume claiming; running tasks are not affected."""
        if self.draining:
            return
        if quiet is not self.capacity.closed:
            log.warning("%s", "takes no more tasks until SIGCONT" if quiet else "takes tasks again")
        self.capacity.close(closed=quiet)

    # -- start ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start all services.  They wait for an unreachable Redis.

        Raises `Denied` for a wrong password, `SharedChannels` if workers of another db number use the
        namespace.
        """
        if self._check():
            self._join()
        if not fork.is_working():  # otherwise existing objects may belong to its runs
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
        for index, partition in enumerate(self.partitions):
            for name, run in partition.services():
                held = {"consumer": self._claim, "prestart": self._prestart}.get(name)
                service = partial(held, run) if held is not None else run
                self._spawn(f"{name} {index}" if len(self.partitions) > 1 else name, service)
        self._spawn("lag watch", self.lag_watch.run)
        if self.neighbors is not None:
            self._spawn("neighbors", self.neighbors.run)

    def _claim(self, run: Callable[[], None]) -> None:
        """Claim once the runs of those that have died here are released."""
        if self.neighbors is not None:
            self.neighbors.looked.wait()
        run()

    def _prestart(self, run: Callable[[], None]) -> None:
        """Pre-start once no predecessor runs the same tasks under other ids."""
        if self._standby is not None:
            self._standby.alone.wait()
        run()

    def await_claims(self) -> None:
        """Wait until it could take tasks at once."""
        self.reached.wait()
        if self.neighbors is not None:
            self.neighbors.looked.wait()

    def _loop_is_silent(self) -> None:
        """Hand back what has coroutines; what cannot be stopped ends the process, as for a lost lease."""
        for partition in self.partitions:
            for run in list(partition.executor.living.values()):
                if run.coroutines is not None and run.coroutines.alive:
                    partition.executor.stop_reason(run, StopReason.HAND_BACK)

    def _reached(self) -> None:
        """Every claim waits for the first acknowledged renewal; log it when all partitions have one."""
        self._unreached -= 1
        if self._unreached:
            return
        self.reached.set()
        log.log(
            logging.INFO if self._standby is None else logging.DEBUG,  # else it is said where saves are
            "worker %s takes tasks from %s%s: %s",
            self.settings.name, self.partitions[0].backend.describe(),
            f", {len(self.partitions)} partitions" if len(self.partitions) > 1 else "",
            ", ".join(sorted(self.executor.tasks)) or "none",
        )  # fmt: skip

    def _check(self) -> bool:
        """Whether Redis answers."""
        backend = self.partitions[0].backend
        try:
            backend.check()
            for risk in backend.risks(self.settings.max_data):
                log.warning("[%s] Redis %s: %s. Fix: %s", risk.code, backend.describe(), risk.what, risk.fix)
        except Denied:
            raise
        except StoreError as error:
            log.error("worker %s waits for Redis %s: %s", self.settings.name, backend.describe(), error)
            self.partitions[0].log_throttle.may(self._clock(), first=True)
            return False
        return True

    def _join(self) -> None:
        """Subscribe before claiming: a worker that is refused has claimed no task."""
        try:
            for partition in self.partitions:
                partition.controller.join()
        except BaseException:
            for partition in self.partitions:
                partition.close()
            raise

    def _spawn(self, name: str, run: Callable[[], None]) -> None:
        greenlet = tree.Service.spawn(run)
        greenlet.name = f"pytask {name}"
        greenlet.link(self._ended)
        self._greenlets[name] = greenlet

    def _ended(self, greenlet: tree.Service) -> None:
        # A worker without one of its services is not safe.  Releasing the tasks needs the others.
        error = greenlet.exception or greenlet.value  # for gevent a killed greenlet is successful
        if not isinstance(error, BaseException) or greenlet.mortal:
            return
        self.failed = error
        self._on_failed()
        if isinstance(error, SharedChannels):  # found after the start, as Redis was unreachable then
            log.error("%s", error)
            return
        log.critical("service %s died of %r: this is a bug in pytask", greenlet.name, error)

    def raise_failure(self) -> None:
        """Raise the error that ended the worker, if any."""
        if isinstance(self.failed, SharedChannels):
            raise self.failed
        if self.failed is not None:
            raise PytaskError(f"a service of the worker died: {self.failed!r}") from self.failed

    # -- stop -----------------------------------------------------------------------------------------

    def stop(self, timeout: float | None = None) -> bool:
        """Release all tasks as WAIT; returns whether all were released within `timeout` seconds.

        Stops claiming, keeps renewing, stops all runs in parallel, and releases each when it is dead.  A run
        that cannot be stopped stays RUNNING: the process must exit, and a monitor requeues it.
        """
        self._check_process()
        limit = self.settings.timing.shutdown if timeout is None else timeout
        until = self._clock() + limit
        if self.neighbors is not None:
            self.neighbors.end()
        for partition in self.partitions:
            partition.leave()
        if self._standby is not None:
            self._standby.alone.set()  # it ends, too
        clean = self._drain(until)
        for run in self.living:
            log.error("task %s could not be stopped; it stays RUNNING until a monitor requeues it", run.id)
        if not clean and self._life.lock is not None:
            self._life.lock.keep = True
        self._end_services(until)
        fork.release(self)
        return clean

    def _drain(self, until: float) -> bool:
        while self._clock() < until:
            # No short circuit: each step also ends waits and releases late claims.
            looks = [
                partition.drained(self._consumer_of(index)) for index, partition in enumerate(self.partitions)
            ]
            if all(looks):
                break  # a claim that could not be closed is not waited for any longer
            gevent.sleep(DRAIN_STEP)
        return all(partition.idle for partition in self.partitions)

    def _consumer_of(self, index: int) -> Callable[[], bool]:
        return self._greenlets[f"consumer {index}" if len(self.partitions) > 1 else "consumer"].ready

    def _end_services(self, until: float) -> None:
        limit = max(0.2, min(1.0, until - self._clock()))
        # With its entry, others can prove that the runs are dead that could not be released.
        gone = [one for one in self.partitions if one.idle or self._life.lock is None]
        gevent.joinall([tree.Service.spawn(partition.deregister, limit) for partition in gone])
        self.lag_watch.end()
        for partition in self.partitions:
            partition.end_services()
        # Their sockets are closed with them, so killing them here cannot mix up replies.
        tree.end_services(list(self._greenlets.values()), timeout=2)
        for partition in self.partitions:
            partition.close()
        self.asyncio.end()
        if self.blocked is not None:
            self.blocked.stop()
        if self.settings.task_logs:
            TaskLines.remove()
            output.remove()

    def _check_process(self) -> None:
        if self.forked or os.getpid() != self._pid:
            raise PytaskError("this process was forked from a worker: it is not a worker and owns no tasks")
