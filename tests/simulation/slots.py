"""Whether limits hold, slots are those of the registry, and who waits for a slot gets one."""

from __future__ import annotations

import copy
from collections import Counter

from pytask.domain.lifecycle import Trigger
from pytask.domain.record import Verdict
from tests.simulation.steering import RULES

LOOKS = 4  # at the waiting lists, in which somebody must have been found
NEAR = 2000  # microseconds by which a start may be early: timers count milliseconds
FREED = (Trigger.END, Trigger.FAIL, Trigger.STOP, Trigger.RELEASE)


class Slots:
    """The judge of groups and limits."""

    def __init__(self, world, violation):
        self._world = world
        self._violation = violation
        self._limits = {}  # entry -> what a client wrote
        self._arrivals = {}  # function -> when its next start would be due, in microseconds
        self._newest = {}  # group of one at a time -> the number of the newest run in it that acted
        self._loose = set()  # ids that have a slot, and which neither the registry nor their hash tells
        self._idle = Counter()  # group -> looks at its list while a slot of it was free
        self.tally = Counter()

    # -- limits -------------------------------------------------------------------------------------------

    def snapshot(self):
        return copy.deepcopy((self._limits, self._arrivals))

    def restore(self, snapshot):
        self._limits, self._arrivals = copy.deepcopy(snapshot)
        self._idle.clear()

    def flushed(self):
        self.restore(({}, {}))

    def written(self, entry, text):
        """A client set or (None) removed a limit."""
        if text is None:
            self._limits.pop(entry, None)
        else:
            self._limits[entry] = text

    def closed(self):
        """The entries that nobody may start in."""
        return sorted(entry for entry, text in self._limits.items() if text == "0")

    def _live(self, *entries):
        for entry in entries:
            text = self._limits.get(entry)
            if text is not None and text.isdigit():
                return int(text)
        return None

    def _group_limit(self, group, function):
        found = self._live(f"group:{group}", "group:*")
        return RULES[function].get("GROUP_LIMIT") if found is None else found

    def _function_limit(self, function):
        found = self._live(f"function:{function}")
        return RULES[function].get("LIMIT") if found is None else found

    def unregistered(self, state):
        """A client deletes the registry.

        Of a dead run whose hash was made anew nothing is left then but its slot, until somebody looks.
        """
        taken = set().union(*state.slots.taken.values())
        self._loose |= {task_id for task_id in taken if "run" not in state.fields(task_id)}

    # -- the store ----------------------------------------------------------------------------------------

    def claimed(self, task_id, run, state):
        """A claim starts a run, which is registered by now."""
        jobs = self._world.steering.jobs
        job = jobs[task_id]
        others = [jobs[other] for other in self._living(state) if other != task_id]
        most = self._group_limit(job.group, job.function) if job.group else None
        live = sum(other.group == job.group for other in others)
        if most is not None:
            self.tally["started within a limit"] += 1
            if live >= most:
                self._violation("beyond the limit", f"{run} of {task_id}: {job.group} has {live} of {most}")
        most = self._function_limit(job.function)
        # Those of a new limit are counted by the registry, which a client may have deleted.
        live = sum(jobs[i].function == job.function for i in state.runs if i in jobs and i != task_id)
        if most is not None and live >= most:
            self._violation("beyond the limit", f"{run} of {task_id}: {job.function} has {live} of {most}")
        if "RATE" in RULES[job.function]:
            self._rated(run, task_id, job.function, state.micros())

    def _living(self, state):
        """The tasks that run; where a client deleted the registry, by their hashes."""
        return [i for i in self._world.steering.jobs if i in state.runs or "run" in state.fields(i)]

    def _rated(self, run, task_id, function, now):
        number, seconds = RULES[function]["RATE"]
        interval = seconds * 1e6 / number
        arrival = self._arrivals.get(function, 0)
        early = arrival - interval * (number - 1) - now
        if early > NEAR and not self._world.server.stepped:
            self._violation("beyond the rate", f"{run} of {task_id}: {early / 1e6:.3f} s too early")
        self._arrivals[function] = max(arrival, now) + interval
        self.tally["started within a rate"] += 1

    def freed(self, task_id, state):
        """The end of a run: one of those that wait for its slot goes to the queue."""
        jobs = self._world.steering.jobs
        group = jobs[task_id].group
        if group and state.slots.lines.get(f"group:{group}"):
            self.tally["woken by an end"] += 1
            if not self._queued(state, group):
                self._violation("not woken", f"nobody of {group} follows {task_id}")

    def _queued(self, state, group):
        jobs = self._world.steering.jobs
        queued = [raw.decode() for raw in state.queue]
        return any(task_id in jobs and jobs[task_id].group == group for task_id in queued)

    def compare(self, state):
        """The slots are those of the registry."""
        jobs = self._world.steering.jobs
        groups, functions = {}, {}
        for task_id in [task_id for task_id in state.runs if task_id in jobs]:
            groups.setdefault(f"group:{jobs[task_id].group}", set()).add(task_id)
            functions.setdefault(f"function:{jobs[task_id].function}", set()).add(task_id)
        groups.pop("group:", None)
        there = groups | {name: ids for name, ids in functions.items() if name[9:] in state.slots.limited}
        for entry in sorted({*there, *state.slots.taken}):
            runs, slots = there.get(entry, set()), state.slots.taken.get(entry, set())
            if lost := sorted(runs - slots):
                self._violation("slot", f"{lost} run without a slot of {entry}")
            # A client deleted the registry: the run lives, and is registered again by its next renewal.
            left = slots - runs - state.runs.keys() - self._loose
            if left := sorted(i for i in left if "run" not in state.fields(i)):
                self._violation("slot", f"{left} have a slot of {entry}, and no run")

    def looked(self, state):
        """The waiting lists were looked at."""
        jobs = self._world.steering.jobs
        for group in sorted({job.group for job in jobs.values()} - {""}):
            line = state.slots.lines.get(f"group:{group}", {})
            live = sum(jobs[other].group == group for other in self._living(state))
            most = [self._group_limit(group, jobs[task_id].function) for task_id in line]
            free = bool(line) and all(one is None or live < one for one in most)
            self._idle[group] = self._idle[group] + 1 if free and not self._queued(state, group) else 0
            if self._idle[group] > LOOKS:
                self._violation("idle", f"{sorted(line)} wait, and {group} has {live} of {most}")

    # -- tasks --------------------------------------------------------------------------------------------

    def acted(self, living):
        """Of a group of one at a time, no older run acts after a newer one did."""
        job = self._world.steering.jobs[living.task_id]
        if RULES[job.function].get("GROUP_LIMIT") != 1:
            return
        number = self._world.evidence.order[living.run]
        if number < self._newest.get(job.group, -1):
            self._violation("overlap", f"{living.run} of {living.task_id} acts after another of {job.group}")
        self._newest[job.group] = max(number, self._newest.get(job.group, -1))

    def at_rest(self, state):
        for task_id in self._world.steering.jobs:
            if task_id in state.slots.slotted or any(task_id in ids for ids in state.slots.taken.values()):
                self._violation("slot", f"{task_id} has a slot at rest")
            if any(task_id in line for line in state.slots.lines.values()):
                self._violation("lost or stuck", f"{task_id} still waits for a slot")


def frees(change, verdict):
    """Whether the end of a run gives its slot to another."""
    return verdict is Verdict.OK and change.trigger in FREED
