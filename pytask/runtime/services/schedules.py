"""Fires the schedules that are due, and stores the definitions that the code of this worker has.

Any worker may do it at any time: what is due, and when it is next, follows from what is stored, and Redis
carries out the answer of one of them only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice

import attrs
from gevent.event import Event as Flag

from pytask.domain.errors import BadSchedule, StoreError, WrongKeyType
from pytask.domain.firing import DUE_MOST, RECHECK, Definition, Firing, Place, Plan, Stored, plan, starts
from pytask.domain.leases import Lease
from pytask.domain.occurrences import skipped_line
from pytask.domain.partition import partition_of
from pytask.domain.ports import Store
from pytask.domain.record import Verdict
from pytask.domain.schedules import Overlap, Schedule, read
from pytask.logger import get_logger
from pytask.runtime.store_proxy import StoreProxy

log = get_logger(__name__)

CODE = "code"  # the origin of a schedule that the code of workers defines


@attrs.frozen(kw_only=True)
class Defined:
    """A schedule that the code of this worker defines."""

    schedule: Schedule
    data: bytes = attrs.field(default=b"", repr=False)  # JSON


class Schedules:
    """The schedules of one partition."""

    def __init__(
        self,
        defined: Sequence[Defined] = (),
        place: Place = (0, 1),
        on_fired: Callable[[Mapping[str, int]], None] = lambda _: None,
    ) -> None:
        self._place = place
        self._on_fired = on_fired  # called with what became of occurrences
        self._digests = {one.schedule.name: one.schedule.digest(one.data) for one in defined}
        self._defined = [one for one in defined if self._is_here(one.schedule.name)]
        self._ended: set[str] = set()

    @property
    def digests(self) -> Mapping[str, str]:
        """The names of those that the code of this worker defines, in any partition, with their digests."""
        return self._digests

    def define(self, store: Store, *, lost: bool = False, marker: str = "") -> bool:
        """Store the definitions of the code.  May be repeated: what is there already stays as it is.

        With `lost` only those that are gone.  False where the data is no longer that of `marker`: then
        nothing more is stored.  A key of another type, raised last, keeps no other away.
        """
        broken = None
        for one in self._defined:
            schedule = one.schedule
            definition = Definition(
                name=schedule.name, fields=schedule.fields(), data=one.data,
                origin=CODE, lost=lost, marker=marker,
            )  # fmt: skip
            try:
                verdict = store.schedules.define(definition)
            except WrongKeyType as error:
                broken = error
                log.warning("schedule %s cannot be stored, a key of it is no hash: %s", schedule.name, error)
                continue
            if verdict is Verdict.MOVED:
                return False
            if verdict is Verdict.OK:
                log.info("schedule %s: %s, starts %s", schedule.name, schedule.words(), schedule.function)
        if broken is not None:
            raise broken
        return True

    def run_is_over(self, name: str) -> None:
        """An occurrence of this schedule may have waited for the end of a run.  Never blocks."""
        self._ended.add(name)

    @property
    def pressing(self) -> bool:
        """Whether a call may find more than what is due."""
        return bool(self._ended)

    def __call__(self, store: Store) -> float | None:
        """Fire what is due, at most 256 schedules; the seconds until the next is due, None for no more."""
        ended = list(islice(self._ended, DUE_MOST))
        # Before the call: a run that ends meanwhile is told by the next one.
        self._ended.difference_update(ended)
        try:
            found = store.schedules.due(DUE_MOST, ended)
        except StoreError:
            self._ended.update(ended)
            raise
        firings = []
        for one in found.due:
            try:
                firings.append(self._decided(one, found.now))
            except BadSchedule as error:
                self._fault(store, one, error.args[0])
            except (ArithmeticError, LookupError, TypeError, ValueError) as error:
                # A fault of ours: without this, it would stop all the others, on all workers.
                self._fault(store, one, f"schedule {one.name[:80]!r} cannot be computed: {error!r}")
                log.debug("schedule %r", one.name, exc_info=error)
        for verdict, firing in zip(store.schedules.fire(firings), firings, strict=True):
            if verdict is not Verdict.OK:
                log.debug("schedule %s: %s, nothing was started", firing.name, verdict)
        if firings:
            self._on_fired(store.schedules.outcomes)
        if firings and len(found.due) < DUE_MOST:
            # The next times of those that were fired are known only now.
            soonest = max(0.0, (min(map(_next_look, firings)) - found.now) / 1000)
            return soonest if found.next is None else min(soonest, found.next)
        return found.next

    def _decided(self, one: Stored, now: int) -> Firing:
        fields = {} if one.fields is None else one.fields
        if not fields:
            # Nothing to read: the call removes it, or puts it off.
            return Firing(name=one.name, score=one.score, next=now, recheck=now)
        schedule = read(one.name, fields)
        if not self._is_here(one.name):
            here, count = self._place
            raise BadSchedule(
                f"schedule {one.name[:80]!r} belongs to partition {partition_of(one.name, count)}, but is"
                f" stored in partition {here}: remove it here, and add it with `pytask schedule add`"
            )
        if one.fresh:
            due = Plan(next=schedule.next(now))
        else:
            due = plan(schedule, one.pending, now, paused=one.paused)
        return Firing(
            name=one.name,
            score=one.score,
            paused=one.paused,
            overlap=schedule.overlap,
            starts=starts(schedule, due.slots, self._place),
            skipped=tuple(map(skipped_line, due.skipped)),
            next=due.next,
            recheck=now + RECHECK,
        )

    def _is_here(self, name: str) -> bool:
        partition, count = self._place
        return count == 1 or partition_of(name, count) == partition

    def _fault(self, store: Store, one: Stored, text: str) -> None:
        if store.schedules.fault(one.name, one.score, text) is Verdict.OK:
            log.error("[PT155] a schedule cannot be used and is paused: %s", text)


@attrs.frozen(kw_only=True)
class DefinitionsPorts:
    """The ports of the definitions."""

    schedules: Schedules
    store_proxy: StoreProxy
    lease: Lease  # knows the marker of the data, and when it was lost
    clock: Callable[[], float]
    on_defined: Callable[[], None]


class Definitions:
    """Stores what the code defines, once the worker has reached Redis, and again after a loss of data.

    Another server, or the same one restarted, may have older data under the same marker: what is gone there
    is stored again, and what is there stays, as another release may have defined it since.

    After a loss of all data nothing in Redis says which tasks still run, and a worker that cannot reach Redis
    may run one until K has passed.  Only then are the definitions stored: none of them starts a second run.
    This holds as well for a worker that has not stored them yet, as Redis was full: it may run an occurrence
    of a schedule that another one has stored.
    """

    def __init__(self, ports: DefinitionsPorts) -> None:
        self._ports = ports
        self._marker = ""  # of the data in which they were stored, and the server that had it
        self._server = ""
        self._failed = False
        self._ended = Flag()

    def run(self) -> None:
        """Run until stopped."""
        while not self._ended.is_set():
            self.look()
            soon = not self._marker and not self._failed
            timing = self._ports.lease.timing
            self._ended.wait(timing.tick if soon else timing.heartbeat)

    def end(self) -> None:
        """Stop after the current step."""
        self._ended.set()

    def look(self) -> None:
        """One check: without a renewal there is no Redis, and without a new marker nothing was lost."""
        lease = self._ports.lease
        seen = lease.known
        if seen is None or (seen.id, seen.server) == (self._marker, self._server):
            return
        if self._ports.clock() - lease.lost_at < lease.timing.longest_kill:
            return
        lost = seen.id == self._marker
        try:
            # The marker goes along: this call may be under way when all data is lost, which the next renewal
            # tells.
            stored = self._ports.store_proxy.call(
                lambda store: self._ports.schedules.define(store, lost=lost, marker=seen.id)
            )
        except StoreError as error:
            self._failed = True
            log.warning("could not store the schedules of this code; retrying: %s", error)
            return
        if stored:
            self._marker, self._server, self._failed = seen.id, seen.server, False
            self._ports.on_defined()


def _next_look(firing: Firing) -> int:
    waits = firing.overlap in (Overlap.QUEUE, Overlap.REPLACE)
    return min(firing.next, firing.recheck) if waits else firing.next
