"""What clients do with scripts of their own, in memory.  See the scripts of the same names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytask.adapters.memory.state import Fields, text
from pytask.adapters.memory.verbs import Verbs
from pytask.adapters.rules import COUNTS
from pytask.domain import lifecycle as life
from pytask.domain.errors import WrongKeyType
from pytask.domain.lifecycle import RESTING
from pytask.domain.record import Verdict

WOKEN_MOST = 16  # ids that a new limit lets start at once
WORDS = 4  # of a start: when, restart, group, traceparent
AT_ONCE = ("",) * WORDS


class ClientVerbs(Verbs):
    """Start tasks, change them, delete them."""

    def enqueue(  # noqa: PLR0913 - see enqueue.lua
        self,
        func: str,
        ids: Sequence[str],
        data: Sequence[bytes],
        starts: Sequence[str],
        *,
        check: bool,
        finished: Sequence[str],
    ) -> list[Any]:
        """Positions and words of those that were not queued."""
        state = self._state
        self._waiting: list[str] = []
        reply: list[Any] = []
        for at, (task_id, new) in enumerate(zip(ids, data, strict=True)):
            start = tuple(starts[WORDS * at : WORDS * (at + 1)]) or AT_ONCE
            value = state.value(task_id)
            if check and value is not None:
                word = self._again(task_id, value, func, new, start, finished)
                reply += [at + 1, word.encode()] if word else []
            elif isinstance(value, bytes):
                raise WrongKeyType(f"the key {task_id!r} holds a string, not a hash")
            else:
                self._new(task_id, func, new, start, at)
        for task_id in self._waiting:
            state.queue.insert(0, task_id.encode())
        return reply

    def _new(self, task_id: str, func: str, new: bytes, start: Sequence[str], at: int) -> None:
        state = self._state
        given = {"function": func} | ({"group": start[2]} if start[2] else {})
        state.write(task_id, **given, **({"data": new} if new else {}))
        if self._later(task_id, start) or not self._lines_up(task_id, start[2], at):
            self._waiting.append(task_id)

    def _again(  # noqa: PLR0913, PLR0917 - see enqueue.lua
        self,
        task_id: str,
        value: Fields | bytes,
        func: str,
        new: bytes,
        start: Sequence[str],
        finished: Sequence[str],
    ) -> str:
        """A task with this id exists: what is said of it, "" if it is queued."""
        state = self._state
        if isinstance(value, bytes) or text(value, "function") != func:
            return Verdict.STATE
        if text(value, "state") in finished:
            state.erase(task_id, "traceparent")  # of the start before
            self._set_data(task_id, new)
            if start[2]:
                state.write(task_id, group=start[2])
            if not self._later(task_id, start):
                return "FINISHED"
            state.erase(task_id, "crashes", *COUNTS)
            self._waiting.append(task_id)
            return ""
        return Verdict.ALREADY if value.get("data", b"") == new else Verdict.STATE

    def _set_data(self, task_id: str, new: bytes) -> None:
        if new:
            self._state.write(task_id, data=new)
        else:
            self._state.erase(task_id, "data")

    def _later(self, task_id: str, start: Sequence[str]) -> bool:
        """Write when it starts; whether that is later."""
        state = self._state
        when, restart, _, trace = start
        if trace:
            state.write(task_id, traceparent=trace)
        if restart:
            state.write(task_id, restart=restart)
        if when.startswith("+"):
            when = f"{state.now() + float(when):.6f}"
        if when:
            state.write(task_id, not_before=when)
        return bool(when)

    def _lines_up(self, task_id: str, group: str, at: int) -> bool:
        """Whether it went to the waiting list of its group instead of the queue."""
        state, slots, entry = self._state, self._state.slots, f"group:{group}"
        if not group:
            return False
        if not slots.lines.get(entry):
            slots.groups.setdefault(entry, 0.0)
            if group not in slots.runners:
                slots.runners[group] = task_id
                return False
        slots.lines.setdefault(entry, {})[task_id] = state.micros() + at + 1
        return True

    def update(self, task_id: str, new: bytes) -> Verdict:
        """Set the data of a task."""
        value = self._state.value(task_id)
        if value is None:
            return Verdict.NOHASH
        if isinstance(value, bytes):
            return Verdict.BADTYPE
        self._set_data(task_id, new)
        self._state.erase(task_id, "reload_refused", "reloaded")
        return Verdict.OK

    def functions(self, ids: Sequence[str], longest: int) -> list[bytes]:
        """The names of the functions of tasks."""
        found = (self._state.fields(task_id).get("function", b"") for task_id in ids)
        return [name if len(name) <= longest else b"" for name in found]

    def remove(self, ids: Sequence[str], states: Sequence[str]) -> list[Verdict]:
        """Delete tasks that do not run."""
        return [self._remove(task_id, states) for task_id in ids]

    def _remove(self, task_id: str, states: Sequence[str]) -> Verdict:
        state = self._state
        value = state.value(task_id)
        if isinstance(value, bytes):
            return Verdict.BADTYPE
        fields = value or {}
        word = text(fields, "state")
        if task_id in state.runs or (word == life.RUNNING and "run" in fields):
            return Verdict.STATE
        queued = task_id.encode() in state.queue
        if states and (state.resting(None) if queued else state.resting(word)) not in states:
            return Verdict.MOVED
        state.leave_places(task_id)
        state.rings.pop(task_id, None)
        for at in RESTING:
            state.index[at].pop(task_id, None)
        state.delete(task_id)
        return Verdict.NOHASH if value is None else Verdict.OK

    def limit(self, entry: str, value: str) -> Verdict:
        """Set a limit, or remove it."""
        state, slots = self._state, self._state.slots
        kind, _, name = entry.partition(":")
        known = name in slots.limited
        if value:
            slots.limits[entry] = value
        else:
            slots.limits.pop(entry, None)
            if kind == "function":
                slots.limited.discard(name)
        if entry in slots.groups:
            slots.groups[entry] = 0.0
        free = int(value) - slots.count(entry) if value else 1
        if free > 0 and slots.lines.get(entry):
            if kind == "group":
                state.lead(name)
            elif known or not value:
                for _ in range(min(free, WOKEN_MOST)):
                    if state.wake(entry) is None:
                        break
        return Verdict.OK
