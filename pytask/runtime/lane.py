"""One partition's services: its own connections, lease, deadline and session.

Nothing but the worker's places is shared between lanes, so that the loss of one partition's server stops
the runs of that partition only.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import gevent

from pytask.domain.errors import PytaskError
from pytask.domain.policy import Lease
from pytask.domain.ports import Backend
from pytask.domain.task import Task
from pytask.logger import get_logger
from pytask.runtime.backlog import Backlog
from pytask.runtime.balancer import Balancer
from pytask.runtime.busy import Load
from pytask.runtime.committer import Committer
from pytask.runtime.consumer import Consumer
from pytask.runtime.controller import Controller
from pytask.runtime.courier import Courier
from pytask.runtime.executor import Executor
from pytask.runtime.heartbeat import Heartbeat
from pytask.runtime.journal import Journal
from pytask.runtime.lookout import Lookout
from pytask.runtime.native import NativePool
from pytask.runtime.places import Places
from pytask.runtime.presence import Presence
from pytask.runtime.prestart import Prestart
from pytask.runtime.process import Process, fresh_id
from pytask.runtime.ramp import Turns
from pytask.runtime.settings import Settings

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


class Lane:
    """Ports in, services out.  Every socket belongs to one service that is never killed in mid-command."""

    def __init__(
        self,
        backend: Backend,
        settings: Settings,
        tasks: Mapping[str, type[Task]],
        prestart: Sequence[tuple[str, bytes]],
        places: Places,
        *,
        hard: bool,
        prefix: str,
        clock: Callable[[], float],
        process: Process,
        turns: Turns | None = None,
        load: Load | None = None,
        native: NativePool | None = None,
    ) -> None:
        self.backend = backend
        self.settings = settings
        self.session = ids = Session(prefix, process.fresh_id)
        self._stores: list[Any] = []
        timing = settings.timing
        self.lease = lease = Lease(timing, embargo=settings.embargo)
        self.deadman = process.deadman(hard)
        self.courier = Courier(store=self._store())
        self.committer = Committer(
            store=self._store(), lease=lease, clock=clock, drops=settings.when_full == "drop",
            backlog=Backlog(max_events=settings.max_pending, max_bytes=settings.max_pending_bytes),
            journal=Journal(lines=settings.task_logs, keep=settings.keep_logs),
            keep_error=settings.keep_error,
        )  # fmt: skip
        self.executor = Executor(
            settings=settings, lease=lease, committer=self.committer, courier=self.courier,
            deadman=self.deadman, tasks=tasks, backend=backend, ids=ids, clock=clock,
            exit_process=process.exit, turns=turns, native=native,
        )  # fmt: skip
        renewals = self._store()
        self.heartbeat = Heartbeat(
            store=renewals, lease=lease, executor=self.executor, deadman=self.deadman, clock=clock
        )
        self.heartbeat.on_lost = ids.renew
        self.complaints = self.heartbeat.complaints
        self.heartbeat.address = backend.describe()
        self.queue = backend.queue()
        self.feed = backend.feed(ids.id)
        self.consumer = Consumer(
            store=self._store(), queue=self.queue, executor=self.executor, committer=self.committer,
            lease=lease, ids=ids, clock=clock, places=places, uniform=process.uniform,
        )  # fmt: skip
        self.controller = Controller(
            store=self._store(), feed=self.feed, executor=self.executor, timing=timing,
            clock=clock, on_hint=self.consumer.hint, request_ping=self.heartbeat.request_ping,
            on_deaf=self.reconnect,
            place=f"{backend.describe()}, namespace {settings.namespace!r}",
        )  # fmt: skip
        self.heartbeat.feed_session = ids.id
        self.heartbeat.on_ping = self.controller.pinged
        self.heartbeat.on_other_server = partial(self.reconnect, keep=renewals)
        self.consumer.on_other_server = self.reconnect
        self.lookout = Lookout(store=self._store(), lease=lease, on_moved=self.reconnect)
        self.presence = Presence(
            courier=self.courier, executor=self.executor, timing=timing, session=lambda: ids.id,
            held=lambda: self.held, refused=lambda: self.committer.refused + self.consumer.claims.refused,
            closed=lambda: places.closed, load=load,
        )  # fmt: skip
        self.prestart = Prestart(
            specs=prestart, courier=self.courier, executor=self.executor, committer=self.committer,
            lease=lease, ids=ids, clock=clock, fresh_id=process.fresh_id,
        )  # fmt: skip

        for service in (self.consumer, self.committer, self.controller, self.prestart):
            service.complaints = self.complaints
        self.balancer = None
        if settings.rebalance is not None:
            self.balancer = Balancer(
                rate=settings.rebalance / settings.partitions, courier=self.courier, executor=self.executor,
                consumer=self.consumer, lease=lease, info=self.presence.info, clock=clock,
            )  # fmt: skip

    def _store(self) -> Any:
        store = self.backend.store()
        store.who = self.settings.name
        self._stores.append(store)
        return store

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

    def reconnect(self, keep: Any = None) -> None:
        """Open every connection again, but for that of `keep`: the old server may live on, and keep them."""
        for store in self._stores:
            if store is not keep:
                store.reconnect()
        self.queue.reconnect()
        self.feed.reconnect()

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
            self.queue.close()  # it wakes up with an error; nothing is lost, since a wait takes nothing
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
        """Drop the connections."""
        self.backend.close()
        self.feed.close()
        self.queue.close()
        for store in self._stores:
            store.close()
