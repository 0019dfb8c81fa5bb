"""The verbs for runs in memory, from a renewal to their end.  See the scripts of the same names."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping, Sequence

from pytask.adapters.memory.reload_verbs import roll_back
from pytask.adapters.memory.state import in_seconds, number, text
from pytask.adapters.memory.verbs import Verbs
from pytask.adapters.rules import COUNTS, PRESTARTED, RESTORED, SAVED, carried, ending_why, event
from pytask.domain import history
from pytask.domain import lifecycle as life
from pytask.domain.control import REQUESTS
from pytask.domain.leases import stamps
from pytask.domain.lifecycle import RESTING, Trigger, destination, next_state
from pytask.domain.messages import Command, Event
from pytask.domain.record import (
    NO_FIELDS,
    Adoption,
    Answer,
    Change,
    Claim,
    Incarnation,
    Notes,
    RunRef,
    Save,
    StartFields,
    Verdict,
)

NO_SAVES: Mapping[str, Save] = {}

AGAIN = (Trigger.RETRY, Trigger.RELEASE, Trigger.ROLL_BACK)  # after which the task waits


class RunVerbs(Verbs):
    """Renew and end runs."""

    def renew(self, refs: Sequence[RunRef], saves: Mapping[str, Save] = NO_SAVES) -> dict[RunRef, Answer]:
        """Renew runs; returns only verdicts other than OK."""
        self.incarnation = self._look()
        # All are read before any is restored, as in the script.
        held = {ref.id: self._state.runs.get(ref.id) for ref in refs}
        stamp = stamps(refs)
        found = {ref: self._renew(ref, held[ref.id], saves.get(ref.run), stamp=stamp) for ref in refs}
        return {ref: verdict for ref, verdict in found.items() if verdict is not None}

    def _look(self) -> Incarnation:
        """The marker of the data, created if it is missing."""
        state, now = self._state, self._state.micros()
        marker = state.incarnation
        if not marker:
            marker.update(id=uuid.uuid4().hex, server=state.server, since=0, changed=0, safe=state.safe)
        elif marker["server"] != state.server:
            # A safe change does not end what followed an unsafe one.
            since = marker["since"] if marker["safe"] else now
            marker.update(server=state.server, since=since, changed=now)
        marker["safe"] = state.safe
        for name in ("since", "changed"):
            marker[name] = min(marker[name], now)  # ahead: the clock was set back
        age, changed = ((now - marker[name]) / 1e6 if marker[name] else -1.0 for name in ("since", "changed"))
        return Incarnation(id=marker["id"], server=state.server, age=age, changed=changed)

    def adopt(self, adoptions: Sequence[Adoption], worker: str) -> list[Verdict]:
        """Restore lost runs: an answer for each, in order."""
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
            # The claim that the store has lost was the start of its `not_before`, see adopt.lua.
            state.erase(one.id, *kept, "not_before", "output", "error")
            self._keep_counts(one)
        self._note(one.id, before, Trigger.ADOPT, worker)
        self._keep_pause(one, same=owner == one.run)
        state.expires.pop(one.id, None)
        state.take(one.id.encode(), None)
        state.timers.pop(one.id, None)
        # A claim that the store has lost had found the group in the data.
        group, function = text(fields, "group") or one.group or None, text(fields, "function")
        if group and "group" not in fields:
            state.write(one.id, group=group)
        state.slots.lines.get(f"group:{group}", {}).pop(one.id, None)
        state.slots.lines.get(f"function:{function}", {}).pop(one.id, None)
        state.take_slots(one.id, group, function)
        state.slots.woken.pop(one.id, None)
        if group and state.slots.runners.get(group) == one.id:
            state.lead(group)  # as that claim did
        self._announce_run(Event.RUNNING, RunRef(one.id, one.run), worker, one.epoch)
        return Verdict.OK

    def _keep_counts(self, one: Adoption) -> None:
        """What the owner's claim has read: the hash may have older counts."""
        if one.crashes:
            self._state.write(one.id, crashes=one.crashes)
        else:
            self._state.erase(one.id, "crashes", "crash_at", "lost_at")
        if one.restarts:
            self._state.write(one.id, restarts=one.restarts, restart_times=one.failed)
        else:
            self._state.erase(one.id, "restarts", "failed_at", "restart_times")

    def _keep_pause(self, one: Adoption, *, same: bool) -> None:
        """The owner knows whether its run is paused; of a pause that it may have missed it is told again."""
        state, there = self._state, "paused" in self._state.fields(one.id)
        if one.paused or (there and same):
            state.paused.add(one.id)
        if one.paused and not there:
            state.write(one.id, paused=state.stamp())
        elif there and same and not one.paused and "control" not in state.fields(one.id):
            state.write(one.id, control=Command.PAUSE)
        elif there and not same and not one.paused:
            state.erase(one.id, "paused")
            state.paused.discard(one.id)

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
        state = self._state
        if not state.has_marker(marker):
            return Verdict.MOVED
        if state.value(task_id) is not None or task_id in state.runs:
            return Verdict.STATE
        state.write(task_id, function=function, **({} if data is None else {"data": data}))
        if saved:
            state.write(task_id, saved=saved, saved_at=state.stamp())
        state.write(task_id, **carried(fields))
        state.rest(task_id, destination(Trigger.RELEASE))
        self._note(task_id, life.RUNNING, Trigger.RELEASE, self.who, RESTORED)
        if paused:
            state.write(task_id, paused=state.stamp())
        state.wait_again(task_id)
        state.emit(task_id, event(Event.REQUEUED, {"reason": RESTORED}))
        return Verdict.OK

    def _renew(self, ref: RunRef, held: str | None, save: Save | None, *, stamp: bool) -> Answer | None:
        state = self._state
        fields = state.fields(ref.id)
        if held not in (None, ref.run):
            return Verdict.FENCED
        if text(fields, "run") != ref.run:
            return Verdict.GONE
        # Without an entry in the registry the hash is still ours: no other worker has claimed it since.
        if held is None:
            state.take_slots(ref.id, text(fields, "group"), text(fields, "function"))
        state.register(ref.id, ref.run)
        saved = save is not None and self._save(save)
        if stamp or held is None or saved:
            state.write(ref.id, state=destination(Trigger.RENEW), last_update=state.stamp())
        return REQUESTS.get(fields.get("control", b""))

    def save(self, one: Save, server: str = "") -> Verdict:
        """Store what a task saves, at once."""
        self._require(server)
        verdict = self._owned(one.id, one.run)
        if verdict is Verdict.OK:
            self._save(one)
        return verdict

    def _save(self, one: Save) -> bool:
        """Write it, unless a newer one of the same run is there; whether it was written."""
        run, _, last = (text(self._state.fields(one.id), "saved_by") or "").rpartition(" ")
        if run == one.run and last.isdigit() and int(last) >= one.number:
            return False
        by = f"{one.run} {one.number}"
        self._state.write(one.id, saved=one.value, saved_at=self._state.stamp(), saved_by=by)
        return True

    def commit(self, changes: Sequence[Change]) -> list[Verdict]:
        """Commit ends and events in order; an answer for each."""
        self._over: list[tuple[str, bool]] = []
        found = [self._commit(change) for change in changes]
        # As in the script after all of them: the slots of those that are in the queue again stay theirs.
        for task_id, stays in self._over:
            self._state.give_back(task_id, stays=stays)
        return found

    def _commit(self, change: Change) -> Verdict:
        state = self._state
        # The registry may have lost the run: while the hash is ours, no other worker has claimed it since.
        ours = text(state.fields(change.id), "run") == change.run
        if state.runs.get(change.id, change.run if ours else None) != change.run:
            done = change.trigger is not None and text(state.fields(change.id), "last_run") == change.run
            return Verdict.ALREADY if done else Verdict.FENCED
        again = change.trigger in AGAIN and not (change.trigger is Trigger.RELEASE and change.local)
        if ours and again:
            change = self._unless_stopped(change)
        verdict = Verdict.OK if change.trigger is None else self._settle(change, change.trigger)
        if verdict is Verdict.OK and change.event:
            state.emit(change.id, change.event)
        return verdict

    def _unless_stopped(self, change: Change) -> Change:
        """A run that would wait again while its hash has a stop is stopped: it has ended by now."""
        if text(self._state.fields(change.id), "control") != Verdict.STOP:
            return change
        payload, keep = event(Event.STOPPED).encode(), self._retention.of(Trigger.STOP)
        saved = {name: value for name, value in change.fields.items() if name == "saved"}
        return Change(change.id, change.run, payload, Trigger.STOP, saved, keep, trial=change.trial)

    def _settle(self, change: Change, trigger: Trigger) -> Verdict:
        state = self._state
        state.unregister(change.id)
        self._over.append((change.id, False))
        if text(state.fields(change.id), "run") != change.run:
            return Verdict.GONE
        released = trigger in (Trigger.RELEASE, Trigger.ROLL_BACK)
        retried = trigger is Trigger.RETRY
        if (released and change.local) or (change.keep == 0 and not released and not retried):
            state.delete(change.id)
            state.paused.discard(change.id)
            return Verdict.OK
        trial = change.trial
        superseded = trial is not None and not roll_back(state, change.id, change.run, trial)
        state.rest(change.id, next_state(life.RUNNING, trigger), last_run=change.run, **change.fields)
        if superseded:
            state.erase(change.id, "rolled_back")
        if change.fields.get("saved"):
            state.write(change.id, saved_at=state.stamp())
        elif "saved" in change.fields:
            state.erase(change.id, *SAVED)
        plain = trigger is Trigger.END
        line = history.tail(life.RUNNING, destination(trigger), trigger, self.who, ending_why(change))
        state.note(change.id, line, self._retention.history, plain=plain)
        state.erase(change.id, "run", "control", "local")
        if trigger is Trigger.END:
            counts = COUNTS if "restarts" in state.fields(change.id) else ()
            state.erase(change.id, "crashes", "crash_at", "lost_at", *counts)
        if retried or released:
            self._wait_again(change, retried=retried)
        else:
            state.unpause(change.id)
        return Verdict.OK

    def _wait_again(self, change: Change, *, retried: bool) -> None:
        """Into the timers, the queue, or the paused set."""
        state = self._state
        paused, due = "paused" in state.fields(change.id), state.millis() + math.ceil(change.delay * 1000)
        if retried and not paused:
            state.timers[change.id] = due
            return
        if retried:  # resumed, it waits for the rest of its delay
            state.write(change.id, not_before=in_seconds(due))
        state.wait_again(change.id, next_one=True)
        if not retried and not paused:
            self._over[-1] = (change.id, True)

    def note(self, notes: Sequence[Notes], lines: int, keep: int) -> list[Verdict]:
        """Store log lines and progress; an answer for each run, in order."""
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

    def open_local(self, ref: RunRef, function: str, data: bytes, worker: str) -> Claim:
        """Create the hash and the run of a pre-started task."""
        state = self._state
        held = state.runs.get(ref.id)
        if held not in (None, ref.run):
            return Claim(ref.id, ref.run, Verdict.FENCED)
        if held is not None:
            fields = state.fields(ref.id)
            if text(fields, "run") != held:
                return Claim(ref.id, ref.run, Verdict.GONE)
            epoch = number(fields, "epoch")
            return Claim(ref.id, ref.run, Verdict.ALREADY, function, data, epoch)
        session = ref.run.rpartition(":")[0]
        state.write(ref.id, function=function, data=data, local=session)
        epoch = state.run(ref.id, ref.run, worker, attempts=1)
        state.erase(ref.id, "history")
        self._note(ref.id, RESTING[0], Trigger.CLAIM, worker, PRESTARTED)
        self._announce_run(Event.RUNNING, ref, worker, epoch)
        return Claim(ref.id, ref.run, Verdict.OK, function, data, epoch)
