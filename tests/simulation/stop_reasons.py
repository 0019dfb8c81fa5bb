"""What `stop(reason)` of a task is told: once a run, and only what happened."""

from __future__ import annotations

from collections import Counter

from pytask.domain.control import STOP_WORDS
from pytask.domain.messages import Command

SILENT = 0.5  # share of the lease without an acknowledged renewal, after which a run may be handed back


class StopReasons:
    """The judge of these words."""

    def __init__(self, world, violation):
        self._world = world
        self._violation = violation
        self._asked = {}  # id -> the words that were asked for since its last claim
        self._told = set()  # runs
        self._sent = {}  # process -> when its last acknowledged renewal was sent
        self._silent = set()  # processes that were silent for long
        self.tally = Counter()

    def claimed(self, task_id, *, reloaded):
        if reloaded is None:
            self._asked.pop(task_id, None)

    def adopted(self, task_id):
        """Its owner restored the run after a failover: a stop in its hash holds, also an old one."""
        self.asked(task_id, Command.STOP)

    def asked(self, task_id, word):
        """A client, or a worker that received its message, asked for this."""
        self._asked.setdefault(task_id, set()).add(str(word))

    def renewed(self, process, sent_at):
        last = self._sent.get(process.name, sent_at)
        self._sent[process.name] = max(last, sent_at)
        if sent_at - last > SILENT * self._world.timing.lease:
            self._silent.add(process.name)

    def told(self, task_id, run, process, reason):
        """`stop(reason)` was called."""
        name, asked = f"stop({reason!r}) of {run} of {task_id}", self._asked.get(task_id, ())
        self.tally[f"stop({reason!r})"] += 1
        if run in self._told:
            self._violation("stop word", f"{name}: it was called before")
        self._told.add(run)
        silent = self._world.loop.time - self._sent.get(process.name, 0.0)
        lost = process.name in self._silent or silent > SILENT * self._world.timing.lease
        if reason not in STOP_WORDS.values() or reason == "timeout":
            self._violation("stop word", f"{name}: no task here has a timeout")
        elif reason in (Command.STOP, Command.RELOAD) and reason not in asked:
            self._violation("stop word", f"{name}: asked for were {sorted(asked)}")
        elif reason == "release" and not process.leaving and not lost:
            self._violation("stop word", f"{name}: {process.name} stays")
