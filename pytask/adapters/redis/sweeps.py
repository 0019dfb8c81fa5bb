"""The slow sweep of a monitor: repairs what clients or data loss left, and deletes what is past keeping."""

from __future__ import annotations

from collections.abc import Sequence

from pytask.adapters import decoding
from pytask.adapters.redis import limit_calls, monitor_calls, pause_calls
from pytask.adapters.redis.connection import Connection
from pytask.adapters.redis.scope import Scope
from pytask.domain.lifecycle import State, Trigger, destination

PAUSED_LOOK = 1000  # paused ids that one sweep reads, approximately
MEND_STEPS = 2000  # of 500 ids, of one slow sweep
RETIRE_STEP = 2000  # finished tasks of one call, about 5 ms of Redis, and 20 ms more for 100,000 that wait
RETIRE_MOST = 100  # such calls of one sweep and state
RETIRE_WALK = 1_000_000  # entries of the queue that these scan, approximately: 0.2 s of Redis


class Sweeps:
    """The steps of the slow sweep, on the connection of a store."""

    def __init__(self, redis: Connection, scope: Scope) -> None:
        self._redis = redis
        self._scope = scope
        self._keys = scope.keys
        self._paused_at = 0  # cursor in the paused set

    def repair(self, cursor: int, expiry: float) -> tuple[int, int]:
        """One SCAN step of the slow sweep: (next cursor, tasks repaired)."""
        space = self._keys.namespace
        after, found = self._redis.command("SCAN", cursor, "MATCH", f"{space}*", "COUNT", 200, "TYPE", "hash")
        names = [key.decode(errors="replace") for key in found]
        ids = [name[len(space) :] for name in names if not name.startswith(f"{space}pytask:")]
        mended = self._mend() + self._tidy_paused() if cursor == 0 else 0
        return int(after), mended + (self._repair(ids, expiry) if ids else 0)

    def _tidy_paused(self) -> int:
        """Remove a part of those ids from the paused set that are not paused; a later sweep has the next."""
        after, ids = self._redis.command("SSCAN", self._keys.paused, self._paused_at, "COUNT", PAUSED_LOOK)
        self._paused_at = int(after)
        return self._redis.run(pause_calls.tidy_paused(self._scope, ids)) if ids else 0

    def _mend(self) -> int:
        """Free the slots of ids without a run."""
        mended, cursor = 0, 0
        for _ in range(MEND_STEPS):
            after, found = self._redis.command("HSCAN", self._keys.slotted, cursor, "COUNT", 500)
            ids = [decoding.text(raw) for raw in (found if isinstance(found, dict) else found[::2])]
            mended += self._redis.run(limit_calls.mend(self._scope, ids)) if ids else 0
            cursor = int(after)
            if cursor == 0:
                break
        return mended

    def _repair(self, ids: Sequence[str], expiry: float) -> int:
        repaired, *odd = self._redis.run(monitor_calls.repair(self._scope, ids, expiry))
        if not odd:
            return int(repaired)
        lost = [(ids[place - 1], name) for place, name in decoding.pairs(odd)]
        call = monitor_calls.put_back(self._scope, [i for i, _ in lost], [name for _, name in lost])
        return int(repaired) + self._redis.run(call)

    def retire(self) -> None:
        """Delete the hashes of tasks whose retention time is over, unless they wait again."""
        now = int(self._redis.command("TIME")[0])
        for trigger in (Trigger.END, Trigger.FAIL, Trigger.STOP):
            kept = self._scope.retention.of(trigger)
            if kept:
                self._retire(destination(trigger), kept, now - kept)

    def _retire(self, state: State, kept: int, until: int) -> None:
        left, index = 0, self._keys.index(state)
        queued = int(self._redis.command("LLEN", self._keys.queue))
        for _ in range(min(RETIRE_MOST, 1 + RETIRE_WALK // (queued + 1))):
            # Those that wait again stay first in the index.
            span = (index, "-inf", until, "LIMIT", left, RETIRE_STEP)
            ids = [decoding.text(raw) for raw in self._redis.command("ZRANGEBYSCORE", *span)]
            if not ids:
                return
            stayed = self._redis.run(monitor_calls.retire(self._scope, state, kept, ids))
            if stayed < 0 or len(ids) < RETIRE_STEP:
                return
            left += stayed
