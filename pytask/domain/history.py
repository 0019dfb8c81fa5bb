"""The history of a task: its last transitions, stored in its hash.

One line per transition, newest last: `<ms> <from> <to> <trigger> <who> <why>`.  `ms` is Redis TIME since
1970; `who` and `why` are untrusted texts: every byte that is not visible ASCII, and `%`, is written as `%XX`,
and an empty text as `-`.  The scripts write the same format atomically with the transition.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote

import attrs

MOST_BYTES = 4096  # all lines of a task
MOST_READ = 2 * MOST_BYTES  # a longer field was not written by pytask, and is dropped
WHO_BYTES = 64
WHY_BYTES = 200


@attrs.frozen(kw_only=True)
class Transition:
    """One recorded transition of a task."""

    at: float  # seconds since 1970, by the clock of Redis
    source: str  # states as strings: a newer release may have more of them
    target: str
    trigger: str
    who: str = ""  # the worker (or client) that caused it, if known
    why: str = ""


def escaped(text: str, most: int) -> str:
    """`text` as one word, truncated to `most` bytes before escaping."""
    raw = text.encode(errors="surrogateescape")[:most]
    return "".join(chr(b) if 0x21 <= b <= 0x7E and b != 0x25 else f"%{b:02X}" for b in raw) or "-"


def tail(source: str, target: str, trigger: str, who: str = "", why: str = "") -> str:
    """A line without its time, which Redis adds."""
    return f"{source} {target} {trigger} {escaped(who, WHO_BYTES)} {escaped(why, WHY_BYTES)}"


def added(old: bytes, ms: int, line: str, kept: int) -> bytes:
    """The history with one line added, limited to `kept` lines and 4 KiB (the last line is always kept)."""
    lines = (b"" if len(old) > MOST_READ else old) + f"{ms} {line}\n".encode()
    while lines.count(b"\n") > kept or (lines.count(b"\n") > 1 and len(lines) > MOST_BYTES):
        lines = lines.partition(b"\n")[2]
    return lines


def read(text: str) -> tuple[Transition, ...]:
    """The transitions, newest last; invalid lines (a client may write there) are left out."""
    if len(text) > MOST_READ:
        return ()
    found = (_read_line(line) for line in text.split("\n"))
    return tuple(one for one in found if one is not None)


def _read_line(line: str) -> Transition | None:
    words = line.split(" ")
    if len(words) != len(attrs.fields(Transition)) or not (words[0].isascii() and words[0].isdigit()):
        return None
    if len(words[0]) > len("9999999999999"):
        return None
    who, why = (_unescaped(word) for word in words[4:])
    source, target, trigger = words[1:4]
    return Transition(
        at=int(words[0]) / 1000, source=source, target=target, trigger=trigger, who=who, why=why
    )


def _unescaped(word: str) -> str:
    text = "" if word == "-" else unquote(word, errors="replace")
    # Terminal control characters are replaced.
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def parked_because(function: str, near: Sequence[str] = ()) -> str:
    """Why a task is parked."""
    meant = f" (did you mean {', '.join(near)}?)" if near else ""
    return f"no such task on the worker: `{function[:80]}`{meant}"


def died_because(worker: str | None) -> str:
    """Why a run was requeued whose process is known to be dead, in the words of expire.lua."""
    return f"death of {_name(worker)}"


def expired_because(worker: str | None, seconds: float | None) -> str:
    """Why a run was requeued, in the words of expire.lua; `seconds` is None if it had no lease."""
    return f"lease of {_name(worker)} silent for {'?' if seconds is None else max(0, int(seconds))} s"


def _name(worker: str | None) -> str:
    if worker is None:
        return "?"
    return worker.encode(errors="surrogateescape")[:WHO_BYTES].decode(errors="replace")
