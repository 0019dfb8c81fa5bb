"""The Redis store: every verb that changes a state is one script with declared keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytask.adapters import decoding
from pytask.adapters.keys import Keys
from pytask.adapters.redis import (
    limit_calls,
    monitor_calls,
    pause_calls,
    queue_calls,
    replies,
    run_calls,
    verbs,
)
from pytask.adapters.redis.connection import Connection, Durability
from pytask.adapters.redis.registry import Registry
from pytask.adapters.redis.scope import Scope
from pytask.adapters.redis.sweeps import Sweeps
from pytask.adapters.redis.timetable import Timetable
from pytask.adapters.rules import RECORD_LEFT, Retention
from pytask.domain.figures import WorkerInfo
from pytask.domain.limits import Rules
from pytask.domain.messages import Command, IdFault
from pytask.domain.record import (
    NO_FIELDS,
    Adoption,
    Answer,
    Change,
    Claim,
    ClaimRequest,
    Confirmation,
    Due,
    Expiry,
    Incarnation,
    InForce,
    Notes,
    RunRef,
    Save,
    StartFields,
    Suspect,
    Verdict,
)
from pytask.domain.samples import Crew, Ring

NO_SAVES: Mapping[str, Save] = {}
DUE_CALLS = 3  # of one read of the timers
CREW_LIMIT = 1000  # workers that are read
PARKED_LOOK = 1000  # parking lists that one sweep reads


class RedisStore:
    """One connection to Redis and the verbs that change states.  Used by one greenlet at a time."""

    def __init__(
        self,
        client: Any,
        keys: Keys,
        retention: Retention | None = None,
        durability: Durability | None = None,
        *,
        tails: bool = True,
    ) -> None:
        self.tails = tails
        self.incarnation: Incarnation | None = None
        self.ahead: list[bytes] | None = None
        self._keys = keys
        self._scope = Scope(keys, retention or Retention())
        self._redis = Connection(client, durability)
        self._due: Sequence[bytes] = ()  # ids that the last read of the timers found due
        self._registry = Registry(self._redis, self._scope)
        self._sweeps = Sweeps(self._redis, self._scope)
        self.schedules = Timetable(self._redis, self._scope)

    @property
    def who(self) -> str:
        """The name that the history of tasks records for changes by this store."""
        return self._scope.who

    @who.setter
    def who(self, name: str) -> None:
        self._scope.who = name

    # -- the queue ------------------------------------------------------------------------------------

    def peek(self, limit: int, source: str | None = None) -> list[bytes]:
        """The `limit` ids at the tail, the next one first; the last one may be cut because it is too long."""
        return self._redis.run(queue_calls.peek(self._scope, limit, source))

    def claim(self, request: ClaimRequest) -> list[Claim]:
        """Claim a batch: an answer for each ref, in order; or for each id at the tail."""
        self.ahead = None
        if not request.refs and request.tail is None:
            return []
        functions = tuple(request.functions)
        (reply,) = self._redis.run_durably([queue_calls.claim(self._scope, request, functions)])
        if request.tail is not None:
            claims, self.ahead = replies.tail_claims(request.tail, functions, reply)
            return claims
        claims, ahead = replies.claims(request.refs, functions, reply)
        self.ahead = ahead if request.look else None
        return claims

    def reject(self, raw: bytes, reason: IdFault, source: str | None = None) -> Verdict:
        """Move an invalid id from its list to `pytask:rejected`."""
        return replies.verdict(self._redis.run(queue_calls.reject(self._scope, raw, reason, source)))

    def park(
        self, task_id: str, function: str, event: bytes, source: str | None = None, *, held: bool = False
    ) -> Verdict:
        """Move an id from the queue (or another list) to the parking list of `function`."""
        call = queue_calls.park(self._scope, task_id, function, event, source, held=held)
        return replies.verdict(self._redis.run(call))

    def due(self, limit: int = 256) -> Due:
        """Move up to `limit` ids whose time has come to the queue."""
        found: list[Any] = []
        for _ in range(DUE_CALLS):
            found = self._redis.run(queue_calls.due(self._scope, self._due, limit))
            # The next call moves these, unless another worker is quicker.
            self._due = found[replies.DUE_WORDS :]
            if found[0] or not self._due:
                break
        return replies.due(found)

    def serve(self, rules: Rules) -> bool:
        """Look at waiting lists, and queue the ids that may start; whether there is more to do now."""
        return self._redis.run(limit_calls.serve(self._scope, rules))[1] == 1

    def parked(self) -> list[str]:
        """Functions with a parking list, at most 1000; names of empty ones are deleted.

        If there are more, each call reads a random selection: producers choose names, and a sweep must end.
        """
        found = self._redis.command("SRANDMEMBER", self._keys.parked, PARKED_LOOK)
        names = [decoding.text(raw) for raw in found]
        return [name for name in names if not self._redis.run(queue_calls.unpark(self._scope, name))]

    def hint(self, function: str) -> None:
        """Tell workers that know `function` to claim from its parking list."""
        self._redis.command("PUBLISH", self._keys.hint_channel, decoding.raw_of(function))

    # -- runs -----------------------------------------------------------------------------------------

    def renew(self, refs: Sequence[RunRef], saves: Mapping[str, Save] = NO_SAVES) -> dict[RunRef, Answer]:
        """Renew runs, in calls of 250 that are sent together; returns only answers other than OK."""
        redis = self._redis
        alone = redis.durability.alone
        calls = run_calls.renewals(self._scope, refs, saves, alone=alone, packs=redis.packs)
        answers = redis.run_durably(calls)
        found: dict[RunRef, Answer] = {}
        for number, reply in enumerate(answers):
            found.update(replies.renewal(refs, number * run_calls.RENEW_CALL, reply))
        # The last reply: if the server changed in between, it comes from the new one.
        self.incarnation = replies.incarnation(answers[-1])
        return found

    def adopt(self, adoptions: Sequence[Adoption], worker: str) -> list[Verdict]:
        """Restore lost runs: an answer for each, in order."""
        (words,) = self._redis.run_durably([run_calls.adopt(self._scope, adoptions, worker)])
        return replies.verdicts(words)

    def save(self, one: Save, server: str = "") -> Verdict:
        """Store what a task saves, at once."""
        (word,) = self._redis.run_durably([run_calls.save(self._scope, one, server)])
        return replies.verdict(word)

    def restore(  # noqa: PLR0913 - all that the hash had
        self,
        task_id: str,
        function: str,
        data: bytes | None,
        saved: bytes = b"",
        *,
        paused: bool = False,
        fields: StartFields = NO_FIELDS,
        marker: str = "",
    ) -> Verdict:
        """Recreate and queue a task whose hash was lost with the data."""
        call = run_calls.restore(
            self._scope, task_id, function, data, saved, paused=paused, fields=fields, marker=marker
        )
        return replies.verdict(self._redis.run(call))

    def commit(self, changes: Sequence[Change]) -> list[Verdict]:
        """Commit ends and events in order; an answer for each."""
        return replies.verdicts(self._redis.run(run_calls.commit(self._scope, changes)).split())

    def note(self, notes: Sequence[Notes], lines: int, keep: int) -> list[Verdict]:
        """Store log lines and progress; an answer for each run, in order."""
        if not notes:
            return []
        return replies.verdicts(self._redis.run(run_calls.note(self._scope, notes, lines, keep)).split())

    def reload(  # noqa: PLR0913, PLR0917 - see the port
        self,
        old: RunRef,
        new: RunRef,
        worker: str,
        max_data: int,
        saved: bytes = b"",
        lived: InForce | None = None,
    ) -> Claim:
        """Replace the run `old` with `new`."""
        call = run_calls.reload(self._scope, old, new, worker, max_data, saved=saved, lived=lived)
        return replies.claim(new, self._redis.run(call))

    def preview(self, ref: RunRef, max_data: int) -> Claim:
        """The data that a reload of this run would start with."""
        return replies.claim(ref, self._redis.run(run_calls.preview(self._scope, ref, max_data)))

    def accept(self, judged: Claim, mark: str, worker: str, lived: InForce | None = None) -> Claim:
        """Record that the run continues with the data that was judged."""
        call = run_calls.accept(self._scope, judged, mark, worker, lived)
        return replies.accepted(judged, self._redis.run(call))

    def refuse(self, judged: Claim, path: str, reason: str, force: InForce) -> Verdict:
        """Refuse a reload because the data does not fit; the run continues."""
        return replies.verdict(self._redis.run(run_calls.refuse(self._scope, judged, path, reason, force)))

    def settle(self, ref: RunRef, mark: str = "", *, repeated: bool = False) -> Verdict:
        """Confirm that the run started by a reload is alive."""
        return replies.verdict(self._redis.run(run_calls.settle(self._scope, ref, mark, repeated=repeated)))

    def confirm(self, confirmations: Sequence[Confirmation]) -> list[Answer]:
        """Tell that runs were paused or resumed; the word that holds now for each."""
        return replies.confirmed(self._redis.run(pause_calls.confirm(self._scope, confirmations)))

    def hold_functions(self, names: Sequence[str], *, resume: bool = False) -> list[bool]:
        """Pause functions, or resume them; whether each changed."""
        call = pause_calls.hold_functions(self._scope, names, resume=resume)
        return list(map(bool, self._redis.run(call)))

    def held_functions(self) -> set[str]:
        """The functions that are paused."""
        return set(map(decoding.text, self._redis.command("SMEMBERS", self._keys.paused_functions)))

    def open_local(self, ref: RunRef, function: str, data: bytes, worker: str) -> Claim:
        """Create the hash and the run of a pre-started task."""
        call = run_calls.open_local(self._scope, ref, function, data, worker)
        return replies.claim(ref, self._redis.run(call))

    # -- control --------------------------------------------------------------------------------------

    def control(
        self, command: Command, ids: Sequence[str], ages: Sequence[float] = (), *, fresh: bool = False
    ) -> list[Verdict]:
        """Control a batch of tasks; `fresh`, of a start: without what earlier runs have saved."""
        return self._redis.drive(verbs.control(self._scope, command, ids, ages, fresh=fresh))

    # -- the monitor ----------------------------------------------------------------------------------

    def suspects(self, older: float, ahead: float, limit: int = 100_000) -> list[Suspect]:
        """Runs whose lease lies outside the window of healthy ones, by Redis TIME.

        Leases without a run (in registry and hash) are deleted.  Runs without a lease get one: otherwise no
        monitor would see them if their owner is dead.
        """
        return self._registry.suspects(older, ahead, limit)

    def runs_of(self, prefix: str, cursor: int = 0) -> tuple[int, list[Suspect]]:
        """One HSCAN step through the registry; only runs with this prefix are read."""
        return self._registry.runs_of(prefix, cursor)

    def expire(self, expiries: Sequence[Expiry], server: str = "") -> list[Verdict]:
        """Expire a batch of dead runs."""
        return self._redis.drive(verbs.expire(self._scope, expiries, server))

    def repair(self, cursor: int, expiry: float) -> tuple[int, int]:
        """One SCAN step of the slow sweep: (next cursor, tasks repaired)."""
        return self._sweeps.repair(cursor, expiry)

    def tidy(self, monitor: str, silent: float) -> None:
        """Record a sweep; delete entries of workers that have been silent for long."""
        self._redis.run(monitor_calls.tidy(self._scope, monitor, silent))

    def sample(self, ring: Ring, crew: Crew | None = None) -> bool:
        """Keep a sample of the fleet in a ring, if none is there; without `crew` only look."""
        return self._redis.run(monitor_calls.sample(self._scope, ring, crew)) == 1

    def retire(self) -> None:
        """Delete the hashes of tasks whose retention time is over, unless they wait again."""
        self._sweeps.retire()

    # -- workers --------------------------------------------------------------------------------------

    def announce(self, info: WorkerInfo) -> float | None:
        """Publish the figures of this worker; returns the seconds since any monitor swept."""
        since = self._redis.run(monitor_calls.announce(self._scope, info))
        return None if since < 0 else float(since)

    def recent_workers(self, within: float) -> list[WorkerInfo]:
        """The workers that reported in the last `within` seconds, by Redis TIME."""
        keys, redis = self._keys, self._redis
        now = int(redis.command("TIME")[0])
        # Not those ahead of the clock: it was set back, and the living ones report again soon.
        span = now - within, now + within
        sessions = redis.command("ZRANGEBYSCORE", keys.workers, *span, "LIMIT", 0, CREW_LIMIT)
        shown = redis.command("HMGET", keys.worker_info, *sessions) if sessions else []
        infos = [replies.read_info(text) for text in shown if text is not None]
        return [info for info in infos if info is not None]

    def leave(self, session: str) -> None:
        """Remove this worker's entry."""
        keys = self._keys
        self._redis.pipeline(
            [
                ("ZREM", keys.workers, session),
                ("HDEL", keys.worker_info, session),
                ("EXPIRE", keys.claimed(session), RECORD_LEFT),
            ]
        )

    def ping(self, session: str) -> None:
        """Publish to the feed of this session."""
        self._redis.command("PUBLISH", self._keys.ping_channel(session), "ping")

    def databases(self) -> list[int]:
        """The db numbers whose workers are subscribed under this namespace at this server."""
        return self._keys.databases_of(self._redis.command("PUBSUB", "CHANNELS", self._keys.database_pattern))

    # -- the connection -------------------------------------------------------------------------------

    def reset(self) -> None:
        """Drop the connection: its state is unknown."""
        self._redis.reset()

    close = reset

    def reconnect(self) -> None:
        """Open a new connection for the next command; a running one ends on its connection."""
        self._redis.reconnect()
