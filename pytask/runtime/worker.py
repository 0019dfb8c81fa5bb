"""One worker: its services, started in one order and stopped in the reverse."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gevent

from pytask.domain.errors import Denied, PytaskError, StoreError
from pytask.domain.policy import Lease
from pytask.domain.ports import Backend
from pytask.domain.task import Task
from pytask.runtime import fork, tree
from pytask.runtime.blocked import BlockedWatch
from pytask.runtime.clock import steady
from pytask.runtime.committer import Committer
from pytask.runtime.consumer import Consumer
from pytask.runtime.controller import Controller
from pytask.runtime.courier import Courier
from pytask.runtime.executor import Executor
from pytask.runtime.heartbeat import Heartbeat
from pytask.runtime.patched import require_patched
from pytask.runtime.presence import Presence
from pytask.runtime.prestart import Prestart
from pytask.runtime.process import Process, fresh_id
from pytask.runtime.settings import Settings

log = logging.getLogger(__name__)

DRAIN_STEP = 0.02  # seconds between looks while the worker drains


class Session:
    """The worker's identity: new at start, after a fork, and after every loss of the lease."""

    def __init__(self, fresh_id: Callable[[], str] = fresh_id) -> None:
        self._fresh_id = fresh_id
        self.renew()

    def renew(self) -> None:
        """A new session; its run ids have never been used."""
        self.id = self._fresh_id()
        self._counter = itertools.count(1)

    def next_run(self) -> str:
        """A run id that never repeats: the fencing token."""
        return f"{self.id}:{next(self._counter)}"


class Worker:
    """Ports in, services out.  Every socket belongs to one service that is never killed in mid-command."""

    def __init__(
        self,
        backend: Backend,
        settings: Settings,
        tasks: Mapping[str, type[Task]],
        prestart: Sequence[tuple[str, bytes]] = (),
        *,
        hard_deadline: bool = False,
        clock: Callable[[], float] = steady,
        process: Process | None = None,
    ) -> None:
        if backend.cooperative:
            require_patched()
        self.forked = False
        self.failed: BaseException | None = None
        self.on_failed: Callable[[], None] = lambda: None
        self.settings = settings
        self._process = process or Process()
        self.session = Session(self._process.fresh_id)
        self._backend = backend
        self._clock = clock
        self._pid = os.getpid()
        self._greenlets: dict[str, tree.AnyGreenlet] = {}
        self._stores: list[Any] = []
        self._build(tasks, prestart, hard_deadline)

    def _build(
        self, tasks: Mapping[str, type[Task]], prestart: Sequence[tuple[str, bytes]], hard: bool
    ) -> None:
        backend, settings, clock, ids = self._backend, self.settings, self._clock, self.session
        timing = settings.timing
        self.lease = lease = Lease(timing)
        self.deadman = self._process.deadman(hard)
        self.courier = Courier(store=self._store())
        self.committer = Committer(
            store=self._store(), lease=lease, clock=clock, max_pending=settings.max_pending
        )
        self.executor = Executor(
            settings=settings, lease=lease, committer=self.committer, courier=self.courier,
            deadman=self.deadman, tasks=tasks, backend=backend, ids=ids, clock=clock,
            exit_process=self._process.exit,
        )  # fmt: skip
        self.heartbeat = Heartbeat(
            store=self._store(), lease=lease, executor=self.executor, deadman=self.deadman, clock=clock
        )
        self.heartbeat.on_lost = ids.renew
        self.heartbeat.address = backend.describe()
        self.queue = backend.queue()
        self.consumer = Consumer(
            store=self._store(), queue=self.queue, executor=self.executor, committer=self.committer,
            lease=lease, ids=ids, clock=clock, uniform=self._process.uniform,
        )  # fmt: skip
        self.controller = Controller(
            store=self._store(), feed=backend.feed(ids.id), executor=self.executor, timing=timing,
            clock=clock, on_hint=self.consumer.hint,
        )  # fmt: skip
        self.presence = Presence(
            courier=self.courier, executor=self.executor, timing=timing, session=lambda: ids.id
        )
        self.prestart = Prestart(
            specs=prestart, courier=self.courier, executor=self.executor, committer=self.committer,
            lease=lease, ids=ids, clock=clock, fresh_id=self._process.fresh_id,
        )  # fmt: skip
        self.blocked = None
        if settings.block_limit is not None:
            self.blocked = BlockedWatch(settings.block_limit, ours=lambda run: run.executor is self.executor)

    def _store(self) -> Any:
        store = self._backend.store()
        self._stores.append(store)
        return store

    # -- start ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start all services.  Redis may be away (they wait for it); a wrong password is raised."""
        self._check()
        tree.watch_spawns()
        fork.guard(self)
        if self.blocked is not None:
            self.blocked.start()
        # Renewals before claims: without a first acknowledgement the claim gate stays shut.
        self._spawn("courier", self.courier.run)
        self._spawn("committer", self.committer.run)
        self._spawn("heartbeat", self.heartbeat.run)
        self._spawn("deadline", self.heartbeat.watch)
        self._spawn("controller", self.controller.run)
        self._spawn("presence", self.presence.run)
        self._spawn("prestart", self.prestart.run)
        self._spawn("consumer", self.consumer.run)
        log.info(
            "worker %s takes tasks from %s: %s",
            self.settings.name, self._backend.describe(), ", ".join(sorted(self.executor.tasks)) or "none",
        )  # fmt: skip

    def _check(self) -> None:
        try:
            self._backend.check()
        except Denied:
            raise
        except StoreError as error:
            log.error("Redis %s: %s; waiting for it", self._backend.describe(), error)

    def _spawn(self, name: str, run: Callable[[], None]) -> None:
        greenlet = tree.Service.spawn(run)
        greenlet.name = f"pytask {name}"
        greenlet.link_exception(self._died)
        self._greenlets[name] = greenlet

    def _died(self, greenlet: tree.AnyGreenlet) -> None:
        # A worker without one of its services keeps no promise.  Handing back needs the others.
        self.failed = greenlet.exception
        self.on_failed()
        log.critical("service %s died of %r: this is a bug in pytask", greenlet.name, greenlet.exception)

    # -- stop -----------------------------------------------------------------------------------------

    def stop(self, timeout: float | None = None) -> bool:
        """Hand everything back as WAIT; True if all was handed back within `timeout` seconds.

        Stops claiming, keeps renewing, stops all runs in parallel, releases each when it is dead.  What
        will not die stays RUNNING: the process must end, and a monitor hands it on.
        """
        self._check_process()
        limit = self.settings.timing.shutdown if timeout is None else timeout
        until = self._clock() + limit
        self.executor.leaving = True
        self.prestart.end()
        self.consumer.end()
        self.executor.hand_back_all()
        clean = self._drain(until)
        for task_id in self.executor.living:
            log.error("task %s could not be stopped; it stays RUNNING until a monitor hands it on", task_id)
        self._end_services(until)
        fork.release(self)
        return clean

    def _drain(self, until: float) -> bool:
        consumer = self._greenlets["consumer"]
        while self._clock() < until:
            if self.consumer.waiting:
                self.queue.close()  # it wakes up with an error; nothing is lost, since a wait takes nothing
            if consumer.ready():
                self.executor.hand_back_all()  # a claim that was in flight may have come in
                if self._idle() and not self.committer.pending:
                    return True
            gevent.sleep(DRAIN_STEP)
        return self._idle()

    def _idle(self) -> bool:
        return not self.executor.living and not self.lease.settling

    def _end_services(self, until: float) -> None:
        try:
            with gevent.Timeout(max(0.2, min(1.0, until - self._clock()))):
                self.presence.leave()
        except (gevent.Timeout, PytaskError):
            log.debug("left without saying so; the entry in pytask:workers goes with time")
        for service in (
            self.presence, self.controller, self.heartbeat, self.committer, self.courier,
        ):  # fmt: skip
            service.end()
        self.deadman.arm(None if not self.executor.living else self.settings.timing.grace)
        # Their sockets are thrown away with them, so killing them here mixes up no replies.
        gevent.killall(list(self._greenlets.values()), timeout=2)
        self.queue.close()
        for store in self._stores:
            store.close()
        if self.blocked is not None:
            self.blocked.stop()

    def _check_process(self) -> None:
        if self.forked or os.getpid() != self._pid:
            raise PytaskError("this process was forked from a worker: it is not one, and owns no tasks")
