"""Whether the data with which a task works is what a reload, a refusal or a rollback left in force."""

from __future__ import annotations

import json
from collections import Counter

import attrs

from pytask.domain.lifecycle import Trigger
from tests.simulation.steering import DIES, LATE, RAISES, REFUSED

SURE = 9.0  # seconds for which new data is on trial, whatever the rates
LIVED = 10.5  # after which it no longer is


@attrs.define
class Force:
    """The data with which a run works."""

    data: dict
    since: float  # by the clock of its process
    changed: float = 0.0  # the world's time
    before: tuple = ()  # the data to go back to, or what it may be; nothing if it was not reloaded
    sure: bool = True  # whether that is known, and its worker knows that the store has it
    fails_at: float | None = None  # by the clock of its process
    lived: bool = False  # its code went on when the trial was over
    ended: float | None = None  # seconds until its code ended

    @property
    def versions(self):
        return {data["version"] for data in self.before}


class Trials:
    """The judge of reloads."""

    def __init__(self, world, violation):
        self._world = world
        self._violation = violation
        self._force = {}  # run -> Force
        self._processes = {}  # run -> its process
        self._from = {}  # run -> the run that it replaced by a reload
        self._expected = {}  # run -> the version that a refusal left in force, before it began
        self._failed = {}  # run -> Force, when its code failed by its data
        self._disturbed = {}  # id -> when the store last lost something of it
        self.tally = Counter()

    # -- tasks --------------------------------------------------------------------------------------------

    def began(self, living, data):
        run, process = living.run, living.process
        now = process.clock()
        self._processes[run] = process
        if data["kind"] == REFUSED:
            self._violation("unchecked", f"{run} of {living.task_id} begins with {data}")
        expected = self._expected.pop(run, None)
        if expected not in (None, data["version"]):
            self._violation("data", f"{run} of {living.task_id} begins with {data}, not {expected}")
        force = Force(data, now, self._world.loop.time)
        if run in self._from:
            self._follow(force, self._force.get(self._from[run]))
        self._begin(living.task_id, run, force)

    def took(self, task_id, run, data):
        """Its `on_reload()` has returned."""
        process = self._processes[run]
        force = Force(data, process.clock(), self._world.loop.time)
        old = self._force[run]
        old.ended = process.clock() - old.since
        self._follow(force, old)
        force.sure = False
        self._begin(task_id, run, force)

    def _follow(self, force, old):
        """What it goes back to if it fails: the data of the run before it, or what that would go back to."""
        if old is None:  # it was replaced before it began
            force.sure = False
            return
        trial = bool(old.before) and not old.lived
        if trial and old.ended is not None and old.ended < SURE:
            force.before, force.sure = old.before, old.sure
        else:
            force.before = (*old.before, old.data) if trial else (old.data,)
            force.sure = old.sure or not trial

    def over(self, living):
        """The code of a run has ended."""
        force = self._force.get(living.run)
        if force is not None:
            force.ended = living.process.clock() - force.since

    def _begin(self, task_id, run, force):
        if force.data["kind"] in (DIES, LATE):
            random = self._world.steering.stream(f"fails {task_id}")
            seconds = random.uniform(0.1, 7.5) if force.data["kind"] == DIES else random.uniform(14, 25)
            force.fails_at = force.since + seconds
        self._force[run] = force

    def nap(self, living, seconds):
        """How long its code may wait for its next round."""
        force, now = self._force[living.run], living.process.clock()
        if force.sure and now - force.since > LIVED:
            force.lived = True
        if force.fails_at is None:
            return seconds
        return max(0.01, min(seconds, force.fails_at - now))

    def fails(self, living):
        """Whether the run fails now by its data."""
        force = self._force[living.run]
        if force.fails_at is None or living.process.clock() < force.fails_at:
            return False
        self._failed[living.run] = attrs.evolve(force, ended=living.process.clock() - force.since)
        return True

    # -- the store ----------------------------------------------------------------------------------------

    def lost(self, task_ids):
        """The store lost something of these tasks, or of their data."""
        self._disturbed |= dict.fromkeys(task_ids, self._world.loop.time)

    def claimed(self, run, reloaded):
        if reloaded is not None:
            self._from[run] = reloaded

    def refused(self, claim, state):
        """A refusal was stored: the data in force is in the hash again."""
        task_id, run = claim.id, claim.run
        rejected, there = json.loads(claim.data), _data(state, task_id)
        force = self._force.get(run)
        self.tally["reload refused"] += 1
        if rejected["kind"] not in (REFUSED, RAISES):
            self._violation("refused", f"{run} of {task_id}: {rejected} is good")
        if force is None:
            self._expected[run] = there["version"]
        elif there["version"] != force.data["version"]:
            self._violation("data", f"{run} of {task_id} works with {force.data}, its hash has {there}")
        kept = _data(state, task_id, "data_bad")
        if kept != rejected:
            self._violation("data", f"{run} of {task_id}: {rejected} was refused, kept was {kept}")

    def accepted(self, claim, state):
        """A reload in place was stored."""
        self.tally["reloaded in place"] += 1
        force, there = self._force.get(claim.run), _data(state, claim.id)
        if force is None or force.data["version"] != there["version"]:
            self._violation("data", f"{claim.run} of {claim.id}: {there} accepted, {force} in force")

    def acknowledged(self, claim):
        """Its worker knows that it was stored: from then on a failure is rolled back."""
        force = self._force.get(claim.run)
        if force is not None and force.data == read(claim.data):
            force.sure, force.since = True, self._processes[claim.run].clock()

    def committed(self, change, before, state):
        """An end was stored; `before` is the data that the hash had."""
        failed, there = self._failed.get(change.run), _data(state, change.id)
        if change.trigger is Trigger.ROLL_BACK:
            self._rolled_back(change, failed, before, there)
        elif change.trigger is Trigger.FAIL and failed is not None and self._goes_back(change, failed):
            text = f"{change.run} of {change.id} failed after {failed.ended:.1f} s with {failed.data}"
            self._violation("not rolled back", f"{text}, {failed.before} was in force before")

    def _goes_back(self, change, failed):
        known = failed.sure and failed.before and failed.data["version"] not in failed.versions
        return known and failed.ended < SURE and self._quiet(change, failed)

    def _quiet(self, change, failed):
        return self._disturbed.get(change.id, -1e9) < failed.changed - 60

    def _rolled_back(self, change, failed, before, there):
        self.tally["rolled back"] += 1
        name = f"{change.run} of {change.id}"
        if failed is None or (failed.sure and not failed.before) or failed.lived:
            self._violation("rolled back", f"{name}: {failed}")
            return
        if before["version"] != failed.data["version"]:
            good = {before["version"]}  # a client wrote other data meanwhile
        elif failed.sure and self._quiet(change, failed):
            good = failed.versions
        else:
            return
        if there["version"] not in good:
            self._violation("data", f"{name}: {there} after a rollback to {failed.before}")

    # -- clients ------------------------------------------------------------------------------------------

    def told(self, task, data, *, refused, done):
        """What a client takes for the outcome of its reload, the last of this task."""
        word = "done" if done else "refused" if refused else "rolled back"
        self.tally[f"a client saw: {word}"] += 1
        force = self._force.get(task.run)
        if force is None or self._disturbed.get(task.id, -1e9) > self._world.loop.time - 120:
            return
        if done != (force.data["version"] == data["version"]):
            self._violation("outcome", f"{task.id}: {data} is {word}, {task.run} works with {force.data}")
        if refused and data["kind"] not in (REFUSED, RAISES):
            self._violation("outcome", f"{task.id}: {data} is refused")


def read(raw):
    return json.loads(raw or b"null")


def _data(state, task_id, name="data"):
    return read(state.fields(task_id).get(name))
