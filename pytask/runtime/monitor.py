"""The monitor: a task that hands on the runs of dead workers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol, cast

import attrs
import gevent

from pytask.domain.crashes import Watch
from pytask.domain.errors import BadData, StoreError
from pytask.domain.leases import Lease
from pytask.domain.ports import Store
from pytask.domain.record import Verdict
from pytask.domain.task import Task
from pytask.domain.timing import Timing
from pytask.logger import get_logger
from pytask.runtime.store_proxy import Courier
from pytask.runtime.until_answered import pass_by_pass

log = get_logger(__name__)

EXPIRE_BATCH = 256
SCAN_PAUSE = 0.2  # seconds a step of about 200 keys: at most 1000 a second


@attrs.frozen(kw_only=True)
class MonitorPorts:
    """What a monitor gets from the worker that runs it."""

    lease: Lease
    clock: Callable[[], float]
    courier: Courier
    slow_sweep: bool  # unless the task's data says otherwise
    here: set[str]  # ids of running monitors; the worker's entry shows whether there is one


class MonitorRun(Protocol):
    """The part of a run that a monitor uses."""

    @property
    def monitor_ports(self) -> MonitorPorts:
        """From the worker."""


class Monitor(Task):
    """Requeues every run whose lease it has itself watched unchanged for T.  Run one on every worker.

    Data (all optional): `{"task_timeout": seconds}` instead of T, never below it; `{"slow_sweep": true}`.
    """

    class Config:
        """The name users were promised."""

        NAME = "pytask/monitor"

    def __init__(self, task_data: Any) -> None:
        ports = cast("MonitorRun", self._run).monitor_ports
        data = task_data or {}
        self.timing: Timing = ports.lease.timing
        timeout = data.get("task_timeout", self.timing.expiry)
        if not isinstance(timeout, int | float) or timeout < self.timing.expiry:
            raise BadData(
                f"task_timeout must be at least {self.timing.expiry:g} s, not {timeout!r}: a worker has"
                f" {self.timing.kill:g} s to stop its tasks, and before that they would run twice"
            )
        self.slow_sweep = bool(data.get("slow_sweep", ports.slow_sweep))
        self._watch = Watch(float(timeout), self.timing.scale)
        self._clock = ports.clock
        self._call = ports.courier.call
        self._lease = ports.lease
        self._here = ports.here
        self._generation = self._lease.generation
        self._cursor = 0  # of the slow sweep

    def start(self) -> None:
        """Sweep every I, and when the oldest suspect has been watched for T."""
        self._here.add(self.id)
        try:
            self._sweep_on()
        finally:
            self._here.discard(self.id)

    def _sweep_on(self) -> None:
        if self.slow_sweep:
            self.spawn(self._sweep_slowly)
        pass_by_pass(self._sweep, self._pass_failed, lambda: False)

    def _sweep(self) -> None:
        self.check_tasks()
        gevent.sleep(self._watch.wait(self._clock(), self.timing.sweep))

    def _pass_failed(self, error: Exception) -> float:
        self._watch.forget()
        if isinstance(error, StoreError):
            # While nothing is acknowledged either, the heartbeat tells of it.
            heard = self._clock() - self._lease.last_ok <= 2 * self.timing.heartbeat
            level = logging.WARNING if heard else logging.DEBUG
            log.log(level, "monitor: sweep failed, what was seen is forgotten: %s", error)
        else:
            log.error("monitor: sweep failed; the next one comes all the same", exc_info=error)
        return self._watch.wait(self._clock(), self.timing.sweep)

    def check_tasks(self) -> int:
        """One sweep; the number of runs handed on.  Raises `StoreError`."""
        timing = self.timing
        if self._generation != self._lease.generation:
            # Another server, or other data: the lease values of before say nothing about these.
            self._watch.forget()
            self._generation = self._lease.generation
        server = self._lease.server
        # Not 2H: the wait until a dead run is a suspect comes on top of T, and took the median past T + I.
        # One who is only late is a suspect until its next renewal, which costs a look and nothing else.
        older = 1.2 * timing.heartbeat
        suspects = self._call(lambda store: store.suspects(older, timing.heartbeat))
        dead = self._watch.observe(suspects, self._clock())
        done = 0
        for at in range(0, len(dead), EXPIRE_BATCH):
            chunk = dead[at : at + EXPIRE_BATCH]
            verdicts = self._call(lambda store, chunk=chunk: store.expire(chunk, server))  # type: ignore[misc]
            for expiry, verdict in zip(chunk, verdicts, strict=True):
                if verdict is Verdict.OK:
                    done += 1
                    log.warning("monitor: task %s handed on, run %s is dead", expiry.id, expiry.run)
        try:
            self._call(self._tidy)
        except StoreError as error:
            log.warning("monitor: could not tidy up: %s", error)
        return done

    def _tidy(self, store: Store) -> None:
        store.tidy(self.id, 3 * self.timing.expiry)
        store.retire()
        for function in store.parked():
            store.hint(function)

    def _sweep_slowly(self) -> None:
        pass_by_pass(self._repair, self._repair_failed, lambda: False)

    def _repair(self) -> None:
        self._cursor, mended = self._call(lambda store: store.repair(self._cursor, self.timing.expiry))
        if mended:
            log.warning("monitor: %d hashes said they run, and nobody ran them", mended)
        gevent.sleep(SCAN_PAUSE if self._cursor else self.timing.expiry)

    def _repair_failed(self, error: Exception) -> float:
        if not isinstance(error, StoreError):
            raise error
        self._cursor = 0
        return self.timing.expiry
