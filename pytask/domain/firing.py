"""What becomes of the occurrences of a schedule that are due, and what workers and Redis tell each other."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

import attrs

from pytask.domain.partition import partition_of
from pytask.domain.schedules import DEFINITION, NEVER, Missed, Overlap, Reason, Schedule

DUE_MOST: Final = 256  # schedules of one look
FIRES_MOST: Final = 100  # occurrences that one look starts of a schedule with `missed` all
LISTED: Final = FIRES_MOST + 1  # those that are kept in mind: these, and the last one before them
COUNTED: Final = 1000  # times of a cron expression that are counted one by one
RECHECK: Final = 5000  # ms until it is looked whether the run has ended that an occurrence waits for
LEAST_SCORE: Final = 10**11  # ms since 1970: an earlier "next time" (in 1973) says that there is none yet

Place = tuple[int, int]
"""A partition, and how many there are."""


@attrs.frozen
class Slot:
    """An occurrence that is to start."""

    at: int  # its time in ms since 1970
    missed: int = 0  # occurrences before it that were not started


@attrs.frozen
class Skip:
    """Occurrences that are not to start: one, or a row of them."""

    at: int  # the first
    reason: Reason
    until: int = 0  # the last; 0: there is one only
    count: int = 1
    more: bool = False  # there were more than `count`


@attrs.frozen(kw_only=True)
class Plan:
    """What is to become of all occurrences that are due, and when the next one is."""

    slots: tuple[Slot, ...] = ()  # oldest first
    skipped: tuple[Skip, ...] = ()
    next: int


@attrs.frozen(kw_only=True)
class Definition:
    """A schedule as it is to be stored."""

    name: str
    fields: Mapping[str, str]
    data: bytes = attrs.field(default=b"", repr=False)  # JSON; empty for none
    origin: str
    lost: bool = False  # only if it is gone
    marker: str = ""  # only in the data with this marker (`Incarnation.id`); "" for any


@attrs.frozen
class _Due:
    newest: tuple[int, ...]  # oldest first, at most LISTED
    count: int
    more: bool = False


def plan(schedule: Schedule, pending: int, now: int, *, paused: bool = False) -> Plan:
    """What is to become of the occurrences from `pending` until `now` (ms since 1970).

    Args:
        schedule: Their schedule.
        pending: The stored time of the next occurrence.
        now: The time by the clock of Redis.
        paused: All of them are skipped.
    """
    if pending > now:
        return Plan(next=pending)
    due = _due(schedule, pending, now)
    last = due.newest[-1]
    if paused:
        return Plan(skipped=_skips(pending, due, 0, Reason.PAUSED), next=schedule.next(now))
    if schedule.missed is Missed.ALL:
        fit = [at for at in due.newest[-FIRES_MOST:] if now - at <= schedule.limit(at)]
    else:
        fit = [last] if now - last <= schedule.limit(last) else []
    skipped = _skips(pending, due, len(fit), Reason.LATE)
    slots = [Slot(at, due.count - len(fit) if at == fit[0] else 0) for at in fit]
    return Plan(slots=tuple(slots), skipped=skipped, next=schedule.next(now))


def _skips(first: int, due: _Due, started: int, reason: Reason) -> tuple[Skip, ...]:
    count = due.count - started
    if count <= 0:
        return ()
    if count == 1:
        return (Skip(first, reason),)
    return (Skip(first, reason, due.newest[-1 - started], count, due.more),)


def _due(schedule: Schedule, first: int, now: int) -> _Due:
    if schedule.every is not None:
        step = round(schedule.every * 1000)
        begin, end = (first // step + 1) * step, now // step * step
        later = max(0, (end - begin) // step + 1)
        newest = [end - step * back for back in range(min(later, LISTED))][::-1]
        if len(newest) < LISTED:
            newest.insert(0, first)
        return _Due(tuple(newest), 1 + later)
    times: deque[int] = deque([first], maxlen=LISTED)
    count = 1
    for at in schedule.times(first):
        if at > now:
            return _Due(tuple(times), count)
        times.append(at)
        count += 1
        if count >= COUNTED:
            break
    else:
        return _Due(tuple(times), count)
    last = _newest(schedule, times[-1], now)
    if last[0] != times[-1]:
        return _Due(last, count, more=True)
    times.extend(last[1:])
    return _Due(tuple(times), count + len(last) - 1)


def _newest(schedule: Schedule, first: int, now: int) -> tuple[int, ...]:
    """The last occurrences until `now`, without a walk through all since `first`."""
    span = 60_000
    while True:
        whole = now - span <= first
        found: deque[int] = deque(maxlen=LISTED)
        for at in schedule.times(first - 1 if whole else now - span):
            if at > now:
                break
            found.append(at)
        if len(found) == LISTED or whole:
            return tuple(found)
        span *= 2


@attrs.frozen
class Start:
    """A slot with the id of its task."""

    id: str
    at: int  # ms since 1970
    missed: int = 0
    not_before: str = ""  # seconds since 1970; "" for at once


def starts(schedule: Schedule, slots: Iterable[Slot], place: Place = (0, 1)) -> tuple[Start, ...]:
    """The tasks of some slots; `place` is the partition of the schedule, and their number."""
    found = []
    for slot in slots:
        delay = schedule.delay(slot.at)
        due = f"{(slot.at + delay) / 1000:.3f}" if delay else ""
        found.append(Start(task_id(schedule, slot.at, place), slot.at, slot.missed, due))
    return tuple(found)


def task_id(schedule: Schedule, at: int, place: Place = (0, 1)) -> str:
    """The id of the task of an occurrence: with `overlap` allow its own, which says the time."""
    if schedule.overlap is not Overlap.ALLOW:
        return schedule.name
    partition, count = place
    text = datetime.fromtimestamp(at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    millis = f".{at % 1000:03}" if at % 1000 else ""
    plain = f"{schedule.name}@{text}{millis}Z"
    if count == 1:
        return plain
    # The first number that brings the id into the partition of its schedule; the same for every worker.
    return next(one for n in itertools.count() if partition_of(one := f"{plain}~{n}", count) == partition)


# -- what is stored -----------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Stored:
    """A schedule as a look found it."""

    name: str
    score: float  # in the set of all schedules: ms of the next look
    fields: Mapping[str, str] | None  # None: its hash is no hash; empty: there is none

    @property
    def paused(self) -> bool:
        """Whether someone paused it."""
        return is_paused(self.fields or {})

    @property
    def fresh(self) -> bool:
        """Whether it has no next time yet."""
        return not self.score >= LEAST_SCORE

    @property
    def pending(self) -> int:
        """The time of its next occurrence: the score, except while an occurrence waits for a run to end."""
        fields = self.fields or {}
        text = fields.get("next_ms", "")
        if fields.get("behind") and text.isascii() and text.isdigit():
            return min(int(text), NEVER)
        return int(self.score)


READ: Final = (*DEFINITION, "paused", "behind", "next_ms")
"""The fields that a look reads."""
FAULT: Final = "error"  # in the field `paused`: paused by a worker, as its definition cannot be used


def is_paused(fields: Mapping[str, str]) -> bool:
    """Whether the hash of a schedule says that it is paused."""
    return fields.get("paused", "") not in ("", "0", FAULT)


@attrs.frozen(kw_only=True)
class DueSchedules:
    """What a look at the schedules found."""

    now: int  # ms since 1970, by the clock of Redis
    due: tuple[Stored, ...]  # at most as many as were asked for
    next: float | None  # seconds until the next one is due (0: more are due now); None: there is none


@attrs.frozen(kw_only=True)
class Firing:
    """What a worker decided for one schedule; carried out only if `score` is still the stored one."""

    name: str
    score: float
    paused: bool = False  # as it was read
    overlap: Overlap = Overlap.SKIP
    starts: tuple[Start, ...] = ()
    skipped: tuple[str, ...] = ()  # lines, oldest first
    next: int
    recheck: int  # ms since 1970: the next look while an occurrence waits for a run to end
