"""Releases runs to less loaded workers (opt-in: the setting `rebalance`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import gevent

from pytask.domain.balance import TAKE_PATIENCE, Share, batch, fair_share
from pytask.domain.errors import StoreError
from pytask.domain.figures import WorkerInfo
from pytask.domain.leases import Lease
from pytask.domain.timing import CLAIM_BATCH
from pytask.domain.wording import counted
from pytask.logger import get_logger
from pytask.runtime.runs.executor import Executor
from pytask.runtime.services.consumer import Consumer
from pytask.runtime.store_proxy import StoreProxy

log = get_logger(__name__)

LOOK = 0.05  # seconds between checks whether released tasks were claimed
LONGEST = 64  # maximum heartbeats between two attempts if no worker claims


@attrs.frozen(kw_only=True)
class BalancerPorts:
    """The ports of a balancer."""

    rate: float  # maximum runs released per second
    store_proxy: StoreProxy
    executor: Executor
    consumer: Consumer
    lease: Lease
    info: Callable[[], WorkerInfo]  # the figures of this worker
    clock: Callable[[], float]


class Balancer:
    """Compares workers every heartbeat.  A move is safe: it is a release followed by a claim."""

    def __init__(self, ports: BalancerPorts) -> None:
        self._rate = ports.rate
        self._store_proxy = ports.store_proxy
        self._executor = ports.executor
        self._consumer = ports.consumer
        self._lease = ports.lease
        self._info = ports.info
        self._clock = ports.clock
        self._ended = False
        self._beats = 1  # heartbeats until the next comparison
        self.moved = 0  # runs released so far

    def run(self) -> None:
        """Run until stopped."""
        while not self._ended:
            gevent.sleep(self._beats * self._lease.timing.heartbeat)
            try:
                self.look()
            except StoreError as error:
                log.debug("could not read the other workers: %s", error)
            except Exception:
                log.exception("could not rebalance")

    def end(self) -> None:
        """Stop after the current step."""
        self._ended = True

    def look(self) -> Share:
        """Make and carry out one decision; returns when all released tasks were claimed, or none will be."""
        if self._leaving or not self._lease.may_claim(self._clock()):
            return Share()
        if self._consumer.closed:
            return Share()  # it publishes no slots, and would give away all its runs
        # A worker that missed two reports may be gone; report times are whole seconds.
        within = 3 * self._lease.timing.slowest_heartbeat + 1
        mine = self._info()
        share = fair_share(mine, self._store_proxy.call(lambda store: store.recent_workers(within)))
        if share.give:
            queued = counted(self._executor.queued, "task")
            log.info("rebalancing: releasing up to %d of %s to other workers", share.give, queued)
            self._settle(taken=self._give(share))
        elif share.back_off:
            self._consumer.back_off(TAKE_PATIENCE)
            gevent.sleep(TAKE_PATIENCE)
            self._settle(taken=not self._waiting([]))
        else:
            self._beats = 1
        return share

    @property
    def _leaving(self) -> bool:
        return self._ended or self._executor.leaving

    def _settle(self, *, taken: bool) -> None:
        self._consumer.back_off(0)
        # The others report what they claimed with their next entry; until then, more would be released.
        self._beats = 2 if taken else min(2 * max(2, self._beats), LONGEST)
        if not taken:
            log.info("rebalancing: no worker claims the released tasks; retrying later")

    def _give(self, share: Share) -> bool:
        """Release in steps according to the rate, as long as the tasks are claimed."""
        size, seconds = batch(self._rate)
        left = share.give
        while left > 0 and not self._leaving and not self._consumer.closed:
            began = self._clock()
            self._consumer.back_off(seconds + TAKE_PATIENCE)
            ids = self._executor.move(min(left, size), share.functions)
            if not ids:
                return False  # no run can be moved
            self.moved += len(ids)
            left -= len(ids)
            if not self._taken(ids):
                return False
            gevent.sleep(max(0.0, seconds - (self._clock() - began)))
        return True

    def _taken(self, ids: Sequence[str]) -> bool:
        until = self._clock() + TAKE_PATIENCE
        while True:
            waiting = self._waiting(ids)
            moving = any(task_id in self._executor.living for task_id in ids)
            if not waiting and not moving:
                return True
            if self._clock() >= until or self._leaving:
                return not waiting  # a run that cannot be stopped does not block the others
            gevent.sleep(LOOK)

    def _waiting(self, ids: Sequence[str]) -> bool:
        """Whether any of these ids (or, without ids, any id) is at the tail of the queue."""
        queue = self._store_proxy.call(lambda store: store.peek(CLAIM_BATCH))
        return bool(queue if not ids else {raw.decode(errors="replace") for raw in queue} & set(ids))
