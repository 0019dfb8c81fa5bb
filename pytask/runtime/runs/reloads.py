"""Reloads: validate the data before the run is stopped, and confirm later that the new run is alive.

Data that does not fit is refused, and the run continues with its current data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from pytask.domain.control import StopReason, outweighs
from pytask.domain.errors import Refused, StoreError
from pytask.domain.leases import Lease
from pytask.domain.record import Claim, RunRef, StartFields, Verdict
from pytask.domain.task import Task
from pytask.logger import get_logger
from pytask.runtime.runs.fitting import Fault, fault
from pytask.runtime.runs.refusals import LARGE, Refusals
from pytask.runtime.runs.run import Run
from pytask.runtime.runs.saving import unsent
from pytask.runtime.settings import Settings
from pytask.runtime.store_proxy import StoreProxy
from pytask.runtime.tree import Service
from pytask.runtime.until_answered import until_answered

log = get_logger(__name__)

FIRST_MOMENTS = 1.0  # seconds of start() after which a reloaded run counts as alive
SHOWN = 1000  # characters of a reason, on the wire


class Reloads:
    """Validates the data of reloads, one at a time per run."""

    def __init__(
        self,
        *,
        store_proxy: StoreProxy,
        tasks: Mapping[str, type[Task]],
        settings: Settings,
        lease: Lease,
        clock: Callable[[], float],
    ) -> None:
        self._store_proxy = store_proxy
        self._tasks = tasks
        self._settings = settings
        self._lease = lease
        self._clock = clock
        self._pause = lease.timing.call_timeout / 3  # seconds between attempts
        self._judged: set[Run] = set()  # runs whose data is being validated

    def judge(self, run: Run, then: Callable[[Run], None]) -> None:
        """Call `then` if the data in the hash of this run fits; otherwise refuse the reload."""
        if run not in self._judged:
            self._judged.add(run)
            Service.spawn(self._judge, run, then)

    def _judge(self, run: Run, then: Callable[[Run], None]) -> None:
        try:
            claim = self._until_judged(run)
        finally:
            self._judged.discard(run)
        if claim is not None and _matters(run):
            run.fits = claim
            then(run)

    def _until_judged(self, run: Run) -> Claim | None:
        """The data of the reload; None if it was refused or is no longer needed."""
        refusals, most = Refusals(), self._settings.max_data

        def look() -> Claim | None:
            while _matters(run):
                claim = self._store_proxy.call(lambda store: store.preview(run.ref, most))
                if not claim.won:
                    return None  # no longer ours: the next renewal handles it
                found = self._fault(claim)
                if found is None:
                    return claim
                if self._refuse(claim, found) is not Verdict.MOVED:
                    return None
            return None

        def give_up(error: StoreError) -> bool:
            nonlocal most
            log.warning("task %s: reload waits for Redis: %s", run.id, error)
            if refusals.refused(error, self._lease.last_ok, self._clock()):
                most = min(most, LARGE)  # larger data is left out of the answer, and refused
            return False

        return until_answered(look, give_up, self._pause)

    def replace(self, old: Run, new: RunRef) -> tuple[Claim | None, float]:
        """The answer (None: given up), and the send time of the first call that may have caused it."""
        sent, refusals, most = self._clock(), Refusals(), self._settings.max_data

        saved = unsent(old)

        def reload() -> Claim:
            return self._store_proxy.call(
                lambda store: store.reload(old.ref, new, self._settings.name, most, saved)
            )

        def give_up(error: StoreError) -> bool:
            nonlocal sent, most
            if refusals.refused(error, self._lease.last_ok, self._clock()):
                most = min(most, LARGE)  # larger data is left out of the answer, and fails the run
            log.warning("task %s: reload waits for Redis: %s", old.id, error)
            if old.stop_reason is not StopReason.RELOAD:
                return True
            if isinstance(error, Refused):
                sent = self._clock()  # a refused call had no effect
            return False

        claim = until_answered(reload, give_up, self._pause)
        if claim is not None and claim.won and old.kept is not None:
            old.kept.acknowledged(old.kept.number)
        return claim, sent

    def usable(self, old: Run, claim: Claim) -> Claim:
        """The data of the new run: the current data, or the validated data if the current does not fit."""
        # The same start: only its data is new, and what the old run has saved.
        claim = attrs.evolve(claim, fields=_fields_after(old))
        found = None if old.fits is None else self._fault(claim)
        if old.fits is None or found is None:
            return claim
        Service.spawn(self._refuse_late, claim, found)
        return attrs.evolve(claim, function=old.fits.function, data=old.fits.data, oversize=0)

    def _refuse_late(self, claim: Claim, found: Fault) -> None:
        """Refuse data that was written after the validation, when the old run was already being stopped."""

        def give_up(error: StoreError) -> bool:
            log.warning("task %s: could not store the refusal of a reload: %s", claim.id, error)
            return False

        until_answered(lambda: self._refuse(claim, found), give_up, self._pause)

    def _refuse(self, claim: Claim, found: Fault) -> Verdict:
        path, reason = found[0], found[1][:SHOWN]
        verdict = self._store_proxy.call(lambda store: store.refuse(claim, path, reason))
        if verdict is Verdict.OK:
            log.warning("[PT049] task %s: reload refused, the run continues: %s", claim.id, reason)
        return verdict

    def _fault(self, claim: Claim) -> Fault | None:
        cls = self._tasks.get(claim.function)
        if claim.function and cls is None:
            return None  # validated by a worker that knows it
        return fault(claim, cls, self._settings.max_data)

    # -- afterwards -----------------------------------------------------------------------------------

    def began(self, run: Run) -> None:
        """`start()` of a reloaded run is about to be called."""
        Service.spawn_later(FIRST_MOMENTS * self._lease.timing.scale, self._settle, run)

    def _settle(self, run: Run) -> None:
        def settle() -> None:
            if not run.over and run.failure is None:
                self._store_proxy.call(lambda store: store.settle(run.ref))

        def give_up(error: StoreError) -> bool:
            log.debug("task %s: could not confirm that its new run is alive: %s", run.id, error)
            return False

        until_answered(settle, give_up, self._pause)


def _fields_after(old: Run) -> StartFields | None:
    kept = old.kept
    if kept is None or kept.raw is None:
        return old.claim.fields
    return attrs.evolve(old.claim.fields or StartFields(), saved=kept.raw)


def _matters(run: Run) -> bool:
    return not run.over and outweighs(StopReason.RELOAD, run.stop_reason)
