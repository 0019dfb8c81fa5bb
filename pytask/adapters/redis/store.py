"""The Redis store: every verb that moves tasks is one script, sent with its keys declared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytask.adapters import decoding
from pytask.adapters.keys import Keys
from pytask.adapters.redis import monitor_calls, queue_calls, replies, run_calls, verbs
from pytask.adapters.redis.connection import Connection, Durability
from pytask.adapters.redis.registry import Registry
from pytask.adapters.redis.scope import Scope
from pytask.adapters.redis.timetable import Timetable
from pytask.adapters.rules import Retention
from pytask.domain.figures import WorkerInfo
from pytask.domain.lifecycle import State, Trigger, destination
from pytask.domain.messages import Command, IdFault
from pytask.domain.record import (
    Adoption,
    Change,
    Claim,
    ClaimRequest,
    Due,
    Expiry,
    Incarnation,
    Notes,
    RunRef,
    Suspect,
    Verdict,
)

CREW_LIMIT = 1000  # workers that are looked at
PARKED_LOOK = 1000  # parking lists that one sweep looks at
RETIRE_STEP = 2000  # finished tasks of one call, about 5 ms of Redis, and 20 ms more for 100,000 that wait
RETIRE_MOST = 100  # such calls of one sweep and state
RETIRE_WALK = 1_000_000  # entries of the queue that these look at, about: 0.2 s of Redis


class RedisStore:
    """One connection to Redis and the verbs that move tasks.  Used by one greenlet at a time."""

    def __init__(
        self,
        client: Any,
        keys: Keys,
        retention: Retention | None = None,
        durability: Durability | None = None,
    ) -> None:
        self.incarnation: Incarnation | None = None
        self.ahead: list[bytes] | None = None
        self._keys = keys
        self._scope = Scope(keys, retention or Retention())
        self._redis = Connection(client, durability)
        self._registry = Registry(self._redis, self._scope)
        self.schedules = Timetable(self._redis, self._scope)

    @property
    def who(self) -> str:
        """The name under which what this store does stands in the history of tasks."""
        return self._scope.who

    @who.setter
    def who(self, name: str) -> None:
        self._scope.who = name

    # -- the queue ------------------------------------------------------------------------------------

    def peek(self, limit: int, source: str | None = None) -> list[bytes]:
        """The `limit` ids at the tail, the next one first; the last one may be too long, and is cut."""
        return self._redis.run(queue_calls.peek(self._scope, limit, source))

    def claim(self, request: ClaimRequest) -> list[Claim]:
        """Claim a batch: an answer for each ref, in order."""
        self.ahead = None
        if not request.refs:
            return []
        functions = tuple(request.functions)
        (reply,) = self._redis.run_durably([queue_calls.claim(self._scope, request, functions)])
        claims, ahead = replies.claims(request.refs, functions, reply)
        self.ahead = ahead if request.look else None
        return claims

    def reject(self, raw: bytes, reason: IdFault, source: str | None = None) -> Verdict:
        """Move an invalid id from its list to `pytask:rejected`."""
        return replies.verdict(self._redis.run(queue_calls.reject(self._scope, raw, reason, source)))

    def park(self, task_id: str, function: str, event: bytes, source: str | None = None) -> Verdict:
        """Move an id from the queue (or another list) to the parking list of `function`."""
        call = queue_calls.park(self._scope, task_id, function, event, source)
        return replies.verdict(self._redis.run(call))

    def due(self, limit: int = 256) -> Due:
        """Move up to `limit` ids whose time has come to the queue."""
        found = self._redis.run(queue_calls.due(self._scope, (), limit))
        if not found[3:]:
            return replies.due(found)
        ids = [decoding.text(raw) for raw in found[3:]]
        return replies.due(self._redis.run(queue_calls.due(self._scope, ids, 0)))

    def parked(self) -> list[str]:
        """Functions with a parking list, 1000 at the most; names of empty ones are forgotten on the way.

        Of more, each call takes others by chance: producers make the names up, and a sweep must end.
        """
        found = self._redis.command("SRANDMEMBER", self._keys.parked, PARKED_LOOK)
        names = [decoding.text(raw) for raw in found]
        return [name for name in names if not self._redis.run(queue_calls.unpark(self._scope, name))]

    def hint(self, function: str) -> None:
        """Tell workers that know `function` to claim from its parking list."""
        self._redis.command("PUBLISH", self._keys.hint_channel, decoding.raw_of(function))

    # -- runs -----------------------------------------------------------------------------------------

    def renew(self, refs: Sequence[RunRef]) -> dict[RunRef, Verdict]:
        """Renew runs, in calls of 250 that are sent together; returns only verdicts other than OK."""
        redis = self._redis
        calls = run_calls.renewals(self._scope, refs, alone=redis.durability.alone, packs=redis.packs)
        told = redis.run_durably(calls)
        found: dict[RunRef, Verdict] = {}
        for number, reply in enumerate(told):
            found.update(replies.renewal(refs, number * run_calls.RENEW_CALL, reply))
        # The last word: where the server changed in the middle, it is the new one's.
        self.incarnation = replies.incarnation(told[-1])
        return found

    def adopt(self, adoptions: Sequence[Adoption], worker: str) -> list[Verdict]:
        """Restore lost runs: an answer for each, in order."""
        (words,) = self._redis.run_durably([run_calls.adopt(self._scope, adoptions, worker)])
        return replies.verdicts(words)

    def restore(self, task_id: str, function: str, data: bytes | None) -> Verdict:
        """A task whose hash was lost with the data, made and queued anew."""
        return replies.verdict(self._redis.run(run_calls.restore(self._scope, task_id, function, data)))

    def commit(self, changes: Sequence[Change]) -> list[Verdict]:
        """Commit ends and events in order; an answer for each."""
        return replies.verdicts(self._redis.run(run_calls.commit(self._scope, changes)).split())

    def note(self, notes: Sequence[Notes], lines: int, keep: int) -> list[Verdict]:
        """Lines for the rings of tasks, and how far these are: an answer for each run, in order."""
        if not notes:
            return []
        return replies.verdicts(self._redis.run(run_calls.note(self._scope, notes, lines, keep)).split())

    def reload(self, old: RunRef, new: RunRef, worker: str, max_data: int) -> Claim:
        """Replace the run `old` with `new`."""
        return replies.claim(new, self._redis.run(run_calls.reload(self._scope, old, new, worker, max_data)))

    def preview(self, ref: RunRef, max_data: int) -> Claim:
        """What a reload of this run would begin with."""
        return replies.claim(ref, self._redis.run(run_calls.preview(self._scope, ref, max_data)))

    def refuse(self, judged: Claim, path: str, reason: str) -> Verdict:
        """Refuse a reload because the data does not fit; the run continues."""
        return replies.verdict(self._redis.run(run_calls.refuse(self._scope, judged, path, reason)))

    def settle(self, ref: RunRef) -> Verdict:
        """Confirm that the run started by a reload is alive."""
        return replies.verdict(self._redis.run(run_calls.settle(self._scope, ref)))

    def open_local(self, ref: RunRef, function: str, data: bytes, worker: str) -> Claim:
        """The hash and the run of a pre-started task."""
        call = run_calls.open_local(self._scope, ref, function, data, worker)
        return replies.claim(ref, self._redis.run(call))

    # -- control --------------------------------------------------------------------------------------

    def control(self, command: Command, ids: Sequence[str], ages: Sequence[float] = ()) -> list[Verdict]:
        """Control a batch of tasks."""
        return self._redis.drive(verbs.control(self._scope, command, ids, ages))

    # -- the monitor ----------------------------------------------------------------------------------

    def suspects(self, older: float, ahead: float, limit: int = 100_000) -> list[Suspect]:
        """Runs whose lease lies outside the window of healthy ones, by Redis TIME.

        Leases found there that are nobody's (registry and hash are gone) are dropped on the way.  Runs that
        lost theirs are given one: no monitor would look at them without, should their owner be dead.
        """
        return self._registry.suspects(older, ahead, limit)

    def runs_of(self, prefix: str, cursor: int = 0) -> tuple[int, list[Suspect]]:
        """One step of HSCAN through the registry; only what begins with `prefix` is read further."""
        return self._registry.runs_of(prefix, cursor)

    def expire(self, expiries: Sequence[Expiry], server: str = "") -> list[Verdict]:
        """Expire a batch of dead runs."""
        return self._redis.drive(verbs.expire(self._scope, expiries, server))

    def repair(self, cursor: int, expiry: float) -> tuple[int, int]:
        """One SCAN step of the slow sweep: (next cursor, tasks repaired)."""
        space = self._keys.namespace
        after, found = self._redis.command("SCAN", cursor, "MATCH", f"{space}*", "COUNT", 200, "TYPE", "hash")
        names = [key.decode(errors="replace") for key in found]
        ids = [name[len(space) :] for name in names if not name.startswith(f"{space}pytask:")]
        return int(after), self._redis.run(monitor_calls.repair(self._scope, ids, expiry)) if ids else 0

    def tidy(self, monitor: str, silent: float) -> None:
        """Note a sweep; drop workers long silent."""
        self._redis.run(monitor_calls.tidy(self._scope, monitor, silent))

    def retire(self) -> None:
        """Delete the hashes of those that rested for as long as they are kept, and do not wait again."""
        now = int(self._redis.command("TIME")[0])
        for trigger in (Trigger.END, Trigger.FAIL, Trigger.STOP):
            kept = self._scope.retention.of(trigger)
            if kept:
                self._retire(destination(trigger), kept, now - kept)

    def _retire(self, state: State, kept: int, until: int) -> None:
        left, index = 0, self._keys.index(state)
        queued = int(self._redis.command("LLEN", self._keys.queue))
        for _ in range(min(RETIRE_MOST, 1 + RETIRE_WALK // (queued + 1))):
            # Those that stay, as they wait again, come first in the index at the next look, too.
            span = (index, "-inf", until, "LIMIT", left, RETIRE_STEP)
            ids = [decoding.text(raw) for raw in self._redis.command("ZRANGEBYSCORE", *span)]
            if not ids:
                return
            stayed = self._redis.run(monitor_calls.retire(self._scope, state, kept, ids))
            if stayed < 0 or len(ids) < RETIRE_STEP:
                return
            left += stayed

    # -- workers --------------------------------------------------------------------------------------

    def announce(self, info: WorkerInfo) -> float | None:
        """Show this worker; the seconds since any monitor swept."""
        since = self._redis.run(monitor_calls.announce(self._scope, info))
        return None if since < 0 else float(since)

    def recent_workers(self, within: float) -> list[WorkerInfo]:
        """Who showed up in the last `within` seconds, by Redis TIME."""
        keys, redis = self._keys, self._redis
        since = int(redis.command("TIME")[0]) - within
        sessions = redis.command("ZRANGEBYSCORE", keys.workers, since, "+inf", "LIMIT", 0, CREW_LIMIT)
        shown = redis.command("HMGET", keys.worker_info, *sessions) if sessions else []
        infos = [replies.read_info(text) for text in shown if text is not None]
        return [info for info in infos if info is not None]

    def leave(self, session: str) -> None:
        """Remove this worker's entry."""
        keys = self._keys
        self._redis.pipeline([("ZREM", keys.workers, session), ("HDEL", keys.worker_info, session)])

    def ping(self, session: str) -> None:
        """Publish to the feed of that session."""
        self._redis.command("PUBLISH", self._keys.ping_channel(session), "ping")

    def databases(self) -> list[int]:
        """The db numbers whose workers listen under this namespace at this server."""
        return self._keys.databases_of(self._redis.command("PUBSUB", "CHANNELS", self._keys.database_pattern))

    # -- the connection -------------------------------------------------------------------------------

    def reset(self) -> None:
        """Drop the connection: what is in it is not known."""
        self._redis.reset()

    close = reset

    def reconnect(self) -> None:
        """The next command opens a new connection; one that is under way ends where it was sent."""
        self._redis.reconnect()
