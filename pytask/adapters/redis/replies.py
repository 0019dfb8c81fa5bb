"""Decode the replies of the scripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import attrs

from pytask.adapters import decoding
from pytask.domain import figures
from pytask.domain.control import REQUESTS
from pytask.domain.figures import WorkerInfo
from pytask.domain.record import (
    ALREADY,
    OK,
    Answer,
    Claim,
    Due,
    Incarnation,
    RunRef,
    StartFields,
    Suspect,
    Tail,
    Verdict,
)
from pytask.logger import get_logger

log = get_logger(__name__)

CLAIM_WORDS = 6  # of a successful claim, see claim.lua
FIELD_WORDS = 9  # more, of one with fields that say when, why and with what it starts
DUE_WORDS = 5  # before the ids that are due, see due.lua
STAR, PLUS = ord("*"), ord("+")  # more words follow, see claim.lua
MARKER_WORDS = 4  # before a renewal's verdicts, see renew.lua


@cache
def verdict(word: bytes) -> Verdict:
    """The verdict of a reply.  The cache makes it log a word of a newer release only once."""
    found = Verdict.read(word.decode(errors="replace").rstrip("*+"))
    if found is Verdict.UNRECOGNIZED:
        log.warning("Redis answers %r, which this release does not know: it is ignored", word[:80])
    return found


def verdicts(words: Sequence[bytes]) -> list[Verdict]:
    """The verdicts of a batch, in order."""
    return [verdict(word) for word in words]


def claim(ref: RunRef, reply: Sequence[Any]) -> Claim:
    """The reply of a script that creates one run."""
    words = iter(reply)
    found = verdict(next(words))
    if found not in (Verdict.OK, Verdict.ALREADY):
        return Claim(ref.id, ref.run, found)
    epoch, crashes, size, function, data = (next(words) for _ in range(5))
    return Claim(
        ref.id, ref.run, found, decoding.text(function), data, int(epoch or 0), crashes, size,
        trial=next(words, 0) == 1, answered=next(words, 0) == 1,
    )  # fmt: skip


def accepted(judged: Claim, reply: Sequence[Any]) -> Claim:
    """The reply of accept.lua, as what was judged."""
    found = verdict(reply[0])
    return attrs.evolve(judged, verdict=found, trial=len(reply) > 1 and reply[1] == 1)


def tail_claims(
    tail: Tail, functions: Sequence[str], reply: Sequence[Any]
) -> tuple[list[Claim], list[bytes] | None]:
    """The same of a claim of what stands at the tail; a repeat does not know the ids behind."""
    named, fresh = reply[2:]
    refs = tail.refs(named.decode().split("\n")) if named else []
    found, ahead = claims(refs, functions, reply)
    return found, ahead if fresh else None


def claims(  # noqa: C901 - one pass over the words: a call for each kind would cost every claim
    refs: Sequence[RunRef], functions: Sequence[str], reply: Sequence[Any]
) -> tuple[list[Claim], list[bytes] | None]:
    """The claims in the answer of claim.lua, and the ids behind them (None if they are unknown)."""
    words, content = reply[0].split(), reply[1]
    found: list[Claim] = []
    at = start = number = 0
    before = b"0"
    for ref in refs:
        word = verdict(words[at])
        if word is OK or word is ALREADY:
            said, epoch, crashes, size, place, length = words[at : at + CLAIM_WORDS]
            at += CLAIM_WORDS
            known = int(place)
            function = functions[known - 1] if known > 0 else ""
            if known < 0:
                function = decoding.text(content[start : start - known])
                start -= known
            data, count = None, int(length)
            if count >= 0:
                data = content[start : start + count]
                start += count
            fields = None
            if said[-1] == STAR:
                fields, start = _fields(words[at : at + FIELD_WORDS], content, start)
                at += FIELD_WORDS
            elif said[-1] == PLUS:
                end = start + int(words[at])
                fields = StartFields(group=decoding.shown(content[start:end]))
                at, start = at + 1, end
            if epoch != before:  # most have the time of the call: one number for all of them
                before, number = epoch, int(epoch)
            count, silent = (0, None) if crashes == b"0" else _crashes(crashes)
            one = Claim(ref.id, ref.run, word, function, data, number, count, int(size), fields)
            found.append(one if silent is None else attrs.evolve(one, silent=silent))
        elif word is Verdict.UNRECOGNIZED:
            break
        elif word is Verdict.UNKNOWN:
            end = start + int(words[at + 1])
            found.append(Claim(ref.id, ref.run, word, decoding.text(content[start:end])))
            at, start = at + 2, end
        elif word is Verdict.DELAYED or word is Verdict.WAITING:
            found.append(Claim(ref.id, ref.run, word, delay=int(words[at + 1]) / 1000))
            at += 2
        else:
            found.append(Claim(ref.id, ref.run, word))
            at += 1
    # The length of what follows a word of a newer release is unknown: no later answer can be read.
    lost = [Claim(ref.id, ref.run, Verdict.UNRECOGNIZED) for ref in refs[len(found) :]]
    if lost:
        return found + lost, None
    return found, list(_parts(content, start, words[at:]))


def _crashes(word: bytes) -> tuple[int, float | None]:
    """The crashes, and the seconds since the run that died was renewed, if this run follows it."""
    count, _, silent = word.partition(b"/")
    return int(count), int(silent) / 1000 if silent else None


def _fields(words: Sequence[bytes], content: bytes, start: int) -> tuple[StartFields, int]:
    """The fields behind an answer, and where their bytes end."""
    restarts, *lengths = map(int, words)
    unread, lengths[-2] = max(0, -lengths[-2]), max(0, lengths[-2])
    not_before, restart, failed, scheduled, fault, group, saved, trace = _parts(content, start, lengths)
    fields = StartFields(
        restarts=restarts,
        restart=decoding.shown(restart),
        not_before=decoding.shown(not_before),
        failed=decoding.shown(failed),
        scheduled=scheduled,
        group_fault=decoding.shown(fault),
        group=decoding.shown(group),
        saved=saved,
        unread=unread,
        traceparent=decoding.shown(trace),
    )
    return fields, start + sum(lengths)


def due(reply: Sequence[Any]) -> Due:
    """What due.lua moved, and when the next ones are due."""
    moved, timer, schedule, lines, late = reply[:DUE_WORDS]
    return Due(
        moved=moved, timer=_later(timer), schedule=_later(schedule), lines=lines == 1, late=late / 1000
    )


def outcomes(words: Sequence[bytes]) -> Counter[str]:
    """The counts behind the verdict of fire.lua."""
    pairs = (word.decode().split("=") for word in words)
    return Counter({name: int(count) for name, count in pairs})


def _later(ms: int) -> float | None:
    return None if ms < 0 else ms / 1000


def _parts(content: bytes, start: int, lengths: Sequence[bytes | int]) -> Iterator[bytes]:
    for length in lengths:
        end = start + int(length)
        yield content[start:end]
        start = end


def renewal(refs: Sequence[RunRef], first: int, reply: Sequence[Any]) -> Iterator[tuple[RunRef, Answer]]:
    """The answers other than OK in the reply to one renewal call; `first` is the index of its first run."""
    for place, word in decoding.pairs(reply[MARKER_WORDS:]):
        if place > 0:
            found = verdict(word)
            if (
                found is not Verdict.UNRECOGNIZED
            ):  # the lease of the run stays valid until a known word arrives
                yield refs[first + place - 1], found
        elif word in REQUESTS:  # others come from a newer release or a client: ignored
            yield refs[first - place - 1], REQUESTS[word]


def confirmed(words: Sequence[bytes]) -> list[Answer]:
    """The answers of confirm.lua."""
    return [REQUESTS.get(word) or verdict(word) for word in words]


def incarnation(reply: Sequence[Any]) -> Incarnation:
    """The data marker in the reply to a renewal."""
    marker, server, age, changed = reply[:MARKER_WORDS]
    return Incarnation(
        id=marker.decode(), server=server.decode(), age=_seconds(age), changed=_seconds(changed)
    )


def suspects(leased: Sequence[tuple[str, int]], reply: Sequence[Any]) -> list[Suspect]:
    """The suspects among some ids with their leases: those that have a run."""
    rows = zip(leased, reply[::3], reply[1::3], reply[2::3], strict=True)
    return [
        Suspect(id=i, run=run.decode(errors="replace"), lease=lease, epoch=int(e), crashes=int(crashes))
        for (i, lease), run, e, crashes in rows
        if run
    ]


def read_info(text: bytes | str) -> WorkerInfo | None:
    """The published figures of a worker of any release; None if they are invalid."""
    shown = decoding.json_object(text)
    return WorkerInfo(**figures.read(shown)) if isinstance(shown.get("session"), str) else None


def _seconds(micros: int) -> float:
    return -1.0 if micros < 0 else micros / 1e6
