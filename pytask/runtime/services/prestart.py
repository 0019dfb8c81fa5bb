"""Runs pre-started tasks, which start with this worker and are never queued.

They start again after a loss of the lease, and by their restart policy.  A new start has a new id, so their
worker, not Redis, keeps the count of restarts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import attrs
import gevent
from gevent.event import Event as Flag

from pytask.domain.control import StopReason
from pytask.domain.errors import StoreError, Unavailable
from pytask.domain.leases import Lease
from pytask.domain.lifecycle import Trigger
from pytask.domain.record import Change, RunRef, StartFields, Verdict
from pytask.domain.restarts import Retry
from pytask.logger import get_logger
from pytask.runtime.log_throttle import LogThrottle
from pytask.runtime.process.host import fresh_id
from pytask.runtime.runs.committer import Committer
from pytask.runtime.runs.executor import Executor
from pytask.runtime.runs.executor_ports import Ids
from pytask.runtime.store_proxy import StoreProxy
from pytask.runtime.until_answered import pass_by_pass

log = get_logger(__name__)

LOST = (StopReason.HAND_BACK, StopReason.FORGET, StopReason.FENCED)  # the run was taken from its worker


@attrs.define(eq=False)
class Spec:
    """A pre-started task, and whether it still has to be started."""

    name: str
    data: bytes
    wanted: bool = True
    task_id: str = ""
    due: float = -math.inf  # a restart waits until then
    fields: StartFields | None = None  # the restarts before the next run


@attrs.frozen(kw_only=True)
class PrestartPorts:
    """The ports of the prestart service."""

    specs: Sequence[tuple[str, bytes]]
    store_proxy: StoreProxy
    executor: Executor
    committer: Committer
    lease: Lease
    ids: Ids
    clock: Callable[[], float]
    log_throttle: LogThrottle
    fresh_id: Callable[[], str] = fresh_id


class Prestart:
    """Starts them once Redis is reachable, and again after a loss or by their restart policy."""

    def __init__(self, ports: PrestartPorts) -> None:
        self._specs = [Spec(name, data) for name, data in ports.specs]
        self._store_proxy = ports.store_proxy
        self._executor = ports.executor
        self._committer = ports.committer
        self._lease = ports.lease
        self._ids = ports.ids
        self._clock = ports.clock
        self._fresh_id = ports.fresh_id
        self._ended = False
        self._wake = Flag()
        self._log_throttle = ports.log_throttle

    def run(self) -> None:
        """Keep them running until stopped."""
        pass_by_pass(self._pass, self._pass_failed, lambda: self._ended)

    def _pass(self) -> None:
        self._wake.clear()  # before the check: a loss during it must not be missed
        self.ensure()
        due = min((spec.due for spec in self._specs if spec.wanted), default=None)
        if due is None:
            self._wake.wait()
        elif due <= self._clock():
            gevent.sleep(self._lease.timing.tick)
        else:
            self._wake.wait(due - self._clock())

    def _pass_failed(self, error: Exception) -> float:
        if not isinstance(error, StoreError):
            log.error("could not start the pre-started tasks; retrying", exc_info=error)
        elif not isinstance(error, Unavailable) or self._log_throttle.may(self._clock()):
            spec = self._specs[-1]
            log.warning(
                "pre-started tasks wait for Redis, including %s with %d bytes of data: %s",
                spec.name, len(spec.data), error,
            )  # fmt: skip
        return self._lease.timing.tick

    def end(self) -> None:
        """Stop after the current step."""
        self._ended = True
        self._wake.set()

    def ensure(self) -> int:
        """Start missing tasks; returns the number started.  Without a lease nothing is started."""
        count = 0
        for spec in list(self._specs):
            now = self._clock()
            if spec.wanted and spec.due <= now and not self._ended and self._lease.may_claim(now):
                self._start(spec)
                count += 1
        return count

    def _start(self, spec: Spec) -> None:
        task_id = self._fresh_id()
        ref = RunRef(task_id, self._ids.next_run())
        sent_at = self._clock()
        name = self._executor.settings.name
        try:
            claim = self._store_proxy.call(lambda store: store.open_local(ref, spec.name, spec.data, name))
        except StoreError:
            # It may exist or not: not started here, and released until the outcome is known.
            self._committer.unconfirmed([ref], local=True)
            # Its data may be the cause, so the others are tried first the next time.
            self._specs.remove(spec)
            self._specs.append(spec)
            raise
        if not claim.won:
            # A newer script may have claimed it; or its hash is another one by now.
            if claim.registered or claim.verdict is Verdict.UNRECOGNIZED:
                self._committer.unconfirmed([ref], local=True)
            return
        if self._ended or not self._lease.claim_holds(sent_at, self._clock()):
            self._committer.put(Change(ref.id, ref.run, b"", Trigger.RELEASE, local=True))
        else:
            spec.wanted, spec.task_id = False, task_id
            self._executor.launch(attrs.evolve(claim, fields=spec.fields), sent_at, local=True)

    def over(self, task_id: str, stop_reason: StopReason | None, retry: Retry | None = None) -> None:
        """A pre-started task ended, after this stop reason; `retry`: its policy restarts it."""
        for spec in self._specs:
            if spec.task_id != task_id or (retry is None and stop_reason not in LOST):
                continue
            if retry is not None:
                spec.due = self._clock() + retry.delay
                spec.fields = StartFields(restarts=retry.restarts, failed=retry.times)
            spec.wanted = not self._executor.leaving
            self._wake.set()
