"""Renews the leases, and enforces the deadline if renewals are not acknowledged."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import attrs
import gevent
from gevent import Timeout
from gevent.event import Event as Flag

from pytask.domain.errors import StoreError, Unavailable, WrongKeyType, may_be_size
from pytask.domain.leases import RENEW_CHUNK, Lease
from pytask.domain.ports import Store
from pytask.domain.record import Adoption, Answer, RunRef, Save, Verdict
from pytask.domain.wording import counted, verb
from pytask.logger import get_logger
from pytask.runtime.log_throttle import LogThrottle
from pytask.runtime.process.kill_timer import KillTimer
from pytask.runtime.runs.executor import Executor
from pytask.runtime.runs.refusals import REMEMBERED, Refusals
from pytask.runtime.until_answered import pass_by_pass

log = get_logger(__name__)

FEWEST = 8  # runs per renewal; no size limit refuses so few


@attrs.frozen(kw_only=True)
class HeartbeatPorts:
    """The ports of a heartbeat."""

    store: Store
    lease: Lease
    executor: Executor
    kill_timer: KillTimer
    clock: Callable[[], float]
    log_throttle: LogThrottle
    on_reached: Callable[[], None]  # after the first acknowledged renewal
    on_lost: Callable[[], None]  # the lease is lost and all runs are being stopped
    on_other_server: Callable[[], None]
    # Called before a ping is published, and with the error if that failed.
    on_ping: Callable[[StoreError | None], None]
    feed_session: str = ""  # the session of the feed to ping
    address: str = ""


class Heartbeat:
    """Renews the oldest leases first, at most 1000 per call, so that the calls are spread over the period."""

    def __init__(self, ports: HeartbeatPorts) -> None:
        self._store = ports.store
        self._lease = ports.lease
        self._executor = ports.executor
        self._kill_timer = ports.kill_timer
        self._clock = ports.clock
        self._ended = False
        self._warned = False
        self._reached = False
        self._log_throttle = ports.log_throttle
        self._on_reached = ports.on_reached
        self._on_lost = ports.on_lost
        self._on_other_server = ports.on_other_server
        self._on_ping = ports.on_ping
        self._feed_session = ports.feed_session
        self._address = ports.address
        self._ping_wanted = False
        self._wake = Flag()
        self._most = RENEW_CHUNK  # runs per renewal; fewer after one that was not acknowledged
        # A renewal of this many runs failed, and no larger one has succeeded since.
        self._failed: float = math.inf
        self._refusals = Refusals()  # sizes are numbers of runs
        self._limited_until = -math.inf

    def run(self) -> None:
        """Run until stopped."""
        pass_by_pass(self._pass, self._pass_failed, lambda: self._ended)

    def _pass(self) -> None:
        if self.beat():
            # Pause between full chunks, so that a hundred thousand runs do not block Redis.
            gevent.sleep(self._lease.timing.tick / 500)
        else:
            self._wake.wait(self._lease.rest(self._clock()))
            self._wake.clear()

    def _pass_failed(self, error: Exception) -> float:
        if isinstance(error, StoreError):
            self._log_failure(error)
        else:
            log.error("the renewal failed and counts as not acknowledged", exc_info=error)
            self._store.reset()
        return self._lease.timing.call_timeout / 3

    def end(self) -> None:
        """Stop after the current step."""
        self._ended = True
        self._wake.set()

    def request_ping(self) -> None:
        """Publish a ping with the next renewal, which becomes due at once.

        It uses the same connection: if the feed receives it, the feed is connected to the server of the
        renewals.
        """
        self._ping_wanted = True
        self._wake.set()

    def beat(self) -> bool:
        """Renew one chunk, if due; returns whether more are due.  Raises `StoreError`."""
        timing = self._lease.timing
        now = self._clock()
        refs, saves = self._executor.saving.due(self._lease.due(now, self._most))
        early = now - self._lease.last_ok < timing.heartbeat - timing.tick
        if not refs and early and not self._ping_wanted:
            return False
        sent_at = self._clock()
        verdicts = self._renew(refs, saves)
        restorable = self._restorable(verdicts)
        self._lease.disown(ref for ref in _unknown(verdicts) if ref not in restorable)
        # Runs that a failover lost are acknowledged only after they have been restored.
        self._lease.acknowledged(
            [ref for ref in refs if ref not in restorable] if restorable else refs, sent_at
        )
        if restorable:
            self._adopt(restorable, verdicts)
        self._kill_timer.arm(self._lease.kill_in(self._clock()))
        if self._warned:  # the countdown was logged, so log its end
            log.warning("Redis %s answers again", self._address)
            self._warned = False
        if not self._reached:
            self._reached = True
            self._on_reached()
        for ref, answer in verdicts.items():
            self._executor.renewed(ref, answer)
        if self._ping_wanted:
            self._ping()
        return self._executor.saving.late or bool(self._lease.due(self._clock(), self._most))

    def _renew(self, refs: Sequence[RunRef], saves: Mapping[str, Save]) -> dict[RunRef, Answer]:
        """One renewal, with what the runs have saved.  Raises `StoreError`."""
        timing = self._lease.timing
        try:
            # In addition to the socket timeout, which does not limit name resolution or slow replies.
            with Timeout(2 * timing.call_timeout, Unavailable("the renewal took too long")):
                verdicts = self._store.renew(refs, saves) if saves else self._store.renew(refs)
        except StoreError as error:
            if isinstance(error, Unavailable):
                self._store.reset()
            if saves:
                self._executor.saving.failed(saves, error)
            else:
                self._renew_fewer(len(refs), error)
            raise
        if self._most < RENEW_CHUNK:
            self._renew_more(len(refs))
        self._observe()
        if saves:
            self._executor.saving.acknowledged(saves, verdicts)
        return verdicts

    def _renew_fewer(self, count: int, error: StoreError) -> None:
        """Reduce the number of runs per renewal, in case a size limit refuses it."""
        if not count or not may_be_size(error):
            return
        now = self._clock()
        if self._refusals.refused(error, self._lease.last_ok, now, size=count, alone=False):
            self._limited_until = now + REMEMBERED * self._lease.timing.lease
            log.warning("Redis %s refuses renewals of %d runs: renewing fewer at once", self._address, count)
        self._failed = min(self._failed, count)
        self._most = max(FEWEST, count // 8)

    def _renew_more(self, count: int) -> None:
        if self._clock() > self._limited_until:
            self._refusals.forget()
        if count >= self._failed:  # their number was not the cause
            self._failed, self._refusals = math.inf, Refusals()
        limit = self._refusals.limit
        # Well below a number that was refused twice, or it would be reached repeatedly.
        top = RENEW_CHUNK if limit == math.inf else max(FEWEST, int(limit) // 2)
        self._most = min(top, 2 * self._most)

    def _ping(self) -> None:
        self._on_ping(None)  # before it: the feed may receive it before this greenlet continues
        try:
            with Timeout(2 * self._lease.timing.call_timeout, Unavailable("the ping took too long")):
                self._store.ping(self._feed_session)
            self._ping_wanted = False
        except StoreError as error:  # does not affect the renewal, which was acknowledged
            self._store.reset()
            self._on_ping(error)

    def _observe(self) -> None:
        seen = self._store.incarnation
        if seen is None:
            return
        news = self._lease.observe(seen, self._clock())
        if news.failover or news.data_lost:
            self._executor.saving.again()
            self._executor.pauses.again()
        if news.failover:
            self._on_other_server()
            log.warning(
                "Redis %s: a different server answers (failover or restart). No tasks are claimed for %g s,"
                    " while owners restore the runs that it lost", self._address, news.pause,
            )  # fmt: skip
        elif news.pause:
            log.warning(
                "Redis %s: the server changed recently and may have lost writes: no tasks are claimed for %g"
                " s",
                    self._address, news.pause,
            )  # fmt: skip
        if news.data_lost:
            log.error(
                "Redis %s lost its data (its marker pytask:incarnation is new): tasks that no longer exist"
                    " stop; see the setting on_data_loss", self._address,
            )  # fmt: skip

    def _restorable(self, verdicts: Mapping[RunRef, Answer]) -> dict[RunRef, Adoption]:
        """Living runs that Redis lost in a recent failover."""
        if not self._lease.may_adopt(self._clock()):
            return {}
        return self._executor.adoptions(_unknown(verdicts))

    def _adopt(self, restorable: Mapping[RunRef, Adoption], verdicts: dict[RunRef, Answer]) -> None:
        """Restore these runs and drop their verdicts.  Raises `StoreError`."""
        timing = self._lease.timing
        sent_at = self._clock()
        try:
            with Timeout(2 * timing.call_timeout, Unavailable("restoring runs took too long")):
                answers = self._store.adopt(list(restorable.values()), self._executor.settings.name)
        except Unavailable:
            self._store.reset()
            raise
        # In their order, which a set of them would not keep: a simulated world must be the same each time.
        back = {ref: None for ref, answer in zip(restorable, answers, strict=True) if answer is Verdict.OK}
        self._lease.disown(ref for ref in restorable if ref not in back)
        self._lease.acknowledged(list(back), sent_at)
        self._executor.saving.again(back.keys())
        for ref in back:
            del verdicts[ref]
        log.warning(
            "Redis %s: %d of %s that it had lost %s restored", self._address, len(back),
            counted(len(answers), "run"), verb(len(back), "was", "were"),
        )  # fmt: skip

    def watch(self) -> None:
        """Check the deadline until stopped."""
        while not self._ended:
            self.check_deadline()
            gevent.sleep(self._lease.nap(self._clock()))

    def check_deadline(self) -> bool:
        """Stop all runs if one was unacknowledged for longer than the lease; whether that happened."""
        now = self._clock()
        self._kill_timer.arm(self._lease.kill_in(now))
        if not self._lease.lost(now) or not self._executor.hand_back_all():
            return False
        log.error(
            "[PT051] Redis %s lost for more than %g s: stopping all tasks of this worker; they continue on"
            " other workers, or here when Redis is back",
            self._address,
            self._lease.timing.lease,
        )
        self._on_lost()
        return True

    def _log_failure(self, error: StoreError) -> None:
        now = self._clock()
        self._warned = True  # or another service of this partition has, a moment ago
        if self._log_throttle.may(now, first=True) or isinstance(error, WrongKeyType):
            oldest = self._lease.living.oldest()
            left = self._lease.timing.lease - (now - oldest) if oldest is not None else None
            fate = f"; tasks stop in {max(0.0, left):.0f} s" if left is not None else ""
            log.warning("Redis %s does not acknowledge: %s%s", self._address, str(error).rstrip("."), fate)


def _unknown(verdicts: Mapping[RunRef, Answer]) -> list[RunRef]:
    """The runs that Redis no longer knows, or that were replaced."""
    return [ref for ref, verdict in verdicts.items() if verdict in (Verdict.GONE, Verdict.FENCED)]
