"""Renewals, and the deadline that follows when they are not acknowledged."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import attrs
import gevent
from gevent import Timeout
from gevent.event import Event as Flag

from pytask.domain.errors import StoreError, Unavailable, WrongKeyType, may_be_size
from pytask.domain.leases import RENEW_CHUNK, Lease
from pytask.domain.ports import Store
from pytask.domain.record import Adoption, RunRef, Verdict
from pytask.domain.wording import counted, verb
from pytask.logger import get_logger
from pytask.runtime.log_throttle import LogThrottle
from pytask.runtime.process.kill_timer import KillTimer
from pytask.runtime.runs.executor import Executor
from pytask.runtime.runs.refusals import REMEMBERED, Refusals
from pytask.runtime.until_answered import pass_by_pass

log = get_logger(__name__)

FEWEST = 8  # runs of a renewal that no size limit refuses


@attrs.frozen(kw_only=True)
class HeartbeatPorts:
    """What a heartbeat works with."""

    store: Store
    lease: Lease
    executor: Executor
    kill_timer: KillTimer
    clock: Callable[[], float]
    log_throttle: LogThrottle
    on_reached: Callable[[], None]  # after the first acknowledged renewal
    on_lost: Callable[[], None]  # the lease is lost and all runs are being stopped
    on_other_server: Callable[[], None]
    on_ping: Callable[[StoreError | None], None]  # before a ping is published; with the error if that failed
    feed_session: str = ""  # of the feed that is pinged
    address: str = ""


class Heartbeat:
    """Renews the longest unrenewed runs first, at most 1000 at once, so that the calls spread over H."""

    def __init__(self, ports: HeartbeatPorts) -> None:
        self._store = ports.store
        self._lease = ports.lease
        self._executor = ports.executor
        self._kill_timer = ports.kill_timer
        self._clock = ports.clock
        self._ended = False
        self._complained = False
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
        self._most = RENEW_CHUNK  # runs of one renewal; fewer after one that was not acknowledged
        self._failed: float = math.inf  # so many runs were not acknowledged, and no more were since
        self._refusals = Refusals()  # whose sizes are numbers of runs
        self._limited_until = -math.inf

    def run(self) -> None:
        """Beat until told to end."""
        pass_by_pass(self._pass, self._pass_failed, lambda: self._ended)

    def _pass(self) -> None:
        if self.beat():
            # Between full chunks Redis gets air, so that a hundred thousand runs never hold it for long.
            gevent.sleep(self._lease.timing.tick / 500)
        else:
            self._wake.wait(self._lease.rest(self._clock()))
            self._wake.clear()

    def _pass_failed(self, error: Exception) -> float:
        if isinstance(error, StoreError):
            self._complain(error)
        else:
            log.error("the renewal failed: it counts as not acknowledged", exc_info=error)
            self._store.reset()
        return self._lease.timing.call_timeout / 3

    def end(self) -> None:
        """Let the loop end after what it is doing."""
        self._ended = True
        self._wake.set()

    def request_ping(self) -> None:
        """Publish to the feed with the next renewal, which is due at once.

        On the same connection: that the feed hears it proves that it hears the server of the renewals.
        """
        self._ping_wanted = True
        self._wake.set()

    def beat(self) -> bool:
        """Renew one chunk, if any is due; whether more are due at once.  Raises `StoreError`."""
        timing = self._lease.timing
        now = self._clock()
        refs = self._lease.due(now, self._most)
        early = now - self._lease.last_ok < timing.heartbeat - timing.tick
        if not refs and early and not self._ping_wanted:
            return False
        sent_at = self._clock()
        try:
            # Beside the socket's own limit: name resolution and a slow drip of bytes know none.
            with Timeout(2 * timing.call_timeout, Unavailable("the renewal took too long")):
                verdicts = self._store.renew(refs)
        except StoreError as error:
            if isinstance(error, Unavailable):
                self._store.reset()
            self._renew_fewer(len(refs), error)
            raise
        if self._most < RENEW_CHUNK:
            self._renew_more(len(refs))
        self._observe()
        doubted = self._doubted(verdicts)
        self._lease.disown(_unknown(verdicts) - doubted.keys())
        # What Redis may only have forgotten is not acknowledged before it is put back.
        self._lease.acknowledged([ref for ref in refs if ref not in doubted] if doubted else refs, sent_at)
        if doubted:
            self._adopt(doubted, verdicts)
        self._kill_timer.arm(self._lease.kill_in(self._clock()))
        if self._complained:  # whoever read the countdown reads that it is over
            log.warning("Redis %s answers again", self._address)
            self._complained = False
        if not self._reached:
            self._reached = True
            self._on_reached()
        for ref, verdict in verdicts.items():
            self._executor.heard(ref, verdict)
        if self._ping_wanted:
            self._ping()
        return bool(self._lease.due(self._clock(), self._most))

    def _renew_fewer(self, count: int, error: StoreError) -> None:
        """Something on the way may refuse so many runs at once; with fewer nothing is at risk."""
        if not count or not may_be_size(error):
            return
        now = self._clock()
        if self._refusals.refused(error, self._lease.last_ok, now, size=count, alone=False):
            self._limited_until = now + REMEMBERED * self._lease.timing.lease
            log.warning("Redis %s refuses renewals of %d runs: fewer go at once", self._address, count)
        self._failed = min(self._failed, count)
        self._most = max(FEWEST, count // 8)

    def _renew_more(self, count: int) -> None:
        if self._clock() > self._limited_until:
            self._refusals.forget()
        if count >= self._failed:  # their number was not the cause
            self._failed, self._refusals = math.inf, Refusals()
        limit = self._refusals.limit
        # Well below a number that was refused twice, or it would be met again and again.
        top = RENEW_CHUNK if limit == math.inf else max(FEWEST, int(limit) // 2)
        self._most = min(top, 2 * self._most)

    def _ping(self) -> None:
        self._on_ping(None)  # before it: the feed may hear it before this greenlet goes on
        try:
            with Timeout(2 * self._lease.timing.call_timeout, Unavailable("the ping took too long")):
                self._store.ping(self._feed_session)
            self._ping_wanted = False
        except StoreError as error:  # no word about the renewal, which was acknowledged
            self._store.reset()
            self._on_ping(error)

    def _observe(self) -> None:
        seen = self._store.incarnation
        if seen is None:
            return
        news = self._lease.observe(seen, self._clock())
        if news.failover:
            self._on_other_server()
            log.warning(
                "Redis %s: another server answers (a failover, or a restart). No task is taken for %g s, in"
                " which runs that it does not know of are put back", self._address, news.pause,
            )  # fmt: skip
        elif news.pause:
            log.warning(
                "Redis %s changed its server a short time ago, which may have lost writes: no task is taken"
                " for %g s", self._address, news.pause,
            )  # fmt: skip
        if news.data_lost:
            log.error(
                "Redis %s has other data than before (its marker pytask:incarnation is new): tasks that are"
                " gone there stop; see the setting on_data_loss", self._address,
            )  # fmt: skip

    def _doubted(self, verdicts: Mapping[RunRef, Verdict]) -> dict[RunRef, Adoption]:
        """Living runs that Redis does not know, soon after another server took over."""
        if not self._lease.may_adopt(self._clock()):
            return {}
        return self._executor.adoptions(_unknown(verdicts))

    def _adopt(self, doubted: Mapping[RunRef, Adoption], verdicts: dict[RunRef, Verdict]) -> None:
        """E12 for these; what is put back has no verdict any more.  Raises `StoreError`."""
        timing = self._lease.timing
        sent_at = self._clock()
        try:
            with Timeout(2 * timing.call_timeout, Unavailable("putting runs back took too long")):
                answers = self._store.adopt(list(doubted.values()), self._executor.settings.name)
        except Unavailable:
            self._store.reset()
            raise
        back = {ref for ref, answer in zip(doubted, answers, strict=True) if answer is Verdict.OK}
        self._lease.disown(doubted.keys() - back)
        self._lease.acknowledged(list(back), sent_at)
        for ref in back:
            del verdicts[ref]
        log.warning(
            "Redis %s: %d of %s that it had forgotten %s put back", self._address, len(back),
            counted(len(answers), "run"), verb(len(back), "was", "were"),
        )  # fmt: skip

    def watch(self) -> None:
        """Look at the deadline until told to end."""
        while not self._ended:
            self.check_deadline()
            gevent.sleep(self._lease.nap(self._clock()))

    def check_deadline(self) -> bool:
        """Stop all runs once one went unacknowledged for longer than D; whether it just did."""
        now = self._clock()
        self._kill_timer.arm(self._lease.kill_in(now))
        if not self._lease.lost(now) or not self._executor.hand_back_all():
            return False
        log.error(
            "[PT051] Redis %s lost for more than %g s: all tasks here are stopped and go on elsewhere,"
            " or here when it is back",
            self._address,
            self._lease.timing.lease,
        )
        self._on_lost()
        return True

    def _complain(self, error: StoreError) -> None:
        now = self._clock()
        self._complained = True  # or somebody else of this lane has, a moment ago
        if self._log_throttle.may(now, first=True) or isinstance(error, WrongKeyType):
            oldest = self._lease.living.oldest()
            left = self._lease.timing.lease - (now - oldest) if oldest is not None else None
            fate = f"; tasks stop in {max(0.0, left):.0f} s" if left is not None else ""
            log.warning("Redis %s does not acknowledge: %s%s", self._address, error, fate)


def _unknown(verdicts: Mapping[RunRef, Verdict]) -> set[RunRef]:
    """The runs that Redis does not know, or knows to be replaced."""
    return {ref for ref, verdict in verdicts.items() if verdict in (Verdict.GONE, Verdict.FENCED)}
