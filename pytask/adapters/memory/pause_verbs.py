"""Pause and resume in memory.  See pause.lua, confirm.lua and hold_functions.lua."""

from __future__ import annotations

from collections.abc import Sequence

from pytask.adapters.memory.state import in_seconds, number, text
from pytask.adapters.memory.verbs import Verbs
from pytask.adapters.rules import event
from pytask.domain import lifecycle as life
from pytask.domain.lifecycle import State, Trigger, destination, next_state, sources
from pytask.domain.messages import Command, Event
from pytask.domain.record import Answer, Confirmation, Verdict

KEEPS_CONTROL = (Verdict.STOP, Command.RELOAD)  # requests that neither a pause nor a start replaces


class PauseVerbs(Verbs):
    """Pause tasks and functions."""

    def _pause(self, task_id: str, age: float) -> Verdict:
        state = self._state
        if self._started_within(task_id, age):
            return Verdict.STATE
        fields, held = state.fields(task_id), state.runs.get(task_id)
        owner, word = text(fields, "run"), text(fields, "state")
        if owner is not None and (held is not None or word == life.RUNNING):
            return self._pause_run(task_id)
        if held is not None:
            return Verdict.STATE  # a run of a previous hash of this id is still being stopped
        # It waits, even if its hash still describes the run before it was pushed again.
        before = state.resting(word)
        if before not in sources(Trigger.PAUSE) and task_id.encode() in state.queue:
            before = State.read(None)
        if before not in sources(Trigger.PAUSE):
            return Verdict.STATE
        waits = state.resting(word) is destination(Trigger.PAUSE)
        known = "paused" in fields and waits and task_id in state.paused
        if not known:
            self._set_aside(task_id, before)
        return Verdict.OK

    def _set_aside(self, task_id: str, before: State) -> None:
        state = self._state
        due = self._next_try(task_id)
        state.leave(task_id)
        state.leave_places(task_id)
        since = text(state.fields(task_id), "paused") or state.stamp()
        state.rest(task_id, next_state(before, Trigger.PAUSE), paused=since, **due)
        self._note(task_id, before, Trigger.PAUSE, self.who)
        state.expires.pop(task_id, None)
        state.paused.add(task_id)
        state.emit(task_id, event(Event.PAUSED))

    def _next_try(self, task_id: str) -> dict[str, str]:
        """The time of its next try, as the field that holds it while it is paused."""
        state = self._state
        fields, due = state.fields(task_id), state.timers.get(task_id, 0)
        waits = due > state.millis() and number(fields, "restarts") > 0
        return {"not_before": in_seconds(due)} if waits and number(fields, "not_before") * 1000 < due else {}

    def _pause_run(self, task_id: str) -> Verdict:
        state = self._state
        fields = state.fields(task_id)
        control = text(fields, "control")
        if control == Verdict.STOP:
            return Verdict.STATE
        state.paused.add(task_id)
        if "paused" in fields:
            return Verdict.REQUESTED if control in (Command.PAUSE, Command.RELOAD) else Verdict.OK
        request = {} if control == Command.RELOAD else {"control": Command.PAUSE}
        state.write(task_id, paused=state.stamp(), **request)
        self._note(task_id, life.RUNNING, Trigger.REQUEST, self.who, Command.PAUSE)
        return Verdict.REQUESTED

    def _resume_run(self, task_id: str) -> Verdict:
        """Tell the owner of a run to resume it; STATE if it is not paused."""
        state = self._state
        fields = state.fields(task_id)
        control = text(fields, "control")
        if "paused" not in fields:
            return Verdict.REQUESTED if control == Command.START else Verdict.STATE
        state.paused.discard(task_id)
        state.erase(task_id, "paused")
        state.write(task_id, start_at=state.stamp())
        if control in (None, Command.PAUSE):
            state.write(task_id, control=Command.START)
            self._note(task_id, life.RUNNING, Trigger.REQUEST, self.who, Command.START)
        return Verdict.REQUESTED

    def _resume_waiting(self, task_id: str, before: State) -> Verdict:
        state = self._state
        state.paused.discard(task_id)
        state.erase(task_id, "paused", "control")
        state.rest(task_id, next_state(before, Trigger.RESUME), start_at=state.stamp())
        self._note(task_id, before, Trigger.RESUME, self.who)
        state.expires.pop(task_id, None)
        if task_id.encode() not in state.queue:
            state.queue.insert(0, task_id.encode())
        state.emit(task_id, event(Event.RESUMED))
        return Verdict.OK

    def _started_within(self, task_id: str, seconds: float) -> bool:
        try:
            began = float(text(self._state.fields(task_id), "start_at") or "nan")
        except ValueError:
            return False
        return 0 <= float(self._state.stamp()) - began < seconds

    def confirm(self, confirmations: Sequence[Confirmation]) -> list[Answer]:
        """Tell that runs were paused or resumed; the word that holds now for each."""
        return [self._confirm(one) for one in confirmations]

    def _confirm(self, one: Confirmation) -> Answer:
        state = self._state
        verdict = self._owned(one.id, one.run)
        if verdict is not Verdict.OK:
            return verdict
        fields = state.fields(one.id)
        wanted = Command.PAUSE if "paused" in fields else Command.START
        if wanted is one.word and text(fields, "control") == one.word:
            pausing = wanted is Command.PAUSE
            trigger = Trigger.HOLD if pausing else Trigger.GO_ON
            state.erase(one.id, "control")
            state.write(one.id, last_update=state.stamp())
            self._note(one.id, life.RUNNING, trigger, self.who)
            state.emit(one.id, event(Event.PAUSED if pausing else Event.RESUMED))
        return wanted

    def hold_functions(self, names: Sequence[str], *, resume: bool = False) -> list[bool]:
        """Pause functions, or resume them; whether each changed."""
        return [self._resume_function(name) if resume else self._hold_function(name) for name in names]

    def held_functions(self) -> set[str]:
        """The functions that are paused."""
        return set(self._state.paused_functions)

    def _hold_function(self, name: str) -> bool:
        new = name not in self._state.paused_functions
        self._state.paused_functions.add(name)
        return new

    def _resume_function(self, name: str) -> bool:
        state = self._state
        known = name in state.paused_functions
        state.paused_functions.discard(name)
        for function in state.parking if name == "*" else [name]:
            state.publish(state.keys.hint_channel, function.encode(errors="surrogateescape"))
        return known
