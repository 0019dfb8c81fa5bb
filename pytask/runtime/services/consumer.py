"""Claims tasks from the queue, in batches up to the number of free slots."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import partial
from itertools import chain

import attrs
import gevent
from gevent.event import Event as Flag

from pytask.domain.errors import FailoverSuspected, Refused, StoreError, Unavailable, WrongKeyType
from pytask.domain.leases import Lease
from pytask.domain.messages import IdFault, read_id
from pytask.domain.ports import Queue, Store
from pytask.domain.record import Claim, RunRef
from pytask.logger import get_logger
from pytask.runtime.log_throttle import LogThrottle
from pytask.runtime.runs.capacity import Capacity
from pytask.runtime.runs.committer import Committer
from pytask.runtime.runs.executor import Executor
from pytask.runtime.runs.executor_ports import Ids
from pytask.runtime.services.claims import Claims, ClaimsPorts
from pytask.runtime.services.not_started import NotStarted
from pytask.runtime.until_answered import pass_by_pass

log = get_logger(__name__)

POLL_FIRST, POLL_LAST = 0.05, 1.0  # seconds between polls if the server cannot block


@attrs.frozen(kw_only=True)
class ConsumerPorts:
    """The ports of a consumer."""

    store: Store
    queue: Queue
    executor: Executor
    committer: Committer
    lease: Lease
    ids: Ids
    clock: Callable[[], float]
    capacity: Capacity
    log_throttle: LogThrottle
    on_other_server: Callable[[], None]  # another server may have taken over
    on_delayed: Callable[[float], None] = lambda _: None  # seconds until a task in the timers is due
    own_loop: bool = False  # nothing but the worker and its tasks runs in the event loop
    uniform: Callable[[float, float], float] = random.uniform


class Consumer:
    """Peek, claim, launch.  Malformed ids are rejected; no pushed id can end the loop."""

    def __init__(self, ports: ConsumerPorts) -> None:
        self._capacity = ports.capacity
        self._store = ports.store
        self._queue = ports.queue
        self._executor = executor = ports.executor
        self._committer = ports.committer
        self._lease = ports.lease
        self._clock = ports.clock
        self._uniform = ports.uniform
        self._room = Flag()
        self._ahead: list[bytes] | None = None  # the ids at the tail of the queue, if known; None: unknown
        self.claims = Claims(ClaimsPorts(
            store=ports.store, executor=executor, committer=ports.committer, lease=ports.lease, ids=ports.ids,
            clock=ports.clock, quarantine=lambda: self._capacity.quarantine(self),
        ))  # fmt: skip
        self._ended = False
        self._waiting = False
        self._pause = POLL_FIRST
        self._hints: set[str] = set(executor.tasks)  # at start: check all parking lists of known functions
        self._looked = self._clock()
        self._error_logged_at = -math.inf
        self._log_throttle = ports.log_throttle
        self._back_until = -math.inf
        self._on_other_server = ports.on_other_server
        self._own_loop = ports.own_loop
        self._not_started = NotStarted(ports.store, ports.committer, executor.tasks, ports.on_delayed)
        self._capacity.join(lambda: executor.occupied, lambda: not executor.quarantine(), self._room.set)

    # -- the loop -------------------------------------------------------------------------------------

    def run(self) -> None:
        """Consume until stopped."""
        pass_by_pass(self._pass, self._pass_failed, lambda: self._ended)
        self.claims.close_at_end()

    def _pass(self) -> None:
        self.claims.close_open()  # also while the gate is closed: nobody else knows what it took
        if self._clock() < self._back_until or not self._lease.may_claim(self._clock()):
            # Release reserved slots for other partitions while claims are impossible.
            self._capacity.release(self)
            gevent.sleep(self._pause)
            self._pause = min(2 * self._pause, max(POLL_FIRST, self._lease.timing.tick))
        elif self.free > 0:
            self._step()
        elif not self._capacity.shared or self._has_ids():
            self._wait_for_room()

    def _pass_failed(self, error: Exception) -> float:
        if isinstance(error, FailoverSuspected):
            self._on_other_server()  # renewals may still reach the old server
        if isinstance(error, StoreError):
            self._log_failure(error)
        else:
            # No content of Redis may end this worker, as it would end all others in turn.
            log.error("cannot claim tasks; retrying", exc_info=error)
        self._capacity.release(self)  # release reserved slots for other partitions
        self._store.reset()
        return 0.0 if self._ended else self._lease.timing.call_timeout / 3

    def end(self) -> None:
        """Stop claiming.  `close` ends a blocking wait by closing its connection."""
        self._ended = self.claims.ended = True
        self._room.set()

    @property
    def waiting(self) -> bool:
        """Whether it is in a blocking wait, which may be ended by closing its connection."""
        return self._waiting or self.claims.waiting

    @property
    def free(self) -> int:
        """The number of free slots."""
        return self._capacity.free(self)

    @property
    def closed(self) -> bool:
        """Whether claims are paused."""
        return self._capacity.closed

    def back_off(self, seconds: float) -> None:
        """Pause claims for `seconds` in favour of other workers; 0 resumes."""
        self._back_until = self._clock() + seconds

    def hint(self, function: str) -> None:
        """A task of a known function was parked."""
        if function in self._executor.tasks:
            self._hints.add(function)

    def _step(self) -> None:
        progress = self._parked()
        seen, handled = self.consume()
        if not (seen or handled or progress) and self._may_claim_behind:
            seen, handled = self._consume_tail(min(self.free, self.claims.most), self._queue)
            if not seen:
                return  # nothing came, or others were quicker
        if handled or progress:
            self._pause = POLL_FIRST
            if not self._ahead:
                gevent.sleep(0)  # let launched tasks start before the next command is sent
        elif seen and self.free <= 0:
            pass  # other partitions took the slots meanwhile: wait for a slot, not for a time
        elif seen or self._wait() is None:
            # Nothing claimable, or no blocking wait possible: poll a little later.
            gevent.sleep(self._pause * self._uniform(0.75, 1.25))
            self._pause = min(2 * self._pause, POLL_LAST)

    @property
    def _may_claim_behind(self) -> bool:
        """Whether the wait may carry a claim: nothing that it asks for can change while it waits.

        So not if other partitions share the slots, nor while a task runs here, pre-started or not, nor in the
        loop of a program: those may block what the claim would bring, while another worker is idle; or take
        the place of a quarantined one.
        """
        executor = self._executor
        alone = not self._capacity.shared and executor.living.keys() <= executor.monitor_ports.here
        can = alone and self._own_loop and self._store.tails and self._queue.claims
        return can and not self._ended and self.free > 0 and self._lease.may_claim(self._clock())

    def _wait_for_room(self) -> None:
        self._room.clear()
        if self._capacity.shared:
            self._capacity.line_up(self)
        pause = self._capacity.pause
        if pause:
            self._ahead = None  # others may claim these meanwhile
        if self.free <= 0:
            self._room.wait(timeout=min(self._lease.timing.heartbeat, pause or math.inf))

    def _has_ids(self) -> bool:
        """Whether this partition of a full worker has ids to claim; waits for them up to a second."""
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
        self._ahead = found  # an empty answer is also valid
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
        """Process one batch from the queue (or a parking list): (ids read, ids processed).

        Raises `StoreError`; tasks claimed by then are started, uncertain ones are released.
        """
        free = self.free
        if self._ended or free <= 0 or not self._lease.may_claim(self._clock()):
            return 0, 0
        limit = min(free, self.claims.most)
        if source is None and self._store.tails:
            if self._next_is_plain():
                seen, handled = self._consume_tail(limit)
                if seen or not self._ahead:
                    return seen, handled
            self._ahead = None  # the next one cannot be a task: read what it is, and what follows it
        raw_ids = self._next_ids(limit, source)
        good: dict[str, bytes] = {}
        handled = 0
        for raw in raw_ids:
            task_id = read_id(raw)
            if isinstance(task_id, IdFault):
                handled += self._not_started.reject(raw, task_id, source)
            else:
                good[task_id] = raw
        if good:
            handled += self._claim_named(good, source)
        elif self._capacity.shared:
            self._capacity.release(self)
        if not raw_ids and source is None:
            self.claims.nothing_waits()
        return len(raw_ids), handled

    def _next_is_plain(self) -> bool:
        """Whether the next id can be a task, as far as it is known."""
        return not self._ahead or not isinstance(read_id(self._ahead[0]), IdFault)

    def _consume_tail(self, limit: int, queue: Queue | None = None) -> tuple[int, int]:
        """Claim the tail, now or when a wait for the `queue` has ended."""
        ahead, self._ahead = self._ahead, None
        claims: list[Claim] = []
        handled = 0
        if ahead is None or ahead or queue is not None:
            claim = partial(self.claims.claim_tail, limit, queue=queue)
            claims, handled = self._claim_and_take(claim, limit, None)
        elif self._capacity.shared:
            self._capacity.release(self)
        if not claims and not self._ahead:
            self.claims.nothing_waits()
        return len(claims), handled

    def _next_ids(self, limit: int, source: str | None) -> list[bytes]:
        """The ids that the last claim or wait returned, else a new read."""
        ahead = None
        if source is None:
            ahead, self._ahead = self._ahead, None
        return self._store.peek(limit, source) if ahead is None else ahead[:limit]

    def _claim_named(self, good: dict[str, bytes], source: str | None) -> int:
        if not self._lease.may_claim(self._clock()):
            return 0  # the gate was checked before the peek, and a failover may have happened since
        # Other partitions may have taken slots during the peek.
        ids = tuple(good)[: max(0, self.free)] if self._capacity.shared else tuple(good)
        if not ids:
            return 0
        return self._claim_and_take(lambda at: self.claims.claim(ids, source, at), len(ids), source)[1]

    def _claim_and_take(
        self, claim: Callable[[float], list[Claim]], most: int, source: str | None
    ) -> tuple[list[Claim], int]:
        """Start what is won; reject, park or delay the rest.  Returns the answers and the number handled."""
        sent_at, generation = self._clock(), self._lease.generation
        self._capacity.reserve(self, most)
        try:
            claims = claim(sent_at)
            if source is None:
                self._ahead = self.claims.ahead
            shut = self._shut()
            # Won tasks first: an error while another id is rejected must not leave them unstarted.
            won = [one for one in claims if one.won]
            whole, large = self.claims.apart(won)
            for one in chain(whole, self.claims.completed(large, source, sent_at)):
                # A failover happened meanwhile: the new server may not know this claim.
                self._begin(one, sent_at, stale=shut or generation != self._lease.generation)
            handled = len(won)
            self._capacity.took(handled)
            if handled < len(claims):
                self._capacity.release(self)
                handled += sum(self._not_started.put(one, source) for one in claims if not one.won)
        finally:
            self._capacity.release(self)
        return claims, handled

    def _shut(self) -> bool:
        """Whether nothing may be claimed any more, as an answer arrives."""
        return self._capacity.closed or not self._lease.may_claim(self._clock())

    def _begin(self, claim: Claim, sent_at: float, *, stale: bool) -> None:
        if self._ended or stale or not self._lease.claim_holds(sent_at, self._clock()):
            self._executor.give_back(RunRef(claim.id, claim.run))
        else:
            self._executor.launch(claim, sent_at)

    def _log_failure(self, error: StoreError) -> None:
        now = self._clock()
        if self._ended:
            return  # the worker itself ended the wait
        if isinstance(error, Unavailable):
            if self._log_throttle.may(now):
                log.warning("cannot claim tasks: %s", error)
            return
        if now - self._error_logged_at < self._lease.timing.heartbeat:
            return  # logged once per heartbeat, not at every attempt
        self._error_logged_at = now
        if isinstance(error, WrongKeyType):
            log.error(
                "cannot claim tasks: %s. The queue `new-task` must be a list, and `pytask:timers` a sorted"
                " set; `pytask doctor` tells which is not",
                error,
            )
        elif isinstance(error, Refused):
            log.warning("cannot claim tasks while Redis refuses writes: %s", error)
        else:
            log.warning("cannot claim tasks: %s", error)
