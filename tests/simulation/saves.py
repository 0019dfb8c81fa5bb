"""Whether what a task saves reaches its next run."""

from __future__ import annotations

import json

import attrs

from pytask.domain.lifecycle import Trigger
from pytask.domain.record import Verdict

LOST = (Verdict.FENCED, Verdict.GONE)


@attrs.define
class Kept:
    """What the store must have of a task."""

    least: tuple | None = None  # (the run's number among all claims, the save's number)
    none: int = -1  # it has ended, or was started without it: nothing of a run with a smaller number is left


class Saves:
    """The judge of `save` and `saved`."""

    def __init__(self, world, violation, order):
        self._world = world
        self._violation = violation
        self._order = order  # run -> its number among all claims
        self._kept = {}  # id -> Kept
        self._claimed = {}  # run -> Kept, when it was claimed
        self._made = {}  # run -> [(time, number)] of what its code has saved
        self._since = {}  # id -> when the store last lost what it had
        self._acks = {}  # run -> (when its last acknowledged renewal was sent, how many had failed by then)
        self._ended = set()  # runs whose code has ended: what they saved last comes with their end

    def _of(self, task_id):
        return self._kept.setdefault(task_id, Kept())

    # -- the store ----------------------------------------------------------------------------------------

    def snapshot(self):
        return {task_id: attrs.evolve(kept) for task_id, kept in self._kept.items()}

    def restore(self, snapshot):
        self._kept = {task_id: attrs.evolve(kept) for task_id, kept in snapshot.items()}
        self._since = dict.fromkeys(self._world.steering.jobs, self._world.loop.time)

    def flushed(self):
        self.restore({})

    def forgotten(self, task_id):
        """Nothing that was saved is left: the hash was deleted, or it was started without it."""
        self._kept[task_id] = Kept(none=len(self._order))
        self._since[task_id] = self._world.loop.time

    def adopted(self, task_id, run):
        """Its owner restored the run, as after a failover: what it has saved goes with it."""
        self._of(task_id).none = min(self._of(task_id).none, self._order[run])

    def claimed(self, task_id, run, reloaded):
        if reloaded is not None:
            self._carried(task_id, reloaded)
        self._claimed[run] = attrs.evolve(self._of(task_id))

    def committed(self, change):
        if change.trigger is Trigger.END:
            self.forgotten(change.id)
        elif change.trigger is not None:
            self._carried(change.id, change.run)

    def _carried(self, task_id, run):
        """By the end of a run, or by its reload: the last value, unless the store had it, and lost it."""
        made = self._made.get(run, ())
        if made and made[-1][0] > self._since.get(task_id, -1.0):
            self._stored(task_id, run, made[-1][1])

    def saved_now(self, one):
        self._stored(one.id, one.run, json.loads(one.value)["n"])

    def _stored(self, task_id, run, number):
        if number is not None:
            kept = self._of(task_id)
            kept.least = max(kept.least or (-1, -1), (self._order[run], number))

    # -- workers ------------------------------------------------------------------------------------------

    def renewed(self, call, verdicts):
        """A renewal was acknowledged to its worker."""
        refs, saves = call.args[0], call.args[1] if len(call.args) > 1 else {}
        failures = call.process.renewals_failed
        for ref in [ref for ref in refs if ref.id in self._world.steering.jobs]:
            run, last = ref.run, self._acks.get(ref.run, (-1.0, -1))
            self._acks[run] = call.sent_at, failures
            if verdicts.get(ref) in LOST or call.sent_at <= self._since.get(ref.id, -1.0):
                continue
            if self._world.evidence.last.get(ref.id) != run or run in self._world.evidence.over:
                continue
            if run in saves:
                self._stored(ref.id, run, json.loads(saves[run].value)["n"])
            elif last[1] == failures and run not in self._ended and last[0] > self._since.get(ref.id, -1.0):
                # What was saved before the renewal before this one, which this server acknowledged, too.
                before = [n for at, n in self._made.get(run, ()) if at < last[0]]
                self._stored(ref.id, run, before[-1] if before else None)

    # -- tasks --------------------------------------------------------------------------------------------

    def over(self, living):
        self._ended.add(living.run)

    def saving(self, living, number):
        self._made.setdefault(living.run, []).append((self._world.loop.time, number))

    def answered(self, living, stored, state):
        """`save(now=True)` said whether it was stored."""
        task_id, run = living.task_id, living.run
        ours = state.runs.get(task_id) == run and state.fields(task_id).get("run") == run.encode()
        if not stored and ours and self._since.get(task_id, -1e9) < self._world.loop.time - 120:
            self._violation("save", f"{run} of {task_id} was told that it has lost the task")

    def began(self, living, saved):
        task_id, run = living.task_id, living.run
        kept = self._claimed[run]
        if saved is None:
            if kept.least is not None:
                self._violation("saved lost", f"{run} of {task_id} begins with nothing, not {kept.least}")
            return
        found = self._order[saved["run"]], saved["n"]
        if found[0] < kept.none:
            self._violation("saved again", f"{run} of {task_id} begins with {saved} after an end")
        if kept.least is not None and found < kept.least:
            self._violation("saved lost", f"{run} of {task_id} begins with {found}, not {kept.least}")
