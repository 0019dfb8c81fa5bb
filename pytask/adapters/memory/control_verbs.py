"""Stop, start and reload in memory.  See stop.lua, start.lua and request.lua; for a pause pause_verbs.py."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pytask.adapters.memory.pause_verbs import PauseVerbs
from pytask.adapters.memory.state import text
from pytask.adapters.rules import FORGOTTEN, LATE, SAVED, digest, event
from pytask.domain import lifecycle as life
from pytask.domain.control import TABLE, ControlWord
from pytask.domain.lifecycle import State, Trigger, destination, sources
from pytask.domain.messages import Command, Event
from pytask.domain.record import Verdict

ANSWER = re.compile(r'"at":([\d.]+),"sha1":"([\da-f]+)"')


class ControlVerbs(PauseVerbs):
    """Control tasks."""

    def control(
        self, command: Command, ids: Sequence[str], ages: Sequence[float] = (), *, fresh: bool = False
    ) -> list[Verdict]:
        """Control a batch of tasks; `fresh`, of a start: without what earlier runs have saved."""
        word = TABLE[command]
        found = []
        for task_id, age in zip(ids, ages or [0.0] * len(ids), strict=True):
            value = self._state.value(task_id)
            known = word.missing if value is None else Verdict.BADTYPE
            if command is Command.START and isinstance(value, dict):
                self._forget_saved(task_id, fresh=fresh)
            answered = command is Command.RELOAD and ages and self._is_answered(task_id)
            known = Verdict.STATE if answered else known
            takes = isinstance(value, dict) and not answered
            found.append(self._carry_out(word, task_id, age, fresh=fresh) if takes else known)
            if command is Command.RELOAD and found[-1] is Verdict.REQUESTED and fresh:
                self._ask_again(task_id)
        return found

    def _carry_out(self, word: ControlWord, task_id: str, age: float, *, fresh: bool) -> Verdict:
        if word.command is Command.STOP:
            return self._stop(task_id, age)
        if word.command is Command.PAUSE:
            return self._pause(task_id, age)
        if word.request:
            return self._request(task_id, word.command)
        return self._start(task_id, age, fresh=fresh)

    def _is_answered(self, task_id: str) -> bool:
        """Whether a message to reload was answered already, see request.lua."""
        fields = self._state.fields(task_id)
        text = fields.get("reload_refused") or fields.get("reloaded")
        if text is None or "control" in fields:
            return False
        kept = ANSWER.search(text.decode(errors="replace"))
        if kept is None or float(self._state.stamp()) - float(kept[1]) >= LATE:
            return False
        return kept[2] == digest(fields.get("data", b""))

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
        # It waits, even if its hash still describes the run before it was pushed again.
        before = State.read(None) if task_id.encode() in state.queue else state.resting(word)
        if before not in sources(Trigger.CANCEL):
            return Verdict.STATE
        keep = self._retention.of(Trigger.CANCEL)
        state.leave(task_id)
        state.unpause(task_id)
        state.leave_places(task_id)
        state.rest(task_id, destination(Trigger.CANCEL))
        self._note(task_id, before, Trigger.CANCEL, self.who)
        state.expires.pop(task_id, None)
        if keep == 0:
            state.index[destination(Trigger.CANCEL)].pop(task_id)
            state.delete(task_id)
        state.emit(task_id, event(Event.STOPPED))
        # A run of a previous hash of this id may still be stopping: its owner is notified, too.
        return Verdict.OK if held is None else Verdict.REQUESTED

    def _start(self, task_id: str, age: float, *, fresh: bool) -> Verdict:
        state = self._state
        fields = state.fields(task_id)
        word = text(fields, "state")
        at_rest = task_id not in state.runs and word != life.RUNNING
        before = state.resting(word)
        if "run" in fields and not at_rest:
            return Verdict.STATE if fresh else self._resume_run(task_id)
        if "paused" in fields and before in sources(Trigger.RESUME) and at_rest:
            return self._resume_waiting(task_id, before)
        if self._started_within(task_id, age):
            return Verdict.STATE
        early = task_id in state.timers and before in sources(Trigger.START_NOW)
        if not at_rest or not (early or before in sources(Trigger.START)):
            return Verdict.STATE
        state.leave(task_id)
        state.timers.pop(task_id, None)
        state.paused.discard(task_id)
        state.rest(task_id, destination(Trigger.START), crashes=0, start_at=state.stamp())
        self._note(task_id, before, Trigger.START_NOW if early else Trigger.START, self.who)
        state.erase(task_id, "control", "paused", *FORGOTTEN, *(() if early else ("scheduled",)))
        state.expires.pop(task_id, None)
        if task_id.encode() not in state.queue:  # pushed again by hand, it waits already
            state.queue.insert(0, task_id.encode())
        state.emit(task_id, event(Event.QUEUED))
        return Verdict.OK

    def _ask_again(self, task_id: str) -> None:
        """A client asks: this is not a repetition of a reload that was answered, see request.lua."""
        self._state.erase(task_id, "reload_refused", "reloaded")

    def _forget_saved(self, task_id: str, *, fresh: bool) -> None:
        """What earlier runs have saved; after an end always: an earlier release did not remove it."""
        state = self._state
        fields = state.fields(task_id)
        word = text(fields, "state")
        owned = "run" in fields and task_id in state.runs
        if (fresh or word == life.ENDED) and not owned and word != life.RUNNING:
            state.erase(task_id, *SAVED)

    def _request(self, task_id: str, request: Command) -> Verdict:
        state = self._state
        fields, held = state.fields(task_id), state.runs.get(task_id)
        if held is None or text(fields, "run") != held:
            return Verdict.STATE
        if text(fields, "control") not in (Verdict.STOP, request):
            state.write(task_id, control=request)
            self._note(task_id, life.RUNNING, Trigger.REQUEST, self.who, request)
        return Verdict.REQUESTED
