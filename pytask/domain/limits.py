"""Limits: how many runs a function or a group of tasks may have at a time, and how many starts in a time.

A run that counts holds a slot of its group, and of its function while that has a limit.  Slots are sets of
ids, added and removed in the same steps as the entries of the registry: there is no counter to be wrong.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import attrs

from pytask.domain.errors import BadData
from pytask.domain.messages import LONGEST_NAME

LONGEST_GROUP = 256  # bytes
LARGEST_READ = 1024 * 1024  # bytes of data in which the claim looks for a group
DIGITS = 10  # that a limit has at most, whoever writes it
MOST = 10**DIGITS - 1
EVERY_GROUP = "*"
LOOK = 10  # seconds between two looks at a waiting list
LOOKED = 64  # waiting lists of one look
EXACT = 10**15  # below it, a number of the data is a group
NUMBER = re.compile(rf"\d{{1,{DIGITS}}}", re.ASCII)
WHOLE = f"a whole number of at most {DIGITS} digits"
ARRIVALS = 4 * 10**15
"""Subtracted from the microseconds at which a task came to a waiting list from the queue: it has waited for
its turn, so it is before those that were put there by their start, and the next one once it has a slot."""


class Kind(StrEnum):
    """What has slots; each is also the field of a hash with its name."""

    GROUP = "group"
    FUNCTION = "function"


@attrs.frozen(kw_only=True)
class Rule:
    """The limits of one class of tasks, as its code declares them; a live limit comes before them."""

    limit: int | None = None  # `Config.LIMIT`: live runs of the class
    group_limit: int | None = None  # `Config.GROUP_LIMIT`: live runs of one of its groups
    rate: tuple[int, float] | None = None  # `Config.RATE`: starts, in seconds
    path: tuple[str, ...] = ()  # `Config.GROUP`: where in the data its group is

    @property
    def interval(self) -> int:
        """Microseconds between two starts; 0 without a rate."""
        return 0 if self.rate is None else max(1, math.floor(self.rate[1] * 1e6 / self.rate[0]))

    @property
    def burst(self) -> int:
        """Microseconds that starts may be ahead of an even pace: all of one period may begin at once."""
        return 0 if self.rate is None else self.interval * (self.rate[0] - 1)

    def words(self) -> str:
        """For people: "3 at once, 1 of a group"."""
        parts = []
        if self.limit is not None:
            parts.append(f"{self.limit} at a time")
        if self.group_limit is not None:
            parts.append(f"{self.group_limit} of a group")
        if self.rate is not None:
            parts.append(f"{self.rate[0]} starts in {self.rate[1]:g} s")
        if self.path:
            parts.append(f"group: data.{'.'.join(self.path)}")
        return ", ".join(parts)


NO_RULE = Rule()
Rules = Mapping[str, Rule]
"""The rules of the functions that have any."""


def read_limit(text: str | bytes | None) -> int | None:
    """A limit as the hash `pytask:limits` has it; None if there is none, or if it is not a whole number."""
    shown = text.decode(errors="replace") if isinstance(text, bytes) else text
    return int(shown) if shown and NUMBER.fullmatch(shown) else None


def check_limit(limit: Any) -> int:
    """A limit as it is written to the hash; raises :class:`BadData`."""
    if type(limit) is not int or not 0 <= limit <= MOST:
        raise BadData(f"a limit must be {WHOLE}, from 0 to {MOST}, not {repr(limit)[:60]}")
    return limit


def entry(kind: Kind, name: str) -> str:
    """The name of a limit in the hash, and of its slots and its waiting list."""
    return f"{kind}:{name}"


def read_entry(name: str) -> tuple[Kind, str] | None:
    """The kind and the name of an entry; None for anything else."""
    kind, colon, rest = name.partition(":")
    return (Kind(kind), rest) if colon and rest and kind in tuple(Kind) else None


def entry_fault(name: str) -> str | None:
    """Why an entry of the hash limits nothing; None if it can name a group or a function."""
    found = read_entry(name)
    if found is None:
        return "it names neither a group nor a function"
    kind, rest = found
    raw = rest.encode(errors="surrogateescape")
    if kind is Kind.GROUP:
        fault = group_fault(raw)
        return None if fault is None else f"no task can have this group: {fault}"
    if rest == EVERY_GROUP:
        return "'*' stands for groups only, and no limit is that of all functions"
    return None if len(raw) <= LONGEST_NAME else f"a function name has at most {LONGEST_NAME} bytes"


def group_fault(group: str | bytes) -> str | None:
    """Why a text cannot be the group of a task; None if it can."""
    raw = group.encode(errors="surrogateescape") if isinstance(group, str) else group
    if len(raw) > LONGEST_GROUP:
        return f"it has {len(raw)} bytes, and at most {LONGEST_GROUP} are allowed"
    try:
        raw.decode()
    except UnicodeDecodeError:
        return "it is not UTF-8"
    return None


def check_group(group: Any) -> str:
    """A group as it is written to the hash; raises :class:`BadData` with the fix."""
    if not isinstance(group, str) or not group:
        raise BadData(f"group must be a text such as 'account-17', not {group!r}")
    fault = group_fault(group)
    if fault is not None:
        raise BadData(
            f"group {group[:40]!r} cannot be used: {fault}. Use an id, or a digest of the long text"
        )
    return group


def group_in(data: bytes | None, path: tuple[str, ...]) -> bytes | None:
    """The group that the data of a task names at `path`: a text, or a whole number.

    b"" if the data has nothing there (or null); None if it has something else, or is too large to be read.
    """
    if not data:
        return b""
    if len(data) > LARGEST_READ:
        return None
    try:
        found: Any = json.loads(data)
    except (ValueError, RecursionError):
        return b""  # the run fails for it
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return _group_text(found)


def _group_text(found: Any) -> bytes | None:
    if isinstance(found, str):
        return found.encode(errors="surrogatepass")
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    if isinstance(found, int) and not isinstance(found, bool) and abs(found) < EXACT:
        return b"%d" % found
    return b"" if found is None else None


# -- the rate -----------------------------------------------------------------------------------------------


def fits_at(arrival: int, rule: Rule) -> int:
    """When the next start fits the rate (GCRA): microseconds, by the clock of Redis.

    `arrival` is the time at which it would begin at an even pace: the only number that a rate keeps.
    """
    return arrival - rule.burst


def started(arrival: int, now: int, rule: Rule) -> int:
    """That number after a start now."""
    return max(arrival, now) + rule.interval


def latest(now: int, rule: Rule) -> int:
    """The largest that it can be: a larger one is from a clock that was ahead, and does not count."""
    return now + rule.burst + rule.interval


FAULTS = {
    "long": (
        f"its group is too long ({{}} bytes; at most {LONGEST_GROUP} are allowed): write a shorter one, such"
        " as an id or a digest of the long text: HSET <task_id> group <text>"
    ),
    "bytes": "its group is not UTF-8: write one that is: HSET <task_id> group <text>",
    "data": (
        "the group in its data (Config.GROUP) is neither a text nor a whole number: write data where it is"
        " one, or the group itself: HSET <task_id> group <text>"
    ),
    "large": (
        f"its data is too large to look for a group in it (Config.GROUP; at most {LARGEST_READ} bytes are"
        " read): write the group itself: HSET <task_id> group <text>"
    ),
}


def fault_text(fault: str) -> str:
    """The sentence for `StartFields.group_fault`, with the fix."""
    word, _, size = fault.partition(" ")
    return FAULTS.get(word, FAULTS["data"]).format(size) + ", and start the task again"
