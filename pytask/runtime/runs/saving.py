"""What runs save for the next run of their tasks: kept here, and sent with the renewals and with the ends.

A save replaces the value before, costs no call, and never waits.  Each has a number, by which Redis refuses
an older value whose call was executed late.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import attrs
import gevent

from pytask.domain.control import StopReason
from pytask.domain.errors import Refused, StoreError, Unavailable, may_be_size
from pytask.domain.leases import RENEW_CHUNK, Lease
from pytask.domain.lifecycle import Trigger
from pytask.domain.record import Answer, Change, RunRef, Save, Verdict
from pytask.domain.task import Task
from pytask.domain.task_config import redis_wait
from pytask.logger import get_logger
from pytask.runtime.runs.refusals import LARGE, REMEMBERED, Refusals
from pytask.runtime.store_proxy import StoreProxy

log = get_logger(__name__)

AT_ONCE = 1024 * 1024  # bytes of the values of one renewal
NO_SAVES: Mapping[str, Save] = {}
LOST = (Verdict.FENCED, Verdict.GONE)
TAKEN = (StopReason.FENCED, StopReason.FORGET)


class Kept:
    """The last value that a task has saved, in this run or before it."""

    __slots__ = ("number", "raw", "stored")

    def __init__(self, raw: bytes | None = None) -> None:
        self.raw = raw  # JSON; None before the first save
        self.number = 0  # of the last save in this run
        self.stored = 0  # the number of the one that Redis has acknowledged

    @property
    def unsent(self) -> bool:
        """Whether Redis has not acknowledged the value."""
        return self.raw is not None and self.number > self.stored

    def save(self, raw: bytes) -> None:
        """Replace the value."""
        self.raw = raw
        self.number += 1

    def acknowledged(self, number: int) -> None:
        """Redis has the value of this number, or a newer one."""
        self.stored = max(self.stored, number)

    def again(self) -> None:
        """Redis may have lost the value."""
        self.stored = -1


class Saver(Protocol):
    """The part of a run that saves."""

    id: str
    ref: RunRef
    kept: Kept | None
    over: bool
    stop_reason: StopReason | None
    cls: type[Task] | None


def unsent(run: Saver) -> bytes:
    """What a run has saved and Redis has not acknowledged; b"" for nothing."""
    kept = run.kept
    return kept.raw if kept is not None and kept.unsent and kept.raw is not None else b""


def carrying(run: Saver, change: Change) -> Change:
    """The end of a run, with what it has saved: a good end removes it, any other keeps the last value."""
    if run.kept is None or change.local:
        return change
    value = b"" if change.trigger is Trigger.END else unsent(run)
    if not value and change.trigger is not Trigger.END:
        return change
    return attrs.evolve(change, fields={"saved": value, **change.fields})


class Saving:
    """The values of all runs of a worker that Redis does not have yet, by run."""

    def __init__(
        self,
        *,
        living: Mapping[str, Saver],
        store_proxy: StoreProxy,
        lease: Lease,
        clock: Callable[[], float],
    ) -> None:
        self._living = living
        self._store_proxy = store_proxy
        self._lease = lease
        self._clock = clock
        self._unsent: dict[str, Saver] = {}
        self._refusals = Refusals()
        self._most = AT_ONCE  # bytes of the values of one renewal
        self._withheld_until = -math.inf  # values of a size that Redis refuses are not sent before
        self._without = False  # the last renewal with values failed: the next one goes without
        self._late = False  # values were left out of the last renewal

    def keep(self, run: Saver, raw: bytes) -> None:
        """Keep a value for the next renewal of its run."""
        if run.kept is None:
            run.kept = Kept()
        run.kept.save(raw)
        if not run.over:
            self._unsent[run.ref.run] = run

    def forget(self, run: Saver) -> None:
        """The run is over: its end carries what is left."""
        self._unsent.pop(run.ref.run, None)

    def again(self, refs: Iterable[RunRef] | None = None) -> None:
        """Redis may have lost what these runs have saved (None: any run): send it again."""
        for task_id in [*self._living] if refs is None else [ref.id for ref in refs]:
            run = self._living.get(task_id)
            if run is not None and run.kept is not None and run.kept.raw is not None:
                run.kept.again()
                if not run.over:
                    self._unsent[run.ref.run] = run

    # -- with renewals --------------------------------------------------------------------------------

    @property
    def late(self) -> bool:
        """Whether values were left out of a renewal, and are to be sent now."""
        return self._late and bool(self._unsent)

    def due(self, refs: Sequence[RunRef]) -> tuple[Sequence[RunRef], Mapping[str, Save]]:
        """The runs to renew in one call, fewer if their values are large, and these values."""
        if not self._unsent:
            return refs, NO_SAVES
        if self._without:
            self._without, self._late = False, True
            return refs, NO_SAVES
        if not refs and self._late:
            self._late = False
            known = (run.ref for run in self._unsent.values() if run.ref.run in self._lease.living)
            refs = [ref for ref, _ in zip(known, range(RENEW_CHUNK), strict=False)]
        saves: dict[str, Save] = {}
        size = 0
        limit = self._refusals.limit if self._clock() < self._withheld_until else math.inf
        for place, ref in enumerate(refs):
            run = self._unsent.get(ref.run)
            if run is None or run.kept is None or run.kept.raw is None or len(run.kept.raw) >= limit:
                continue
            size += len(run.kept.raw)
            if saves and size > self._most:
                return refs[:place], saves
            saves[ref.run] = Save(run.id, ref.run, run.kept.number, run.kept.raw)
        return refs, saves

    def acknowledged(self, saves: Mapping[str, Save], answers: Mapping[RunRef, Answer]) -> None:
        """A renewal with these values was answered."""
        lost = {ref.run for ref, answer in answers.items() if answer in LOST}
        for one in saves.values():
            if one.run not in lost:
                self._acknowledged(one)
        self._most = min(AT_ONCE, 2 * self._most)
        self._refusals.taken(lambda: sum(len(one.value) for one in saves.values()))

    def _acknowledged(self, one: Save) -> None:
        run = self._unsent.get(one.run)
        if run is not None and run.kept is not None:
            run.kept.acknowledged(one.number)
            if not run.kept.unsent:
                del self._unsent[one.run]

    def failed(self, saves: Mapping[str, Save], error: StoreError) -> None:
        """A renewal with these values was not acknowledged: leases go first, so the next one has none."""
        self._without = True
        size, alone = sum(len(one.value) for one in saves.values()), len(saves) == 1
        if size < LARGE or not may_be_size(error):
            return  # so little is never refused for its size: it is sent again
        if not self._refusals.refused(error, self._lease.last_ok, self._clock(), size=size, alone=alone):
            return
        self._most = max(1, size // 8)
        if alone:
            self._withheld_until = self._clock() + REMEMBERED * self._lease.timing.lease
            (one,) = saves.values()
            log.error(
                "[PT132] task %s: Redis refuses what it saves (%d bytes), but accepts less: %s",
                one.id, size, error,
            )  # fmt: skip

    # -- at once --------------------------------------------------------------------------------------

    def store(self, run: Saver, raw: bytes) -> bool:
        """Save, and wait until Redis has it; False if the task no longer belongs to this run.

        Raises `StoreError` once Redis has not taken it for as long as the class waits for Redis.
        """
        self.keep(run, raw)
        number = 0 if run.kept is None else run.kept.number
        one = Save(run.id, run.ref.run, number, raw)
        until = self._clock() + (0.0 if run.cls is None else redis_wait(run.cls))
        while True:
            try:
                verdict = self._stored(one)
            except (Unavailable, Refused) as error:
                if self._clock() >= until:
                    raise
                log.debug("task %s: save() waits for Redis: %s", run.id, error)
            else:
                if verdict not in LOST:
                    return True
                # A new server may not know the run yet: the next renewal decides, or puts it back.
                if run.stop_reason in TAKEN or not self._lease.may_adopt(self._clock()):
                    return False
            gevent.sleep(self._lease.timing.call_timeout / 3)

    def _stored(self, one: Save) -> Verdict:
        generation, server = self._lease.generation, self._lease.server
        verdict = self._store_proxy.call(lambda store: store.save(one, server))
        if verdict not in LOST and generation == self._lease.generation:  # else it may be lost again
            self._acknowledged(one)
        return verdict
