"""Schedules in memory.  See due_schedules.lua, fire.lua, fault.lua and define_schedule.lua."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence

from pytask.adapters.memory.state import Fields, MemoryState, number, text
from pytask.adapters.memory.verbs import Verbs
from pytask.adapters.rules import FORGOTTEN, Retention, event
from pytask.domain import lifecycle as life
from pytask.domain.firing import (
    FAULT,
    LEAST_SCORE,
    READ,
    Definition,
    DueSchedules,
    Firing,
    Skip,
    Start,
    Stored,
    is_paused,
)
from pytask.domain.lifecycle import State, Trigger, destination
from pytask.domain.messages import STARTED, Event
from pytask.domain.occurrences import fired_line, outcomes, scheduled_field, skipped_line
from pytask.domain.record import Verdict
from pytask.domain.schedules import DEFINITION, KEPT, LONGEST_FIELD, NEVER, TIMES, Overlap, Reason

RUNS, WAITS, TAKEN = "runs", "waits", Reason.TAKEN


class MemoryTimetable(Verbs):
    """Reads and fires schedules."""

    def __init__(self, state: MemoryState, retention: Retention) -> None:
        super().__init__(state, retention)
        self.outcomes: Counter[str] = Counter()

    def due(self, limit: int, ended: Sequence[str] = ()) -> DueSchedules:
        """Schedules that are due, at most `limit`."""
        state = self._state
        now = state.millis()
        for name in ended:
            value = state.value(_key(name))
            waits = isinstance(value, dict) and 0 < number(value, "behind") <= now
            if waits and now < state.schedules.get(name, 0.0) < NEVER:
                state.schedules[name] = float(now)
        by_time = sorted((score, name) for name, score in state.schedules.items())
        found = [entry for entry in by_time if entry[0] <= now][:limit]
        rest = by_time[len(found) :]
        due = tuple(Stored(name=name, score=score, fields=self._read(name)) for score, name in found)
        return DueSchedules(now=now, due=due, next=max(0.0, (rest[0][0] - now) / 1000) if rest else None)

    def _read(self, name: str) -> Mapping[str, str] | None:
        value = self._state.value(_key(name))
        if isinstance(value, bytes):
            return None
        values = ((field, (text(value or {}, field) or "")[: LONGEST_FIELD + 1]) for field in READ)
        return {field: found for field, found in values if found}

    def fire(self, firings: Sequence[Firing]) -> list[Verdict]:
        """Fire schedules; a verdict for each, in order."""
        self.outcomes = Counter()
        return [self._fire(one) for one in firings]

    def _fire(self, firing: Firing) -> Verdict:
        state = self._state
        # Lists are stored elsewhere: a value under this name is not a list.
        spoiled = state.value(f"pytask:occurrences:{firing.name}") is not None
        verdict = self._still(firing.name, firing.score, spoiled=spoiled)
        fields = state.fields(_key(firing.name))
        if verdict is None and (
            not text(fields, "function") or is_paused(_texts(fields)) is not firing.paused
        ):
            verdict = Verdict.STATE
        if verdict is not None:
            return verdict
        one = _Firing(self, firing, fields)
        one.go()
        ring = state.occurrences.setdefault(firing.name, [])
        ring[:] = [*(line.encode() for line in reversed(one.lines)), *ring][: max(KEPT, len(one.lines))]
        self.outcomes += outcomes(one.lines)
        self._settle(firing, one, fields)
        return Verdict.OK

    def _settle(self, firing: Firing, one: _Firing, fields: Fields) -> None:
        state, key, after = self._state, _key(firing.name), firing.next
        if one.last is not None:
            fires = number(fields, "fires") + one.fires
            state.write(key, last_ms=one.last[0], last_id=one.last[1], fires=fires)
        if text(fields, "paused") == FAULT:
            state.erase(key, "paused", "error")
        if one.behind is not None:
            state.write(key, behind=one.behind, next_ms=firing.next)
            after = min(after, firing.recheck)
        else:
            state.erase(key, "behind", "next_ms")
        state.schedules[firing.name] = float(after)

    def _still(self, name: str, score: float, *, spoiled: bool = False) -> Verdict | None:
        """The verdict if the schedule has changed since it was read; None if not."""
        state = self._state
        if state.schedules.get(name) != score:
            return Verdict.MOVED
        value = state.value(_key(name))
        if isinstance(value, bytes) or spoiled:
            state.schedules[name] = float(NEVER)
            return Verdict.BADTYPE
        if value is None:
            del state.schedules[name]
            return Verdict.NOHASH
        return None

    def fault(self, name: str, score: float, text: str) -> Verdict:
        """Pause an invalid schedule, with the reason."""
        verdict = self._still(name, score)
        if verdict is not None:
            return verdict
        state = self._state
        state.write(_key(name), error=text)
        if state.fields(_key(name)).get("paused", b"") in (b"", b"0"):
            state.write(_key(name), paused=FAULT)
        state.schedules[name] = float(NEVER)
        return Verdict.OK

    def define(self, definition: Definition) -> Verdict:
        """Create or change a schedule."""
        state, name, fields = self._state, definition.name, definition.fields
        key = _key(name)
        if not state.has_marker(definition.marker):
            return Verdict.MOVED
        if definition.lost and name in state.schedules and state.fields(key):
            return Verdict.ALREADY
        old = _texts(state.fields(key))
        faulty = old.get("paused") == FAULT
        same = name in state.schedules and not faulty
        same = same and all(old.get(field, "") == fields.get(field, "") for field in TIMES)
        state.write(key, origin=definition.origin, **{f: fields[f] for f in DEFINITION if fields.get(f)})
        state.erase(key, *(field for field in DEFINITION if not fields.get(field)))
        if definition.data:
            state.write(key, data=definition.data)
        else:
            state.erase(key, "data")
        if faulty:
            state.erase(key, "paused", "error")
        if same:
            return Verdict.ALREADY
        self._skip_overdue(name, Reason.PAUSED if is_paused(old) else Reason.LATE)
        state.schedules[name] = 0.0
        return Verdict.OK

    def pause(self, name: str, *, paused: bool) -> Verdict:
        """Pause a schedule, or resume it: see pause_schedule.lua."""
        state, key = self._state, _key(name)
        fields = _texts(state.fields(key))
        if not fields:
            return Verdict.NOHASH
        by_hand, faulty = is_paused(fields), fields.get("paused") == FAULT
        if paused and by_hand:
            return Verdict.STATE
        if paused:
            state.write(key, paused="1")
            state.schedules.setdefault(name, 0.0)
            return Verdict.OK
        state.erase(key, "paused", "error")
        stored = state.schedules.get(name)
        if not (by_hand or faulty or stored is None):
            return Verdict.STATE
        if stored is None or not state.millis() <= stored < NEVER:
            self._skip_overdue(name, Reason.PAUSED)
            state.schedules[name] = 0.0
        return Verdict.OK

    def remove(self, name: str) -> Verdict:
        """Delete a schedule; its task stays."""
        state = self._state
        known = state.value(_key(name)) is not None or name in state.schedules
        state.delete(_key(name))
        state.schedules.pop(name, None)
        state.occurrences.pop(name, None)
        return Verdict.OK if known else Verdict.NOHASH

    def _skip_overdue(self, name: str, reason: Reason) -> None:
        fields, score = self._state.fields(_key(name)), self._state.schedules.get(name, 0.0)
        if fields.keys() >= {"behind", "next_ms"}:
            score = number(fields, "next_ms")
        at = int(score) if score < NEVER else 0
        if LEAST_SCORE <= at <= self._state.millis():
            ring = self._state.occurrences.setdefault(name, [])
            ring[:] = [skipped_line(Skip(at, reason)).encode(), *ring][:KEPT]

    # -- steps of a firing ----------------------------------------------------------------------------

    def occupied(self, task_id: str, schedule: Fields) -> str | None:
        """Whether an earlier run has not ended, or the key belongs to another task."""
        state = self._state
        value = state.value(task_id)
        if isinstance(value, bytes):
            return TAKEN
        fields = value or {}
        word = text(fields, "state")
        if task_id in state.runs or (word == life.RUNNING and "run" in fields):
            return RUNS
        ours = "scheduled" in fields or text(schedule, "last_id") == task_id
        if "local" in fields or (
            value is not None and not ours and fields.get("function") != schedule["function"]
        ):
            return TAKEN
        if value is not None and state.resting(word) is State.read(None):
            return WAITS
        return WAITS if task_id.encode() in state.queue or task_id in state.timers else None

    def prepare(self, task_id: str, schedule: str, start: Start, fields: Fields) -> None:
        """Write the fields of the new start; those of the previous one are removed."""
        state = self._state
        source = state.resting(text(state.fields(task_id), "state"))
        state.leave(task_id)
        new = {"data": fields["data"]} if "data" in fields else {}
        if start.not_before:
            new["not_before"] = start.not_before.encode()
        scheduled = scheduled_field(json.dumps(schedule, ensure_ascii=False), start.at, start.missed)
        stamp = state.stamp()
        state.publish(state.keys.control(task_id), STARTED)
        state.erase(task_id, "control", "data", *FORGOTTEN)
        state.rest(
            task_id,
            destination(Trigger.SCHEDULE),
            function=fields["function"],
            scheduled=scheduled,
            crashes=0,
            start_at=stamp,
            **new,
        )
        self._note(task_id, source, Trigger.SCHEDULE, self.who, f"schedule {schedule}")
        state.expires.pop(task_id, None)

    def push(self, task_id: str) -> None:
        """Queue the task and publish the event."""
        self._state.queue.insert(0, task_id.encode())
        self._state.emit(task_id, event(Event.QUEUED))

    def stop(self, task_id: str) -> None:
        """Ask its run to stop."""
        state = self._state
        fields = state.fields(task_id)
        if "run" in fields and text(fields, "control") != Verdict.STOP:
            state.write(task_id, control=Verdict.STOP)
            self._note(task_id, life.RUNNING, Trigger.REQUEST, self.who, Verdict.STOP)
            state.publish(state.keys.control(task_id), Verdict.STOP.encode())

    @property
    def state(self) -> MemoryState:
        """What is kept."""
        return self._state


class _Firing:
    """One call of fire.lua."""

    def __init__(self, verbs: MemoryTimetable, firing: Firing, fields: Fields) -> None:
        self.lines = list(firing.skipped)
        self.behind = number(fields, "behind") or None
        self.last: tuple[int, str] | None = None
        self.fires = 0
        self._verbs = verbs
        self._firing = firing
        self._fields = fields

    def go(self) -> None:
        """Start the occurrences that may start."""
        firing = self._firing
        if self.behind is not None and firing.paused:
            self._skip(self.behind, Reason.PAUSED)
            self.behind = None
        if firing.overlap is Overlap.ALLOW:
            if self.behind is not None:  # it was waiting before the schedule was changed
                self._skip(self.behind, Reason.OVERLAP)
                self.behind = None
            for start in firing.starts:
                self._beside(start)
        elif firing.starts or self.behind is not None:
            self._alone()

    def _beside(self, start: Start) -> None:
        if self._verbs.occupied(start.id, self._fields) == TAKEN:
            self._skip(start.at, Reason.TAKEN)
        elif self._verbs.state.value(start.id) is None:
            self._start(start)

    def _alone(self) -> None:
        firing = self._firing
        due = [*([] if self.behind is None else [Start(firing.name, self.behind)]), *firing.starts]
        self.behind = None
        busy = self._verbs.occupied(firing.name, self._fields)
        if busy == TAKEN:
            for one in due:
                self._skip(one.at, Reason.TAKEN)
        elif firing.overlap is Overlap.REPLACE:
            self._replace(due, busy)
        else:
            if busy is None:
                self._start(due.pop(0))
            if firing.overlap is Overlap.QUEUE and due:
                self.behind = due.pop(0).at
            for one in due:
                self._skip(one.at, Reason.OVERLAP)

    def _replace(self, due: list[Start], busy: str | None) -> None:
        one, verbs, name = due.pop(), self._verbs, self._firing.name
        for older in due:
            self._skip(older.at, Reason.OVERLAP)
        if busy is None:
            self._start(one)
        elif busy == WAITS:
            verbs.prepare(name, name, Start(name, one.at, one.missed), self._fields)
            if verbs.state.timers.pop(name, None) is not None:
                verbs.state.queue.insert(0, name.encode())
            self._started(one)
        else:
            self.behind = one.at
            verbs.stop(name)

    def _start(self, start: Start) -> None:
        state = self._verbs.state
        if state.resting(text(state.fields(start.id), "state")) is not life.WAIT:
            state.erase(start.id, "paused")  # a worker of an older release may have left it
        self._verbs.prepare(start.id, self._firing.name, start, self._fields)
        self._verbs.push(start.id)
        self._started(start)

    def _started(self, start: Start) -> None:
        self.lines.append(fired_line(start.at, json.dumps(start.id, ensure_ascii=False)))
        self.last, self.fires = (start.at, start.id), self.fires + 1

    def _skip(self, at: int, reason: Reason) -> None:
        self.lines.append(skipped_line(Skip(at, reason)))


def _key(name: str) -> str:
    return f"pytask:schedule:{name}"


def _texts(fields: Fields) -> dict[str, str]:
    return {name: value.decode(errors="surrogateescape") for name, value in fields.items()}
