"""Hands runs back while other workers have more room (opt-in: the setting `rebalance`)."""

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

LOOK = 0.05  # seconds between looks at whether it was taken
LONGEST = 64  # heartbeats between two tries, where nobody takes


@attrs.frozen(kw_only=True)
class BalancerPorts:
    """What a balancer works with."""

    rate: float  # runs a second that may be handed back
    store_proxy: StoreProxy
    executor: Executor
    consumer: Consumer
    lease: Lease
    info: Callable[[], WorkerInfo]  # what this worker shows
    clock: Callable[[], float]


class Balancer:
    """Looks at the others every H.  Nothing is lost or doubled by it: a move is a release and a claim."""

    def __init__(self, ports: BalancerPorts) -> None:
        self._rate = ports.rate
        self._store_proxy = ports.store_proxy
        self._executor = ports.executor
        self._consumer = ports.consumer
        self._lease = ports.lease
        self._info = ports.info
        self._clock = ports.clock
        self._ended = False
        self._beats = 1  # heartbeats until the next look
        self.moved = 0  # runs handed back so far

    def run(self) -> None:
        """Look until told to end."""
        while not self._ended:
            gevent.sleep(self._beats * self._lease.timing.heartbeat)
            try:
                self.look()
            except StoreError as error:
                log.debug("could not look at the other workers: %s", error)
            except Exception:
                log.exception("could not rebalance")

    def end(self) -> None:
        """Let the loop end after what it is doing."""
        self._ended = True

    def look(self) -> Share:
        """One decision, carried out: returns when all of it was taken, or nobody took it."""
        if self._leaving or not self._lease.may_claim(self._clock()):
            return Share()
        if self._consumer.closed:
            return Share()  # it shows no places, and would give away all that may end here
        # Whoever missed two of its entries may be gone; the times there are whole seconds.
        within = 3 * self._lease.timing.heartbeat + 1
        mine = self._info()
        share = fair_share(mine, self._store_proxy.call(lambda store: store.recent_workers(within)))
        if share.give:
            queued = counted(self._executor.queued, "task")
            log.info("rebalancing: %d of %s may go to other workers", share.give, queued)
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
        # After moves the others show what they took in their next entry: before that we would give twice.
        self._beats = 2 if taken else min(2 * max(2, self._beats), LONGEST)
        if not taken:
            log.info("rebalancing: nobody takes what lies in the queue; tried again later")

    def _give(self, share: Share) -> bool:
        """In steps of the rate, as long as they are taken."""
        size, seconds = batch(self._rate)
        left = share.give
        while left > 0 and not self._leaving and not self._consumer.closed:
            began = self._clock()
            self._consumer.back_off(seconds + TAKE_PATIENCE)
            ids = self._executor.move(min(left, size), share.functions)
            if not ids:
                return False  # what there is cannot be moved
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
                return not waiting  # one that does not let itself be stopped holds up no others
            gevent.sleep(LOOK)

    def _waiting(self, ids: Sequence[str]) -> bool:
        """Whether any of these (or, without ids, anything) lies where the next ones are taken."""
        queue = self._store_proxy.call(lambda store: store.peek(CLAIM_BATCH))
        return bool(queue if not ids else {raw.decode(errors="replace") for raw in queue} & set(ids))
