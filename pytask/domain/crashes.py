"""Which runs are dead, and whose fault that is, as functions of `now`.

`now` is always a reading of the caller's own steady clock in seconds; no two clocks are compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from pytask.domain.record import Expiry, Suspect
from pytask.domain.timing import MOMENT

CRASH_LIMIT = 3  # in a row; one more, and the task is poison
CRASH_YOUNG = 60.0  # seconds: only a younger run is blamed for its worker's death; an older one ends the row
QUARANTINE_FROM = 2  # crashes: such a task is taken one at a time; the first crash may be a bystander's
CRASH_CROWD = 3  # ... and only if the dead worker had no more young runs than this


def crash_pause(crashes: int, expiry: float) -> float:
    """Seconds to wait before a run that is blamed after `crashes` earlier crashes is handed on: 0, T, 5T.

    Beyond that it is poison, and there is nothing to wait for.
    """
    return {1: expiry, 2: 5 * expiry}.get(crashes, 0.0)


class Crowd:
    """The runs of one dead worker, and which of them its death counts against.

    Evidence is a run that was young when its worker died, and one of few such runs: with hundreds of tasks
    in one process a poison task would otherwise take its neighbours to ERROR with it.  A worker that dies
    under a run of some age says nothing about that run, even if it was alone: most such deaths are an
    operator's, the kernel's or the machine's.  What was seen of the dead worker's other runs therefore
    decides nothing about a long-lived one.
    """

    def __init__(self, suspects: Iterable[Suspect], scale: float = 1.0) -> None:
        self._young = CRASH_YOUNG * scale
        self._few = sum(one.age < self._young for one in suspects) <= CRASH_CROWD

    def blames(self, suspect: Suspect) -> bool:
        """Whether the death of its worker is counted against this run."""
        return self._few and suspect.dated and suspect.age < self._young

    def pause(self, suspect: Suspect, expiry: float) -> float:
        """Seconds that this run waits beyond T: only one that is blamed again does."""
        return crash_pause(suspect.crashes, expiry) if self.blames(suspect) else 0.0

    def judge(self, suspect: Suspect) -> Expiry:
        """The E7 for a dead run.  Crashes count in a row: a run that lived for a while ends the row."""
        before = 0 if suspect.age >= self._young else suspect.crashes
        crashes = before + self.blames(suspect)
        return Expiry(
            id=suspect.id,
            run=suspect.run,
            seen=suspect.lease,
            crashes=crashes,
            poison=crashes > CRASH_LIMIT,
        )


def bury(suspects: Iterable[Suspect], expiry: float, scale: float = 1.0) -> tuple[list[Expiry], int]:
    """The E7s for the runs of a process that is known to be dead, and how many are left to the monitor.

    Those that are blamed again wait for the pause of their crashes, which the monitor counts.
    """
    by_session: dict[str, list[Suspect]] = {}
    for suspect in suspects:
        by_session.setdefault(suspect.session, []).append(suspect)
    now: list[Expiry] = []
    left = 0
    for runs in by_session.values():
        crowd = Crowd(runs, scale)
        due = [suspect for suspect in runs if not crowd.pause(suspect, expiry)]
        now += [crowd.judge(suspect) for suspect in due]
        left += len(runs) - len(due)
    return now, left


class Watch:
    """The memory of one monitor: which lease values it has itself seen unchanged, and since when.

    The Kubernetes rule: only the watcher's own clock is used, so no clock step anywhere can make a
    living run look dead.
    """

    def __init__(self, expiry: float, scale: float = 1.0) -> None:
        self.expiry = expiry
        self.scale = scale
        self._seen: dict[str, tuple[str, int, float]] = {}
        self._due = math.inf
        self._crowds: dict[str, dict[str, Suspect]] = {}  # by session, those handed on already as well

    def __len__(self) -> int:
        return len(self._seen)

    def forget(self) -> None:
        """Redis was away: what was seen before proves nothing."""
        self._seen.clear()
        self._crowds.clear()
        self._due = math.inf

    def wait(self, now: float, sweep: float) -> float:
        """Seconds until the next sweep: I, or less where a run will have been watched for T before that.

        T is a multiple of I: by a hair's breadth it would not be over at the ninth sweep, and a whole I
        would come on top.  Those first seen in one sweep are due at one time, so a death costs one more.
        """
        return min(sweep, max(self._due - now + MOMENT, sweep / 20))

    def observe(self, suspects: Sequence[Suspect], now: float) -> list[Expiry]:
        """One sweep: remember, and name those unchanged for T (more for those that are blamed again)."""
        before, crowds = self._seen, self._crowds
        self._seen, self._crowds = {}, {}
        for suspect in suspects:
            run, lease, since = before.get(suspect.id, ("", 0, now))
            if (run, lease) != (suspect.run, suspect.lease):
                since = now
            self._seen[suspect.id] = (suspect.run, suspect.lease, since)
            # Renewals are spread over time, so the dead of one worker are handed on in several sweeps:
            # the last of them were no fewer when it died.
            crowd = self._crowds.setdefault(suspect.session, crowds.get(suspect.session, {}))
            crowd[suspect.id] = suspect
        died = {session: Crowd(crowd.values(), self.scale) for session, crowd in self._crowds.items()}
        dead: list[Expiry] = []
        self._due = math.inf
        for suspect in suspects:
            crowd_of = died[suspect.session]
            due = self._seen[suspect.id][2] + self.expiry + crowd_of.pause(suspect, self.expiry)
            if now > due:
                dead.append(crowd_of.judge(suspect))
            else:
                self._due = min(self._due, due)
        return dead
