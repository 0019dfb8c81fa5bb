"""The Redis store: every verb is one script, sent with its keys declared."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from importlib.resources import files
from itertools import chain
from typing import Any

import attrs

from pytask.adapters import client as clients
from pytask.adapters import reading
from pytask.adapters.direct import direct
from pytask.adapters.keys import Keys
from pytask.adapters.wire import Packed
from pytask.domain import figures, history
from pytask.domain import lifecycle as life
from pytask.domain.errors import Unavailable
from pytask.domain.figures import WorkerInfo
from pytask.domain.leases import Chunk
from pytask.domain.lifecycle import RESTING, Trigger, destination, sources
from pytask.domain.messages import LONGEST_NAME, MAX_ID_BYTES, Command, Event, IdFault
from pytask.domain.policy import QUARANTINE_FROM
from pytask.domain.record import (
    Adoption,
    Change,
    Claim,
    ClaimRequest,
    Expiry,
    Incarnation,
    Notes,
    RunRef,
    Suspect,
    Verdict,
)
from pytask.logger import get_logger

log = get_logger(__name__)

SHORT_LIST = 128  # copies of a claimed id are removed from lists up to this length
KEEP_REJECTED = 1000
RENEW_CALL = 250  # runs a call of a renewal, about 1.5 ms of Redis: nobody else's command waits for longer
SUSPECT_CHUNK = 500
NEVER = 2**53  # seconds, as far as the scripts count
HISTORY_LINE = "--- history.lua\n"  # stands in a script where that text goes
REGISTRY_STEP = 1000  # entries a step of HSCAN
CREW_LIMIT = 1000  # workers that are looked at
PARKED_LOOK = 1000  # parking lists that one sweep looks at
RETIRE_STEP = 2000  # finished tasks of one call, about 5 ms of Redis, and 20 ms more for 100,000 that wait
RETIRE_MOST = 100  # such calls of one sweep and state
RETIRE_WALK = 1_000_000  # entries of the queue that these look at, about: 0.2 s of Redis
NOBODY = "nobody ran it"
POISON = "poison: its worker died soon after each of its last four starts"
PRESTARTED = "pre-started"
RESTORED = "restored after a loss of data"

WISHES = {wish.encode(): wish for wish in (Verdict.STOP, Verdict.RELOAD)}

# What must hold as an id is rejected, in the words of reject.lua.
STILL = {
    IdFault.NO_HASH: "none",
    IdFault.WRONG_TYPE: "other",
    IdFault.LOCAL: "local",
    IdFault.LONG: "long",
}

Args = list[Any]


@attrs.frozen(kw_only=True)
class Retention:
    """Seconds that the hashes of finished tasks are kept; None for ever, 0 not at all."""

    ended: int | None = 7 * 86400
    error: int | None = 30 * 86400
    stopped: int | None = None
    history: int = 16  # lines of a task's history; 0 for none

    def of(self, trigger: Trigger) -> int | None:
        """The time for the state that `trigger` leads to."""
        return {life.ENDED: self.ended, life.ERROR: self.error, life.STOPPED: self.stopped}.get(
            destination(trigger)
        )


@attrs.frozen(kw_only=True)
class Durability:
    """What the deployment does for a write, and what is asked of it."""

    alone: bool = True  # no Sentinel and no Cluster puts another server in this one's place
    replicas: int = 0  # that must have a claim or a renewal before it counts
    wait: float = 1.0  # seconds to wait for them


@cache
def load_script(name: str) -> tuple[str, str]:
    """The text of a script and its SHA-1."""
    folder = files("pytask.adapters") / "scripts"
    text = (folder / f"{name}.lua").read_text("utf-8")
    if HISTORY_LINE in text:
        text = text.replace(HISTORY_LINE, (folder / "history.lua").read_text("utf-8"))
    return text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def event(name: str, data: Any = None) -> str:
    """An event as it goes over the wire."""
    return json.dumps({"event": name, "data": data}, separators=(",", ":"))


def refusal(path: str, reason: str) -> str:
    """A refused reload as its field has it, behind the epoch and the time, which only Redis knows."""
    return json.dumps({"path": path, "reason": reason}, separators=(",", ":"))[1:]


@cache
def _run_event(name: Event, worker: str) -> tuple[str, str, str]:
    """An event with a gap for the run and one for the epoch, which only Redis knows."""
    head = event(name, {"worker": worker, "run": ""})
    return head[: -len('"}}')], '","epoch":', "}}"


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
        self.who = ""  # the name under which what this store does stands in the history of tasks
        self._direct = direct(client)
        self._stale = False
        self._keys = keys
        self._retention = retention or Retention()
        self._durability = durability or Durability()
        self._packs = clients.packs(client)

    # -- the queue ------------------------------------------------------------------------------------

    def peek(self, limit: int, source: str | None = None) -> list[bytes]:
        """The `limit` ids at the tail, the next one first; the last one may be too long, and is cut."""
        ids: list[bytes] = self._run("peek", [self._keys.source(source)], [limit, MAX_ID_BYTES])
        return ids

    def claim(self, request: ClaimRequest) -> list[Claim]:
        """E1/E13/E14: an answer for each ref, in order."""
        self.ahead = None
        if not request.refs:
            return []
        keys = self._keys
        functions = tuple(request.functions)
        args: Args = [life.RUNNING, request.worker, request.max_data, SHORT_LIST, request.quarantine]
        args += [keys.channel, *_run_event(Event.RUNNING, request.worker), *RESTING]
        args += [QUARANTINE_FROM, request.server, len(keys.namespace.encode()), request.look, MAX_ID_BYTES]
        args += [len(functions), *functions]
        args += [ref.run for ref in request.refs]
        args += [_end_of_line(Trigger.CLAIM, request.worker), self._retention.history]
        hashes = [keys.task(ref.id) for ref in request.refs]
        names = [keys.runs, keys.leases, keys.source(request.source), *keys.indexes, *hashes]
        words, told = self._run_durably("claim", [(len(names), names, args)])[0]
        claims, ahead = _read_claims(request.refs, functions, words.split(), told)
        self.ahead = ahead if request.look else None
        return claims

    def reject(self, raw: bytes, reason: IdFault, source: str | None = None) -> Verdict:
        """E15: out of the list, with a note in `pytask:rejected`."""
        keys = self._keys
        id_hex = raw[: MAX_ID_BYTES + 1].hex()
        note = json.dumps({"id_hex": id_hex, "reason": reason, "at": 0}, separators=(",", ":"))
        head, tail = note[:-2], note[-1:]
        still = STILL.get(reason, "")
        names: list[str | bytes] = [keys.source(source), keys.rejected]
        channel: str | bytes = b""
        if still and reason is not IdFault.LONG:
            names.append(keys.task(raw.decode()))
            channel = keys.events(raw.decode())
        args: Args = [raw, head, tail, KEEP_REJECTED, still, channel]
        args.append(event(Event.REJECTED, {"reason": reason}))
        return _verdict(self._run("reject", names, args))

    def park(self, task_id: str, function: str, event: bytes, source: str | None = None) -> Verdict:
        """A7: from the queue (or another list) to the parking list of `function`."""
        keys = self._keys
        names: list[str | bytes] = [keys.runs, keys.source(source), keys.parking(function), keys.parked]
        names += [*keys.indexes, keys.task(task_id)]
        args: Args = [
            task_id,
            reading.raw_of(function),
            destination(Trigger.PARK),
            keys.events(task_id),
            event,
        ]
        line = _end_of_line(Trigger.PARK, self.who, parked_why(function, event))
        args += [keys.hint_channel, *RESTING, line, self._retention.history]
        return _verdict(self._run("park", names, args))

    def parked(self) -> list[str]:
        """Functions with a parking list, 1000 at the most; names of empty ones are forgotten on the way.

        Of more, each call takes others by chance: producers make the names up, and a sweep must end.
        """
        names = [reading.text(raw) for raw in self._command("SRANDMEMBER", self._keys.parked, PARKED_LOOK)]
        return [
            name
            for name in names
            if not self._run("unpark", [self._keys.parked, self._keys.parking(name)], [reading.raw_of(name)])
        ]

    def hint(self, function: str) -> None:
        """Tell workers that know `function` to look at its parking list."""
        self._command("PUBLISH", self._keys.hint_channel, reading.raw_of(function))

    # -- runs -----------------------------------------------------------------------------------------

    def renew(self, refs: Sequence[RunRef]) -> dict[RunRef, Verdict]:
        """E2, in calls of 250 that are sent together: only what is not OK is in the answer."""
        keys = self._keys
        args: Args = [life.RUNNING, uuid.uuid4().hex, "1" if self._durability.alone else ""]
        args.append(len(keys.namespace.encode()))
        names = [keys.runs, keys.leases, keys.incarnation]
        replies = self._run_durably(
            "renew",
            [
                (len(names) + count, [*names, *hashes], [*args, *runs])
                for count, hashes, runs in self._renewed(refs)
            ],
        )
        found: dict[RunRef, Verdict] = {}
        for call, reply in enumerate(replies):
            self._heard(refs, call * RENEW_CALL - 1, reply[4:], found)
        # The last word: where the server changed in the middle, it is the new one's.
        marker, server, age, changed = reply[:4]
        self.incarnation = Incarnation(
            id=marker.decode(), server=server.decode(), age=_seconds(age), changed=_seconds(changed)
        )
        return found

    def _heard(
        self, refs: Sequence[RunRef], before: int, words: Sequence[Any], found: dict[RunRef, Verdict]
    ) -> None:
        """What one call of a renewal says of its runs; the first of them stands at `before` + 1."""
        for place, word in reading.pairs(words):
            if place > 0:
                verdict = _verdict(word)
                if verdict is not Verdict.FOREIGN:  # the run's own lease goes on until we know better
                    found[refs[before + place]] = verdict
            elif word in WISHES:  # others come from a newer release, or from a client: not ours to act on
                found[refs[before - place]] = WISHES[word]

    def _renewed(self, refs: Sequence[RunRef]) -> list[tuple[int, Args, Args]]:
        """(runs, their keys, their arguments) of each call of a renewal, one call even without runs.

        Packed once for runs that are renewed together again and again.
        """
        kept = refs.kept if isinstance(refs, Chunk) else None
        if isinstance(kept, list):
            return kept
        calls = [self._call(refs[at : at + RENEW_CALL]) for at in range(0, len(refs) or 1, RENEW_CALL)]
        if isinstance(refs, Chunk) and self._packs:
            calls = [(count, [Packed(hashes)], [Packed(runs)]) for count, hashes, runs in calls]
            refs.kept = calls
        return calls

    def _call(self, refs: Sequence[RunRef]) -> tuple[int, Args, Args]:
        # Nearly all runs are of one session, whose id would be most of what is sent.
        session = refs[0].run.rpartition(":")[0] + ":" if refs else ""
        runs = [_rest(ref.run, session) for ref in refs]
        return len(refs), [self._keys.task(ref.id) for ref in refs], [session, " ".join(runs)]

    def adopt(self, adoptions: Sequence[Adoption], worker: str) -> list[Verdict]:
        """E12: an answer for each, in order."""
        keys = self._keys
        args: Args = [life.RUNNING, worker, keys.channel, *_run_event(Event.RUNNING, worker), *RESTING]
        args.append(Verdict.STOP)
        for one in adoptions:
            args += (one.id, one.run, one.epoch)
        args.append(self._retention.history)
        hashes = [keys.task(one.id) for one in adoptions]
        names = [keys.runs, keys.leases, keys.queue, *keys.indexes, *hashes]
        return [_verdict(word) for word in self._run_durably("adopt", [(len(names), names, args)])[0]]

    def restore(self, task_id: str, function: str, data: bytes | None) -> Verdict:
        """A task whose hash was lost with the data, made and queued anew."""
        keys, state = self._keys, destination(Trigger.RELEASE)
        args: Args = [task_id, reading.raw_of(function), state, keys.events(task_id)]
        args.append(event(Event.REQUEUED, {"reason": RESTORED}))
        args.append(_line(Trigger.RELEASE, self.who, RESTORED))
        args += [] if data is None else [data]
        args.append(self._retention.history)
        names = [keys.runs, keys.queue, keys.index(state), keys.task(task_id)]
        return _verdict(self._run("restore", names, args))

    def commit(self, changes: Sequence[Change]) -> list[Verdict]:
        """E3-E6 and events, in order; an answer for each."""
        keys = self._keys
        kinds: dict[tuple[Any, ...], int] = {}
        told: Args = []
        for change in changes:
            fields: tuple[Any, ...] = tuple(chain.from_iterable(change.fields.items()))
            ending = _ending(change)
            if ending[1] == "queue":  # unless a stop was asked meanwhile
                fields = (Verdict.STOP, kinds.setdefault(self._stopped_instead(), len(kinds) + 1))
            kind = (change.event, *ending, ending_line(change, self.who), len(fields) // 2, *fields)
            told += (change.run, kinds.setdefault(kind, len(kinds) + 1))
        args: Args = [keys.channel, *RESTING, len(keys.namespace.encode()), len(kinds)]
        args += chain.from_iterable(kinds)
        hashes = [keys.task(change.id) for change in changes]
        names = [keys.runs, keys.leases, keys.queue, *keys.indexes, *hashes]
        words: bytes = self._run("commit", names, [*args, *told, self._retention.history])
        return [_verdict(word) for word in words.split()]

    def _stopped_instead(self) -> tuple[Any, ...]:
        """The kind of change for a run that is handed back while a stop stands in its hash."""
        keep = self._retention.of(Trigger.STOP)
        ending = _ending_of(Trigger.STOP, keep, local=False)
        return (event(Event.STOPPED), *ending, _line(Trigger.STOP, self.who), 0)

    def note(self, notes: Sequence[Notes], lines: int, keep: int) -> list[Verdict]:
        """Lines for the rings of tasks, and how far these are: an answer for each run, in order."""
        if not notes:
            return []
        keys = self._keys
        names, args = [keys.runs], [len(keys.namespace.encode()), keys.channel, lines, keep]
        for one in notes:
            names += (keys.task(one.id), keys.log(one.id))
            args += (one.run, one.progress, one.event, len(one.lines), *one.lines)
        words: bytes = self._run("note", names, args)
        return [_verdict(word) for word in words.split()]

    def reload(self, old: RunRef, new: RunRef, worker: str, max_data: int) -> Claim:
        """E8: `new` takes the place of `old`."""
        keys = self._keys
        args: Args = [old.id, old.run, new.run, worker, max_data, keys.events(old.id)]
        args += _run_event(Event.RELOADED, worker)
        args += [Verdict.STOP, _line(Trigger.RELOAD, worker), self._retention.history]
        reply = self._run("reload", [keys.runs, keys.leases, keys.task(old.id)], args)
        return _read_claim(new, iter(reply))

    def preview(self, ref: RunRef, max_data: int) -> Claim:
        """What a reload of this run would begin with."""
        keys = self._keys
        reply = self._run("preview", [keys.runs, keys.task(ref.id)], [ref.id, ref.run, max_data])
        return _read_claim(ref, iter(reply))

    def refuse(self, judged: Claim, path: str, reason: str) -> Verdict:
        """E17: the data does not fit, and the run goes on."""
        keys, task_id = self._keys, judged.id
        args: Args = [
            task_id,
            judged.run,
            reading.raw_of(judged.function),
            judged.data or b"",
            judged.oversize,
        ]
        args += [Verdict.RELOAD, refusal(path, reason), keys.events(task_id)]
        args.append(event(Event.REFUSED, {"path": path, "reason": reason, "epoch": judged.epoch}))
        args += [_line(Trigger.REFUSE, self.who, f"{path}: {reason}"), self._retention.history]
        return _verdict(self._run("refuse", [keys.runs, keys.task(task_id)], args))

    def settle(self, ref: RunRef) -> Verdict:
        """E18: the run that a reload began lives."""
        keys = self._keys
        return _verdict(self._run("settle", [keys.runs, keys.task(ref.id)], [ref.id, ref.run]))

    def open_local(self, ref: RunRef, function: str, data: bytes, worker: str) -> Claim:
        """The hash and the run of a pre-started task."""
        keys = self._keys
        session = ref.run.rpartition(":")[0]
        args: Args = [ref.id, ref.run, function, data, worker, session, life.RUNNING, keys.events(ref.id)]
        args += _run_event(Event.RUNNING, worker)
        args += [
            f"{life.RESTING[0]}{_end_of_line(Trigger.CLAIM, worker, PRESTARTED)}",
            self._retention.history,
        ]
        reply = self._run("open_local", [keys.runs, keys.leases, keys.task(ref.id)], args)
        return _read_claim(ref, iter(reply))

    # -- control --------------------------------------------------------------------------------------

    def control(self, command: Command, ids: Sequence[str], ages: Sequence[float] = ()) -> list[Verdict]:
        """E9, E10, E11 for a batch."""
        if command is Command.RELOAD:
            words = self._ask_reload(ids)
        else:
            dated = list(zip(ids, ages or [0.0] * len(ids), strict=True))
            words = self._stop(dated) if command is Command.STOP else self._start(dated)
        return [_verdict(word) for word in words]

    def _stop(self, dated: Sequence[tuple[str, float]]) -> list[bytes]:
        keys = self._keys
        functions = self._run("functions", [keys.task(i) for i, _ in dated], [LONGEST_NAME])
        keep = self._retention.of(Trigger.CANCEL)
        args: Args = [keys.channel, event(Event.STOPPED), Verdict.STOP, life.RUNNING]
        args += [destination(Trigger.CANCEL), life.State.read(None), *RESTING, "" if keep is None else keep]
        allowed = sources(Trigger.CANCEL)
        args += [len(allowed), *allowed]
        last = [_line(Trigger.REQUEST, self.who, Verdict.STOP), _end_of_line(Trigger.CANCEL, self.who)]
        fixed: list[str | bytes] = [keys.runs, keys.queue, *keys.indexes]
        pairs = [
            (keys.task(task_id), keys.parking(reading.text(function)))
            for (task_id, _), function in zip(dated, functions, strict=True)
        ]
        found: list[bytes] = []
        while len(found) < len(dated):  # a call does what it can in a few milliseconds
            left = len(found)
            names = fixed + list(chain.from_iterable(pairs[left:]))
            found += self._run(
                "stop", names, [*args, *chain.from_iterable(dated[left:]), *last, self._retention.history]
            )
        return found

    def _start(self, dated: Sequence[tuple[str, float]]) -> list[bytes]:
        keys = self._keys
        args: Args = [keys.channel, event(Event.QUEUED), life.RUNNING, destination(Trigger.START)]
        allowed = sources(Trigger.START)
        args += [life.State.read(None), *RESTING, len(allowed), *allowed]
        args += [*chain.from_iterable(dated), _end_of_line(Trigger.START, self.who), self._retention.history]
        names = [keys.runs, keys.queue, *keys.indexes, *(keys.task(i) for i, _ in dated)]
        found: list[bytes] = self._run("start", names, args)
        return found

    def _ask_reload(self, ids: Sequence[str]) -> list[bytes]:
        keys = self._keys
        names = [keys.runs, *(keys.task(i) for i in ids)]
        line = _line(Trigger.REQUEST, self.who, Verdict.RELOAD)
        args: Args = [Verdict.RELOAD, Verdict.STOP, line, *ids, self._retention.history]
        found: list[bytes] = self._run("ask_reload", names, args)
        return found

    # -- the monitor ----------------------------------------------------------------------------------

    def suspects(self, older: float, ahead: float, limit: int = 100_000) -> list[Suspect]:
        """Runs whose lease lies outside the window of healthy ones, by Redis TIME.

        Leases found there that are nobody's (registry and hash are gone) are dropped on the way.  Runs that
        lost theirs are given one: no monitor would look at them without, should their owner be dead.
        """
        seconds, micros = self._command("TIME")
        now = int(seconds) * 1_000_000 + int(micros)
        low, high = now - int(older * 1e6), now + int(ahead * 1e6)
        leases = self._keys.leases
        behind, before, runs, leased = self._pipeline(
            [
                ("ZRANGEBYSCORE", leases, "-inf", low, "WITHSCORES", "LIMIT", 0, limit),
                ("ZRANGEBYSCORE", leases, f"({high}", "+inf", "WITHSCORES", "LIMIT", 0, limit),
                ("HLEN", self._keys.runs),
                ("ZCARD", leases),
            ]
        )
        if runs > leased:
            self._lease_again()
        found = [(raw, int(float(score))) for raw, score in reading.pairs(behind + before)]
        suspects: list[Suspect] = []
        for at in range(0, len(found), SUSPECT_CHUNK):
            suspects += self._read_suspects(found[at : at + SUSPECT_CHUNK])
        return suspects

    def _read_suspects(self, found: list[tuple[bytes, int]]) -> list[Suspect]:
        keys = self._keys
        ids = [raw.decode() for raw, _ in found]
        reply = self._run("suspects", [keys.runs, *(keys.task(i) for i in ids)], [life.RUNNING, *ids])
        nobodys = [i for i, run in zip(ids, reply[::3], strict=True) if not run]
        if nobodys:  # else they would be read again at every sweep, for ever
            self._run("forget", [keys.runs, keys.leases, *(keys.task(i) for i in nobodys)], nobodys)
        told = zip(ids, found, reply[::3], reply[1::3], reply[2::3], strict=True)
        return [
            Suspect(id=i, run=run.decode(errors="replace"), lease=lease, epoch=int(e), crashes=int(crashes))
            for i, (_, lease), run, e, crashes in told
            if run
        ]

    def runs_of(self, prefix: str, cursor: int = 0) -> tuple[int, list[Suspect]]:
        """One step of HSCAN through the registry; only what begins with `prefix` is read further."""
        keys = self._keys
        after, found = self._command("HSCAN", keys.runs, cursor, "COUNT", REGISTRY_STEP)
        start = prefix.encode()
        entries = found.items() if isinstance(found, dict) else reading.pairs(found)
        ids = [raw.decode() for raw, run in entries if run.startswith(start)]
        suspects: list[Suspect] = []
        for at in range(0, len(ids), SUSPECT_CHUNK):
            chunk = ids[at : at + SUSPECT_CHUNK]
            scores = self._pipeline([("ZSCORE", keys.leases, i) for i in chunk])
            leases = [(i.encode(), int(float(score or 0))) for i, score in zip(chunk, scores, strict=True)]
            suspects += self._read_suspects(leases)
        return int(after), [one for one in suspects if one.run.startswith(prefix)]

    def expire(self, expiries: Sequence[Expiry], server: str = "") -> list[Verdict]:
        """E7 for a batch."""
        keys = self._keys
        keep = self._retention.of(Trigger.POISON)
        keep_stopped = self._retention.of(Trigger.EXPIRE_STOPPED)
        args: Args = [
            keys.channel,
            event(Event.REQUEUED, {"reason": "lease expired"}),
            event(Event.STOPPED),
            event(Event.ERROR, {"error": POISON}),
            POISON,
            "" if keep is None else keep,
            destination(Trigger.EXPIRE),
            destination(Trigger.EXPIRE_STOPPED),
            destination(Trigger.POISON),
            *RESTING,
            Verdict.STOP,
            "" if keep_stopped is None else keep_stopped,
            server,
            # Without the reason, which only the script knows; what it says begins in the place of "-".
            *(_line(t, self.who)[:-1] for t in (Trigger.EXPIRE, Trigger.EXPIRE_STOPPED, Trigger.POISON)),
        ]
        for e in expiries:
            args += (e.id, e.run, e.seen, e.crashes, int(e.poison))
        args.append(self._retention.history)
        hashes = [keys.task(e.id) for e in expiries]
        reply = self._run("expire", [keys.runs, keys.leases, keys.queue, *keys.indexes, *hashes], args)
        return [_verdict(word) for word in reply]

    def repair(self, cursor: int, expiry: float) -> tuple[int, int]:
        """E16, one step of SCAN: (next cursor, hashes mended)."""
        keys = self._keys
        after, found = self._command(
            "SCAN", cursor, "MATCH", f"{keys.namespace}*", "COUNT", 200, "TYPE", "hash"
        )
        own = f"{keys.namespace}pytask:"
        names = [key.decode(errors="replace") for key in found]
        ids = [name[len(keys.namespace) :] for name in names if not name.startswith(own)]
        return int(after), self._mend(ids, expiry)

    def _mend(self, ids: Sequence[str], expiry: float) -> int:
        if not ids:
            return 0
        keys, moves = self._keys, (Trigger.REPAIR, Trigger.EXPIRE_STOPPED)
        keep = self._retention.of(Trigger.EXPIRE_STOPPED)
        fixed = [keys.runs, keys.leases, keys.queue, *(keys.index(destination(move)) for move in moves)]
        args: Args = [life.RUNNING, *map(destination, moves), expiry, keys.channel]
        args += [event(Event.REQUEUED, {"reason": NOBODY}), event(Event.STOPPED)]
        args += [*(_line(move, self.who, NOBODY) for move in moves), Verdict.STOP]
        args += ["" if keep is None else keep, *ids, self._retention.history]
        return int(self._run("repair", fixed + [keys.task(i) for i in ids], args))

    def _lease_again(self) -> None:
        """A lease for each run in the registry that has none."""
        keys, cursor = self._keys, 0
        while True:
            cursor, step = self._command("HSCAN", keys.runs, cursor, "COUNT", REGISTRY_STEP)
            ids = list(step) if isinstance(step, dict) else list(step[::2])
            scores = self._pipeline([("ZSCORE", keys.leases, i) for i in ids])
            bare = [i.decode() for i, score in zip(ids, scores, strict=True) if score is None]
            self._mend(bare, NEVER)
            if not int(cursor):
                return

    def tidy(self, monitor: str, silent: float) -> None:
        """Note a sweep; drop workers long silent."""
        keys = self._keys
        self._run("tidy", [keys.workers, keys.worker_info, keys.monitors], [monitor, silent])

    def retire(self) -> None:
        """Delete the hashes of those that rested for as long as they are kept, and do not wait again."""
        now = int(self._command("TIME")[0])
        for trigger in (Trigger.END, Trigger.FAIL, Trigger.STOP):
            kept = self._retention.of(trigger)
            if kept:
                self._retire(destination(trigger), kept, now - kept)

    def _retire(self, state: life.State, kept: int, until: int) -> None:
        keys, left = self._keys, 0
        index = keys.index(state)
        queued = int(self._command("LLEN", keys.queue))
        for _ in range(min(RETIRE_MOST, 1 + RETIRE_WALK // (queued + 1))):
            # Those that stay, as they wait again, come first in the index at the next look, too.
            span = (index, "-inf", until, "LIMIT", left, RETIRE_STEP)
            ids = [reading.text(raw) for raw in self._command("ZRANGEBYSCORE", *span)]
            if not ids:
                return
            hashes = [reading.raw_of(keys.task(task_id)) for task_id in ids]
            args = [state, kept, *map(reading.raw_of, ids)]
            stayed = self._run("retire", [keys.runs, keys.queue, index, *hashes], args)
            if stayed < 0 or len(ids) < RETIRE_STEP:
                return
            left += stayed

    # -- workers --------------------------------------------------------------------------------------

    def announce(self, info: WorkerInfo) -> float | None:
        """Show this worker; the seconds since any monitor swept."""
        keys = self._keys
        names = [keys.workers, keys.worker_info, keys.monitors]
        since = self._run("announce", names, [info.session, json.dumps(attrs.asdict(info))])
        return None if since < 0 else float(since)

    def crew(self, within: float) -> list[WorkerInfo]:
        """Who showed up in the last `within` seconds, by Redis TIME."""
        keys = self._keys
        since = int(self._command("TIME")[0]) - within
        sessions = self._command("ZRANGEBYSCORE", keys.workers, since, "+inf", "LIMIT", 0, CREW_LIMIT)
        shown = self._command("HMGET", keys.worker_info, *sessions) if sessions else []
        infos = [read_info(text) for text in shown if text is not None]
        return [info for info in infos if info is not None]

    def leave(self, session: str) -> None:
        """Take this worker off the list."""
        keys = self._keys
        self._pipeline([("ZREM", keys.workers, session), ("HDEL", keys.worker_info, session)])

    def ping(self, session: str) -> None:
        """Publish to the feed of that session."""
        self._command("PUBLISH", self._keys.ping_channel(session), "ping")

    def databases(self) -> list[int]:
        """The db numbers whose workers listen under this namespace at this server."""
        return self._keys.databases_of(self._command("PUBSUB", "CHANNELS", self._keys.database_pattern))

    def reset(self) -> None:
        """Drop the connection: what is in it is not known."""
        self._stale = False
        self._direct.disconnect()

    close = reset

    def reconnect(self) -> None:
        """The next command opens a new connection; one that is under way ends where it was sent."""
        self._stale = True

    # -- the wire -------------------------------------------------------------------------------------

    @property
    def _send(self) -> Any:
        if self._stale:  # only here, by the greenlet that uses the connection, nobody waits for a reply on it
            self.reset()
        return self._direct

    def _run(self, name: str, keys: Sequence[str | bytes], args: Args, count: int | None = None) -> Any:
        """The reply of a script; `count` is the number of keys where some of them are packed together."""
        text, sha = load_script(name)
        count = len(keys) if count is None else count
        try:
            try:
                return self._send.execute_command("EVALSHA", sha, count, *keys, *args)
            except Exception as error:
                if not _no_script(error):
                    raise
            return self._send.execute_command("EVAL", text, count, *keys, *args)
        except Exception as error:
            raise self._translated(error, (name, text)) from error
        except BaseException:
            self.reset()  # an interrupted command leaves its reply in the connection
            raise

    def _run_durably(self, name: str, calls: Sequence[tuple[int, Args, Args]]) -> list[Any]:
        """The replies of some calls of a script, (number of keys, keys, arguments), that are sent together.

        With `durable_acks`, raises `Unavailable` unless enough replicas have them too.  Redis waits for
        what the very connection wrote last, so that command travels in the same pipeline.  A call may be
        repeated: for scripts only that can be.
        """
        durability = self._durability
        if not durability.replicas and len(calls) == 1:
            count, keys, args = calls[0]
            return [self._run(name, keys, args, count)]
        text, sha = load_script(name)
        wait = [("wait", durability.replicas, max(1, int(durability.wait * 1000)))]
        wait = wait if durability.replicas else []
        sent = [("EVALSHA", sha, count, *keys, *args) for count, keys, args in calls]
        replies = self._pipeline([*sent, *wait], tolerant=True)
        if any(_no_script(reply) for reply in replies):
            sent = [("EVAL", text, count, *keys, *args) for count, keys, args in calls]
            replies = self._pipeline([*sent, *wait], tolerant=True)
        for reply in replies:
            if isinstance(reply, Exception):
                raise self._translated(reply, (name, text)) from reply
        if wait and (acks := replies.pop()) < durability.replicas:
            raise Unavailable(
                f"only {acks} of {durability.replicas} replicas acknowledged in {durability.wait:g} s"
                " (durable_acks): see `INFO replication` on the primary"
            )
        return replies

    def _command(self, *words: Any) -> Any:
        try:
            return self._send.execute_command(*words)
        except Exception as error:
            raise self._translated(error) from error
        except BaseException:
            self.reset()
            raise

    def _pipeline(self, commands: Sequence[tuple[Any, ...]], *, tolerant: bool = False) -> list[Any]:
        """The replies in order; the first that is an error is raised, unless they are wanted as they are."""
        if not commands:
            return []
        try:
            replies: list[Any] = self._send.send_all(commands)
        except Exception as error:
            raise self._translated(error) from error
        except BaseException:
            self.reset()
            raise
        for reply in replies:
            if isinstance(reply, Exception) and not tolerant:
                raise self._translated(reply) from reply
        return replies

    def _translated(self, error: Exception, script: tuple[str, str] = ("", "")) -> Exception:
        ours = clients.translate(error, script)
        if ours is not error:
            self.reset()  # also after READONLY: ask again for the primary
        return ours


def _rest(run: str, session: str) -> str:
    return run[len(session) :] if run.startswith(session) else f"={run}"


def _no_script(reply: object) -> bool:
    """Whether the server does not have the script: redis-py takes the word off its errors, others do not."""
    return isinstance(reply, Exception) and (
        type(reply).__name__ == "NoScriptError" or "NOSCRIPT" in str(reply).upper()
    )


@cache
def _verdict(word: bytes) -> Verdict:
    """The verdict of a reply.  The cache makes a word of a newer release be told once."""
    verdict = Verdict.read(word.decode(errors="replace"))
    if verdict is Verdict.FOREIGN:
        log.warning("Redis answers %r, which this release does not know: it is ignored", word[:80])
    return verdict


def _read_claim(ref: RunRef, reply: Iterator[Any]) -> Claim:
    verdict = _verdict(next(reply))
    if verdict is Verdict.UNKNOWN:
        return Claim(ref.id, ref.run, verdict, reading.text(next(reply)))
    if verdict not in (Verdict.OK, Verdict.ALREADY):
        return Claim(ref.id, ref.run, verdict)
    epoch, crashes, size, function, data = (next(reply) for _ in range(5))
    return Claim(ref.id, ref.run, verdict, reading.text(function), data, int(epoch or 0), crashes, size)


def _read_claims(
    refs: Sequence[RunRef], functions: Sequence[str], words: list[bytes], told: bytes
) -> tuple[list[Claim], list[bytes] | None]:
    """The claims in the answer of claim.lua, and the ids behind them (None where that is not known)."""
    found: list[Claim] = []
    at = start = 0
    for ref in refs:
        verdict = _verdict(words[at])
        if verdict is Verdict.FOREIGN:
            break
        if verdict is Verdict.OK or verdict is Verdict.ALREADY:
            _, epoch, crashes, size, place, length = words[at : at + 6]
            at += 6
            known, function = int(place), ""
            if known > 0:
                function = functions[known - 1]
            elif known < 0:
                function = reading.text(told[start : start - known])
                start -= known
            data, count = None, int(length)
            if count >= 0:
                data = told[start : start + count]
                start += count
            found.append(Claim(ref.id, ref.run, verdict, function, data, int(epoch), int(crashes), int(size)))
        elif verdict is Verdict.UNKNOWN:
            end = start + int(words[at + 1])
            found.append(Claim(ref.id, ref.run, verdict, reading.text(told[start:end])))
            at, start = at + 2, end
        else:
            found.append(Claim(ref.id, ref.run, verdict))
            at += 1
    # How much stands behind a word of a newer release is not known: no later answer can be read.
    lost = [Claim(ref.id, ref.run, Verdict.FOREIGN) for ref in refs[len(found) :]]
    if lost:
        return found + lost, None
    ahead: list[bytes] = []
    for length in words[at:]:
        end = start + int(length)
        ahead.append(told[start:end])
        start = end
    return found, ahead


def _ending(change: Change) -> tuple[str, str, Any]:
    """(new state, mode, seconds to keep) of a change, as commit.lua takes them."""
    return _ending_of(change.trigger, change.keep, change.local)


@cache
def _ending_of(trigger: Trigger | None, kept: int | None, local: bool) -> tuple[str, str, Any]:
    if trigger is None:
        return "", "", ""
    state = destination(trigger)
    if trigger is Trigger.RELEASE:
        return state, "delete" if local else "queue", ""
    return state, "done" if trigger is Trigger.END else "rest", "" if kept is None else kept


@lru_cache(maxsize=1024)
def _end_of_line(trigger: Trigger, who: str, why: str = "") -> str:
    """A line of the history behind the state that the task was in, which only the script knows."""
    return history.tail("", destination(trigger), trigger, who, why)


@lru_cache(maxsize=1024)
def _line(trigger: Trigger, who: str, why: str = "") -> str:
    """A line of the history of a task that runs."""
    return history.tail(life.RUNNING, destination(trigger), trigger, who, why)


def ending_line(change: Change, who: str) -> str:
    """The line of the history for the end of a run; "" for an event, which moves nothing."""
    if change.trigger is None:
        return ""
    why = ""
    if change.trigger is Trigger.FAIL:
        error = change.fields.get("error", "")
        text = error if isinstance(error, str) else error.decode(errors="surrogateescape")
        why = text[: history.WHY_BYTES].partition("\n")[0]
    elif change.trigger is Trigger.RELEASE and change.event:
        why = _reason(change.event)
    return _line(change.trigger, who, why)


@lru_cache(maxsize=64)
def _reason(published: bytes) -> str:
    try:
        return str(json.loads(published)["data"]["reason"])
    except (ValueError, TypeError, KeyError):
        return ""


def parked_why(function: str, published: bytes) -> str:
    """Why a task is parked, with the near misses that the event of it names."""
    try:
        near = [str(name) for name in json.loads(published)["data"]["near"]]
    except (ValueError, TypeError, KeyError):
        near = []
    return history.parked_because(function, near)


def read_info(text: bytes | str) -> WorkerInfo | None:
    """What a worker of any release showed of itself; None if that is not to be understood."""
    shown = reading.json_object(text)
    return WorkerInfo(**figures.read(shown)) if isinstance(shown.get("session"), str) else None


def _seconds(micros: int) -> float:
    return -1.0 if micros < 0 else micros / 1e6
