"""The verbs of the in-memory twin.  What each does, and in which order, is read off its Lua script."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Any

from pytask.adapters.memory_state import REACH, Fields, MemoryState, named, number, plausible, text
from pytask.adapters.store import (
    KEEP_REJECTED,
    NOBODY,
    POISON,
    PRESTARTED,
    RESTORED,
    SHORT_LIST,
    WISHES,
    Retention,
    ending_line,
    event,
    parked_why,
    refusal,
)
from pytask.domain import history
from pytask.domain import lifecycle as life
from pytask.domain.errors import FailoverSuspected
from pytask.domain.figures import WorkerInfo
from pytask.domain.lifecycle import RESTING, State, Trigger, destination, next_state, sources
from pytask.domain.messages import MAX_ID_BYTES, Command, Event, IdFault
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


class MemoryStore:
    """The verbs that move tasks, as the Lua scripts do them."""

    def __init__(self, state: MemoryState, retention: Retention) -> None:
        self.incarnation: Incarnation | None = None
        self.ahead: list[bytes] | None = None
        self.who = ""
        self._state = state
        self._retention = retention

    def _note(self, task_id: str, source: str, trigger: Trigger, who: str, why: str = "") -> None:
        line = history.tail(source, destination(trigger), trigger, who, why)
        plain = trigger is Trigger.CLAIM and not why
        self._state.note(task_id, line, self._retention.history, plain=plain)

    # -- the queue ------------------------------------------------------------------------------------

    def peek(self, limit: int, source: str | None = None) -> list[bytes]:
        """The `limit` ids at the tail, the next one first; the last one may be too long, and is cut."""
        return _upto_long(self._state.waiting(source)[: -limit - 1 : -1])

    def claim(self, request: ClaimRequest) -> list[Claim]:
        """E1/E13/E14: an answer for each ref, in order."""
        self.ahead = None
        if not request.refs:
            return []
        self._require(request.server)
        source = self._state.waiting(request.source)
        reach = _reach(source, len(request.refs), request.look)
        window = set(source[-reach:]) if reach else set()
        places = request.quarantine
        took: set[bytes] = set()
        rotated: list[bytes] = []
        answers: list[Claim] = []
        read, full = 0, False
        for ref in request.refs:
            raw = ref.id.encode()
            size = self._size(ref, request.max_data)
            ours = self._state.runs.get(ref.id) == ref.run
            if size is not None and raw in window and raw not in took and not ours:
                # The data of a batch is one reply: what does not fit waits for the next.
                full = full or (read > 0 and read + size > request.max_data)
            verdict = self._verdict(ref, request, raw in window and not full, raw in took, places)
            if verdict in (Verdict.OK, Verdict.ALREADY):
                read += size or 0
            if verdict is Verdict.OK:
                places -= number(self._state.fields(ref.id), "crashes") >= QUARANTINE_FROM
                self._begin(ref, request.worker)
            if verdict in (Verdict.OK, Verdict.DUPLICATE, Verdict.ROTATED):
                took.add(raw)
            if verdict is Verdict.ROTATED:
                rotated.append(raw)
            answers.append(self._answer(ref, verdict, request.max_data))
        near = [raw for raw in source[len(source) - reach :] if raw not in took]
        if request.look:
            self.ahead = _upto_long(near[: -request.look - 1 : -1])
        left = source[: len(source) - reach] + near
        if len(left) <= SHORT_LIST:
            left = [raw for raw in left if raw not in took]
        source[:] = [*reversed(rotated), *left]
        return answers

    def _size(self, ref: RunRef, limit: int) -> int | None:
        """Bytes of data that a claim would read; None where that does not count."""
        value = self._state.value(ref.id)
        size = len(value.get("data", b"")) if isinstance(value, dict) else 0
        return None if isinstance(value, bytes) or size > limit else size

    def _verdict(self, ref: RunRef, request: ClaimRequest, waits: bool, taken: bool, places: int) -> Verdict:
        value, held = self._state.value(ref.id), self._state.runs.get(ref.id)
        if taken:
            return Verdict.DUPLICATE
        if held != ref.run and not waits:
            return Verdict.MOVED
        if isinstance(value, bytes):
            return Verdict.BADTYPE
        if held == ref.run:
            return Verdict.ALREADY
        if value is None:
            return Verdict.NOHASH
        return self._verdict_of_task(ref.id, value, held, request.functions, places)

    def _verdict_of_task(
        self, task_id: str, fields: Fields, held: str | None, functions: frozenset[str], places: int
    ) -> Verdict:
        owner = text(fields, "run")
        if held is not None:
            # Without a lease no monitor would ever look at it, should its owner be dead.
            self._state.leases.setdefault(task_id, self._state.micros())
            # Made anew under a live run, it waits at the other end until that run has ended.
            return Verdict.DUPLICATE if owner == held else Verdict.ROTATED
        if "local" in fields:
            return Verdict.LOCAL
        if owner is not None and plausible(owner) and text(fields, "state") == life.RUNNING:
            # The registry forgot a run that its hash still names: its owner may live.
            self._state.register(task_id, owner)
            return Verdict.DUPLICATE
        function = named(fields)
        if function and function not in functions:
            return Verdict.UNKNOWN
        crowded = number(fields, "crashes") >= QUARANTINE_FROM and places <= 0
        return Verdict.ROTATED if crowded else Verdict.OK

    def _begin(self, ref: RunRef, worker: str) -> None:
        state = self._state
        fields = state.fields(ref.id)
        before = state.resting(text(fields, "state"))
        next_state(before, Trigger.CLAIM)
        state.leave(ref.id)
        if "epoch" in fields:
            state.erase(ref.id, "control", "output", "error")
        epoch = state.run(ref.id, ref.run, worker, attempts=number(fields, "attempts") + 1)
        self._note(ref.id, before, Trigger.CLAIM, worker)
        state.expires.pop(ref.id, None)
        self._announce_run(Event.RUNNING, ref, worker, epoch)

    def _announce_run(self, name: Event, ref: RunRef, worker: str, epoch: int) -> None:
        self._state.emit(ref.id, event(name, {"worker": worker, "run": ref.run, "epoch": epoch}))

    def _answer(self, ref: RunRef, verdict: Verdict, max_data: int) -> Claim:
        fields = self._state.fields(ref.id)
        function = named(fields)
        if verdict is Verdict.UNKNOWN:
            return Claim(ref.id, ref.run, verdict, function)
        if verdict not in (Verdict.OK, Verdict.ALREADY):
            return Claim(ref.id, ref.run, verdict)
        data = fields.get("data")
        size = 0 if data is None or len(data) <= max_data else len(data)
        epoch, crashes = number(fields, "epoch"), number(fields, "crashes")
        return Claim(ref.id, ref.run, verdict, function, None if size else data, epoch, crashes, size)

    def reject(self, raw: bytes, reason: IdFault, source: str | None = None) -> Verdict:
        """E15: out of the list, with a note of it."""
        state = self._state
        task_id = raw.decode(errors="replace")
        if reason is IdFault.LONG:
            raw = next((one for one in state.waiting(source)[: -REACH - 1 : -1] if one.startswith(raw)), raw)
        value = state.value(task_id)
        still = {
            IdFault.NO_HASH: value is None,
            IdFault.WRONG_TYPE: isinstance(value, bytes),
            IdFault.LOCAL: isinstance(value, dict) and "local" in value,
        }
        if not still.get(reason, True) or not state.take(raw, source):
            return Verdict.MOVED
        note = {"id_hex": raw[: MAX_ID_BYTES + 1].hex(), "reason": reason, "at": int(state.now())}
        state.rejected.insert(0, json.dumps(note, separators=(",", ":")).encode())
        del state.rejected[KEEP_REJECTED:]
        if reason in still:
            state.emit(task_id, event(Event.REJECTED, {"reason": reason}))
        return Verdict.OK

    def park(self, task_id: str, function: str, event: bytes, source: str | None = None) -> Verdict:
        """A7: from the queue (or another list) to the parking list of `function`."""
        state = self._state
        known = text(state.fields(task_id), "function")
        if task_id in state.runs or known != function or not state.take(task_id.encode(), source):
            return Verdict.MOVED
        before = state.resting(text(state.fields(task_id), "state"))
        state.leave(task_id)
        state.rest(task_id, destination(Trigger.PARK))
        self._note(task_id, before, Trigger.PARK, self.who, parked_why(function, event))
        state.expires.pop(task_id, None)
        state.parking.setdefault(function, []).insert(0, task_id.encode())
        state.emit(task_id, event)
        self.hint(function)
        return Verdict.OK

    def parked(self) -> list[str]:
        """The functions with a parking list."""
        self._state.parking = {name: ids for name, ids in self._state.parking.items() if ids}
        return list(self._state.parking)

    def hint(self, function: str) -> None:
        """Tell workers that know `function` to look at its parking list."""
        self._state.publish(self._state.keys.hint_channel, function.encode(errors="surrogateescape"))

    # -- runs -----------------------------------------------------------------------------------------

    def renew(self, refs: Sequence[RunRef]) -> dict[RunRef, Verdict]:
        """E2: only what is not OK is in the answer."""
        self.incarnation = self._look()
        # All are looked up before any is put back, as in the script.
        held = {ref.id: self._state.runs.get(ref.id) for ref in refs}
        found = {ref: self._renew(ref, held[ref.id]) for ref in refs}
        return {ref: verdict for ref, verdict in found.items() if verdict is not None}

    def _look(self) -> Incarnation:
        """The marker of the data, made where it is missing."""
        state = self._state
        marker = state.incarnation
        if not marker:
            marker.update(id=uuid.uuid4().hex, server=state.server, since=0, changed=0, safe=state.safe)
        elif marker["server"] != state.server:
            since = 0 if marker["safe"] else state.micros()
            marker.update(server=state.server, since=since, changed=state.micros())
        marker["safe"] = state.safe
        age, changed = (
            max(0, state.micros() - marker[name]) / 1e6 if marker[name] else -1.0
            for name in ("since", "changed")
        )
        return Incarnation(id=marker["id"], server=state.server, age=age, changed=changed)

    def _require(self, server: str) -> None:
        if server and server != self._state.server:
            raise FailoverSuspected(f"no longer the server that was known: it is {self._state.server}")

    def adopt(self, adoptions: Sequence[Adoption], worker: str) -> list[Verdict]:
        """E12: an answer for each, in order."""
        return [self._adopt(one, worker) for one in adoptions]

    def _adopt(self, one: Adoption, worker: str) -> Verdict:
        state = self._state
        if not isinstance(state.value(one.id), dict):
            return Verdict.GONE
        fields, held = state.fields(one.id), state.runs.get(one.id)
        owner, epoch = text(fields, "run"), number(fields, "epoch")
        newer = epoch > one.epoch or (epoch == one.epoch and owner != one.run)
        if newer or held not in (None, one.run, owner):
            return Verdict.FENCED
        word = text(fields, "state")
        before = life.RUNNING if word == life.RUNNING else state.resting(word)
        state.leave(one.id)
        if owner == one.run:
            state.register(one.id, one.run)
            state.write(one.id, state=life.RUNNING, last_update=state.stamp())
        else:
            # The epoch of our claim, not the next one.
            state.run(one.id, one.run, worker, attempts=number(fields, "attempts") + 1)
            state.write(one.id, epoch=one.epoch)
            # A stop is kept: whether it is older than our claim is not known.
            kept = () if text(fields, "control") == Verdict.STOP else ("control",)
            state.erase(one.id, *kept, "output", "error")
        self._note(one.id, before, Trigger.ADOPT, worker)
        state.expires.pop(one.id, None)
        state.take(one.id.encode(), None)
        self._announce_run(Event.RUNNING, RunRef(one.id, one.run), worker, one.epoch)
        return Verdict.OK

    def restore(self, task_id: str, function: str, data: bytes | None) -> Verdict:
        """A task whose hash was lost with the data, made and queued anew."""
        state = self._state
        if state.value(task_id) is not None or task_id in state.runs:
            return Verdict.STATE
        state.write(task_id, function=function, **({} if data is None else {"data": data}))
        state.rest(task_id, destination(Trigger.RELEASE))
        self._note(task_id, life.RUNNING, Trigger.RELEASE, self.who, RESTORED)
        state.queue.insert(0, task_id.encode())
        state.emit(task_id, event(Event.REQUEUED, {"reason": RESTORED}))
        return Verdict.OK

    def _renew(self, ref: RunRef, held: str | None) -> Verdict | None:
        state = self._state
        fields = state.fields(ref.id)
        if held not in (None, ref.run):
            return Verdict.FENCED
        if text(fields, "run") != ref.run:
            return Verdict.GONE
        # Without an entry in the registry the hash is still ours: nobody claimed it since.
        state.register(ref.id, ref.run)
        state.write(ref.id, state=destination(Trigger.RENEW), last_update=state.stamp())
        return WISHES.get(fields.get("control", b""))

    def commit(self, changes: Sequence[Change]) -> list[Verdict]:
        """E3-E6 and events, in order; an answer for each."""
        return [self._commit(change) for change in changes]

    def _commit(self, change: Change) -> Verdict:
        state = self._state
        # The registry may have lost the run: while the hash is ours, nobody claimed it since.
        ours = text(state.fields(change.id), "run") == change.run
        if state.runs.get(change.id, change.run if ours else None) != change.run:
            done = change.trigger is not None and text(state.fields(change.id), "last_run") == change.run
            return Verdict.ALREADY if done else Verdict.FENCED
        if ours and change.trigger is Trigger.RELEASE and not change.local:
            change = self._unless_stopped(change)
        verdict = Verdict.OK if change.trigger is None else self._settle(change, change.trigger)
        if verdict is Verdict.OK and change.event:
            state.emit(change.id, change.event)
        return verdict

    def _unless_stopped(self, change: Change) -> Change:
        """A run that is handed back while a stop stands in its hash is stopped: it is dead by now."""
        if text(self._state.fields(change.id), "control") != Verdict.STOP:
            return change
        told = event(Event.STOPPED).encode()
        return Change(change.id, change.run, told, Trigger.STOP, keep=self._retention.of(Trigger.STOP))

    def _settle(self, change: Change, trigger: Trigger) -> Verdict:
        state = self._state
        state.unregister(change.id)
        if text(state.fields(change.id), "run") != change.run:
            return Verdict.GONE
        released = trigger is Trigger.RELEASE
        if (released and change.local) or (not released and change.keep == 0):
            state.delete(change.id)
            return Verdict.OK
        state.rest(change.id, next_state(life.RUNNING, trigger), last_run=change.run, **change.fields)
        plain = trigger is Trigger.END
        state.note(change.id, ending_line(change, self.who), self._retention.history, plain=plain)
        state.erase(change.id, "run", "control", "local")
        if trigger is Trigger.END:
            state.erase(change.id, "crashes", "crash_at")
        if released:
            state.queue.append(change.id.encode())
        return Verdict.OK

    def note(self, notes: Sequence[Notes], lines: int, keep: int) -> list[Verdict]:
        """Lines for the rings of tasks, and how far these are: an answer for each run, in order."""
        return [self._keep_notes(one, lines, keep) for one in notes]

    def _keep_notes(self, notes: Notes, most: int, keep: int) -> Verdict:
        state = self._state
        owner = text(state.fields(notes.id), "run")
        if (state.runs.get(notes.id) or owner) != notes.run:
            return Verdict.FENCED
        if owner != notes.run:
            return Verdict.GONE
        if notes.progress:
            state.write(notes.id, progress=notes.progress)
            state.emit(notes.id, notes.event)
        if notes.lines:
            ring = [*state.ring(notes.id), *notes.lines][-most:]
            state.rings[notes.id] = (ring, state.now() + keep)
        return Verdict.OK

    def reload(self, old: RunRef, new: RunRef, worker: str, max_data: int) -> Claim:
        """E8: `new` takes the place of `old`."""
        state = self._state
        held = state.runs.get(old.id)
        if held not in (old.run, new.run):
            return Claim(new.id, new.run, Verdict.FENCED)
        if text(state.fields(old.id), "run") != held:
            return Claim(new.id, new.run, Verdict.GONE)
        if held == new.run:
            return self._answer(new, Verdict.ALREADY, max_data)
        if text(state.fields(old.id), "control") == Verdict.STOP:
            return Claim(new.id, new.run, Verdict.STOP)  # carried out instead: no new run begins
        next_state(life.RUNNING, Trigger.RELOAD)
        epoch = state.run(new.id, new.run, worker, last_run=old.run)
        self._note(new.id, life.RUNNING, Trigger.RELOAD, worker)
        state.write(new.id, settling=epoch)
        state.erase(new.id, "control")
        self._announce_run(Event.RELOADED, new, worker, epoch)
        return self._answer(new, Verdict.OK, max_data)

    def preview(self, ref: RunRef, max_data: int) -> Claim:
        """What a reload of this run would begin with."""
        verdict = self._owned(ref)
        return (
            self._answer(ref, verdict, max_data) if verdict is Verdict.OK else Claim(ref.id, ref.run, verdict)
        )

    def refuse(self, judged: Claim, path: str, reason: str) -> Verdict:
        """E17: the data does not fit, and the run goes on."""
        state, task_id = self._state, judged.id
        verdict = self._owned(RunRef(task_id, judged.run))
        if verdict is not Verdict.OK:
            return verdict
        fields = state.fields(task_id)
        data = fields.get("data", b"")
        same = len(data) == judged.oversize if judged.oversize else data == (judged.data or b"")
        if named(fields) != judged.function or not same:
            return Verdict.MOVED
        next_state(life.RUNNING, Trigger.REFUSE)
        head = f'{{"epoch":{number(fields, "epoch")},"at":{state.stamp()},'
        state.write(task_id, reload_refused=head + refusal(path, reason))
        self._note(task_id, life.RUNNING, Trigger.REFUSE, self.who, f"{path}: {reason}")
        if text(fields, "control") == Verdict.RELOAD:
            state.erase(task_id, "control")
        told = {"path": path, "reason": reason, "epoch": judged.epoch}
        state.emit(task_id, event(Event.REFUSED, told))
        return Verdict.OK

    def settle(self, ref: RunRef) -> Verdict:
        """E18: the run that a reload began lives."""
        verdict = self._owned(ref)
        if verdict is Verdict.OK:
            self._state.erase(ref.id, "settling")
        return verdict

    def _owned(self, ref: RunRef) -> Verdict:
        """Whether registry and hash name this run."""
        if self._state.runs.get(ref.id) != ref.run:
            return Verdict.FENCED
        return Verdict.OK if text(self._state.fields(ref.id), "run") == ref.run else Verdict.GONE

    def open_local(self, ref: RunRef, function: str, data: bytes, worker: str) -> Claim:
        """The hash and the run of a pre-started task."""
        state = self._state
        held = state.runs.get(ref.id)
        if held not in (None, ref.run):
            return Claim(ref.id, ref.run, Verdict.FENCED)
        if held is not None:
            epoch = number(state.fields(ref.id), "epoch")
            return Claim(ref.id, ref.run, Verdict.ALREADY, function, data, epoch)
        session = ref.run.rpartition(":")[0]
        state.write(ref.id, function=function, data=data, local=session)
        epoch = state.run(ref.id, ref.run, worker, attempts=1)
        state.erase(ref.id, "history")
        self._note(ref.id, RESTING[0], Trigger.CLAIM, worker, PRESTARTED)
        self._announce_run(Event.RUNNING, ref, worker, epoch)
        return Claim(ref.id, ref.run, Verdict.OK, function, data, epoch)

    # -- control --------------------------------------------------------------------------------------

    def control(self, command: Command, ids: Sequence[str], ages: Sequence[float] = ()) -> list[Verdict]:
        """E9, E10, E11 for a batch."""
        verbs = {Command.STOP: self._stop, Command.START: self._start, Command.RELOAD: self._ask_reload}
        missing = Verdict.STATE if command is Command.RELOAD else Verdict.NOHASH
        found = []
        for task_id, age in zip(ids, ages or [0.0] * len(ids), strict=True):
            value = self._state.value(task_id)
            known = missing if value is None else Verdict.BADTYPE
            found.append(verbs[command](task_id, age) if isinstance(value, dict) else known)
        return found

    def _stop(self, task_id: str, age: float) -> Verdict:
        state = self._state
        if self._started_within(task_id, age):
            return Verdict.STATE
        fields, held = state.fields(task_id), state.runs.get(task_id)
        owner, word = text(fields, "run"), text(fields, "state")
        if owner is not None and (held is not None or word == life.RUNNING):
            if text(fields, "control") != Verdict.STOP:
                state.write(task_id, control=Verdict.STOP)
                self._note(task_id, life.RUNNING, Trigger.REQUEST, self.who, Verdict.STOP)
            return Verdict.REQUESTED
        # It waits, whatever its hash tells of the time before it was pushed again.
        before = State.read(None) if task_id.encode() in state.queue else state.resting(word)
        if before not in sources(Trigger.CANCEL):
            return Verdict.STATE
        parking = state.parking.get(text(fields, "function") or "", [])
        keep = self._retention.of(Trigger.CANCEL)
        state.leave(task_id)
        state.rest(task_id, destination(Trigger.CANCEL))
        self._note(task_id, before, Trigger.CANCEL, self.who)
        state.expires.pop(task_id, None)
        if keep == 0:
            state.index[destination(Trigger.CANCEL)].pop(task_id)
            state.delete(task_id)
        for ids in (state.queue, parking):
            ids[:] = [raw for raw in ids if raw != task_id.encode()]
        state.emit(task_id, event(Event.STOPPED))
        # A run of the hash that stood here before may be dying: its owner is told, too.
        return Verdict.OK if held is None else Verdict.REQUESTED

    def _start(self, task_id: str, age: float) -> Verdict:
        state = self._state
        if self._started_within(task_id, age):
            return Verdict.STATE
        word = text(state.fields(task_id), "state")
        at_rest = task_id not in state.runs and word != life.RUNNING
        if not at_rest or state.resting(word) not in sources(Trigger.START):
            return Verdict.STATE
        state.leave(task_id)
        state.rest(task_id, destination(Trigger.START), crashes=0, start_at=state.stamp())
        self._note(task_id, state.resting(word), Trigger.START, self.who)
        state.erase(task_id, "control")
        state.expires.pop(task_id, None)
        if task_id.encode() not in state.queue:  # pushed again by hand, it waits already
            state.queue.insert(0, task_id.encode())
        state.emit(task_id, event(Event.QUEUED))
        return Verdict.OK

    def _started_within(self, task_id: str, seconds: float) -> bool:
        try:
            began = float(text(self._state.fields(task_id), "start_at") or "nan")
        except ValueError:
            return False
        return 0 <= float(self._state.stamp()) - began < seconds

    def _ask_reload(self, task_id: str, _age: float) -> Verdict:
        state = self._state
        fields, held = state.fields(task_id), state.runs.get(task_id)
        if held is None or text(fields, "run") != held:
            return Verdict.STATE
        if text(fields, "control") not in (Verdict.STOP, Verdict.RELOAD):
            state.write(task_id, control=Verdict.RELOAD)
            self._note(task_id, life.RUNNING, Trigger.REQUEST, self.who, Verdict.RELOAD)
        return Verdict.REQUESTED

    # -- the monitor ----------------------------------------------------------------------------------

    def suspects(self, older: float, ahead: float, limit: int = 100_000) -> list[Suspect]:
        """Runs whose lease lies outside the window of healthy ones."""
        state = self._state
        now = state.micros()
        low, high = now - int(older * 1e6), now + int(ahead * 1e6)
        by_age = sorted((lease, task_id) for task_id, lease in state.leases.items())
        behind = [entry for entry in by_age if entry[0] <= low][:limit]
        before = [entry for entry in by_age if entry[0] > high][:limit]
        found = []
        for lease, task_id in behind + before:
            fields = state.fields(task_id)
            run = state.runs.get(task_id) or self._forgotten(fields)
            if run is not None:
                numbers = {"epoch": number(fields, "epoch"), "crashes": number(fields, "crashes")}
                found.append(Suspect(id=task_id, run=run, lease=lease, **numbers))
            elif "run" not in fields:
                del state.leases[task_id]  # nobody's: registry and hash are gone
        if len(state.runs) > len(state.leases):
            for task_id in state.runs:
                state.leases.setdefault(task_id, now)
        return found

    def _forgotten(self, fields: Fields) -> str | None:
        """The run that a hash names, where the registry has none."""
        owner = text(fields, "run")
        ours = owner is not None and plausible(owner) and text(fields, "state") == life.RUNNING
        return owner if ours else None

    def runs_of(self, prefix: str, cursor: int = 0) -> tuple[int, list[Suspect]]:  # noqa: ARG002 - the port's own
        """All runs whose id begins with `prefix`, in one step."""
        state = self._state
        found = []
        for task_id, run in state.runs.items():
            if run.startswith(prefix):
                fields = state.fields(task_id)
                numbers = {"epoch": number(fields, "epoch"), "crashes": number(fields, "crashes")}
                found.append(Suspect(id=task_id, run=run, lease=state.leases.get(task_id, 0), **numbers))
        return 0, found

    def expire(self, expiries: Sequence[Expiry], server: str = "") -> list[Verdict]:
        """E7 for a batch."""
        self._require(server)
        return [self._expire(expiry) for expiry in expiries]

    def _expire(self, expiry: Expiry) -> Verdict:
        state = self._state
        fields = state.fields(expiry.id)
        # The registry may have lost the run: while its hash names it, nobody claimed it since.
        owner = expiry.run if text(fields, "run") == expiry.run else None
        if state.runs.get(expiry.id, owner) != expiry.run:
            return Verdict.ALREADY if text(fields, "last_run") == expiry.run else Verdict.FENCED
        if state.leases.get(expiry.id, expiry.seen) != expiry.seen:
            return Verdict.RENEWED
        lease = state.leases.get(expiry.id)
        state.unregister(expiry.id)
        # A hash that was deleted or made anew has nothing to hand on.
        if text(fields, "run") == expiry.run:
            if "local" in fields:
                state.delete(expiry.id)
            else:
                self._hand_on(expiry, text(fields, "control") == Verdict.STOP, lease)
        return Verdict.OK

    def _hand_on(self, expiry: Expiry, stopped: bool, lease: int | None) -> None:
        state = self._state
        keep = None
        trigger, published = Trigger.EXPIRE, event(Event.REQUEUED, {"reason": "lease expired"})
        changes: dict[str, Any] = {"crashes": expiry.crashes, "crash_at": state.stamp()}
        if stopped:
            trigger, published = Trigger.EXPIRE_STOPPED, event(Event.STOPPED)
            keep = self._retention.of(trigger)
        elif expiry.poison:
            trigger, published = Trigger.POISON, event(Event.ERROR, {"error": POISON})
            changes["error"] = POISON
            keep = self._retention.of(trigger)
        if keep == 0:
            state.delete(expiry.id)
        else:
            state.rest(expiry.id, next_state(life.RUNNING, trigger), last_run=expiry.run, **changes)
            silent = None if lease is None else (state.micros() - lease) / 1e6
            why = history.expired_because(text(state.fields(expiry.id), "worker"), silent)
            self._note(expiry.id, life.RUNNING, trigger, self.who, why)
            state.erase(expiry.id, "run", "control")
        if trigger is Trigger.EXPIRE:
            state.queue.insert(0, expiry.id.encode())
        state.emit(expiry.id, published)

    def repair(self, cursor: int, expiry: float) -> tuple[int, int]:  # noqa: ARG002 - the port's own
        """E16: all hashes in one step, so the cursor is always 0."""
        state = self._state
        hashes = [task_id for task_id, value in state.values.items() if isinstance(value, dict)]
        return 0, sum(self._repair(task_id, expiry) for task_id in hashes)

    def _repair(self, task_id: str, expiry: float) -> bool:
        state = self._state
        fields = state.fields(task_id)
        if task_id in state.runs:
            lost = task_id not in state.leases
            state.leases.setdefault(task_id, state.micros())
            return lost
        if text(fields, "state") != life.RUNNING:
            return False
        owner = text(fields, "run")
        if owner is not None and plausible(owner):
            state.register(task_id, owner)
            return True
        if int(state.now()) - number(fields, "last_update") <= expiry:
            return False
        if text(fields, "control") == Verdict.STOP:
            self._repair_as_stopped(task_id)
            return True
        state.rest(task_id, next_state(life.RUNNING, Trigger.REPAIR))
        self._note(task_id, life.RUNNING, Trigger.REPAIR, self.who, NOBODY)
        state.queue.insert(0, task_id.encode())
        state.emit(task_id, event(Event.REQUEUED, {"reason": NOBODY}))
        return True

    def _repair_as_stopped(self, task_id: str) -> None:
        state, trigger = self._state, Trigger.EXPIRE_STOPPED
        if self._retention.of(trigger) == 0:
            state.delete(task_id)
        else:
            state.rest(task_id, next_state(life.RUNNING, trigger))
            self._note(task_id, life.RUNNING, trigger, self.who, NOBODY)
            state.erase(task_id, "control")
        state.emit(task_id, event(Event.STOPPED))

    def tidy(self, monitor: str, silent: float) -> None:
        """Note a sweep; drop workers long silent."""
        state = self._state
        now = int(state.now())
        state.monitors[monitor] = now
        _drop(state.workers, now - silent)
        _drop(state.monitors, now - silent)

    def retire(self) -> None:
        """Delete the hashes of those that rested for as long as they are kept, and do not wait again."""
        now = int(self._state.now())
        for trigger in (Trigger.END, Trigger.FAIL, Trigger.STOP):
            kept = self._retention.of(trigger)
            if kept:
                self._retire(destination(trigger), now - kept)

    def _retire(self, resting: State, until: float) -> None:
        state, index = self._state, self._state.index[resting]
        for task_id in [task_id for task_id, at in index.items() if at <= until]:
            rests = text(state.fields(task_id), "state") == resting and task_id not in state.runs
            if rests and task_id.encode() in state.queue:
                continue
            if rests:
                state.delete(task_id)
            del index[task_id]

    # -- workers --------------------------------------------------------------------------------------

    def announce(self, info: WorkerInfo) -> float | None:
        """Show this worker; the seconds since any monitor swept."""
        state = self._state
        state.workers[info.session] = int(state.now())
        state.infos[info.session] = info
        return max(0.0, float(int(state.now()) - max(state.monitors.values()))) if state.monitors else None

    def crew(self, within: float) -> list[WorkerInfo]:
        """Who showed up in the last `within` seconds."""
        state = self._state
        since = int(state.now()) - within
        return [state.infos[session] for session, at in state.workers.items() if at >= since]

    def leave(self, session: str) -> None:
        """Take this worker off the list."""
        self._state.workers.pop(session, None)
        self._state.infos.pop(session, None)

    def ping(self, session: str) -> None:
        """Publish to the feed of that session."""
        self._state.publish(self._state.keys.ping_channel(session), b"ping")

    def databases(self) -> list[int]:
        """There are no db numbers."""
        return []

    def reset(self) -> None:
        """Nothing to drop."""

    close = reconnect = reset


def _drop(times: dict[str, float], until: float) -> None:
    for name in [name for name, at in times.items() if at <= until]:
        del times[name]


def _upto_long(ids: Sequence[bytes]) -> list[bytes]:
    """Ids up to the first that is too long, which is cut."""
    found: list[bytes] = []
    for raw in ids:
        found.append(raw[: MAX_ID_BYTES + 1])
        if len(raw) > MAX_ID_BYTES:
            break
    return found


def _reach(source: Sequence[bytes], count: int, look: int) -> int:
    """How far from the tail a claim of `count` ids reads: in steps, and none behind one that is too long."""
    reach, want, step = 0, count + max(look, count + 16), count
    while reach < min(want, len(source)):
        part = source[max(0, len(source) - reach - step) : len(source) - reach]
        reach += len(part)
        if any(len(raw) > MAX_ID_BYTES for raw in part):
            break
        step = min(32, want - reach)
    return reach
