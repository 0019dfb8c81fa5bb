"""One partition's services: its own connections, lease, deadline and session.

Nothing but the worker's places is shared between lanes, so that the loss of one partition's server stops
the runs of that partition only.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs
import gevent

from pytask.domain.control import Wish
from pytask.domain.errors import PytaskError, StoreError
from pytask.domain.leases import Lease
from pytask.domain.ports import Backend
from pytask.domain.task import Task
from pytask.logger import get_logger
from pytask.runtime.log_throttle import Complaints
from pytask.runtime.process.cpu_usage import Load
from pytask.runtime.process.host import Process, fresh_id
from pytask.runtime.runs.capacity import Places
from pytask.runtime.runs.committer import Committer, CommitterPorts
from pytask.runtime.runs.event_buffer import Backlog
from pytask.runtime.runs.executor import Executor, ExecutorPorts
from pytask.runtime.runs.native_threads import NativePool
from pytask.runtime.runs.start_rate import Turns
from pytask.runtime.runs.task_log import Journal
from pytask.runtime.services.balancer import Balancer, BalancerPorts
from pytask.runtime.services.consumer import Consumer, ConsumerPorts
from pytask.runtime.services.controller import Controller, ControllerPorts
from pytask.runtime.services.heartbeat import Heartbeat, HeartbeatPorts
from pytask.runtime.services.presence import Presence, PresencePorts
from pytask.runtime.services.prestart import Prestart, PrestartPorts
from pytask.runtime.services.server_watch import Lookout
from pytask.runtime.settings import Settings
from pytask.runtime.store_proxy import Courier

log = get_logger(__name__)


class Session:
    """A lane's identity: new at start, after a fork, and after every loss of the lease."""

    def __init__(self, prefix: str = "", fresh_id: Callable[[], str] = fresh_id) -> None:
        self._fresh_id = fresh_id
        self._prefix = prefix  # a supervisor's: by it the runs of this very process are found
        self.renew()

    def renew(self) -> None:
        """A new session; its run ids have never been used."""
        self.id = self._prefix + self._fresh_id()
        self._counter = itertools.count(1)

    def next_run(self) -> str:
        """A run id that never repeats: the fencing token."""
        return f"{self.id}:{next(self._counter)}"


class Connections:
    """Every connection of a lane to its partition.  Each store belongs to one service."""

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
        """Reopen every connection except that of `keep`: the old server may still be up and hold them."""
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
class LanePorts:
    """What all lanes of a worker share."""

    tasks: Mapping[str, type[Task]]
    places: Places
    turns: Turns
    native: NativePool
    load: Load
    process: Process
    clock: Callable[[], float]
    on_reached: Callable[[], None]  # after the first acknowledged renewal
    hard: bool  # the kernel ends the process at the deadline
    prefix: str = ""  # of the session


class Lane:
    """Ports in, services out.  Every socket belongs to one service that is never killed in mid-command."""

    def __init__(
        self,
        backend: Backend,
        settings: Settings,
        prestart: Sequence[tuple[str, bytes]],
        ports: LanePorts,
    ) -> None:
        self.backend = backend
        self.settings = settings
        self.session = Session(ports.prefix, ports.process.fresh_id)
        self.lease = Lease(settings.timing, embargo=settings.embargo)
        self.complaints = Complaints(settings.timing.heartbeat)
        self.connections = Connections(backend, settings.name, self.session.id)
        self._wire_runs(ports)
        self._wire_core_services(ports)
        self._wire_side_services(ports, prestart)

    def _wire_runs(self, ports: LanePorts) -> None:
        """The table of runs, and what carries their calls and changes to Redis."""
        settings = self.settings
        self.deadman = ports.process.deadman(ports.hard)
        self.courier = Courier(store=self.connections.store())
        self.committer = Committer(CommitterPorts(
            store=self.connections.store(), lease=self.lease, clock=ports.clock, complaints=self.complaints,
            backlog=Backlog(max_events=settings.max_pending, max_bytes=settings.max_pending_bytes),
            journal=Journal(lines=settings.task_logs, keep=settings.keep_logs),
            drops=settings.when_full == "drop", keep_error=settings.keep_error,
            on_settled=ports.places.wake,
        ))  # fmt: skip
        self.executor = Executor(ExecutorPorts(
            settings=settings, lease=self.lease, committer=self.committer, courier=self.courier,
            deadman=self.deadman, tasks=ports.tasks, turns=ports.turns, native=ports.native,
            backend=self.backend,
            ids=self.session, clock=ports.clock, exit_process=ports.process.exit,
            on_place=ports.places.wake, on_local_over=self._local_over,
        ))  # fmt: skip

    def _wire_core_services(self, ports: LanePorts) -> None:
        """The services that renew leases, claim tasks, and receive control messages."""
        renewals = self.connections.store()
        self.heartbeat = Heartbeat(HeartbeatPorts(
            store=renewals, lease=self.lease, executor=self.executor, deadman=self.deadman,
            clock=ports.clock, complaints=self.complaints, address=self.backend.describe(),
            feed_session=self.session.id, on_reached=ports.on_reached, on_lost=self.session.renew,
            on_other_server=partial(self.connections.reconnect, keep=renewals),
            on_ping=self._pinged,
        ))  # fmt: skip
        self.consumer = Consumer(ConsumerPorts(
            store=self.connections.store(), queue=self.connections.queue, executor=self.executor,
            committer=self.committer, lease=self.lease, ids=self.session, clock=ports.clock,
            places=ports.places, complaints=self.complaints, uniform=ports.process.uniform,
            on_other_server=self.connections.reconnect,
        ))  # fmt: skip
        self.controller = Controller(ControllerPorts(
            store=self.connections.store(), feed=self.connections.feed, executor=self.executor,
            timing=self.settings.timing, clock=ports.clock, complaints=self.complaints,
            on_hint=self.consumer.hint, request_ping=self.heartbeat.request_ping,
            on_deaf=self.connections.reconnect,
            place=f"{self.backend.describe()}, namespace {self.settings.namespace!r}",
        ))  # fmt: skip
        self.lookout = Lookout(
            store=self.connections.store(), lease=self.lease, on_moved=self.connections.reconnect
        )

    def _wire_side_services(self, ports: LanePorts, prestart: Sequence[tuple[str, bytes]]) -> None:
        """The worker's registry entry, its pre-started tasks, and rebalancing."""
        self.presence = Presence(PresencePorts(
            courier=self.courier, executor=self.executor, lease=self.lease, clock=ports.clock,
            session=lambda: self.session.id, dropped=lambda: self.committer.dropped,
            held=lambda: self.held, refused=lambda: self.committer.refused + self.consumer.claims.refused,
            closed=lambda: ports.places.closed, load=ports.load,
        ))  # fmt: skip
        self.prestart = Prestart(PrestartPorts(
            specs=prestart, courier=self.courier, executor=self.executor, committer=self.committer,
            lease=self.lease, ids=self.session, clock=ports.clock, complaints=self.complaints,
            fresh_id=ports.process.fresh_id,
        ))  # fmt: skip
        self.balancer = None
        if self.settings.rebalance is not None:
            self.balancer = Balancer(BalancerPorts(
                rate=self.settings.rebalance / self.settings.partitions, courier=self.courier,
                executor=self.executor, consumer=self.consumer, lease=self.lease, info=self.presence.info,
                clock=ports.clock,
            ))  # fmt: skip

    # Called by objects that are created before the service they call.

    def _local_over(self, task_id: str, wish: Wish | None) -> None:
        self.prestart.over(task_id, wish)

    def _pinged(self, error: StoreError | None) -> None:
        self.controller.pinged(error)

    def services(self) -> list[tuple[str, Callable[[], None]]]:
        """What runs, in the order of the start: renewals before claims, whose gate is shut until then."""
        services = [
            ("courier", self.courier.run),
            ("committer", self.committer.run),
            ("heartbeat", self.heartbeat.run),
            ("deadline", self.heartbeat.watch),
            ("controller", self.controller.run),
            ("presence", self.presence.run),
            ("prestart", self.prestart.run),
            ("consumer", self.consumer.run),
            ("lookout", self.lookout.run),
        ]
        return services + ([("balancer", self.balancer.run)] if self.balancer is not None else [])

    @property
    def held(self) -> float:
        """Seconds for which Redis has not taken ends or events, or not answered claims, of this lane."""
        return max(self.committer.held, self.consumer.claims.held)

    # -- stop, in these steps -------------------------------------------------------------------------

    def leave(self) -> None:
        """Claim no more, and ask all runs to stop."""
        self.executor.leaving = True
        self.prestart.end()
        self.consumer.end()
        if self.balancer is not None:
            self.balancer.end()
        self.executor.hand_back_all()

    def drained(self, consumer_ended: Callable[[], bool]) -> bool:
        """One look: whether all is handed back and acknowledged."""
        if self.consumer.waiting:
            # It wakes up with an error; nothing is lost, since a wait takes nothing.
            self.connections.queue.close()
        if not consumer_ended():
            return False
        self.executor.hand_back_all()  # a claim that was in flight may have come in
        return self.idle and not self.committer.pending

    @property
    def idle(self) -> bool:
        """Nothing runs here, and nothing waits to be handed back."""
        return not self.executor.living and not self.lease.settling

    def say_goodbye(self, timeout: float) -> None:
        """Take the entry out of `pytask:workers`, if the server answers within `timeout` seconds."""
        try:
            with gevent.Timeout(timeout):
                self.presence.leave()
        except (gevent.Timeout, PytaskError):
            log.debug("left without saying so; the entry in pytask:workers goes with time")

    def end_services(self) -> None:
        """Let the loops end; a run that would not die gets its grace, then the kernel's timer."""
        for service in (
            self.lookout,
            self.presence,
            self.controller,
            self.heartbeat,
            self.committer,
            self.courier,
        ):
            service.end()
        self.deadman.arm(None if not self.executor.living else self.settings.timing.grace)

    def close(self) -> None:
        """Close all connections."""
        self.connections.close()
