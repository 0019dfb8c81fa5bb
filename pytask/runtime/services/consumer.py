"""Takes tasks from the queue, in batches no larger than the free places."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from difflib import get_close_matches
from itertools import chain

import attrs
import gevent
from gevent.event import Event as Flag

from pytask import codec
from pytask.domain.errors import FailoverSuspected, Refused, StoreError, Unavailable, WrongKeyType
from pytask.domain.leases import Lease
from pytask.domain.messages import Event, IdFault, read_id
from pytask.domain.ports import Queue, Store
from pytask.domain.record import Claim, RunRef, Verdict
from pytask.logger import get_logger
from pytask.runtime.log_throttle import Complaints
from pytask.runtime.runs.capacity import Places
from pytask.runtime.runs.committer import Committer
from pytask.runtime.runs.executor import Executor, Ids
from pytask.runtime.services.claims import Claims, ClaimsPorts
from pytask.runtime.until_answered import pass_by_pass

log = get_logger(__name__)

POLL_FIRST, POLL_LAST = 0.05, 1.0  # seconds between polls where waiting cannot block
NAMED = 256  # unknown functions that are warned of: whoever pushes may make up a new name each time
FAULTS = {
    Verdict.NOHASH: IdFault.NO_HASH,
    Verdict.BADTYPE: IdFault.WRONG_TYPE,
    Verdict.LOCAL: IdFault.LOCAL,
}


@attrs.frozen(kw_only=True)
class ConsumerPorts:
    """What a consumer works with."""

    store: Store
    queue: Queue
    executor: Executor
    committer: Committer
    lease: Lease
    ids: Ids
    clock: Callable[[], float]
    places: Places
    complaints: Complaints
    on_other_server: Callable[[], None]  # another server may have taken over
    uniform: Callable[[float, float], float] = random.uniform


class Consumer:
    """Peek, claim, launch.  A malformed id is put aside; nothing that is pushed ends the loop."""

    def __init__(self, ports: ConsumerPorts) -> None:
        self._places = ports.places
        self._store = ports.store
        self._queue = ports.queue
        self._executor = executor = ports.executor
        self._committer = ports.committer
        self._lease = ports.lease
        self._clock = ports.clock
        self._uniform = ports.uniform
        self._room = Flag()
        self._ahead: list[bytes] | None = None  # ids seen at the tail on the way; None: not looked
        self.claims = Claims(ClaimsPorts(
            store=ports.store, executor=executor, committer=ports.committer, lease=ports.lease, ids=ports.ids,
            clock=ports.clock, quarantine=lambda: self._places.quarantine(self),
        ))  # fmt: skip
        self._ended = False
        self._waiting = False
        self._pause = POLL_FIRST
        self._hints: set[str] = set(executor.tasks)  # at start: look at all our parking lists
        self._looked = self._clock()
        self._warned: set[str] = set()
        self._complained = -math.inf
        self._complaints = ports.complaints
        self._back_until = -math.inf
        self._on_other_server = ports.on_other_server
        self._places.join(lambda: executor.occupied, lambda: not executor.quarantine(), self._room.set)

    # -- the loop -------------------------------------------------------------------------------------

    def run(self) -> None:
        """Consume until told to end."""
        pass_by_pass(self._pass, self._pass_failed, lambda: self._ended)

    def _pass(self) -> None:
        if self._clock() < self._back_until or not self._lease.may_claim(self._clock()):
            self._places.release(self)  # whoever cannot claim keeps no place from other lanes
            gevent.sleep(self._pause)
            self._pause = min(2 * self._pause, max(POLL_FIRST, self._lease.timing.tick))
        elif self.free > 0:
            self._step()
        elif not self._places.shared or self._has_ids():
            self._wait_for_room()

    def _pass_failed(self, error: Exception) -> float:
        if isinstance(error, FailoverSuspected):
            self._on_other_server()  # renewals may still go to the old one, which lives on
        if isinstance(error, StoreError):
            self._complain(error)
        else:
            # Whatever stands in Redis, one hash must not end this worker, and the next, and the next.
            log.error("cannot take tasks; tried again", exc_info=error)
        self._places.release(self)  # a lane that does not get on keeps no place from the others
        self._store.reset()
        return self._lease.timing.call_timeout / 3

    def end(self) -> None:
        """Take no more.  A wait that blocks is not waited for: its connection is closed by `close`."""
        self._ended = self.claims.ended = True
        self._room.set()

    @property
    def waiting(self) -> bool:
        """Inside a blocking wait, whose connection may be closed to end it."""
        return self._waiting

    @property
    def free(self) -> int:
        """Free places."""
        return self._places.free(self)

    @property
    def closed(self) -> bool:
        """Whether it was told to take nothing."""
        return self._places.closed

    def stand_back(self, seconds: float) -> None:
        """Take nothing for so long, so that others do; 0 ends that."""
        self._back_until = self._clock() + seconds

    def hint(self, function: str) -> None:
        """Something was parked for a function we know."""
        if function in self._executor.tasks:
            self._hints.add(function)

    def _step(self) -> None:
        progress = self._parked()
        seen, handled = self.consume()
        if handled or progress:
            self._pause = POLL_FIRST
            if not self._ahead:
                gevent.sleep(0)  # what was launched begins now, not once the next command is on its way
        elif seen and self.free <= 0:
            pass  # other lanes took the places meanwhile: wait in line, not in time
        elif seen or self._wait() is None:
            # Nothing to be done with what is there, or no way to block: look again a little later.
            gevent.sleep(self._pause * self._uniform(0.75, 1.25))
            self._pause = min(2 * self._pause, POLL_LAST)

    def _wait_for_room(self) -> None:
        self._room.clear()
        if self._places.shared:
            self._places.line_up(self)
        pause = self._places.pause
        if pause:
            self._ahead = None  # others take these meanwhile
        if self.free <= 0:
            self._room.wait(timeout=min(self._lease.timing.heartbeat, pause or math.inf))

    def _has_ids(self) -> bool:
        """Whether this lane of a full worker wants a place at all; waits for ids up to a second."""
        if self._hints or self._store.peek(1):
            return True
        if self._wait() is None:
            gevent.sleep(POLL_LAST)
        return False

    def _wait(self) -> list[bytes] | None:
        self._waiting = True
        try:
            found = self._queue.wait(self._lease.timing.block)
        finally:
            self._waiting = False
        self._ahead = found  # nothing there is as good an answer as an id
        return found

    def _parked(self) -> int:
        now = self._clock()
        if now - self._looked > self._lease.timing.sweep:
            self._looked = now
            self._hints.update(self._executor.tasks)
        handled = 0
        for function in sorted(self._hints):
            count = self.consume(function)[1] if self.free > 0 else 1
            handled += count
            if not count:
                self._hints.discard(function)
        return handled if self.free > 0 else 0

    # -- one pass -------------------------------------------------------------------------------------

    def consume(self, source: str | None = None) -> tuple[int, int]:
        """One batch from the queue (or a parking list): (ids seen, ids dealt with).

        Raises `StoreError`; what was claimed by then is started, or released until it is known to be.
        """
        free = self.free
        if self._ended or free <= 0 or not self._lease.may_claim(self._clock()):
            return 0, 0
        raw_ids = self._next_ids(min(free, self.claims.most), source)
        good: dict[str, bytes] = {}
        handled = 0
        for raw in raw_ids:
            task_id = read_id(raw)
            if isinstance(task_id, IdFault):
                handled += self._reject(raw, task_id, source)
            else:
                good[task_id] = raw
        if good:
            handled += self._claim_and_take(good, source)
        elif self._places.shared:
            self._places.release(self)
        if not raw_ids and source is None:
            self.claims.nothing_waits()
        return len(raw_ids), handled

    def _next_ids(self, limit: int, source: str | None) -> list[bytes]:
        """What the last claim, or the wait, saw at the tail; else a look there, which costs a call."""
        ahead = None
        if source is None:
            ahead, self._ahead = self._ahead, None
        return self._store.peek(limit, source) if ahead is None else ahead[:limit]

    def _claim_and_take(self, good: dict[str, bytes], source: str | None) -> int:
        if not self._lease.may_claim(self._clock()):
            return 0  # the gate was asked before the peek, and another server may have taken over meanwhile
        # Other lanes may have taken places during the peek.
        ids = tuple(good)[: max(0, self.free)] if self._places.shared else tuple(good)
        if not ids:
            return 0
        sent_at, generation = self._clock(), self._lease.generation
        self._places.reserve(self, len(ids))
        try:
            claims = self.claims.claim(ids, source, sent_at)
            if source is None:
                self._ahead = self._store.ahead
            # What was won first: an error while another id is put aside must not leave it unstarted.
            won = [claim for claim in claims if claim.won]
            whole, large = self.claims.apart(won)
            for claim in chain(whole, self.claims.completed(large, source, sent_at)):
                # Another server took over meanwhile: it may not know of this claim.
                self._begin(claim, sent_at, stale=generation != self._lease.generation)
            handled = len(won)
            self._places.took(handled)
            if handled < len(claims):
                self._places.release(self)
                handled += sum(
                    self._put_aside(claim, good[claim.id], source) for claim in claims if not claim.won
                )
        finally:
            self._places.release(self)
        return handled

    def _begin(self, claim: Claim, sent_at: float, *, stale: bool) -> None:
        if self._ended or stale or not self._lease.claim_holds(sent_at, self._clock()):
            self._executor.give_back(RunRef(claim.id, claim.run))
        else:
            self._executor.launch(claim, sent_at)

    def _put_aside(self, claim: Claim, raw: bytes, source: str | None) -> int:
        if claim.verdict is Verdict.FOREIGN:
            # Not known to be ours, so never started; released, as a newer script may have made it ours.
            self._committer.doubt([RunRef(claim.id, claim.run)])
            return 0
        if claim.verdict in FAULTS:
            return self._reject(raw, FAULTS[claim.verdict], source)
        if claim.verdict is Verdict.UNKNOWN:
            return self._park(claim.id, claim.function, source)
        return int(claim.verdict in (Verdict.DUPLICATE, Verdict.MOVED))

    def _reject(self, raw: bytes, fault: IdFault, source: str | None) -> int:
        verdict = self._store.reject(raw, fault, source)
        if verdict is Verdict.OK:
            log.warning(
                "[PT095] rejected from the queue: %s (id %s); see the list pytask:rejected", fault, raw[:80]
            )
        return 1

    def _park(self, task_id: str, function: str, source: str | None) -> int:
        near = get_close_matches(function, self._executor.tasks, 3)
        shown = function.encode(errors="surrogateescape").decode(errors="replace")
        event = codec.event(Event.PARKED, {"function": shown, "near": near})
        verdict = self._store.park(task_id, function, event, source)
        if verdict is Verdict.OK and function not in self._warned and len(self._warned) < NAMED:
            self._warned.add(function)
            meant = f"; did you mean {', '.join(near)}?" if near else ""
            log.warning(
                "[PT092] no task here is named %r%s Task %s (and others of it) waits for a worker with it",
                function, meant, task_id,
            )  # fmt: skip
        return 1

    def _complain(self, error: StoreError) -> None:
        now = self._clock()
        if self._ended:
            return  # the wait was cut short by our own worker
        if isinstance(error, Unavailable):
            if self._complaints.may(now):
                log.warning("cannot take tasks: %s", error)
            return
        if now - self._complained < self._lease.timing.heartbeat:
            return  # told of every H, not at every attempt
        self._complained = now
        if isinstance(error, WrongKeyType):
            log.error("cannot take tasks: %s. Is the queue `new-task` a list? See `TYPE new-task`", error)
        elif isinstance(error, Refused):
            log.warning("no tasks are taken while Redis refuses writes: %s", error)
        else:
            log.warning("cannot take tasks: %s", error)
