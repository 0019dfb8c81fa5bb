"""Whether a paused task is left alone, and goes on after it was resumed."""

from __future__ import annotations

from collections import Counter

from pytask.domain.lifecycle import ENDED, ERROR, STOPPED
from pytask.domain.messages import Command
from pytask.domain.record import Verdict

TAKEN = (Verdict.OK, Verdict.REQUESTED)
RESTED = {word.encode() for word in (ENDED, ERROR, STOPPED)}
ROUNDS = 2  # that a run may still begin once it must know that it is paused


class Pauses:
    """The judge of pauses and gates."""

    def __init__(self, world, violation):
        self._world = world
        self._violation = violation
        self._paused = {}  # id -> since when, by the world
        self._resumed = {}  # id -> when, by the world
        self._functions = set()
        self._acks = {}  # run -> when its last acknowledged renewals were sent
        self._waits = {}  # run -> when it arrived at its gate
        self._rounds = Counter()  # run -> rounds that it began although it knew
        self.tally = Counter()

    def paused(self):
        """The ids that are paused, and the functions."""
        return sorted(self._paused), sorted(self._functions)

    # -- the store ----------------------------------------------------------------------------------------

    def snapshot(self):
        return dict(self._paused), set(self._functions)

    def restore(self, snapshot):
        paused, functions = snapshot
        now = self._world.loop.time
        self._resumed |= dict.fromkeys(self._paused.keys() - paused.keys(), now)
        self._paused = dict.fromkeys(paused, now)
        self._functions = set(functions)

    def flushed(self):
        self.restore(({}, set()))

    def forgotten(self, task_id):
        """The hash was deleted, or came to rest."""
        self._paused.pop(task_id, None)

    def controlled(self, command, task_id, verdict):
        now = self._world.loop.time
        if command is Command.PAUSE and verdict in TAKEN:
            self.tally["paused"] += task_id not in self._paused
            self._paused.setdefault(task_id, now)
        elif command is Command.START and verdict in TAKEN and self._paused.pop(task_id, None) is not None:
            self._resumed[task_id] = now
            self.tally["resumed"] += 1

    def held(self, names, *, resume):
        if resume:
            self._functions.difference_update(names)
        else:
            self._functions.update(names)

    def adopted(self, task_id, state):
        """The owner of a run put it back, and says whether it is paused."""
        there = "paused" in state.fields(task_id)
        if there:
            self._paused.setdefault(task_id, self._world.loop.time)
        elif self._paused.pop(task_id, None) is not None:
            self._resumed[task_id] = self._world.loop.time

    def rested(self, state):
        """An end takes the pause away."""
        for task_id in list(self._paused):
            if state.fields(task_id).get("state") in RESTED:
                del self._paused[task_id]

    def claimed(self, task_id, run, function, reloaded):
        if task_id in self._paused:
            self._violation("paused started", f"{run} of {task_id}")
        if reloaded is None and self._functions & {function, "*"}:
            self._violation("paused started", f"{run} of {task_id}: {function} is paused")

    # -- workers ------------------------------------------------------------------------------------------

    def renewed(self, task_id, run, sent_at):
        """A renewal was acknowledged to its worker."""
        if self._world.server.state.fields(task_id).get("control") == Command.RELOAD.encode():
            self._acks[run] = ()  # that is answered first: its worker is told of nothing else before
            return
        acks = self._acks[run] = (*self._acks.get(run, ())[-2:], sent_at)
        since = max(self._waits.get(run, 1e9), self._resumed.get(task_id, -1e9))
        if task_id not in self._paused and len(acks) == 3 and acks[0] > since:
            self._violation("not resumed", f"{run} of {task_id} waits at its gate since {since:.1f}")
            self._waits.pop(run, None)

    # -- tasks --------------------------------------------------------------------------------------------

    def arrives(self, living):
        self._waits[living.run] = self._world.loop.time

    def passed(self, living):
        """It went through its gate."""
        task_id, run = living.task_id, living.run
        arrived = self._waits.pop(run, 0.0)
        self.tally["waited at a gate"] += self._world.loop.time > arrived
        since, acks = self._paused.get(task_id), self._acks.get(run, ())
        if since is None or len(acks) < 2 or acks[-2] <= since:
            self._rounds[run] = 0
            return
        self._rounds[run] += 1
        if self._rounds[run] > ROUNDS:
            self._violation("paused acts", f"{run} of {task_id} is paused since {since:.1f}")

    def over(self, living):
        self._waits.pop(living.run, None)
