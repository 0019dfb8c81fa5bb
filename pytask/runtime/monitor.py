"""The monitor: a task that requeues the runs of dead workers."""

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
from pytask.domain.samples import RINGS, crew
from pytask.domain.task import Task
from pytask.domain.timing import Timing
from pytask.logger import get_logger
from pytask.runtime.store_proxy import StoreProxy
from pytask.runtime.until_answered import pass_by_pass

log = get_logger(__name__)

EXPIRE_BATCH = 256
DUE_CALLS = 40  # of one sweep: 10,000 tasks
SCAN_PAUSE = 0.2  # seconds per step of about 200 keys: at most 1000 keys per second


@attrs.frozen(kw_only=True)
class MonitorPorts:
    """What a monitor needs from its worker."""

    lease: Lease
    clock: Callable[[], float]
    store_proxy: StoreProxy
    slow_sweep: bool  # unless the task's data overrides it
    samples: bool  # whether it keeps samples of the fleet's figures
    here: set[str]  # ids of running monitors; the worker's entry reports whether there is one


class MonitorRun(Protocol):
    """The part of a run that a monitor uses."""

    @property
    def monitor_ports(self) -> MonitorPorts:
        """The ports from the worker."""


class Monitor(Task):
    """Requeues every run whose lease it has itself observed unchanged for the expiry.  Run one on every
    worker.

    Data (all optional): `{"task_timeout": seconds}`, a longer expiry; `{"slow_sweep": true}`.
    """

    class Config:
        """The documented name."""

        NAME = "pytask/monitor"

    def __init__(self, task_data: Any) -> None:
        ports = cast("MonitorRun", self._run).monitor_ports
        data = task_data or {}
        self.timing: Timing = ports.lease.timing
        # Any worker may get this task, and it watches the runs of all: its own times decide nothing.
        longest = self.timing.longest_expiry
        timeout = data.get("task_timeout", longest)
        if not isinstance(timeout, int | float) or timeout < longest:
            raise BadData(
                f"task_timeout must be at least {longest:g} s, not {timeout!r}: a worker has"
                f" {self.timing.longest_kill:g} s to stop its tasks; requeued earlier, they could run twice"
            )
        self.slow_sweep = bool(data.get("slow_sweep", ports.slow_sweep))
        self._watch = Watch(float(timeout), self.timing.scale, uniform="task_timeout" in data)
        self._clock = ports.clock
        self._call = ports.store_proxy.call
        self._lease = ports.lease
        self._here = ports.here
        self._samples = ports.samples
        self._generation = self._lease.generation
        self._cursor = 0  # scan cursor of the slow sweep

    def start(self) -> None:
        """Sweep periodically, and when the oldest suspect expires."""
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
            # If renewals fail as well, the heartbeat logs it.
            renewed = self._clock() - self._lease.last_ok <= 2 * self.timing.heartbeat
            level = logging.WARNING if renewed else logging.DEBUG
            log.log(level, "monitor: sweep failed, its observations are discarded: %s", error)
        else:
            log.error("monitor: sweep failed; the next one follows as scheduled", exc_info=error)
        return self._watch.wait(self._clock(), self.timing.sweep)

    def check_tasks(self) -> int:
        """One sweep; returns the number of requeued runs.  Raises `StoreError`."""
        timing = self.timing
        if self._generation != self._lease.generation:
            # The server or its data changed: earlier observations of leases are void.
            self._watch.forget()
            self._generation = self._lease.generation
        server = self._lease.server
        # Not two heartbeats: the time until a dead run becomes a suspect adds to the expiry.  A run that is
        # only late is a suspect until its next renewal, which costs nothing else.
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
                    log.warning("monitor: requeued task %s, run %s is dead", expiry.id, expiry.run)
        try:
            self._call(self._tidy)
        except StoreError as error:
            log.warning("monitor: could not delete expired hashes: %s", error)
        if self._samples:
            self._sample()
        return done

    def _sample(self) -> None:
        """Keep a sample in each ring where one is due: for people, so nothing depends on it."""
        try:
            self._call(self._keep_samples)
        except StoreError as error:
            log.debug("monitor: could not keep a sample: %s", error)

    def _tidy(self, store: Store) -> None:
        store.tidy(self.id, 3 * self.timing.longest_expiry)
        store.retire()
        for function in store.parked():
            store.hint(function)
        # Every worker does it: this is for a fleet whose workers are too old, or too busy.
        for _ in range(DUE_CALLS):
            if store.due().timer != 0:
                break

    def _keep_samples(self, store: Store) -> None:
        due = [ring for ring in RINGS.values() if store.sample(ring)]
        if due:
            # The entries of all workers are read by the one monitor that comes first, not by each.
            within = 3 * self.timing.slowest_heartbeat + 1
            found = crew(store.recent_workers(within))
            for ring in due:
                store.sample(ring, found)

    def _sweep_slowly(self) -> None:
        pass_by_pass(self._repair, self._repair_failed, lambda: False)

    def _repair(self) -> None:
        self._cursor, repaired = self._call(
            lambda store: store.repair(self._cursor, self.timing.longest_expiry)
        )
        if repaired:
            log.warning(
                "monitor: requeued %d tasks (RUNNING without a registered run, or WAIT in no list)", repaired
            )
        gevent.sleep(SCAN_PAUSE if self._cursor else self.timing.expiry)

    def _repair_failed(self, error: Exception) -> float:
        if not isinstance(error, StoreError):
            raise error
        self._cursor = 0
        return self.timing.expiry
