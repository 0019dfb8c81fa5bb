"""Which runs are dead, and which of them crashed their worker, as functions of `now`.

`now` is always a reading of the caller's own monotonic clock in seconds; clocks are never compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from pytask.domain.record import Expiry, Suspect
from pytask.domain.session_marks import expiry_of
from pytask.domain.timing import MOMENT

CRASH_LIMIT = 3  # consecutive crashes; one more makes the task poison
CRASH_YOUNG = 60.0  # seconds; only younger runs are blamed for the worker's death
QUARANTINE_FROM = 2  # crashes; such tasks are claimed one at a time, as the first may be another task's fault
CRASH_CROWD = 3  # runs are blamed only if the dead worker had at most this many young runs


def crash_pause(crashes: int, expiry: float) -> float:
    """Extra seconds before a run that is blamed again is requeued, by earlier crashes: 0, 1 or 5 expiries.

    A task with more crashes is poison and is not requeued.
    """
    return {1: expiry, 2: 5 * expiry}.get(crashes, 0.0)


def possible_pause(age: float, crashes: int, expiry: float) -> float:
    """The pause of a run that died at this age in seconds, if it is blamed: other runs decide that, too."""
    return crash_pause(crashes, expiry) if age < CRASH_YOUNG else 0.0


class Crowd:
    """The runs of one dead worker, and which of them its death counts against.

    A run is blamed if it was young when its worker died and one of few such runs: with hundreds of tasks in
    one process, a poison task would otherwise send its neighbours to ERROR as well.  An older run is never
    blamed, even if it was the only one: most such deaths are caused by an operator, the kernel or the
    machine.  The other runs of the dead worker therefore do not matter for a long-lived run.  With `blames`
    off no run is blamed, as where a person watches the tasks and corrects them.
    """

    def __init__(self, suspects: Iterable[Suspect], scale: float = 1.0, *, blames: bool = True) -> None:
        self._young = CRASH_YOUNG * scale
        self._few = blames and sum(one.age < self._young for one in suspects) <= CRASH_CROWD

    def blames(self, suspect: Suspect) -> bool:
        """Whether the death of its worker is counted against this run."""
        return self._few and suspect.dated and suspect.age < self._young

    def pause(self, suspect: Suspect, expiry: float) -> float:
        """Seconds that this run waits beyond the expiry; above 0 only if it is blamed again."""
        return crash_pause(suspect.crashes, expiry) if self.blames(suspect) else 0.0

    def judge(self, suspect: Suspect, *, proven: bool = False) -> Expiry:
        """The expiry of a dead run.  Only consecutive crashes count: a long-lived run resets them."""
        before = 0 if suspect.age >= self._young else suspect.crashes
        crashes = before + self.blames(suspect)
        return Expiry(
            id=suspect.id,
            run=suspect.run,
            seen=suspect.lease,
            crashes=crashes,
            poison=crashes > CRASH_LIMIT,
            proven=proven,
        )


def bury(
    suspects: Iterable[Suspect], expiry: float, scale: float = 1.0, *, blames: bool = True
) -> tuple[list[Expiry], int]:
    """The expiries for the runs of a process known to be dead, and the number of runs left to the monitor.

    Runs that are blamed again are left to the monitor, which waits for the pause of their crashes.
    """
    by_session: dict[str, list[Suspect]] = {}
    for suspect in suspects:
        by_session.setdefault(suspect.session, []).append(suspect)
    now: list[Expiry] = []
    left = 0
    for runs in by_session.values():
        crowd = Crowd(runs, scale, blames=blames)
        due = [suspect for suspect in runs if not crowd.pause(suspect, expiry)]
        now += [crowd.judge(suspect, proven=True) for suspect in due]
        left += len(runs) - len(due)
    return now, left


class Watch:
    """The memory of one monitor: the lease values that it has observed unchanged, and since when.

    As with Kubernetes leases, only the observer's own clock is used, so a clock step cannot make a living run
    look dead.

    Each run has the expiry of its owner, which its session names if it is shorter than `expiry`, that of all
    others.  With `uniform` all have the latter.
    """

    def __init__(self, expiry: float, scale: float = 1.0, *, uniform: bool = False) -> None:
        self.expiry = expiry
        self.scale = scale
        self.uniform = uniform
        self._seen: dict[str, tuple[str, int, float]] = {}
        self._due = math.inf
        self._crowds: dict[str, dict[str, Suspect]] = {}  # by session, including those already requeued

    def __len__(self) -> int:
        return len(self._seen)

    def forget(self) -> None:
        """Forget all observations: Redis was unreachable, so they prove nothing."""
        self._seen.clear()
        self._crowds.clear()
        self._due = math.inf

    def wait(self, now: float, sweep: float) -> float:
        """Seconds until the next sweep: the sweep period, or less if a run expires before that.

        The expiry is a multiple of the period: at the ninth sweep it would be missed by a fraction of a
        second and cost another whole period.  Runs first seen in one sweep expire together: one extra sweep
        per dead worker.
        """
        return min(sweep, max(self._due - now + MOMENT, sweep / 20))

    def observe(self, suspects: Sequence[Suspect], now: float) -> list[Expiry]:
        """One sweep: record the suspects, and return those unchanged for the expiry (plus their pause)."""
        before, crowds = self._seen, self._crowds
        self._seen, self._crowds = {}, {}
        for suspect in suspects:
            run, lease, since = before.get(suspect.id, ("", 0, now))
            if (run, lease) != (suspect.run, suspect.lease):
                since = now
            self._seen[suspect.id] = (suspect.run, suspect.lease, since)
            # Renewals are spread over time, so the runs of a dead worker are requeued in several sweeps:
            # count those already requeued, too.
            crowd = self._crowds.setdefault(suspect.session, crowds.get(suspect.session, {}))
            crowd[suspect.id] = suspect
        died = {session: Crowd(crowd.values(), self.scale) for session, crowd in self._crowds.items()}
        expiries = {session: self._expiry_of(session) for session in died}
        dead: list[Expiry] = []
        self._due = math.inf
        for suspect in suspects:
            crowd_of, expiry = died[suspect.session], expiries[suspect.session]
            due = self._seen[suspect.id][2] + expiry + crowd_of.pause(suspect, expiry)
            if now > due:
                dead.append(crowd_of.judge(suspect))
            else:
                self._due = min(self._due, due)
        return dead

    def _expiry_of(self, session: str) -> float:
        return self.expiry if self.uniform else expiry_of(session, self.expiry, self.scale)
