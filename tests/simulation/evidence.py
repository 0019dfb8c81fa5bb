"""What happened in a world, and whether the promises held.  It does not go through the store."""

from __future__ import annotations

import attrs

from pytask.domain.messages import Command
from pytask.domain.record import Verdict
from tests.simulation.counts import Counts
from tests.simulation.heard import Heard
from tests.simulation.occurrences import Occurrences
from tests.simulation.steering_evidence import Steering

ACKNOWLEDGED = (Verdict.OK,)


@attrs.define(eq=False)
class Living:
    """One run of one task while its code may act."""

    task_id: str
    run: str
    process: object
    sent_at: float  # the last acknowledged renewal of its process when it began, or its beginning
    acts: int = 0


class Evidence:
    """Collects acts, claims and verdicts; `violations` is empty in a world that kept the promises."""

    def __init__(self, world):
        self._world = world
        self.violations = []
        self.order = {}  # run -> its number among all claims
        self.last = {}  # id -> the run claimed last
        self.epochs = {}
        self.newest = {}  # id -> the number of the newest run that acted
        self.over = set()  # runs whose end the store took
        self.living = {}  # (process, id) -> Living
        self.refused = 0  # late writes that the store refused
        self.adopted = 0  # runs that were put back after a failover
        self.forgotten = set()  # runs that a failover took back
        self.acts = 0
        self.stops = {}  # id -> the run that was asked to stop by a client, until the task came to rest
        self.counts = Counts(world, self.violation)
        self.occurrences = Occurrences(world, self.violation)
        self.steering = Steering(world, self.violation, self.order)
        self.heard = Heard(world, self.violation)

    def violation(self, rule, text):
        if len(self.violations) < 20:
            text = text[:300]
            self._world.note(None, "VIOLATION", rule, text)
            self.violations.append((rule, text, self._world.loop.time))

    def broken(self, process, text):
        """I11, and other events that must never happen."""
        self.violation("crash", f"{process}: {text}")

    # -- from the store -------------------------------------------------------------------------------

    def claimed(self, task_id, run, epoch):
        # A reload without a reply is sent again unchanged; on a server that lost the first one it starts
        # the run a second time.  That counts as one run until it has acted; and while it lives: a copy of the
        # request that came late has put back what that server had lost.
        acted = self.newest.get(task_id) == self.order.get(run, -1)
        once = run in self.forgotten and (not acted or self._lives(task_id, run))
        if run in self.order and not once:
            self.violation("run id used twice", run)
        self.order[run] = len(self.order)
        self.last[task_id] = run
        self._world.note(None, "run", task_id, run)
        if epoch <= self.epochs.get(task_id, 0) and not self._world.epochs_may_fall:
            self.violation("epoch", f"{task_id}: {epoch} after {self.epochs[task_id]}")
        self.epochs[task_id] = epoch

    def _lives(self, task_id, run):
        return any(
            one.run == run and not one.process.dead
            for (_, name), one in self.living.items()
            if name == task_id
        )

    def snapshot(self):
        """What a replica may have, as far as the evidence goes by it."""
        judges = (self.counts, self.occurrences, self.steering)
        return dict(self.last), [judge.snapshot() for judge in judges]

    def rolled_back(self, known):
        """A failover lost claims: an end of the run before them is no late one to that server (I5).

        Nothing else is excused: no run may act after a newer one did, whoever forgot what.
        """
        last, kept = known
        self.heard.forget()
        for judge, snapshot in zip((self.counts, self.occurrences, self.steering), kept, strict=True):
            judge.restore(snapshot)
        for task_id, run in self.last.items():
            if last.get(task_id) != run:
                self._world.note(None, "forgotten by Redis", task_id, run)
                self.forgotten.add(run)
        self.last = dict(last)
        self.stops.clear()  # maybe lost with the rest

    def applied(self, call, outcome):
        tell = {"adopt": self._adopted, "commit": self._committed, "expire": self._expired}.get(call.verb)
        if tell is not None:
            for asked, verdict in zip(call.args[0], outcome, strict=True):
                tell(call.process, asked, verdict)
        elif call.verb == "control":
            for task_id, verdict in zip(call.args[1], outcome, strict=True):
                self.controlled(call.args[0], task_id, verdict)
        elif call.verb == "claim":
            self.heard.served(call, outcome[1])
            for claim in outcome[1]:
                if claim.verdict is Verdict.DELAYED:
                    self.counts.delayed(claim.id)
        elif call.verb == "schedules.define":
            self.occurrences.was_defined(call.args[0], outcome)
        self.steering.served(call, outcome, self._world.server.state)

    def deleted(self, task_id):
        """A client deleted the hash: it is another task now."""
        self.came_to_rest(task_id)
        self.counts.forgotten(task_id)
        self.steering.forgotten(task_id)

    def flushed(self):
        self.heard.forget()
        self.steering.flushed()
        self.stops.clear()
        self.counts.flushed()
        self.occurrences.flushed()

    def controlled(self, command, task_id, verdict):
        self.counts.controlled(command, task_id, verdict)
        self.steering.controlled(command, task_id, verdict)
        if command is Command.START and verdict is Verdict.OK:
            self.occurrences.started_by_hand(task_id)
        state = self._world.server.state
        run = state.runs.get(task_id)
        named = state.fields(task_id).get("run", b"").decode()
        if command is Command.STOP and verdict is Verdict.REQUESTED and named and named == run:
            self.stops[task_id] = run

    def _adopted(self, process, adoption, verdict):
        if verdict is Verdict.OK:
            self.adopted += 1
            self.counts.adopted(adoption.id, adoption.run)
            self.last[adoption.id] = adoption.run
            self._world.note(process, "put back", adoption.id, adoption.run)

    def _committed(self, _, change, verdict):
        if change.trigger is not None and verdict is Verdict.FENCED:
            self.refused += change.run in self.order  # not of a claim that never arrived
        elif change.trigger is not None and verdict in ACKNOWLEDGED:
            self._ended(change.id, change.run, change.trigger)
            self.counts.committed(change, self._world.server.state)

    def _expired(self, process, expiry, verdict):
        if verdict is Verdict.OK:
            self._world.note(process, "expired", expiry.id, expiry.run)
            self.heard.expired(expiry.run)

    def _ended(self, task_id, run, trigger):
        self._world.note(None, str(trigger), task_id, run)
        self.over.add(run)
        if self.last.get(task_id) not in (None, run):
            self.violation(
                "zombie-write", f"{trigger} of {run} was taken after {self.last[task_id]} was claimed"
            )

    def came_to_rest(self, task_id):
        self.stops.pop(task_id, None)
        self.occurrences.came_to_rest(task_id)

    # -- from the tasks -------------------------------------------------------------------------------

    def begin(self, task_id, run, process):
        key = process.name, task_id
        if key in self.living:
            self.violation("two at once", f"{process} runs {task_id} twice")
        asked = self.stops.get(task_id)
        if asked not in (None, run):
            self.violation(
                "stop lost", f"{run} of {task_id} begins: {asked} was to stop, and nobody started it again"
            )
        living = Living(task_id, run, process, self._world.loop.time)
        self.living[key] = living
        self.act(living)
        return living

    def finish(self, living):
        key = living.process.name, living.task_id
        if self.living.get(key) is living:
            del self.living[key]

    def act(self, living):
        """A side effect, somewhere that no fence protects."""
        world = self._world
        self.acts += 1
        living.acts += 1
        number, now = self.order[living.run], world.loop.time
        newest = self.newest.get(living.task_id, -1)
        if number < newest:
            self.violation("overlap", f"{living.run} of {living.task_id} acts after a newer run did")
        elif number > newest:
            self.newest[living.task_id] = number
            world.note(living.process, "acts", living.task_id, living.run)
        if living.run in self.over:
            self.violation("act after the end", f"{living.run} of {living.task_id}")
        silent = now - max(living.process.last_ack, living.sent_at)
        if silent > world.longest_silence(living.process):
            self.violation("act after K", f"{living.run} of {living.task_id}: {silent:.1f} s")

    # -- at rest --------------------------------------------------------------------------------------

    def at_rest(self, state, jobs):
        """I3, I6, I9 at the end of a world."""
        for task_id, job in jobs.items():
            word = state.fields(task_id).get("state", b"").decode()
            if word not in job.finals:
                where = "queued" if task_id.encode() in state.queue else state.runs.get(task_id, "nowhere")
                self.violation("lost or stuck", f"{task_id} is {word or 'gone'}, {where}")
            if task_id in state.timers:
                self.violation("lost or stuck", f"{task_id} is still in the timers")
            if task_id in state.runs or task_id in state.leases:
                self.violation("registry", f"{task_id} is still registered")
            if state.fields(task_id).get("run"):
                self.violation("registry", f"the hash of {task_id} still names a run")
        if len(set(state.queue)) != len(state.queue):
            self.violation("queue", "an id is queued twice at rest")
        for task_id, run in state.runs.items():
            if state.fields(task_id).get("run", b"").decode() != run:
                self.violation("registry", f"{task_id}: the registry says {run}, its hash does not")
