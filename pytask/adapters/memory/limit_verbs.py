"""Limits in memory: what a claim does for them, and the look at the waiting lists.

See slots.lua and serve.lua.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytask.adapters.memory.state import Fields, MemoryState, named, text
from pytask.adapters.memory.verbs import Verbs
from pytask.adapters.rules import Retention, event
from pytask.domain.lifecycle import Trigger, next_state
from pytask.domain.limits import (
    ARRIVALS,
    LARGEST_READ,
    LONGEST_GROUP,
    LOOK,
    LOOKED,
    Rule,
    Rules,
    fits_at,
    group_in,
    latest,
    started,
)
from pytask.domain.messages import Event
from pytask.domain.record import Claim, ClaimRequest, Verdict

LONGEST, AT_ONCE, MEMBERS = 1000, 16, 32
OVERDUE = 3600 * 1_000_000  # microseconds


class LimitVerbs(Verbs):
    """Keep limits."""

    def __init__(self, state: MemoryState, retention: Retention) -> None:
        super().__init__(state, retention)
        self._leads: list[tuple[str, int | None]] = []  # groups whose next id gets its turn after a claim
        self._wakes: list[str] = []  # entries for which another id may run

    def serve(self, rules: Rules) -> bool:
        """Look at waiting lists, and queue the ids that may start; whether there is more to do now."""
        slots, now = self._state.slots, int(self._state.now())
        by_look = sorted((at, entry) for entry, at in slots.groups.items() if not now - LOOK < at <= now)
        queued = len(self._state.queue)
        for _, entry in by_look[:LOOKED]:
            if not slots.lines.get(entry):
                slots.lines.pop(entry, None)
                del slots.groups[entry]
            else:
                slots.groups[entry] = now
                self._serve(entry, rules, queued)
        return len(by_look) >= LOOKED

    def _serve(self, entry: str, rules: Rules, queued: int) -> None:
        state, slots = self._state, self._state.slots
        kind, _, name = entry.partition(":")
        if kind == "function":
            most = slots.function_limit(name, rules.get(name))
        else:
            line = slots.lines[entry]
            first = state.fields(min(line, key=lambda one: (line[one], one)))
            most = slots.group_limit(name, rules.get(text(first, "function") or ""))
        if most is not None and kind == "function" and name not in slots.limited:
            self._count_slots(name)
        room = 1 if most is None else most - slots.count(entry)
        if room <= 0 and most:
            room += self._mend(entry)
        if room <= 0 or queued > LONGEST:
            return
        if kind == "group":
            if slots.runners.get(name, "").encode() not in state.queue:
                state.lead(name)
            return
        for _ in range(min(room, AT_ONCE)):
            if state.wake(entry) is None:
                break

    def _count_slots(self, function: str) -> None:
        state = self._state
        for task_id in state.runs:
            fields = state.fields(task_id)
            if text(fields, "function") == function and "local" not in fields:
                state.slots.take(task_id, text(fields, "group") or "", function)
        state.slots.limited.add(function)

    def _mend(self, entry: str) -> int:
        state = self._state
        lost = [
            i
            for i in state.slots.taken.get(entry, ())
            if i not in state.runs and "run" not in state.fields(i)
        ]
        for task_id in lost[:MEMBERS]:
            state.slots.drop(entry, task_id)
            state.slots.slotted.pop(task_id, None)
        return len(lost[:MEMBERS])

    def _mend_all(self) -> int:
        """Free the slots of ids without a run."""
        state = self._state
        lost = [i for i in state.slots.slotted if i not in state.runs and "run" not in state.fields(i)]
        for task_id in lost:
            state.give_back(task_id)
        return len(lost)

    # -- what a claim does ----------------------------------------------------------------------------

    def _leave_lines_of(self, task_id: str, group: str, function: str) -> None:
        """Pushed again while it waited for a slot: it waits elsewhere now, or runs."""
        lines = self._state.slots.lines
        if task_id not in self._state.slots.woken:
            for entry in (f"group:{group}", f"function:{function}"):
                lines.get(entry, {}).pop(task_id, None)

    def _pass_on(self, task_id: str, group: str) -> None:
        """An id leaves the queue without a run: the next of its group gets its turn."""
        slots = self._state.slots
        self._leave_lines_of(task_id, group, named(self._state.fields(task_id)))
        if group and (slots.runners or slots.groups):
            self._leads.append((group, None))

    def _hold_back(
        self, task_id: str, found: tuple[str, str, int], group: str, request: ClaimRequest, place: int
    ) -> float:
        """Put it into a waiting list; the seconds until somebody should look there, or -1."""
        state, slots = self._state, self._state.slots
        kind, name, most = found
        fields = state.fields(task_id)
        if "state" in fields or "history" in fields:
            before = state.resting(text(fields, "state"))
            state.leave(task_id)
            state.rest(task_id, next_state(before, Trigger.LIMIT))
            self._note(task_id, before, Trigger.LIMIT, request.worker, f"{kind}:{name}")
        state.expires.pop(task_id, None)
        slots.line_up(f"{kind}:{name}", task_id, slots.woken.get(task_id, state.micros() - ARRIVALS + place))
        state.timers.pop(task_id, None)
        state.emit(task_id, event(Event.WAITING, {"kind": kind, "name": name, "limit": most}))
        function = named(fields)
        if kind == "function":
            slots.lines.get(f"group:{group}", {}).pop(task_id, None)
            if group:
                self._leads.append((group, None))
            return -1.0 if function in slots.limited else 0.0
        if slots.runners.get(group) == task_id:
            del slots.runners[group]
        slots.lines.get(f"function:{function}", {}).pop(task_id, None)
        if function in slots.limited:
            self._wakes.append(f"function:{function}")
        return -1.0

    def _settle_in(self, task_id: str, group: str, rules: Rules) -> None:
        """The slots of a run that begins."""
        slots = self._state.slots
        function = named(self._state.fields(task_id))
        self._leave_lines_of(task_id, group, function)
        slots.take(task_id, group, function if function in slots.limited else "")
        if group and slots.runners.get(group) == task_id:
            self._leads.append((group, slots.group_limit(group, rules.get(function))))

    def _turns(self, answers: Sequence[Claim]) -> None:
        """The ids that get their turn after a claim."""
        slots = self._state.slots
        for answer in answers:
            if answer.verdict not in (Verdict.MOVED, Verdict.ROTATED):
                slots.woken.pop(answer.id, None)
        for group, most in self._leads:
            if most is not None and slots.count(f"group:{group}") >= most:
                slots.runners.pop(group, None)
            else:
                self._state.lead(group)
        for entry in self._wakes:
            self._state.wake(entry)
        self._leads.clear()
        self._wakes.clear()

    # -- the rate -------------------------------------------------------------------------------------

    def _not_yet(self, task_id: str, function: str, rule: Rule | None) -> int | None:
        """The milliseconds until which a task must wait for its start; None if it may start, which counts."""
        if rule is None or rule.rate is None:
            return None
        slots, now = self._state.slots, self._state.micros()
        line = slots.rated.setdefault(function, {})
        # Nothing is put off further than this, except by a clock that was ahead and has been set back.
        furthest = latest(now, rule)
        if line and max(line.values()) > furthest + rule.interval * len(line):
            line.clear()
        arrival, mine = slots.rates.get(function, 0), line.get(task_id)
        if arrival > furthest:  # stored, or it would be put off again each time that it is looked at
            arrival = slots.rates[function] = furthest
        if mine is not None and mine > now:
            return math.ceil(mine / 1000)
        fits, last = fits_at(arrival, rule), self._last_put_off(line, now)
        if fits <= now and (mine is not None or last is None or fits + rule.interval <= now):
            slots.rates[function] = started(arrival, now, rule)
            line.pop(task_id, None)
            return None
        at = max(fits, (last or 0) + rule.interval)
        for other in [other for other, when in line.items() if when <= now - OVERDUE]:
            del line[other]
        line[task_id] = at
        return math.ceil(at / 1000)

    def _last_put_off(self, line: dict[str, int], now: int) -> int | None:
        """The last time for which a start is put off; None if it has passed."""
        while line:
            last = max(line, key=lambda one: (line[one], one))
            if line[last] <= now:
                return None
            if self._state.timers.get(last) == math.ceil(line[last] / 1000):
                return line[last]
            del line[last]
        return None


def read_group(fields: Fields, rule: Rule | None, max_data: int) -> tuple[str, str, bool]:
    """The group of a task; why it cannot be one; whether only its data names it."""
    raw, told, data = fields.get("group", b""), False, fields.get("data")
    if not raw:
        if rule is None or not rule.path or data is None or len(data) > max_data:
            return "", "", False
        found = group_in(data, rule.path)
        if found is None:
            return "", "large" if len(data) > LARGEST_READ else "data", False
        raw, told = found, bool(found)
    if len(raw) > LONGEST_GROUP:
        return "", f"long {len(raw)}", False
    try:
        return raw.decode(), "", told
    except UnicodeDecodeError:
        return "", "bytes", False
