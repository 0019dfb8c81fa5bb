"""Pre-started tasks: they live with this worker, never in the queue."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import gevent
from gevent.event import Event as Flag

from pytask.domain.control import Wish
from pytask.domain.errors import StoreError, Unavailable
from pytask.domain.leases import Lease
from pytask.domain.lifecycle import Trigger
from pytask.domain.record import Change, RunRef, Verdict
from pytask.logger import get_logger
from pytask.runtime.log_throttle import Complaints
from pytask.runtime.process.host import fresh_id
from pytask.runtime.runs.committer import Committer
from pytask.runtime.runs.executor import Executor, Ids
from pytask.runtime.store_proxy import Courier
from pytask.runtime.until_answered import pass_by_pass

log = get_logger(__name__)


@attrs.define(eq=False)
class Spec:
    """What was asked for, and whether it still has to be started."""

    name: str
    data: bytes
    wanted: bool = True
    task_id: str = ""


@attrs.frozen(kw_only=True)
class PrestartPorts:
    """What the pre-started tasks of a worker are started with."""

    specs: Sequence[tuple[str, bytes]]
    courier: Courier
    executor: Executor
    committer: Committer
    lease: Lease
    ids: Ids
    clock: Callable[[], float]
    complaints: Complaints
    fresh_id: Callable[[], str] = fresh_id


class Prestart:
    """Starts them once Redis is there, and again after a loss; not after they ended or were stopped."""

    def __init__(self, ports: PrestartPorts) -> None:
        self._specs = [Spec(name, data) for name, data in ports.specs]
        self._courier = ports.courier
        self._executor = ports.executor
        self._committer = ports.committer
        self._lease = ports.lease
        self._ids = ports.ids
        self._clock = ports.clock
        self._fresh_id = ports.fresh_id
        self._ended = False
        self._wake = Flag()
        self._complaints = ports.complaints

    def run(self) -> None:
        """Keep them started until told to end."""
        pass_by_pass(self._pass, self._pass_failed, lambda: self._ended)

    def _pass(self) -> None:
        self._wake.clear()  # before the look: a loss during it must not be slept over
        self.ensure()
        if any(spec.wanted for spec in self._specs):
            gevent.sleep(self._lease.timing.tick)
        else:
            self._wake.wait()

    def _pass_failed(self, error: Exception) -> float:
        if not isinstance(error, StoreError):
            log.error("pre-started tasks could not be started; tried again", exc_info=error)
        elif not isinstance(error, Unavailable) or self._complaints.may(self._clock()):
            spec = self._specs[-1]
            log.warning(
                "pre-started tasks wait for Redis, among them %s with %d bytes of data: %s",
                spec.name, len(spec.data), error,
            )  # fmt: skip
        return self._lease.timing.tick

    def end(self) -> None:
        """Let the loop end after what it is doing."""
        self._ended = True
        self._wake.set()

    def ensure(self) -> int:
        """Start what is wanted and not there; the number started.  Without a lease nothing runs."""
        count = 0
        for spec in list(self._specs):
            if spec.wanted and not self._ended and self._lease.may_claim(self._clock()):
                self._start(spec)
                count += 1
        return count

    def _start(self, spec: Spec) -> None:
        task_id = self._fresh_id()
        ref = RunRef(task_id, self._ids.next_run())
        sent_at = self._clock()
        name = self._executor.settings.name
        try:
            claim = self._courier.call(lambda store: store.open_local(ref, spec.name, spec.data, name))
        except StoreError:
            # Not known whether it is there: never started here, and released until that is known.
            self._committer.doubt([ref], local=True)
            # Its data may be the cause, so the others go first the next time.
            self._specs.remove(spec)
            self._specs.append(spec)
            raise
        if not claim.won:
            if claim.verdict is Verdict.FOREIGN:  # a newer script may have made it ours
                self._committer.doubt([ref], local=True)
            return
        if self._ended or not self._lease.claim_holds(sent_at, self._clock()):
            self._committer.put(Change(ref.id, ref.run, b"", Trigger.RELEASE, local=True))
        else:
            spec.wanted, spec.task_id = False, task_id
            self._executor.launch(claim, sent_at, local=True)

    def over(self, task_id: str, wish: Wish | None) -> None:
        """A pre-started task is over, which was asked for this."""
        for spec in self._specs:
            if spec.task_id == task_id and wish in (Wish.HAND_BACK, Wish.FORGET, Wish.FENCED):
                spec.wanted = not self._executor.leaving
                self._wake.set()
