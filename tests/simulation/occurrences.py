"""Schedules of a world, and whether each of their occurrences was started or skipped exactly once."""

from __future__ import annotations

import copy
import json
from collections import Counter

import attrs

from pytask.domain.firing import Definition
from pytask.domain.lifecycle import RUNNING, WAIT
from pytask.domain.record import Verdict
from pytask.domain.schedules import read
from pytask.runtime.services.schedules import Defined

DECIDED = 5000  # ms between the time of a decision and `Firing.recheck`
OVERDUE = 60.0  # seconds that an occurrence may be due at the end, when all is well


@attrs.frozen(kw_only=True)
class Spec:
    """A schedule as it was drawn: every `step` seconds since 1970, written as an interval or as cron."""

    name: str
    step: int
    cron: str = ""
    overlap: str = "skip"
    missed: str = "once"
    deadline: float | None = None
    jitter: float = 0.0
    code: bool = False  # the code of the workers defines it

    @property
    def fields(self):
        given = {"cron": self.cron, "tz": "UTC"} if self.cron else {"every": str(self.step)}
        given |= {"function": "tick", "overlap": self.overlap, "missed": self.missed}
        given |= {"jitter": f"{self.jitter:g}"} if self.jitter else {}
        return given if self.deadline is None else given | {"deadline": f"{self.deadline:g}"}

    @property
    def defined(self):
        return Defined(schedule=read(self.name, self.fields), data=b"null")

    @property
    def definition(self):
        return Definition(
            name=self.name, fields=self.defined.schedule.fields(), data=b"null", origin="client"
        )

    def after(self, now):
        """The first occurrence after a time, in ms."""
        step = self.step * 1000
        return (now // step + 1) * step

    def too_late(self, at, now):
        """Whether an occurrence of that time may no longer start."""
        if self.deadline is not None:
            return now - at > self.deadline * 1000
        if self.missed == "all":
            return False
        return now - at > 1000 * min(self.step, 30 if self.missed == "skip" else 3600)


def draw(random):
    """The schedules of one world, by name."""
    found = {}
    for number in range(random.choice((1, 1, 2, 3))):
        name = f"s{number}"
        step, cron = random.choice(
            ((17, ""), (40, ""), (90, ""), (60, "* * * * *"), (120, "*/2 * * * *"), (300, "*/5 * * * *"))
        )
        overlap = random.choice(("skip", "skip", "queue", "allow", "replace"))
        missed = random.choice(("once", "once", "skip", "all" if overlap == "allow" else "once"))
        found[name] = Spec(
            name=name, step=step, cron=cron, overlap=overlap, missed=missed, code=random.random() < 0.5,
            deadline=random.choice((None, None, random.uniform(5, 200))),
            jitter=random.choice((0.0, 0.0, 6.0)),
        )  # fmt: skip
    return found


@attrs.define
class Row:
    """What has become of the occurrences of one schedule."""

    spec: Spec
    pending: int | None = None  # ms; None: it has no next time yet
    open: set = attrs.Factory(set)  # due, and neither started nor skipped
    old: int | None = None  # the one that waited for the end of a run
    changed: bool = False  # since the last firing: the next one may have been decided before
    since: int = 0  # ms: it has no next time since then


class Occurrences:
    """The judge of schedules."""

    def __init__(self, world, violation):
        self._world = world
        self._violation = violation
        self._rows = {}
        self._fired = set()  # (name, ms)
        self._waiting = {}  # id -> (name, ms), until its run begins
        self._by_hand = set()  # ids
        self.tally = Counter()
        self.ids = set()  # of tasks that schedules started

    # -- clients, and the code of workers -----------------------------------------------------------------

    def defined(self, spec):
        """It is new, or has other times now: the next one is found from then on.  What waits still does."""
        before = self._rows.get(spec.name)
        self._rows[spec.name] = row = Row(spec, None, *((before.open, before.old) if before else ()))
        row.since = self._world.server.state.millis()

    def changed(self, spec):
        """It has other options."""
        row = self._rows[spec.name]
        row.spec, row.changed = spec, row.changed or row.spec != spec

    def resumed(self, name, now):
        """What was due while it was paused is not made up for."""
        row = self._rows.get(name)
        if row is not None:
            row.pending, row.since = None, now

    def removed(self, name):
        self._rows.pop(name, None)

    def flushed(self):
        self._rows.clear()
        self._waiting.clear()

    def snapshot(self):
        return copy.deepcopy((self._rows, self._waiting))

    def restore(self, snapshot):
        self._rows, self._waiting = copy.deepcopy(snapshot)

    def was_defined(self, definition, verdict):
        """Somebody stored what the code of workers says."""
        spec = self._world.policies.schedules.get(definition.name)
        if spec is None:
            return
        if verdict is Verdict.OK:
            self.defined(spec)
        elif verdict is Verdict.ALREADY and definition.name in self._rows and not definition.lost:
            self.changed(spec)

    # -- the store ----------------------------------------------------------------------------------------

    def before(self, state, firings):
        """What stood in the store before a call, and empty lists for what it will say."""
        held = {one.name: state.occurrences.pop(one.name, []) for one in firings}
        return held, [self._busy(state, one.name) for one in firings]

    def after(self, state, firings, verdicts, before):
        held, busy = before
        for at, firing in enumerate(firings):
            lines = state.occurrences.get(firing.name, [])
            if verdicts is not None:
                told = [json.loads(line) for line in reversed(lines)]
                self._judge(state, firing, verdicts[at], told, busy[at])
            state.occurrences[firing.name] = [*lines, *held[firing.name]][:100]

    def _busy(self, state, name):
        word = state.fields(name).get("state", b"").decode()
        queued = name.encode() in state.queue or name in state.timers
        return name in state.runs or queued or word in (RUNNING, WAIT)

    def _judge(self, state, firing, verdict, lines, busy):
        row = self._rows.get(firing.name)
        if verdict is not Verdict.OK or row is None:
            if lines:
                self._violation("fired", f"{firing.name}: {verdict}, and yet {lines}")
            return
        self._world.note(None, "fire", firing.name, lines)
        fields = state.fields(f"pytask:schedule:{firing.name}")
        behind = int(fields["behind"]) if "behind" in fields else None
        score = int(fields["next_ms"]) if behind is not None else int(state.schedules[firing.name])
        due, now = [], score
        if row.pending is None:
            if score % (row.spec.step * 1000):
                self._violation("next time", f"{row.spec.name}: begins at {score}")
        else:
            now = firing.recheck - DECIDED
            due = list(range(row.pending, now + 1, row.spec.step * 1000))
            expected = row.spec.after(now) if due else row.pending
            if score != expected:
                self._violation("next time", f"{firing.name}: {score} instead of {expected}")
        row.open.update(due)
        for line in lines:
            self._line(state, row, firing, line, (due, now), busy)
        if row.spec.overlap == "allow":  # its id says the time: an occurrence of before a removal is known
            row.open.difference_update([at for at in row.open if (firing.name, at) in self._fired])
        if lost := sorted(row.open - {behind}):
            self._violation("occurrence lost", f"{firing.name}: {lost}, next {score}")
            row.open.intersection_update({behind})
        if behind is not None and behind not in row.open:
            self._violation("occurrence twice", f"{firing.name}: {behind} waits, and was settled before")
        row.pending, row.old, row.changed = score, behind, False

    def _line(self, state, row, firing, line, when, busy):
        spec, at, (due, now) = row.spec, line["at"], when
        times = range(at, line.get("until", at) + 1, spec.step * 1000)
        name = f"{spec.name} at {at}"
        if len(times) != line.get("count", 1):
            self._violation("occurrence lost", f"{name}: {line} are {len(times)}")
        if twice := [one for one in times if one not in row.open]:
            self._violation("occurrence twice", f"{name}: {twice} in {line}")
        row.open.difference_update(times)
        reason = line.get("reason", "fired")
        if row.changed and reason in ("late", "overlap"):
            return
        self.tally[reason] += len(times)
        waited = at == row.old
        if reason == "fired":
            self._started(state, row, line, due, now, waited)
        elif reason == "late":
            newest = due and times[-1] == due[-1] and not spec.too_late(times[-1], now)
            if newest or (spec.missed == "all" and len(due) <= 100 and not spec.too_late(times[-1], now)):
                self._violation("wrong reason", f"{name}: {line} was not too late")
        elif reason == "paused" and not firing.paused:
            self._violation("wrong reason", f"{name} was not paused")
        elif reason == "overlap" and not (busy or len(due) > 1 or row.old is not None):
            self._violation("wrong reason", f"{name}: no run of it lives")

    def _started(self, state, row, line, due, now, waited):
        spec, at = row.spec, line["at"]
        name = f"{spec.name} at {at}"
        # (One that waited for a run was due before the clock was set back.)
        if at > now and not waited:
            self._violation("too early", f"{name} is started at {now}")
        if not waited and not row.changed:
            if spec.too_late(at, now):
                self._violation("too late", f"{name} is started at {now}")
            if spec.missed != "all" and at not in due[-1:]:
                self._violation("missed", f"{name} is started, and {due[-1:]} is due")
        task_id = line["id"]
        # One that was decided on before its schedule changed may replace the one that waits.
        if task_id in self._waiting and spec.overlap != "replace" and not row.changed:
            text = f"{task_id} is started again: {self._waiting[task_id]} never ran"
            self._violation("occurrence lost", text)
        self._fired.add((spec.name, at))
        self._waiting[task_id] = spec.name, at
        self.ids.add(task_id)
        self._world.evidence.counts.scheduled(task_id, state.fields(task_id).get("not_before"))

    def started_by_hand(self, task_id):
        """By a client: that run is for no occurrence."""
        self._by_hand.add(task_id)

    def came_to_rest(self, task_id):
        self._waiting.pop(task_id, None)

    # -- tasks --------------------------------------------------------------------------------------------

    def began(self, living, scheduled):
        task_id = living.task_id
        if scheduled is None and task_id in self._by_hand:
            return
        if scheduled is None:
            self._violation("occurrence", f"{living.run} of {task_id} knows of no schedule")
            return
        at = round(scheduled.scheduled_for * 1000)
        if (scheduled.schedule, at) not in self._fired:
            self._violation("occurrence", f"{living.run} of {task_id} is for {at}, which was not started")
        if self._waiting.get(task_id) == (scheduled.schedule, at):
            del self._waiting[task_id]
            self.tally["began"] += 1

    # -- at rest ------------------------------------------------------------------------------------------

    def waits_for_nothing(self, state):
        """The occurrences that wait for a run that is over; the next look starts them."""
        rows = [(name, row.old) for name, row in self._rows.items() if row.old is not None]
        # After a step back of the clock the next look is far away.
        soon = state.millis() + 2 * DECIDED
        rows = [(name, at) for name, at in rows if state.schedules.get(name, 0) < soon]
        return {(name, at) for name, at in rows if not self._busy(state, name)}

    def on_time(self, state, before):
        """A while after all was healed: nothing is overdue, and nothing waits for a run that has ended."""
        for name, at in before & self.waits_for_nothing(state):
            self._violation("overdue", f"{name}: {at} waits for a run that is over")
        for name, row in self._rows.items():
            fields = state.fields(f"pytask:schedule:{name}")
            # Without a next time it was defined: the first look at it, which finds that time, is due at once.
            late = (state.millis() - (row.since if row.pending is None else row.pending)) / 1000
            if late > OVERDUE:
                self._violation("overdue", f"{name}: next {row.pending}, {late:.1f} s late, {fields}")

    def at_rest(self, state):
        """Each task that a schedule started has run."""
        for task_id, (name, at) in self._waiting.items():
            if state.fields(task_id):
                self._violation("occurrence lost", f"{task_id}: the one of {name} at {at} never ran")
