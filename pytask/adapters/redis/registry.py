"""Reads the registry and the leases for a monitor, and repairs inconsistent entries."""

from __future__ import annotations

from collections.abc import Sequence

from pytask.adapters import decoding
from pytask.adapters.redis import monitor_calls, replies
from pytask.adapters.redis.connection import Connection
from pytask.adapters.redis.scope import Scope
from pytask.domain.record import Suspect

STEP = 1000  # entries of one HSCAN step
CHUNK = 500  # suspects of one call
NEVER = 2**53  # seconds; the limit of the scripts


class Registry:
    """Reads runs and leases in calls that each take Redis only a short time."""

    def __init__(self, redis: Connection, scope: Scope) -> None:
        self._redis = redis
        self._scope = scope
        self._keys = scope.keys

    def suspects(self, older: float, ahead: float, limit: int) -> list[Suspect]:
        """See `RedisStore.suspects`."""
        seconds, micros = self._redis.command("TIME")
        now = int(seconds) * 1_000_000 + int(micros)
        low, high = now - int(older * 1e6), now + int(ahead * 1e6)
        leases = self._keys.leases
        behind, before, runs, leased = self._redis.pipeline(
            [
                ("ZRANGEBYSCORE", leases, "-inf", low, "WITHSCORES", "LIMIT", 0, limit),
                ("ZRANGEBYSCORE", leases, f"({high}", "+inf", "WITHSCORES", "LIMIT", 0, limit),
                ("HLEN", self._keys.runs),
                ("ZCARD", leases),
            ]
        )
        if runs > leased:
            self._lease_again()
        return self._read(
            [(raw.decode(), int(float(score))) for raw, score in decoding.pairs(behind + before)]
        )

    def runs_of(self, prefix: str, cursor: int) -> tuple[int, list[Suspect]]:
        """See `RedisStore.runs_of`."""
        after, found = self._redis.command("HSCAN", self._keys.runs, cursor, "COUNT", STEP)
        start = prefix.encode()
        entries = found.items() if isinstance(found, dict) else decoding.pairs(found)
        ids = [raw.decode() for raw, run in entries if run.startswith(start)]
        scores = self._scores(ids)
        leases = [(i, int(float(score or 0))) for i, score in zip(ids, scores, strict=True)]
        return int(after), [one for one in self._read(leases) if one.run.startswith(prefix)]

    def _read(self, leased: Sequence[tuple[str, int]]) -> list[Suspect]:
        """The suspects among these ids; leases without a run are deleted."""
        suspects: list[Suspect] = []
        for at in range(0, len(leased), CHUNK):
            part = leased[at : at + CHUNK]
            ids = [task_id for task_id, _ in part]
            reply = self._redis.run(monitor_calls.suspects(self._scope, ids))
            nobodys = [i for i, run in zip(ids, reply[::3], strict=True) if not run]
            if nobodys:  # otherwise every sweep would read them again
                self._redis.run(monitor_calls.forget(self._scope, nobodys))
            suspects += replies.suspects(part, reply)
        return suspects

    def _lease_again(self) -> None:
        """Create a lease for each registered run without one."""
        cursor = 0
        while True:
            cursor, step = self._redis.command("HSCAN", self._keys.runs, cursor, "COUNT", STEP)
            ids = [raw.decode() for raw in (step if isinstance(step, dict) else step[::2])]
            bare = [i for i, score in zip(ids, self._scores(ids), strict=True) if score is None]
            if bare:
                self._redis.run(monitor_calls.repair(self._scope, bare, NEVER))
            if not int(cursor):
                return

    def _scores(self, ids: Sequence[str]) -> list[bytes | None]:
        return self._redis.pipeline([("ZSCORE", self._keys.leases, i) for i in ids])
