"""The judges of saves, pauses, reloads and limits, and what each of them is told."""

from __future__ import annotations

from collections import Counter

from pytask.domain.record import Verdict
from tests.simulation.pauses import Pauses
from tests.simulation.saves import LOST, Saves
from tests.simulation.slots import Slots, frees
from tests.simulation.stop_reasons import StopReasons
from tests.simulation.trials import Trials, read
from tests.simulation.turns import TurnsJudge

MOVES = {"claim", "commit", "reload", "expire", "adopt", "repair", "control", "serve"}


class Steering:
    """Tells them only of tasks of a world's `SteeringWorld`."""

    def __init__(self, world, violation, order):
        self._world = world
        self.saves = Saves(world, violation, order)
        self.trials = Trials(world, violation)
        self.pauses = Pauses(world, violation)
        self.slots = Slots(world, violation)
        self.turns = TurnsJudge(world, violation)
        self.reasons = StopReasons(world, violation)
        self._before = None  # the data of the tasks that a call ends

    @property
    def _on(self):
        return self._world.steering.on

    def _knows(self, task_id):
        return task_id in self._world.steering.jobs

    @property
    def tally(self):
        judges = (self.trials, self.pauses, self.slots, self.turns, self.reasons)
        return sum((judge.tally for judge in judges), Counter())

    # -- the store ----------------------------------------------------------------------------------------

    def snapshot(self):
        judges = (self.saves, self.pauses, self.slots)
        return [judge.snapshot() for judge in judges] if self._on else None

    def restore(self, snapshot):
        if self._on:
            for judge, kept in zip((self.saves, self.pauses, self.slots), snapshot, strict=True):
                judge.restore(kept)
            self.trials.lost(self._world.steering.jobs)

    def flushed(self):
        if self._on:
            self.saves.flushed()
            self.pauses.flushed()
            self.slots.flushed()
            self.trials.lost(self._world.steering.jobs)

    def forgotten(self, task_id):
        """A client deleted the hash."""
        if self._knows(task_id):
            self.saves.forgotten(task_id)
            self.pauses.forgotten(task_id)
            self.trials.lost([task_id])

    def claimed(self, task_id, run, fields, reloaded):
        """A run begins; `reloaded` is the one that it goes on with, None for a claim."""
        if self._knows(task_id):
            self.saves.claimed(task_id, run, reloaded)
            self.trials.claimed(run, reloaded)
            self.reasons.claimed(task_id, reloaded=reloaded)
            self.pauses.claimed(task_id, run, fields.get("function", b"").decode(), reloaded)
            if reloaded is None:
                self.slots.claimed(task_id, run, self._world.server.state)

    def serving(self, call, state):
        """A call is about to be carried out."""
        if not self._on:
            return
        self.turns.before(state)
        if call.verb == "commit":
            self._before = [read(state.fields(change.id).get("data")) for change in call.args[0]]

    def served(self, call, outcome, state):
        """It was carried out."""
        if not self._on:
            return
        tell = {
            "commit": self._committed, "refuse": self._refused,
            "accept": self._accepted, "save": self._saved, "adopt": self._adopted,
            "hold_functions": self._held, "expire": self._expired, "serve": self._looked,
        }.get(call.verb)  # fmt: skip
        if tell is not None:
            tell(call, outcome, state)
        if call.verb in ("commit", "control", "expire", "repair"):
            self.pauses.rested(state)
        if call.verb in MOVES:
            self.slots.compare(state)
        self.turns.after(state, call.verb)

    def _committed(self, call, verdicts, state):
        for change, verdict, before in zip(call.args[0], verdicts, self._before, strict=True):
            if change.trigger is not None and verdict is Verdict.OK and self._knows(change.id):
                if change.run in self._world.evidence.order:
                    self.saves.committed(change)
                self.trials.committed(change, before, state)
                if frees(change, verdict):
                    self.slots.freed(change.id, state)

    def _refused(self, call, verdict, state):
        if verdict is Verdict.OK and self._knows(call.args[0].id):
            self.trials.refused(call.args[0], state)

    def _accepted(self, call, answer, state):
        if answer.verdict is Verdict.OK and self._knows(call.args[0].id):
            self.trials.accepted(call.args[0], state)

    def _saved(self, call, verdict, state):
        del state
        if verdict is Verdict.OK and self._knows(call.args[0].id):
            self.saves.saved_now(call.args[0])

    def _adopted(self, call, verdicts, state):
        for adoption, verdict in zip(call.args[0], verdicts, strict=True):
            if verdict is Verdict.OK and self._knows(adoption.id):
                self.pauses.adopted(adoption.id, state)
                self.reasons.adopted(adoption.id)
                if adoption.run in self._world.evidence.order:
                    self.saves.adopted(adoption.id, adoption.run)

    def _expired(self, call, verdicts, state):
        for expiry, verdict in zip(call.args[0], verdicts, strict=True):
            if verdict is Verdict.OK and self._knows(expiry.id):
                self.slots.freed(expiry.id, state)

    def _looked(self, call, outcome, state):
        del call, outcome
        self.slots.looked(state)

    def _held(self, call, outcome, state):
        del outcome, state
        self.pauses.held(call.args[0], **call.how)

    # -- clients ------------------------------------------------------------------------------------------

    def started_fresh(self, task_id):
        self.saves.forgotten(task_id)

    def held(self, names, *, resume):
        self.pauses.held(names, resume=resume)

    def controlled(self, command, task_id, verdict):
        """By a client, or by a worker that received its message."""
        if self._knows(task_id):
            self.pauses.controlled(command, task_id, verdict)
            if verdict is Verdict.REQUESTED:
                self.reasons.asked(task_id, command)

    # -- workers ------------------------------------------------------------------------------------------

    def acknowledged(self, call, outcome):
        """A worker has the answer of a call."""
        if not self._on:
            return
        if call.verb == "renew":
            verdicts = outcome[1]
            self.reasons.renewed(call.process, call.sent_at)
            self.saves.renewed(call, verdicts)
            for ref in call.args[0]:
                if verdicts.get(ref) not in LOST and self._knows(ref.id):
                    self.pauses.renewed(ref.id, ref.run, call.sent_at)
        elif call.verb == "accept" and outcome.verdict in (Verdict.OK, Verdict.ALREADY):
            self.trials.acknowledged(call.args[0])

    # -- tasks --------------------------------------------------------------------------------------------

    def began(self, living, saved, data):
        self.saves.began(living, saved)
        self.trials.began(living, data)

    def arrives(self, living):
        self.pauses.arrives(living)

    def passed(self, living):
        self.pauses.passed(living)

    def acted(self, living):
        self.slots.acted(living)

    def at_rest(self, state):
        if self._on:
            self.slots.at_rest(state)

    def over(self, living):
        self.trials.over(living)
        self.pauses.over(living)
        self.saves.over(living)
