"""Group commit: all waiting changes are sent to Redis in one call, the first one at once."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import attrs
import gevent
from gevent.event import Event as Flag

from pytask.domain.errors import StoreError, Unavailable, WrongKeyType
from pytask.domain.leases import Lease
from pytask.domain.lifecycle import Trigger
from pytask.domain.ports import Store
from pytask.domain.record import ALREADY, OK, Change, RunRef, Verdict
from pytask.domain.timing import COMMIT_BATCH, COMMIT_BYTES
from pytask.domain.wording import counted, verb
from pytask.logger import get_logger
from pytask.runtime.log_throttle import LogThrottle
from pytask.runtime.runs.event_buffer import Backlog
from pytask.runtime.runs.hand_back import never_began
from pytask.runtime.runs.refusals import Refusals, instead, size_of, weight
from pytask.runtime.runs.task_log import LINGER, Journal
from pytask.runtime.until_answered import pass_by_pass

log = get_logger(__name__)

# Each end is compared with these: to get a member from its class takes Python 3.11 as long as a call.
BADTYPE, RETRY = Verdict.BADTYPE, Trigger.RETRY


@attrs.frozen(kw_only=True)
class CommitterPorts:
    """The ports of a committer."""

    store: Store
    lease: Lease
    clock: Callable[[], float]
    backlog: Backlog
    journal: Journal
    log_throttle: LogThrottle
    on_settled: Callable[[], None]  # after each commit, when changes have received verdicts
    on_delayed: Callable[[float], None] = lambda _: None  # seconds until a task in the timers is due
    on_schedule: Callable[[str], None] = lambda _: None  # a run of this schedule is over
    drops: bool = False  # if full, drop the oldest events instead of making emit() wait
    keep_error: int | None = None  # retention in seconds


class Committer:
    """Sends events and ends in order.  An end is repeated until a verdict is received."""

    def __init__(self, ports: CommitterPorts) -> None:
        self._store = ports.store
        self._lease = ports.lease
        self._clock = ports.clock
        self._waiting = ports.backlog
        self._drops = ports.drops
        self.dropped = 0  # events, since the start
        self.refused = 0  # ends that became ERROR for their size, since the start
        self._reported = (0, -math.inf)  # how many of them were logged, and when
        self._sent: list[Change] = []  # the batch without a verdict, repeated unchanged
        self._added = self._answered = 0  # changes, since the start
        self._awaited: list[tuple[int, Flag]] = []  # set when so many are answered
        self._refusals = Refusals()
        self._keep_error = ports.keep_error
        self._held_since: float | None = None  # when the batch was first sent without success
        self.journal = ports.journal
        self._wake = self.journal.news
        self._room = Flag()
        self._room.set()
        self._unconfirmed: dict[RunRef, tuple[float, Change]] = {}  # the change to repeat, and until when
        self._unconfirmed_due = 0.0
        self._log_throttle = ports.log_throttle
        self._warned_at = -math.inf
        self._pause = 0.0  # seconds to wait after the last failure
        self._ended = False
        self._on_settled = ports.on_settled
        self._on_delayed = ports.on_delayed
        self._on_schedule = ports.on_schedule

    @property
    def pending(self) -> int:
        """Changes without a verdict."""
        return len(self._waiting) + len(self._sent)

    @property
    def held(self) -> float:
        """Seconds for which Redis has not accepted the current batch."""
        return 0.0 if self._held_since is None else self._clock() - self._held_since

    def put(self, change: Change, ref: RunRef | None = None) -> None:
        """Add an end (or an event); never blocks, so that it can be called from the hub.

        `ref` is that of the change, where the caller has one: each that is made costs time and memory.
        """
        if change.trigger is not None:
            # Until the end is acknowledged the run stays registered and is renewed.
            self._lease.settling.add(ref or RunRef(change.id, change.run), self._clock())
        self._append(change)
        self._wake.set()

    def emit(self, change: Change) -> int:
        """Add an event; returns its number.

        While too many wait (Redis is slow or unreachable), wait or drop the oldest.
        """
        while self.full and not self._ended:
            self._room.clear()
            self._room.wait()
        return self.add(change)

    def add(self, change: Change) -> int:
        """As `emit`, but never waits."""
        if self._drops and self._waiting.full:
            shed = self._waiting.shed()
            self.dropped += shed
            self._count(shed)
        self.put(change)
        return self._added

    @property
    def full(self) -> bool:
        """Whether an emitter waits: so many events wait for Redis, and none may be dropped."""
        return self._waiting.full and not self._drops

    def crowded(self, times: int, coming: int) -> bool:
        """Whether so many times as many wait, with those that are on their way.  In any thread."""
        return not self._drops and self._waiting.has(times, coming)

    def has_sent(self, number: int, timeout: float) -> bool:
        """Wait until Redis has answered the change with this number, and all before it.

        False if it has not after `timeout` seconds.
        """
        if self._answered >= number:
            return True
        awaited = (number, Flag())
        self._awaited.append(awaited)
        try:
            return awaited[1].wait(timeout)
        finally:
            self._awaited.remove(awaited)

    def _append(self, change: Change) -> None:
        self._added += 1
        self._waiting.append(change)

    def _count(self, answered: int) -> None:
        self._answered += answered
        for number, flag in self._awaited:
            if self._answered >= number:
                flag.set()

    def unconfirmed(
        self,
        refs: list[RunRef],
        trigger: Trigger = Trigger.RELEASE,
        *,
        keep: int | None = None,
        local: bool = False,
    ) -> None:
        """Keep releasing claims without an answer, because Redis may still apply them."""
        until = self._clock() + self._lease.timing.claim_gate
        for ref in refs:
            self._unconfirmed[ref] = (until, never_began(ref, trigger, keep=keep, local=local))
        self._wake.set()

    def run(self) -> None:
        """Commit until stopped."""
        with suppress(StoreError):
            self._store.commit([])  # connect now, so that the first end need not wait for it
        pass_by_pass(self._pass, self._pass_failed, lambda: self._ended)

    def _pass(self) -> None:
        self._wake.wait(self._lease.timing.heartbeat if self._unconfirmed else None)
        self._wake.clear()
        if self.journal.lingers and not self.pending:
            self._wake.wait(LINGER)  # for more lines, or for an end, which is sent with them
            self._wake.clear()
        self._tell_dropped()
        while self.commit():
            self._pause = 0.0

    def _pass_failed(self, error: Exception) -> float:
        if not isinstance(error, StoreError):
            raise error
        self._pause = min(max(2 * self._pause, 0.02), self._lease.timing.call_timeout / 3)
        self._log_failure(error)
        self._wake.set()  # send again after the pause
        return self._pause

    def end(self) -> None:
        """Stop after the current step."""
        self._ended = True
        self._wake.set()
        self._room.set()

    def commit(self) -> int:
        """One call: repeats the batch without a verdict, or sends the next one.  Returns its size."""
        self._release_unconfirmed()
        if not self._sent:
            self._sent = self._next_batch()
        if self.journal:
            self._send_lines()
        if not self._sent:
            return 0
        batch = self._sent[:1] if self._refusals.apart else self._sent
        try:
            verdicts = self._store.commit(batch)
        except StoreError as error:
            self._refused(batch, error)
            raise
        except Exception:  # noqa: BLE001 - no error may delay the other changes
            verdicts = _one_by_one(self._store, batch)
        self._refusals.taken(partial(size_of, batch))
        self._over(len(batch))
        for change, verdict in zip(batch, verdicts, strict=True):
            if change.trigger is not None:
                self._settled(change, verdict)
        if not self._waiting.full:
            self._room.set()
        self._on_settled()
        return len(batch)

    def _send_lines(self) -> None:
        """Store the log lines and progress of runs before their ends."""
        try:
            self.journal.send(self._store)
        except StoreError as error:
            self._hold()
            self.journal.refused(error, self._lease.last_ok, self._clock())
            raise
        if not self._sent:
            self._held_since = None

    def _hold(self) -> None:
        self._held_since = self._clock() if self._held_since is None else self._held_since

    def _over(self, count: int) -> None:
        """Process the verdicts of the first changes of the batch."""
        self._held_since = None
        self._sent = self._sent[count:]
        self._count(count)
        self._refusals.apart = self._refusals.apart and bool(self._sent)

    def _refused(self, batch: list[Change], error: StoreError) -> None:
        """Sends a refused batch one change at a time; a change refused alone is replaced or dropped."""
        self._hold()
        size, alone = size_of(batch), len(batch) == 1
        if not self._refusals.refused(error, self._lease.last_ok, self._clock(), size=size, alone=alone):
            return
        if not alone:
            log.warning("Redis refuses a batch of %d changes, sending them one by one: %s", len(batch), error)
            self._refusals.apart = True
            return
        change = batch[0]
        other = None if change.trigger is None else instead(change, error, self._keep_error)
        if other is not None:
            saved = bool(change.fields.get("saved"))  # which is left out first
            text = "it goes without what the task saved last" if saved else "ERROR instead"
            log.error("[PT132] task %s: Redis refuses its end (%d bytes): %s", change.id, size, text)
            self._sent[0] = other
            self.refused += not saved
            return
        if change.trigger is None:
            self.dropped += 1
            log.warning(
                "task %s: dropped an event (%d bytes) because Redis refuses it: %s", change.id, size, error
            )
        else:
            log.error("task %s: Redis refuses its result, retrying later: %s", change.id, error)
            gevent.spawn_later(self._lease.timing.heartbeat, self.put, change)
        self._over(1)

    def _tell_dropped(self) -> None:
        reported, at = self._reported
        now = self._clock()
        if self.dropped > reported and now - at > self._lease.timing.lease:
            self._reported = (self.dropped, now)
            log.warning(
                "%s of tasks %s dropped, oldest first: Redis does not accept them as fast as they"
                    " are emitted (see the settings max_pending and when_full)",
                counted(self.dropped - reported, "event"), verb(self.dropped - reported, "was", "were"),
            )  # fmt: skip

    def _log_failure(self, error: StoreError) -> None:
        now = self._clock()
        if isinstance(error, Unavailable):
            if not self._log_throttle.may(now):
                return
        elif now - self._warned_at < self._lease.timing.heartbeat:
            return  # logged once per heartbeat, not at every attempt
        else:
            self._warned_at = now
        level = logging.ERROR if isinstance(error, WrongKeyType) else logging.WARNING
        waits = verb(self.pending, "waits", "wait")
        log.log(level, "%s %s for Redis: %s", counted(self.pending, "change"), waits, error)

    def _next_batch(self) -> list[Change]:
        batch: list[Change] = []
        size = 0
        # Bounded in bytes, too: a batch must fit into the timeout of one call.
        while self._waiting and len(batch) < COMMIT_BATCH and size < COMMIT_BYTES:
            change = self._waiting.popleft()
            size += weight(change)
            batch.append(change)
            if size >= self._refusals.limit and len(batch) > 1:
                self._refusals.apart = True  # as a batch they would be refused again
                break
        return batch

    def _settled(self, change: Change, verdict: Verdict) -> None:
        if verdict is BADTYPE:
            log.error(
                "task %s cannot be requeued: the key of the queue is not a list, or that of the timers not a"
                " sorted set",
                change.id,
            )
            gevent.spawn_later(self._lease.timing.heartbeat, self.put, change)
            return
        self._lease.settling.remove(change.run)
        taken = verdict is OK or verdict is ALREADY
        if taken and change.trigger is RETRY:
            self._on_delayed(change.delay)
        if taken and change.schedule:
            self._on_schedule(change.schedule)
        if taken and not self._unconfirmed:
            return
        ref = RunRef(change.id, change.run)
        if taken:
            self._unconfirmed.pop(ref, None)
        elif ref not in self._unconfirmed:
            log.info("task %s: the result of run %s was not accepted: %s", change.id, change.run, verdict)

    def _release_unconfirmed(self) -> None:
        now = self._clock()
        if not self._unconfirmed or now < self._unconfirmed_due:
            return
        self._unconfirmed_due = now + self._lease.timing.heartbeat
        for ref, (until, change) in list(self._unconfirmed.items()):
            if now > until:
                del self._unconfirmed[ref]
            else:
                self._append(change)


def _one_by_one(store: Store, batch: list[Change]) -> list[Verdict]:
    # A change that cannot even be sent must not block all others.
    verdicts = []
    for change in batch:
        try:
            verdicts += store.commit([change])
        except StoreError:
            raise
        except Exception:
            log.exception("task %s: dropped a change that cannot be sent", change.id)
            verdicts.append(Verdict.FENCED)
    return verdicts
