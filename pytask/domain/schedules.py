"""Schedules: what one says, when it is due, and what becomes of each of its occurrences.

Pure functions: the next time depends on the definition and on the time before it, never on when or by whom it
is computed.  So any worker may fire, no two of them can disagree, and none has to lead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from enum import StrEnum
from hashlib import blake2s
from typing import Final, TypedDict, TypeVar
from zlib import crc32

import attrs

from pytask.domain.cron import Cron, cron, shortest
from pytask.domain.errors import BadSchedule
from pytask.domain.messages import LONGEST_NAME, MAX_ID_BYTES, IdFault, read_id
from pytask.domain.start_time import read_duration
from pytask.domain.wording import ago

KEPT: Final = 100  # lines of past occurrences that are kept
NEVER: Final = 2**53 - 1  # the "next time" of a schedule that cannot be used
LONGEST_EVERY: Final = 3660 * 86400.0  # seconds
LONGEST_JITTER: Final = 86400.0
LATEST_START: Final = 3600.0  # seconds: the default deadline is no longer than this
ON_TIME: Final = 30.0  # seconds within which an occurrence is on time, for `missed` skip
LONGEST_FIELD: Final = 512
TIME_BYTES: Final = 40  # what an id has behind the name of the schedule


class Overlap(StrEnum):
    """What becomes of an occurrence while the run of an earlier one still waits or runs."""

    SKIP = "skip"  # it is skipped
    QUEUE = "queue"  # one occurrence waits until that run has ended
    ALLOW = "allow"  # both run: each occurrence has an id of its own
    REPLACE = "replace"  # that run is stopped, then it runs


class Missed(StrEnum):
    """What becomes of occurrences that no worker could start in time."""

    ONCE = "once"  # the last one starts, unless it is later than the deadline
    SKIP = "skip"  # none starts
    ALL = "all"  # each starts, at most the last 100


class Reason(StrEnum):
    """Why an occurrence was skipped."""

    OVERLAP = "overlap"  # an earlier run had not ended
    LATE = "late"  # no worker could start it in time
    PAUSED = "paused"
    TAKEN = "taken"  # its id is the key of another task or program


@attrs.frozen(kw_only=True)
class Schedule:
    """A valid schedule, without the data of its task."""

    name: str
    function: str
    every: float | None = None  # seconds; counted from 1970-01-01T00:00Z
    cron: str = ""
    tz: str = "UTC"
    jitter: float = 0.0  # seconds, at most, by which a start is delayed
    overlap: Overlap = Overlap.SKIP
    missed: Missed = Missed.ONCE
    deadline: float | None = None  # seconds; None: min(interval, 1 h), or 30 s for `missed` skip

    def times(self, after: int) -> Iterator[int]:
        """The occurrences after a time, all in ms since 1970."""
        if self.every is not None:
            step = round(self.every * 1000)
            at = (after // step + 1) * step
            while at < NEVER:
                yield at
                at += step
        else:
            yield from self._cron.times(after)

    def next(self, after: int) -> int:
        """The first occurrence after a time; NEVER if there is none."""
        return next(self.times(after), NEVER)

    def interval(self, at: int) -> int:
        """The ms from an occurrence to the next one."""
        return self.next(at) - at

    def limit(self, at: int) -> float:
        """How many ms later than its time an occurrence may still start."""
        if self.deadline is not None:
            return self.deadline * 1000
        if self.missed is Missed.ALL:
            return math.inf
        most = ON_TIME if self.missed is Missed.SKIP else LATEST_START
        return min(self.interval(at), most * 1000)

    def delay(self, at: int) -> int:
        """The ms by which the start of an occurrence is delayed: by chance, but the same for every worker."""
        chance = crc32(f"{self.name}@{at}".encode(errors="surrogateescape")) / 2**32
        return int(self.jitter * 1000 * chance)

    @property
    def _cron(self) -> Cron:
        return cron(self.cron, self.tz)

    def words(self) -> str:
        """When it is due, as a sentence."""
        if self.every is not None:
            span = ago(self.every) or ""
            exact = self.every >= 60 and read_duration(span) == self.every
            return f"every {span}" if exact else f"every {self.every:g} s"
        return f"{self._cron.words()}, {self.tz}"

    def fields(self) -> dict[str, str]:
        """Its hash; what is as by default is left out."""
        found = {"function": self.function}
        if self.every is not None:
            found["every"] = f"{self.every:.15g}"
        else:
            found |= {"cron": self.cron, "tz": self.tz}
        if self.jitter:
            found["jitter"] = f"{self.jitter:.15g}"
        if self.overlap is not Overlap.SKIP:
            found["overlap"] = self.overlap
        if self.missed is not Missed.ONCE:
            found["missed"] = self.missed
        if self.deadline is not None:
            found["deadline"] = f"{self.deadline:.15g}"
        return found

    def digest(self, data: bytes | None) -> str:
        """8 hexadecimal digits: the same for two definitions with the same fields and data."""
        fields = sorted(self.fields().items())
        return blake2s(repr((fields, data)).encode(), digest_size=4).hexdigest()


DEFINITION: Final = ("function", "every", "cron", "tz", "jitter", "overlap", "missed", "deadline")
"""The fields that define a schedule, except `data`."""
TIMES: Final = ("every", "cron", "tz")
"""Those of them on which its times depend."""
SECONDS: Final = ("every", "jitter", "deadline")


class Common(TypedDict, total=False):
    """What a program may say of a schedule, except its times and its task."""

    tz: str
    jitter: float
    overlap: str
    missed: str
    deadline: float | None


class Options(Common, total=False):
    """The same, where the name of the task is that of the schedule by default."""

    name: str


class Definition(Common, total=False):
    """The same, with its times."""

    every: float | None
    cron: str | None


def check_order(task: object, every: object = None, cron: object = None, **_options: object) -> None:
    """Raise :class:`BadSchedule` where the time and the task were given in the other order."""
    first = cron if every is None else every
    if isinstance(task, type) or (isinstance(task, str) and not isinstance(first, type)):
        return
    call, form = ("cron", '"0 3 * * *"') if every is None else ("every", "60")
    raise BadSchedule(
        f"app.{call} needs the time first, then a task class or its name, as in app.{call}({form}, Report),"
        f" not {first!r} and {task!r}"
    )


def made(name: str, function: str, **options: object) -> Schedule:
    """The schedule that a program defines; `options` are the fields of `Schedule`.  Raises `BadSchedule`."""
    fields = {"function": function}
    for field, value in options.items():
        if field not in DEFINITION:
            raise BadSchedule(f"schedule {name!r}: {_unknown(field)}")
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            form = "seconds" if field in SECONDS else "text"
            raise BadSchedule(f"schedule {name!r}: {field} cannot be {value!r}: write {form}")
        fields[field] = str(value) if isinstance(value, str) else f"{value:.15g}"
    return read(name, fields)


def _unknown(option: str) -> str:
    near = get_close_matches(option, DEFINITION, n=1, cutoff=0.6)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    return f"there is no option {option!r}{meant or ': the options are ' + ', '.join(DEFINITION[1:])}"


# -- reading ------------------------------------------------------------------------------------------------


def read(name: str, fields: Mapping[str, str]) -> Schedule:
    """The schedule that a hash defines.

    Args:
        name: Its name; with `overlap` other than allow also the id of its task.
        fields: The hash; `data` and what is not known are not looked at.

    Raises:
        BadSchedule: With the field, its value, why it cannot be, and what to write.
    """
    where = f"schedule {name[:80]!r}"
    fault = read_id(name.encode(errors="surrogateescape"))
    if isinstance(fault, IdFault):
        raise BadSchedule(f"{where}: it is also the id of its task, and cannot be one: {fault}")
    for field in DEFINITION:
        if len(fields.get(field, "")) > LONGEST_FIELD:
            raise BadSchedule(f"{where}: the field {field} is longer than {LONGEST_FIELD} characters")
    function = fields.get("function", "")
    if not 0 < len(function.encode(errors="surrogateescape")) <= LONGEST_NAME:
        raise BadSchedule(f"{where} has no function: set the field function to the name of a task class")
    every, expression = fields.get("every", ""), fields.get("cron", "")
    if bool(every) == bool(expression):
        have = "both every and cron" if every else "neither every nor cron"
        raise BadSchedule(f"{where} has {have}: give it one of the two, every (seconds) or cron")
    try:
        found = Schedule(
            name=name,
            function=function,
            every=_seconds("every", every, 1, LONGEST_EVERY) if every else None,
            cron=expression,
            tz=fields.get("tz", "") or "UTC",
            jitter=_seconds("jitter", fields.get("jitter", "") or "0", 0, LONGEST_JITTER),
            overlap=_word(Overlap, "overlap", fields.get("overlap", "") or Overlap.SKIP),
            missed=_word(Missed, "missed", fields.get("missed", "") or Missed.ONCE),
            deadline=_seconds("deadline", fields["deadline"], 1, LONGEST_EVERY)
            if fields.get("deadline")
            else None,
        )
        _check(found)
    except BadSchedule as error:
        raise BadSchedule(f"{where}: {error.args[0]}") from None
    return found


def _check(found: Schedule) -> None:
    if found.overlap is Overlap.ALLOW and len(found.name.encode()) > MAX_ID_BYTES - TIME_BYTES:
        raise BadSchedule(
            f"with overlap 'allow' its name may have {MAX_ID_BYTES - TIME_BYTES} bytes, as the ids of its"
            " tasks are its name and a time"
        )
    if found.cron:
        cron(found.cron, found.tz)
    elif found.tz != "UTC":
        raise BadSchedule(f"tz {found.tz!r} goes with cron only: an interval is the same in every zone")
    if found.every is not None and found.jitter >= found.every:
        raise BadSchedule(
            f"jitter {found.jitter:g} must be shorter than every {found.every:g}, or occurrences change"
            " places"
        )
    if found.cron and found.jitter and found.jitter >= (least := shortest(found.cron, found.tz)):
        raise BadSchedule(
            f"jitter {found.jitter:g} must be shorter than the {least:g} s between two times of cron"
            f" {found.cron!r}, or occurrences change places"
        )
    if found.missed is Missed.ALL and found.overlap is not Overlap.ALLOW:
        raise BadSchedule(
            f"missed 'all' starts several at once, but overlap {found.overlap.value!r} allows one: write"
            " overlap 'allow', or missed 'once'"
        )


def _seconds(field: str, text: str, least: float, most: float) -> float:
    try:
        found = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        found = math.nan
    if not least <= found <= most:
        raise BadSchedule(f"{field} {text[:80]!r} must be a number of seconds from {least:g} to {most:.0f}")
    return found


W = TypeVar("W", bound=StrEnum)


def _word(kind: type[W], field: str, text: str) -> W:
    try:
        return kind(text)
    except ValueError:
        words = ", ".join(one.value for one in kind)
        raise BadSchedule(f"{field} {text[:80]!r} must be one of: {words}") from None
