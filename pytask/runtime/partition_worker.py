"""The services of one partition, with their own connections, lease, deadline and session.

Partitions share only the worker's slots, so the loss of one partition's server stops only the runs of that
partition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs
import gevent

from pytask.domain.control import StopReason
from pytask.domain.errors import PytaskError, StoreError
from pytask.domain.firing import Place
from pytask.domain.leases import Lease
from pytask.domain.ports import Backend
from pytask.domain.restarts import Retry
from pytask.domain.session_marks import session_mark
from pytask.domain.task import Task
from pytask.logger import get_logger
from pytask.runtime.log_throttle import LogThrottle
from pytask.runtime.process.cpu_usage import Load
from pytask.runtime.process.host import Process, fresh_id
from pytask.runtime.process.life_lock import Life
from pytask.runtime.runs.capacity import Capacity
from pytask.runtime.runs.committer import Committer, CommitterPorts
from pytask.runtime.runs.coroutine_ports import CoroutineHost
from pytask.runtime.runs.event_buffer import Backlog
from pytask.runtime.runs.executor import Executor
from pytask.runtime.runs.executor_ports import ExecutorPorts
from pytask.runtime.runs.native_threads import NativePool
from pytask.runtime.runs.start_rate import Turns
from pytask.runtime.runs.tally import Tally
from pytask.runtime.runs.task_log import Journal
from pytask.runtime.services.balancer import Balancer, BalancerPorts
from pytask.runtime.services.consumer import Consumer, ConsumerPorts
from pytask.runtime.services.controller import Controller, ControllerPorts
from pytask.runtime.services.heartbeat import Heartbeat, HeartbeatPorts
from pytask.runtime.services.presence import Presence, PresencePorts
from pytask.runtime.services.prestart import Prestart, PrestartPorts
from pytask.runtime.services.schedules import Defined, Definitions, DefinitionsPorts, Schedules
from pytask.runtime.services.server_watch import ServerWatch
from pytask.runtime.services.timers import Timers, TimersPorts
from pytask.runtime.settings import Settings
from pytask.runtime.store_proxy import StoreProxy
from pytask.runtime.tracing import Tracing

log = get_logger(__name__)


class Session:
    """The identity of a partition worker: new at start, after a fork, and after every loss of the lease."""

    def __init__(self, prefix: str = "", fresh_id: Callable[[], str] = fresh_id, *, mark: str = "") -> None:
        self._fresh_id = fresh_id
        self._prefix = prefix  # chosen by a supervisor to find the runs of this process
        self._mark = mark  # tells monitors the expiry of its runs
        self.renew()

    def renew(self) -> None:
        """Start a new session, whose run ids have never been used."""
        self.id = self._prefix + self._fresh_id() + self._mark
        self._used = 0  # numbers of runs

    def next_run(self) -> str:
        """A new unique run id: the fencing token."""
        return f"{self.id}:{self.reserve(1) + 1}"

    def reserve(self, count: int) -> int:
        """Reserve this many numbers for runs of this session; returns the one before them."""
        self._used += count
        return self._used - count


class Connections:
    """All connections of a partition worker.  Each store belongs to one service."""

    def __init__(self, backend: Backend, worker: str, feed_session: str) -> None:
        self._backend = backend
        self._worker = worker  # the name recorded with its commands
        self._stores: list[Any] = []
        self.queue = backend.queue()
        self.feed = backend.feed(feed_session)

    def store(self) -> Any:
        """A new store, with a connection of its own."""
        store = self._backend.store()
        store.who = self._worker
        self._stores.append(store)
        return store

    def reconnect(self, keep: Any = None) -> None:
        """Reopen every connection except that of `keep`, because the old server may still hold them."""
        for store in self._stores:
            if store is not keep:
                store.reconnect()
        self.queue.reconnect()
        self.feed.reconnect()

    def close(self) -> None:
        """Close all connections."""
        self._backend.close()
        self.feed.close()
        self.queue.close()
        for store in self._stores:
            store.close()


@attrs.frozen(kw_only=True)
class PartitionWorkerPorts:
    """What all partitions of a worker share."""

    tasks: Mapping[str, type[Task]]
    capacity: Capacity
    turns: Turns
    native: NativePool
    asyncio: CoroutineHost
    load: Load
    process: Process
    clock: Callable[[], float]
    on_reached: Callable[[], None]  # after the first acknowledged renewal
    hard: bool  # whether the kernel ends the process at the deadline
    own_loop: bool  # whether nothing but the worker and its tasks runs in the event loop
    prefix: str = ""  # of the session id
    life: Life = attrs.Factory(Life)
    schedules: Sequence[Defined] = ()  # those that the code defines
    tracing: Tracing | None = None


class PartitionWorker:
    """Builds the services from their ports.  Every socket belongs to one service that is never killed."""

    def __init__(
        self,
        backend: Backend,
        settings: Settings,
        prestart: Sequence[tuple[str, bytes]],
        ports: PartitionWorkerPorts,
        place: Place = (0, 1),
    ) -> None:
        self.backend = backend
        self.settings = settings
        self.session = Session(ports.prefix, ports.process.fresh_id, mark=session_mark(settings.timing))
        self.lease = Lease(settings.timing, embargo=settings.embargo)
        self.log_throttle = LogThrottle(settings.timing.heartbeat)
        self.connections = Connections(backend, settings.name, self.session.id)
        self.tally = Tally(ports.clock)
        self._wire_runs(ports)
        self.schedules = Schedules(ports.schedules, place, self.tally.fired)
        self._wire_core_services(ports)
        self._wire_side_services(ports, prestart)

    def _wire_runs(self, ports: PartitionWorkerPorts) -> None:
        """The table of runs, and the services that send their calls and changes to Redis."""
        settings = self.settings
        self.kill_timer = ports.process.kill_timer(ports.hard)
        self.store_proxy = StoreProxy(store=self.connections.store())
        self.committer = Committer(CommitterPorts(
            store=self.connections.store(), lease=self.lease, clock=ports.clock,
            log_throttle=self.log_throttle,
            backlog=Backlog(max_events=settings.max_pending, max_bytes=settings.max_pending_bytes),
            journal=Journal(lines=settings.task_logs, keep=settings.keep_logs),
            drops=settings.when_full == "drop", keep_error=settings.keep_error,
            on_settled=ports.capacity.wake, on_delayed=self._delayed,
            on_schedule=self._run_of_schedule_over,
        ))  # fmt: skip
        self.executor = Executor(ExecutorPorts(
            settings=settings, lease=self.lease, committer=self.committer, store_proxy=self.store_proxy,
            kill_timer=self.kill_timer, tasks=ports.tasks, turns=ports.turns, native=ports.native,
            asyncio=ports.asyncio, backend=self.backend,
            ids=self.session, clock=ports.clock, exit_process=ports.process.exit,
            on_place=ports.capacity.wake, on_local_over=self._local_over, uniform=ports.process.uniform,
            tally=self.tally, tracing=ports.tracing,
        ))  # fmt: skip

    def _wire_core_services(self, ports: PartitionWorkerPorts) -> None:
        """The services that renew leases, claim tasks, and receive control messages."""
        self.renewals = self.connections.store()
        self.heartbeat = Heartbeat(HeartbeatPorts(
            store=self.renewals, lease=self.lease, executor=self.executor, kill_timer=self.kill_timer,
            clock=ports.clock, log_throttle=self.log_throttle, address=self.backend.describe(),
            feed_session=self.session.id, on_reached=ports.on_reached, on_lost=self.session.renew,
            on_other_server=partial(self.connections.reconnect, keep=self.renewals),
            on_ping=self._pinged,
        ))  # fmt: skip
        self.timers = Timers(TimersPorts(
            store=self.connections.store(), timing=self.settings.timing, clock=ports.clock,
            log_throttle=self.log_throttle, uniform=ports.process.uniform, schedules=self.schedules,
            rules=lambda: self.executor.rules, on_late=self.tally.timers_late.add,
        ))  # fmt: skip
        self.consumer = Consumer(ConsumerPorts(
            store=self.connections.store(), queue=self.connections.queue, executor=self.executor,
            committer=self.committer, lease=self.lease, ids=self.session, clock=ports.clock,
            capacity=ports.capacity, log_throttle=self.log_throttle, uniform=ports.process.uniform,
            on_other_server=self.connections.reconnect, on_delayed=self.timers.soon, own_loop=ports.own_loop,
        ))  # fmt: skip
        self.controller = Controller(ControllerPorts(
            store=self.connections.store(), feed=self.connections.feed, executor=self.executor,
            timing=self.settings.timing, clock=ports.clock, log_throttle=self.log_throttle,
            on_hint=self.consumer.hint, request_ping=self.heartbeat.request_ping,
            on_deaf=self.connections.reconnect,
            place=f"{self.backend.describe()}, namespace {self.settings.namespace!r}",
        ))  # fmt: skip
        self.server_watch = ServerWatch(
            store=self.connections.store(), lease=self.lease, on_moved=self.connections.reconnect
        )

    def _wire_side_services(self, ports: PartitionWorkerPorts, prestart: Sequence[tuple[str, bytes]]) -> None:
        """The worker's registry entry, its pre-started tasks, and rebalancing."""
        self.presence = Presence(PresencePorts(
            store_proxy=self.store_proxy, executor=self.executor, lease=self.lease, clock=ports.clock,
            session=lambda: self.session.id, dropped=lambda: self.committer.dropped,
            held=lambda: self.held, refused=lambda: self.committer.refused + self.consumer.claims.refused,
            closed=lambda: ports.capacity.closed, load=ports.load, life=ports.life,
            schedules=lambda: self.schedules.digests,
        ))  # fmt: skip
        self.prestart = Prestart(PrestartPorts(
            specs=prestart, store_proxy=self.store_proxy, executor=self.executor, committer=self.committer,
            lease=self.lease, ids=self.session, clock=ports.clock, log_throttle=self.log_throttle,
            fresh_id=ports.process.fresh_id,
        ))  # fmt: skip
        self.definitions = Definitions(DefinitionsPorts(
            schedules=self.schedules, store_proxy=self.store_proxy, lease=self.lease, clock=ports.clock,
            on_defined=partial(self.timers.soon, 0),
        ))  # fmt: skip
        self.balancer = None
        if self.settings.rebalance is not None:
            self.balancer = Balancer(BalancerPorts(
                rate=self.settings.rebalance / self.settings.partitions, store_proxy=self.store_proxy,
                executor=self.executor, consumer=self.consumer, lease=self.lease, info=self.presence.info,
                clock=ports.clock,
            ))  # fmt: skip

    # Called by objects that are created before the service that they call.

    def _local_over(self, task_id: str, stop_reason: StopReason | None, retry: Retry | None) -> None:
        self.prestart.over(task_id, stop_reason, retry)

    def _delayed(self, seconds: float) -> None:
        self.timers.soon(seconds)

    def _run_of_schedule_over(self, name: str) -> None:
        self.schedules.run_is_over(name)
        self.timers.wake()

    def _pinged(self, error: StoreError | None) -> None:
        self.controller.pinged(error)

    def services(self) -> list[tuple[str, Callable[[], None]]]:
        """The services in order of their start: renewals before claims, which wait for the first renewal."""
        services = [
            ("courier", self.store_proxy.run),
            ("committer", self.committer.run),
            ("heartbeat", self.heartbeat.run),
            ("deadline", self.heartbeat.watch),
            ("controller", self.controller.run),
            ("presence", self.presence.run),
            ("prestart", self.prestart.run),
            ("consumer", self.consumer.run),
            ("timers", self.timers.run),
            ("lookout", self.server_watch.run),
        ]
        if self.schedules.digests:
            services.append(("definitions", self.definitions.run))
        return services + ([("balancer", self.balancer.run)] if self.balancer is not None else [])

    @property
    def held(self) -> float:
        """Seconds for which Redis has accepted no ends or events, or not answered claims."""
        return max(self.committer.held, self.consumer.claims.held)

    # -- stop, in these steps -------------------------------------------------------------------------

    def leave(self) -> None:
        """Stop claiming, and request all runs to stop."""
        self.executor.leaving = True
        self.prestart.end()
        self.consumer.end()
        self.timers.end()
        self.definitions.end()
        if self.balancer is not None:
            self.balancer.end()
        self.executor.hand_back_all()

    def drained(self, consumer_ended: Callable[[], bool]) -> bool:
        """One step of the shutdown: whether all runs are released and acknowledged."""
        if self.consumer.waiting:
            # The wait ends with an error; nothing is lost, since it removes no id.
            self.connections.queue.close()
        if not consumer_ended():
            return False
        self.executor.hand_back_all()  # a claim in flight may have been answered
        return self._released and not self.committer.pending

    @property
    def _released(self) -> bool:
        return not self.executor.living and not self.lease.settling

    @property
    def idle(self) -> bool:
        """Whether nothing runs, nothing waits for its release, and no claim may have taken something."""
        return self._released and not self.consumer.claims.open

    def deregister(self, timeout: float) -> None:
        """Remove the entry from `pytask:workers`, if the server answers within `timeout` seconds."""
        try:
            with gevent.Timeout(timeout):
                self.presence.leave()
        except (gevent.Timeout, PytaskError):
            log.debug("could not remove the entry from pytask:workers; it expires")

    def end_services(self) -> None:
        """Let the services end; a run that cannot be stopped gets its grace, then the kernel timer."""
        for service in (
            self.server_watch,
            self.presence,
            self.controller,
            self.heartbeat,
            self.committer,
            self.store_proxy,
        ):
            service.end()
        self.kill_timer.arm(None if not self.executor.living else self.settings.timing.grace)

    def close(self) -> None:
        """Close all connections."""
        self.connections.close()
