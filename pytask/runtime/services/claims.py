"""Repeats claims until they are answered; if the answer is too large, without large data.

A claim removes ids from the queue even if its answer is lost, so it is repeated with the same run ids.  What
it took from the tail nobody knows without an answer: the claim stays open, and is closed before the next one.

An idle worker sends a claim behind its wait for the queue.  That is only the first sending of a claim that is
repeated and closed like any other.

An answer over the limit of a proxy, or over client-output-buffer-limit, is lost each time.  Then the tasks
with little data are started, and the data of each other task is requested separately.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import attrs
import gevent

from pytask.domain.errors import StoreError, may_be_size
from pytask.domain.leases import Lease
from pytask.domain.ports import Queue, Store
from pytask.domain.record import LONGEST_SAVED, Claim, ClaimRequest, RunRef, Tail
from pytask.domain.timing import CLAIM_BATCH
from pytask.logger import get_logger
from pytask.runtime.runs.committer import Committer
from pytask.runtime.runs.executor import Executor
from pytask.runtime.runs.executor_ports import Ids
from pytask.runtime.runs.refusals import LARGE, REMEMBERED, Refusals
from pytask.runtime.until_answered import until_answered

log = get_logger(__name__)

CLOSINGS = 3  # attempts of a worker that shuts down
FAILED_WAITS = 3  # in a row, after which it is told


@attrs.frozen(kw_only=True)
class ClaimsPorts:
    """The ports of a consumer's claims."""

    store: Store
    executor: Executor
    committer: Committer
    lease: Lease
    ids: Ids
    clock: Callable[[], float]
    quarantine: Callable[[], int]  # how many quarantined tasks may be claimed


class Claims:
    """The claims of one consumer, one at a time."""

    def __init__(self, ports: ClaimsPorts) -> None:
        self._quarantine = ports.quarantine
        self._store = ports.store
        self._executor = ports.executor
        self._committer = ports.committer
        self._lease = ports.lease
        self._ids = ports.ids
        self._clock = ports.clock
        self._refusals = Refusals()
        self._careful_until = -math.inf  # until then answers are kept below a detected limit
        # Ids per claim; fewer after a claim for which not even a short answer arrived.
        self.most = CLAIM_BATCH
        self.refused = 0  # tasks whose data never arrived
        self.ended = False
        self.ahead: list[bytes] | None = None  # what the last answer told of the ids behind it
        self.waiting = False  # whether a claim is on its way behind a wait
        self._held_since: float | None = None  # since when claims are not answered
        self._open: Tail | None = None  # a claim of the tail without an answer
        self._failed_waits = 0  # in a row

    @property
    def _careful(self) -> bool:
        return self._clock() < self._careful_until

    @property
    def held(self) -> float:
        """Seconds for which no claim has been answered; 0 if the last one was."""
        return 0.0 if self._held_since is None else self._clock() - self._held_since

    @property
    def open(self) -> bool:
        """Whether a claim has not been answered, so that nobody knows what it took."""
        return self._open is not None

    def nothing_waits(self) -> None:
        """There is nothing to claim."""
        self._held_since = None

    def claim(self, ids: Sequence[str], source: str | None, sent_at: float) -> list[Claim]:
        """Claim with new run ids.  Raises `StoreError`; uncertain claims are then released."""
        refs = tuple(RunRef(task_id, self._ids.next_run()) for task_id in ids)
        return self._claim(self._request(refs, source), sent_at)

    def claim_tail(self, count: int, sent_at: float, queue: Queue | None = None) -> list[Claim]:
        """Claim what stands at the tail of the queue, `count` ids at the most.  Raises `StoreError`.

        With a `queue` it is claimed when a wait for that has ended, with what holds now.
        """
        self.close_open()
        tail = Tail(self._ids.id, self._ids.reserve(count), count)
        return self._claim(self._request((), None, tail), sent_at, queue)

    def close_open(self) -> None:
        """Release what a claim took that was never answered, and let it take no more if it comes late.

        Raises `StoreError`; the claim then stays open.
        """
        if self._open is None:
            return
        closing = self._request((), None, attrs.evolve(self._open, count=0))
        # It takes nothing, so any server may answer; and starts nothing, so no data is read.
        claims = self._store.claim(attrs.evolve(closing, server="", max_data=0, max_saved=0))
        self._open = None
        self._committer.unconfirmed([RunRef(claim.id, claim.run) for claim in claims if claim.registered])

    def close_at_end(self) -> None:
        """The same as the worker shuts down; without an answer its runs wait for the proof of its death."""
        until = self._clock() + self._lease.timing.call_timeout
        for _ in range(CLOSINGS):
            try:
                return self.close_open()
            except StoreError as error:
                log.debug("could not close a claim: %s", error)
            if self._clock() >= until:
                break  # a server that hangs has the first one in its buffer
            gevent.sleep(self._lease.timing.tick)
        return None

    def _claim(self, request: ClaimRequest, sent_at: float, queue: Queue | None = None) -> list[Claim]:
        if not self._careful:
            self._refusals.forget()
        claims = self._ask(request, sent_at, behind=[] if queue is None else [queue])
        if claims is None:
            claims = self._ask_without_data(request)
        self.most = min(CLAIM_BATCH, 2 * self.most)
        return claims

    def apart(self, won: list[Claim]) -> tuple[list[Claim], list[Claim]]:
        """Split into tasks that can start and tasks whose data was left out."""
        if self._refusals.limit == math.inf:
            return won, []
        most = self._executor.settings.max_data
        left_out = {c.id for c in won if 0 < c.oversize <= most or 0 < _unread(c) <= LONGEST_SAVED}
        return [c for c in won if c.id not in left_out], [c for c in won if c.id in left_out]

    def completed(self, claims: Sequence[Claim], source: str | None, sent_at: float) -> Iterator[Claim]:
        """Read the left-out data of these one by one; a task whose data never arrives gets none."""
        left = list(claims)
        try:
            while left:
                claim = self._complete(left.pop(0), source, sent_at)
                if claim.won:
                    yield claim
                elif claim.registered:
                    self._committer.unconfirmed([RunRef(claim.id, claim.run)])
        finally:
            if left:
                self._committer.unconfirmed([RunRef(claim.id, claim.run) for claim in left])

    def _complete(self, claim: Claim, source: str | None, sent_at: float) -> Claim:
        size = claim.oversize + _unread(claim)
        request = self._request((RunRef(claim.id, claim.run),), source)
        most = self._executor.settings.max_data
        whole = attrs.evolve(request, max_data=most, max_saved=LONGEST_SAVED, look=0)
        # Over a recently detected limit one attempt is enough to see whether the limit was raised.
        claims = self._ask(whole, sent_at, size=size, known=size >= self._refusals.proven)
        if claims is not None:
            return claims[0]
        self._remember()
        self.refused += 1
        log.error("[PT133] task %s: Redis does not return its data (%d bytes): ERROR", claim.id, size)
        return claim

    def _request(
        self, refs: tuple[RunRef, ...], source: str | None, tail: Tail | None = None
    ) -> ClaimRequest:
        executor = self._executor
        settings = executor.settings
        return ClaimRequest(
            refs=refs,
            tail=tail,
            functions=frozenset(executor.tasks),
            worker=settings.name,
            source=source,
            server=self._lease.server,
            quarantine=self._quarantine(),
            max_data=int(min(settings.max_data, self._refusals.limit - 1)),
            max_saved=int(min(LONGEST_SAVED, self._refusals.limit - 1)),
            # Also if no slot is left, so that no read is needed when one becomes free.
            rules=executor.rules,
            look=0 if source is not None or self._careful else min(settings.max_tasks, CLAIM_BATCH),
        )

    def _ask(
        self,
        request: ClaimRequest,
        sent_at: float,
        *,
        size: int = 0,
        known: bool = False,
        behind: list[Queue] | None = None,
    ) -> list[Claim] | None:
        """The answer, after retries if necessary; None once it is proven that none will arrive."""
        # Partials are a microsecond faster than closures, on every claim.
        call, give_up = partial(self._send, request, behind), partial(self._give_up, sent_at, size, known)
        try:
            claims = until_answered(call, give_up, self._lease.timing.tick)
        except Exception:
            self._hold()
            self._doubt(request)
            raise
        if claims is not None:
            self._held_since = None
            self._refusals.taken(partial(_data_of, claims))
        return claims

    def _send(self, request: ClaimRequest, behind: list[Queue] | None = None) -> list[Claim]:
        """Send it once: the first time behind the wait for a queue, if there is one."""
        if behind:
            return self._send_behind(behind.pop(), request)
        claims = self._store.claim(request)
        self.ahead = self._store.ahead
        return claims

    def _send_behind(self, queue: Queue, request: ClaimRequest) -> list[Claim]:
        quiet = attrs.evolve(request, tail=request.tail and attrs.evolve(request.tail, quiet=True))
        self.waiting = True
        try:
            claims = queue.claim(quiet, self._lease.timing.block)
        except StoreError as error:
            self._failed_waits += 1
            if self._failed_waits == FAILED_WAITS and not self.ended:
                log.warning("waits for the queue fail, so tasks start later: %s", error)
            raise
        finally:
            self.waiting = False
        self._failed_waits = 0
        self.ahead = queue.ahead
        return claims

    def _give_up(self, sent_at: float, size: int, known: bool, error: StoreError) -> bool:
        now = self._hold()
        if self.ended:
            raise error  # also where the worker has ended the wait: what was taken is released
        if not may_be_size(error):
            raise error
        last = self._lease.last_ok
        if self._refusals.refused(error, last, now, size=size, alone=size > 0) or known:
            return True
        # The gate is checked before every attempt: a retry may be much later than the first.
        if not self._lease.may_claim(now) or not self._lease.claim_holds(sent_at, now):
            raise error
        return False

    def _doubt(self, request: ClaimRequest) -> None:
        """It was not answered, but Redis may have applied it, or may apply it later."""
        if request.tail is not None:
            self._open = request.tail
        self._committer.unconfirmed(list(request.refs))

    def _hold(self) -> float:
        now = self._clock()
        self._held_since = now if self._held_since is None else self._held_since
        return now

    def _ask_without_data(self, request: ClaimRequest) -> list[Claim]:
        """The same claim, with little data in the answer and without the ids after the batch."""
        try:
            claims = self._send(attrs.evolve(request, max_data=LARGE, max_saved=LARGE, look=0))
        except Exception:
            # The data is not the cause: smaller claims identify the faulty task.
            self.most = max(1, (request.tail.count if request.tail else len(request.refs)) // 8)
            self._doubt(request)
            raise
        asked = [claim for claim in claims if claim.oversize <= request.max_data]
        size = _data_of(asked) + sum(claim.oversize + _unread(claim) for claim in asked)
        log.warning("Redis does not answer a claim of %d tasks with %d bytes of data", len(claims), size)
        if size > LARGE:
            self._refusals.limit = min(self._refusals.limit, size)
        self._remember()
        return claims

    def _remember(self) -> None:
        self._careful_until = self._clock() + REMEMBERED * self._lease.timing.lease


def _unread(claim: Claim) -> int:
    """Bytes of what was saved and left out."""
    return 0 if claim.fields is None else claim.fields.unread


def _data_of(claims: Sequence[Claim]) -> int:
    saved = sum(len(claim.fields.saved) for claim in claims if claim.fields is not None)
    return saved + sum(len(claim.data or b"") for claim in claims)
