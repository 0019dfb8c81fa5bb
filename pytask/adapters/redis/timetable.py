"""The schedules of a store: what is due, what becomes of it, and definitions from code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from pytask.adapters import decoding
from pytask.adapters.redis import replies, schedule_calls
from pytask.adapters.redis.connection import Connection
from pytask.adapters.redis.scope import Scope
from pytask.domain.firing import READ, Definition, DueSchedules, Firing, Stored
from pytask.domain.occurrences import outcomes
from pytask.domain.record import Verdict

TOGETHER = 64  # schedules that are fired in one round trip


class Timetable:
    """Reads and fires schedules."""

    def __init__(self, redis: Connection, scope: Scope) -> None:
        self._redis = redis
        self._scope = scope
        self.outcomes: Counter[str] = Counter()

    def due(self, limit: int, ended: Sequence[str] = ()) -> DueSchedules:
        """Those whose time has come, at most `limit`."""
        now, after, *found = self._redis.run(schedule_calls.due(self._scope, limit, ended))
        scores = {decoding.text(name): float(score) for name, score in decoding.pairs(found)}
        hashes = self._redis.run(schedule_calls.read(self._scope, list(scores))) if scores else []
        due = [
            Stored(name=name, score=score, fields=_fields(fields))
            for (name, score), fields in zip(scores.items(), hashes, strict=True)
        ]
        left = None if after == b"-1" else max(0.0, (float(after) - int(now)) / 1000)
        return DueSchedules(now=int(now), due=tuple(due), next=left)

    def fire(self, firings: Sequence[Firing]) -> list[Verdict]:
        """A verdict for each, in order."""
        self.outcomes = Counter()
        found: list[Verdict] = []
        for at in range(0, len(firings), TOGETHER):
            part = firings[at : at + TOGETHER]
            answers = self._redis.run_durably([schedule_calls.fire(self._scope, one) for one in part])
            for one, reply in zip(part, answers, strict=True):
                word, *counts = reply.split()
                found.append(replies.verdict(word))
                if found[-1] is Verdict.OK:
                    self.outcomes += outcomes(one.skipped) + replies.outcomes(counts)
        return found

    def fault(self, name: str, score: float, text: str) -> Verdict:
        """Pause one that cannot be used, with the reason."""
        return replies.verdict(self._redis.run(schedule_calls.fault(self._scope, name, score, text)))

    def define(self, definition: Definition) -> Verdict:
        """Make or change one."""
        return replies.verdict(self._redis.run(schedule_calls.define(self._scope, definition)))


def _fields(value: object) -> Mapping[str, str] | None:
    if not isinstance(value, list):
        return None
    values = [decoding.text(one) for one in value]
    return {name: value for name, value in zip(READ, values, strict=True) if value} if values else {}
