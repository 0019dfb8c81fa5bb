"""Reloads: validate the data before the run is stopped, and confirm later that the new run is alive.

Data that does not fit is refused, and the run continues with its current data.  A task with `on_reload()`
takes the data in place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import attrs

from pytask.domain.control import StopReason, outweighs
from pytask.domain.errors import Refused, StoreError
from pytask.domain.leases import Lease
from pytask.domain.record import Claim, InForce, RunRef, StartFields, Verdict
from pytask.domain.task import Task
from pytask.logger import get_logger
from pytask.runtime.runs import in_place
from pytask.runtime.runs.fitting import Fault, judged
from pytask.runtime.runs.in_force import in_force, is_in_force
from pytask.runtime.runs.refusals import LARGE, Refusals
from pytask.runtime.runs.reload_trial import LIVED
from pytask.runtime.runs.run import Run
from pytask.runtime.runs.saving import unsent
from pytask.runtime.settings import Settings
from pytask.runtime.store_proxy import StoreProxy
from pytask.runtime.tree import Service
from pytask.runtime.until_answered import until_answered

log = get_logger(__name__)

FIRST_MOMENTS = 1.0  # seconds of start() after which a reloaded run counts as alive
SHOWN = 1000  # characters of a reason, on the wire


@attrs.frozen
class Judged:
    """Data that fits, as it is in the hash and decoded."""

    claim: Claim
    data: Any


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

    def judge(self, run: Run, then: Callable[[Run], None], otherwise: Callable[[Run], None]) -> None:
        """Call `then` if the run is to be stopped for the data in its hash, which fits.

        Otherwise the run takes the data in place, or the reload is refused; then call `otherwise`.
        """
        if run not in self._judged:
            self._judged.add(run)
            Service.spawn(self._judge, run, then, otherwise)

    def _judge(self, run: Run, then: Callable[[Run], None], otherwise: Callable[[Run], None]) -> None:
        lived = self._lived(run)
        try:
            found = self._until_judged(run)
            while found is not None and in_place.takes(run, found.claim):
                done = self._take(run, found, lived)
                found = None if done else self._until_judged(run)
        finally:
            self._judged.discard(run)
        if found is not None and _matters(run):
            run.fits = found.claim
            then(run)
        else:
            otherwise(run)

    @staticmethod
    def _lived(run: Run) -> InForce | None:
        """The data to go back to; None for a pre-started task.

        Its own trial may end between here and the call, so the call takes both: this data, and what the trial
        goes back to.
        """
        return None if run.local else attrs.evolve(in_force(run), on_trial=bool(run.trial))

    def _until_judged(self, run: Run) -> Judged | None:
        """The data of the reload; None if it was refused or is no longer needed."""
        refusals, most = Refusals(), self._settings.max_data

        def look() -> Judged | None:
            while _matters(run):
                claim = self._store_proxy.call(lambda store: store.preview(run.ref, most))
                if not claim.won:
                    return None  # no longer ours: the next renewal handles it
                if self._is_repeated(run, claim):
                    self._store_proxy.call(lambda store: store.settle(run.ref, repeated=True))
                    return None
                data, found = self._judged_data(claim)
                if found is None:
                    return Judged(claim, data)
                verdict = self._refuse(claim, found, in_force(run))
                if verdict is not Verdict.MOVED:
                    run.answered = self._clock()
                    return None
            return None

        def give_up(error: StoreError) -> bool:
            nonlocal most
            log.warning("task %s: reload waits for Redis: %s", run.id, error)
            if refusals.refused(error, self._lease.last_ok, self._clock()):
                most = min(most, LARGE)  # larger data is left out of the answer, and refused
            return False

        return until_answered(look, give_up, self._pause)

    def _is_repeated(self, run: Run, claim: Claim) -> bool:
        """Whether a request repeats one that was just answered.

        Every worker that receives a message stores the request, perhaps after its owner has answered it, and
        the next renewal returns it.  A refusal must not become a restart with the old data by this.  A client
        that asks again says so.
        """
        soon = 2 * self._lease.timing.slowest_heartbeat
        return claim.answered and self._clock() - run.answered <= soon and is_in_force(run, claim)

    def _take(self, run: Run, judged: Judged, lived: InForce | None) -> bool:
        """Let the run take data in place; False if there is other data by now."""
        claim = judged.claim
        fault = in_place.take(run, claim, judged.data, partial(_begin_trial, run, claim, lived))
        run.host.flush(run, partial(_matters, run))  # what `on_reload()` emitted comes before the answer
        if not _matters(run):
            return True  # stopped meanwhile: its end, or its next run, answers the request
        if fault is not None:
            log.warning("[PT165] task %s: on_reload() did not take the data: %s", run.id, fault[1])
            verdict = self._until_refused(claim, fault, in_force(run))
            run.answered = self._clock()
            return verdict is not Verdict.MOVED
        mark = f"{run.ref.run}#{run.reloads}"
        run.host.took_data(run)
        accepted = self._until_accepted(run, claim, mark, lived)
        if accepted is None:
            return True
        if accepted.won:
            run.answered = self._clock()
            run.fallback = None
            run.trial = mark if accepted.trial else ""
            self._watch_trial(run)
        return accepted.verdict is not Verdict.MOVED

    def _until_accepted(self, run: Run, claim: Claim, mark: str, lived: InForce | None) -> Claim | None:
        refusals, known = Refusals(), lived

        def accept() -> Claim:
            return self._store_proxy.call(lambda store: store.accept(claim, mark, self._settings.name, known))

        def give_up(error: StoreError) -> bool:
            nonlocal known
            log.warning("task %s: its reload in place waits for Redis: %s", run.id, error)
            if refusals.refused(error, self._lease.last_ok, self._clock()):
                known = None  # too large for Redis: this data cannot be rolled back
            return not _matters(run)

        return until_answered(accept, give_up, self._pause)

    def replace(self, old: Run, new: RunRef) -> tuple[Claim | None, float]:
        """The answer (None: given up), and the send time of the first call that may have caused it."""
        sent, refusals, most = self._clock(), Refusals(), self._settings.max_data

        lived, saved = self._lived(old), unsent(old)

        def reload() -> Claim:
            return self._store_proxy.call(
                lambda store: store.reload(old.ref, new, self._settings.name, most, saved, lived=lived)
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
        found = None if old.fits is None else self._judged_data(claim)[1]
        if old.fits is None or found is None:
            return claim
        force = InForce(old.fits.function, old.fits.data)
        Service.spawn(self._until_refused, claim, found, force)
        return attrs.evolve(claim, function=old.fits.function, data=old.fits.data, oversize=0)

    def _until_refused(self, claim: Claim, found: Fault, force: InForce) -> Verdict | None:
        """Refuse data outside of the judgement: it did not pass `on_reload()`, or was written later."""

        def give_up(error: StoreError) -> bool:
            log.warning("task %s: could not store the refusal of a reload: %s", claim.id, error)
            return False

        return until_answered(lambda: self._refuse(claim, found, force), give_up, self._pause)

    def _refuse(self, claim: Claim, found: Fault, force: InForce) -> Verdict:
        path, reason = found[0], found[1][:SHOWN]
        verdict = self._store_proxy.call(lambda store: store.refuse(claim, path, reason, force))
        if verdict is Verdict.OK:
            log.warning("[PT049] task %s: reload refused, the run continues: %s", claim.id, reason)
        return verdict

    def _judged_data(self, claim: Claim) -> tuple[Any, Fault | None]:
        cls = self._tasks.get(claim.function)
        if claim.function and cls is None:
            return None, None  # validated by a worker that knows it
        return judged(claim, cls, self._settings.max_data)

    # -- afterwards -----------------------------------------------------------------------------------

    def began(self, run: Run) -> None:
        """`start()` of a reloaded run is about to be called."""
        Service.spawn_later(FIRST_MOMENTS * self._lease.timing.scale, self._settle, run)
        self._watch_trial(run)

    def _watch_trial(self, run: Run) -> None:
        if run.trial:
            Service.spawn_later(LIVED * self._lease.timing.scale, self._settle, run, run.trial)

    def _settle(self, run: Run, mark: str = "") -> None:
        if mark and run.trial == mark and _lives(run):
            run.trial = ""  # from here on a failure is one of the task, not of the reload

        def settle() -> None:
            if _lives(run):
                self._store_proxy.call(lambda store: store.settle(run.ref, mark))

        def give_up(error: StoreError) -> bool:
            log.debug("task %s: could not confirm that its new run is alive: %s", run.id, error)
            return False

        until_answered(settle, give_up, self._pause)


def _fields_after(old: Run) -> StartFields | None:
    kept = old.kept
    if kept is None or kept.raw is None:
        return old.claim.fields
    return attrs.evolve(old.claim.fields or StartFields(), saved=kept.raw)


def _begin_trial(run: Run, claim: Claim, lived: InForce | None) -> None:
    """The task has taken the data of `claim` in place; Redis does not know it yet."""
    if lived is not None and (lived.data or b"") != (claim.data or b""):
        run.fallback = lived
    run.reloads += 1
    run.packed = None
    run.claim = attrs.evolve(run.claim, data=claim.data)


def _lives(run: Run) -> bool:
    return not run.over and run.failure is None


def _matters(run: Run) -> bool:
    return not run.over and outweighs(StopReason.RELOAD, run.stop_reason)
