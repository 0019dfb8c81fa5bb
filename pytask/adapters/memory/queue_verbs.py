"""The queue in memory: ids are claimed, parked, or rejected.  See the scripts of the same names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import takewhile

import attrs

from pytask.adapters.memory.limit_verbs import LimitVerbs, read_group
from pytask.adapters.memory.state import EXACT, REACH, Fields, named, number, plausible, text
from pytask.adapters.memory.verbs import due_ms, saved_of
from pytask.adapters.rules import HELD, KEEP_REJECTED, SAVED, SHORT_LIST, event, parked_why
from pytask.domain import lifecycle as life
from pytask.domain.crashes import QUARANTINE_FROM
from pytask.domain.lifecycle import Trigger, destination, next_state
from pytask.domain.limits import LOOK
from pytask.domain.messages import MAX_ID_BYTES, Event, IdFault, read_id
from pytask.domain.record import Claim, ClaimRequest, Due, RunRef, Tail, Verdict

TAKEN = (
    Verdict.OK, Verdict.DUPLICATE, Verdict.ROTATED, Verdict.DELAYED, Verdict.WAITING, Verdict.PAUSED,
)  # fmt: skip


class QueueVerbs(LimitVerbs):
    """Claim, park and reject ids."""

    def peek(self, limit: int, source: str | None = None) -> list[bytes]:
        """The `limit` ids at the tail, the next one first; the last one may be too long, and is cut."""
        return _upto_long(self._state.waiting(source)[: -limit - 1 : -1])

    def claim(self, request: ClaimRequest) -> list[Claim]:
        """Claim a batch: an answer for each ref, in order; or for each id at the tail."""
        self.ahead = None
        if request.tail is not None:
            self._require(request.server)
            return self._claim_tail(request, request.tail)
        if not request.refs:
            return []
        self._require(request.server)
        source, count = self._state.waiting(request.source), len(request.refs)
        return self._claim(request, _reach(source, count, count + max(request.look, count + 16)))

    def _claim_tail(self, request: ClaimRequest, tail: Tail) -> list[Claim]:
        """Claim what stands at the tail; a repeat is answered with the runs of the first call."""
        queue, base, ids = self._state.queue, *self._state.last_claim(tail.session)
        if base < tail.base:
            reach = _reach(queue, min(32, tail.count + 1), tail.count + 1) if tail.count else 0
            ids = [raw.decode() for raw in takewhile(is_plain, queue[: -min(reach, tail.count) - 1 : -1])]
            if ids or not tail.quiet:
                self._state.note_claim(tail.session, tail.base, ids)
            refs = tuple(tail.refs(ids))
            return self._claim(attrs.evolve(request, refs=refs, look=1), reach)
        if base > tail.base:
            return []  # it comes late: others have followed it
        refs = tuple(tail.refs(ids))
        return self._claim(attrs.evolve(request, refs=refs, look=0), 0)

    def _claim(self, request: ClaimRequest, reach: int) -> list[Claim]:
        """Claim the refs, of which those wait that are among the last `reach` of the list."""
        source = self._state.waiting(request.source)
        window = set(source[-reach:]) if reach else set()
        places = request.quarantine
        took: set[bytes] = set()
        rotated: list[bytes] = []
        answers: list[Claim] = []
        read, full = 0, False
        for place, ref in enumerate(request.refs, 1):
            silent = None
            raw = ref.id.encode()
            size = self._size(ref, request)
            ours = self._state.runs.get(ref.id) == ref.run
            if size is not None and raw in window and raw not in took and not ours:
                # The data of a batch is one reply: ids that do not fit wait for the next claim.
                full = full or (read > 0 and read + size > request.max_data)
            verdict = self._verdict(ref, request, raw in window and not full, raw in took, places)
            verdict, delay, unfit = self._admitted(ref.id, verdict, request, place)
            if verdict in (Verdict.OK, Verdict.ALREADY):
                read += size or 0
            if verdict is Verdict.OK:
                fields = self._state.fields(ref.id)
                places -= number(fields, "crashes") >= QUARANTINE_FROM
                silent = self._silence(fields)
                self._begin(ref, request.worker)
                self._settle_in(ref.id, "" if unfit else text(fields, "group") or "", request.rules)
            if verdict in TAKEN:
                took.add(raw)
            if verdict is Verdict.ROTATED:
                rotated.append(raw)
            answer = self._answer(ref, verdict, request.max_data, request.max_saved, unfit)
            answers.append(attrs.evolve(answer, delay=delay, silent=silent))
        near = [raw for raw in source[len(source) - reach :] if raw not in took]
        if request.look:
            self.ahead = _upto_long(near[: -request.look - 1 : -1])
        left = source[: len(source) - reach] + near
        if len(left) <= SHORT_LIST:
            left = [raw for raw in left if raw not in took]
        source[:] = [*reversed(rotated), *left]
        self._turns(answers)
        return answers

    def _admitted(
        self, task_id: str, verdict: Verdict, request: ClaimRequest, place: int
    ) -> tuple[Verdict, float, str]:
        """The verdict if the limits let it start, the seconds that it waits, and why its group is none."""
        fields = self._state.fields(task_id)
        group, unfit, told = read_group(fields, request.rules.get(named(fields)), request.max_data)
        delay = 0.0
        if verdict in (Verdict.DELAYED, Verdict.UNKNOWN, Verdict.PAUSED):
            self._pass_on(task_id, group)
        if verdict is Verdict.PAUSED:
            self._put_on_hold(task_id, request.worker)
        if verdict is Verdict.DELAYED:
            why = f"not before {text(fields, 'not_before')}"
            delay = self._delay(task_id, due_ms(fields) or 0, request.worker, why)
        if verdict is Verdict.OK:
            if told:
                self._state.write(task_id, group=group)
            verdict, delay = self._limited(task_id, group, request, place)
        return verdict, delay, unfit

    def _limited(self, task_id: str, group: str, request: ClaimRequest, place: int) -> tuple[Verdict, float]:
        function = named(self._state.fields(task_id))
        found = self._state.slots.obstacle(task_id, group, function, request.rules)
        if found is not None:
            return Verdict.WAITING, self._hold_back(task_id, found, group, request, place)
        due = self._not_yet(task_id, function, request.rules.get(function))
        if due is None:
            return Verdict.OK, 0.0
        self._pass_on(task_id, group)
        return Verdict.DELAYED, self._delay(task_id, due, request.worker, "limit of starts")

    def _silence(self, fields: Fields) -> float | None:
        """How long ago the run before was renewed, if its worker died and nothing was done since."""
        lost_at = _seconds(fields.get("lost_at", b""))
        died = "crash_at" in fields and fields.get("last_update") == fields["crash_at"]
        if not ("crashes" in fields and died and lost_at):
            return None
        return max(0, self._state.micros() - round(lost_at * 1e6)) // 1000 / 1000

    def _size(self, ref: RunRef, request: ClaimRequest) -> int | None:
        """Bytes of data, and saved, that a claim would read; None if the limit does not apply."""
        value = self._state.value(ref.id)
        if isinstance(value, bytes):
            return None
        fields = value or {}
        size, saved = len(fields.get("data", b"")), len(saved_of(fields))
        saved = 0 if saved > request.max_saved else saved
        if size > request.max_data:
            return saved or None
        return size + saved

    def _verdict(self, ref: RunRef, request: ClaimRequest, waits: bool, taken: bool, places: int) -> Verdict:
        value, held = self._state.value(ref.id), self._state.runs.get(ref.id)
        if taken:
            return Verdict.DUPLICATE
        if held != ref.run and not waits:
            return Verdict.MOVED
        if held == ref.run:
            ours = isinstance(value, dict) and text(value, "run") == ref.run
            return Verdict.ALREADY if ours else Verdict.GONE
        if isinstance(value, bytes):
            return Verdict.BADTYPE
        if value is None:
            return Verdict.NOHASH
        return self._verdict_of_task(ref.id, value, held, request, places)

    def _verdict_of_task(
        self, task_id: str, fields: Fields, held: str | None, request: ClaimRequest, places: int
    ) -> Verdict:
        owner = text(fields, "run")
        if held is not None:
            # Without a lease no monitor would ever check it, even if its owner is dead.
            self._state.leases.setdefault(task_id, self._state.micros())
            # Recreated during a live run, it waits at the other end until that run has ended.
            return Verdict.DUPLICATE if owner == held else Verdict.ROTATED
        if "local" in fields:
            return Verdict.LOCAL
        if owner is not None and plausible(owner) and text(fields, "state") == life.RUNNING:
            # The registry lost a run that its hash still names: its owner may be alive.
            self._state.register(task_id, owner)
            group, _, _ = read_group(fields, request.rules.get(named(fields)), request.max_data)
            self._state.take_slots(task_id, group, named(fields))
            return Verdict.DUPLICATE
        # An end takes the field away: where a task has ended, a worker of an older release has left it.
        paused = "paused" in fields and self._state.resting(text(fields, "state")) is life.WAIT
        if paused or (due_ms(fields) or 0) > self._state.millis():
            return Verdict.PAUSED if paused else Verdict.DELAYED
        function = named(fields)
        if function and (function not in request.functions or {function, "*"} & self._state.paused_functions):
            return Verdict.UNKNOWN
        crowded = number(fields, "crashes") >= QUARANTINE_FROM and places <= 0
        return Verdict.ROTATED if crowded else Verdict.OK

    def _delay(self, task_id: str, due: int, worker: str, why: str) -> float:
        """Add it to the timers until `due`, in milliseconds; returns the seconds until then."""
        state = self._state
        before = state.resting(text(state.fields(task_id), "state"))
        state.leave(task_id)
        state.rest(task_id, next_state(before, Trigger.DELAY))
        self._note(task_id, before, Trigger.DELAY, worker, why)
        state.expires.pop(task_id, None)
        state.timers[task_id] = due
        delay = (due - state.millis()) / 1000
        state.emit(task_id, event(Event.DELAYED, {"delay": delay}))
        return delay

    def _put_on_hold(self, task_id: str, worker: str) -> None:
        """Add a paused task to the paused set, where it waits until it is resumed."""
        state = self._state
        before = state.resting(text(state.fields(task_id), "state"))
        state.rest(task_id, next_state(before, Trigger.PAUSE))
        self._note(task_id, before, Trigger.PAUSE, worker, plain=True)
        state.expires.pop(task_id, None)
        state.timers.pop(task_id, None)
        if task_id not in state.paused:
            state.paused.add(task_id)
            state.emit(task_id, event(Event.PAUSED))

    def due(self, limit: int = 256) -> Due:
        """Move up to `limit` ids whose time has come to the queue."""
        state, now = self._state, self._state.millis()
        by_time = sorted((at, task_id.encode()) for task_id, at in state.timers.items() if at <= now)
        moved: list[bytes] = []
        # A second look, as with Redis, where the first found none that waits.
        for part in (by_time[:limit], by_time[limit : 2 * limit]):
            moved = moved or self._queue_due([raw for _, raw in part])
        late = next((now - at for at, raw in by_time if raw in moved[:1]), 0)
        timer, schedule = (
            max(0.0, (min(times) - now) / 1000) if times else None
            for times in (state.timers.values(), state.schedules.values())
        )
        looks, seconds = state.slots.groups.values(), int(state.now())
        lines = bool(looks) and not seconds - LOOK < min(looks) <= seconds
        return Due(moved=len(moved), timer=timer, schedule=schedule, lines=lines, late=late / 1000)

    def _queue_due(self, ids: Sequence[bytes]) -> list[bytes]:
        moved = [raw for raw in ids if self._waits(raw.decode())]
        for raw in ids:
            del self._state.timers[raw.decode()]
        self._state.queue[:0] = reversed(moved)
        return moved

    def _waits(self, task_id: str) -> bool:
        """Whether the hash of an id in the timers says that the task waits."""
        value = self._state.value(task_id)
        if not isinstance(value, dict) or task_id in self._state.runs:
            return False
        word = text(value, "state")
        return word != life.RUNNING and self._state.resting(word) is destination(Trigger.DELAY)

    def _begin(self, ref: RunRef, worker: str) -> None:
        state = self._state
        fields = state.fields(ref.id)
        before = state.resting(text(fields, "state"))
        next_state(before, Trigger.CLAIM)
        state.leave(ref.id)
        state.timers.pop(ref.id, None)
        if "epoch" in fields:
            state.erase(ref.id, "control", "output", "error")
        if due_ms(fields) is not None:
            state.erase(ref.id, "not_before")  # its time has come once, wherever the clock goes
        if "paused" in fields:
            state.erase(ref.id, "paused")
            state.paused.discard(ref.id)
        if not saved_of(fields):
            state.erase(ref.id, *SAVED)
        epoch = state.run(ref.id, ref.run, worker, attempts=number(fields, "attempts") + 1)
        self._note(ref.id, before, Trigger.CLAIM, worker)
        state.expires.pop(ref.id, None)
        self._announce_run(Event.RUNNING, ref, worker, epoch)

    def reject(self, raw: bytes, reason: IdFault, source: str | None = None) -> Verdict:
        """Move an invalid id from its list to the rejected ones."""
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

    def park(
        self, task_id: str, function: str, event: bytes, source: str | None = None, *, held: bool = False
    ) -> Verdict:
        """Move an id from the queue (or another list) to the parking list of `function`."""
        state = self._state
        known = text(state.fields(task_id), "function")
        resumed = held and not {function, "*"} & state.paused_functions
        if task_id in state.runs or known != function or resumed or not state.take(task_id.encode(), source):
            return Verdict.MOVED
        before = state.resting(text(state.fields(task_id), "state"))
        state.leave(task_id)
        state.timers.pop(task_id, None)
        state.rest(task_id, destination(Trigger.PARK))
        self._note(task_id, before, Trigger.PARK, self.who, HELD if held else parked_why(function, event))
        state.expires.pop(task_id, None)
        state.parking.setdefault(function, []).insert(0, task_id.encode())
        state.emit(task_id, event)
        if not held:
            self.hint(function)
        return Verdict.OK

    def parked(self) -> list[str]:
        """The functions with a parking list."""
        self._state.parking = {name: ids for name, ids in self._state.parking.items() if ids}
        return list(self._state.parking)

    def hint(self, function: str) -> None:
        """Tell workers that know `function` to claim from its parking list."""
        self._state.publish(self._state.keys.hint_channel, function.encode(errors="surrogateescape"))


def _upto_long(ids: Sequence[bytes]) -> list[bytes]:
    """Ids up to the first that is too long, which is cut."""
    found: list[bytes] = []
    for raw in ids:
        found.append(raw[: MAX_ID_BYTES + 1])
        if len(raw) > MAX_ID_BYTES:
            break
    return found


def is_plain(raw: bytes) -> bool:
    """Whether an id in the queue can be a task."""
    return not isinstance(read_id(raw), IdFault)


def _reach(source: Sequence[bytes], step: int, want: int) -> int:
    """How far from the tail a claim reads: `want` ids at most, in steps, and none behind one too long."""
    reach = 0
    while reach < min(want, len(source)):
        part = source[max(0, len(source) - reach - step) : len(source) - reach]
        reach += len(part)
        if any(len(raw) > MAX_ID_BYTES for raw in part):
            break
        step = min(32, want - reach)
    return reach


def _seconds(text: bytes) -> float:
    """A time that a script wrote; 0 for anything else."""
    try:
        found = float(text)
    except ValueError:
        return 0.0
    return found if 0 < found < EXACT else 0.0
