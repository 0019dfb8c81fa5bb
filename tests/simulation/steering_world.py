"""The part of a world whose tasks save, pause, reload and share groups, and what clients do to these."""

from __future__ import annotations

import json
import random

from pytask.client.goals import is_refused, reloaded
from pytask.client.task_records import read_task
from pytask.domain.errors import StoreError
from pytask.domain.lifecycle import RUNNING
from pytask.domain.messages import Command
from pytask.domain.record import Verdict
from tests.simulation import steering, steering_faults
from tests.simulation.turns import Turns

BEGIN = 60.0  # seconds in which clients push
LOOK = 0.5  # seconds between two looks of a client
LONGEST = 90.0  # seconds for which it looks
AT_ONCE = 0.07  # share of the saves that wait for Redis


class SteeringWorld:
    """Drawn from streams of its own: a world without it is the same as before there was one."""

    def __init__(self, world):
        self._world = world
        wanted = world.options.steering
        drawn = world.stream("steering").random() < steering.HAVE
        self.on = drawn if wanted is None else wanted
        self.more_slots = steering.SLOTS if self.on else 0
        self.jobs = steering.draw(world.stream("steering jobs")) if self.on else {}
        self.common = sorted(self.jobs)  # of which the acts that are not of turns choose
        self.turns = Turns(world, self.on)
        self.jobs |= self.turns.jobs
        self._data = {}  # id -> the version that a client wrote last
        self._versions = 0
        self._saves = 0
        self._streams = {}

    def begin(self):
        if not self.on:
            return
        world, draw = self._world, self._world.stream("steering course")
        for task_id in self.common:
            world.after(draw.uniform(0, BEGIN), lambda task_id=task_id: world.push(task_id))
        for act in steering_faults.draw(world.stream("steering plan"), length=world.length):
            world.after(act.at, lambda act=act: self.act(steering_faults.KINDS, act))
        self.turns.begin()

    def act(self, kinds, act):
        world = self._world
        world.note(None, "ACT", act.kind)
        kinds[act.kind](world, random.Random(act.seed))
        world.policy_acts[act.kind] += 1

    def resume_all(self):
        """All is well: what is paused goes on."""
        ids, functions = self._world.evidence.steering.pauses.paused()
        for task_id in ids:
            self._world.control(task_id, Command.START)
        if functions:
            self.hold(functions, resume=True)
        for entry in self._world.evidence.steering.slots.closed():
            self.limit(entry, "1")
        self.turns.start_missing()

    def stream(self, name):
        if name not in self._streams:
            self._streams[name] = self._world.stream(f"steered {name}")
        return self._streams[name]

    # -- workers ------------------------------------------------------------------------------------------

    def classes(self, process):
        return steering.classes(self._world, process) if self.on else {}

    def save(self, task, living, done):
        """What a task saves after each round."""
        judge = self._world.evidence.steering.saves
        self._saves += 1
        judge.saving(living, self._saves)
        value = {"done": done, "run": living.run, "n": self._saves}
        if self.stream("saves").random() >= AT_ONCE:
            task.save(value)
            return
        try:
            stored = task.save(value, now=True)
        except StoreError:
            return
        judge.answered(living, stored, self._world.server.state)

    # -- clients ------------------------------------------------------------------------------------------

    def _new_data(self, job, kind):
        self._versions += 1
        return {"version": self._versions, "kind": kind} | ({"team": job.group} if job.told else {})

    def write(self, state, task_id):
        """The hash of a push: with its data where there is none yet."""
        job = self.jobs[task_id]
        new = "function" not in state.fields(task_id)
        fields = {"function": job.function}
        if new:
            data = self._new_data(job, steering.GOOD)
            self._data[task_id] = data["version"]
            fields["data"] = json.dumps(data)
            if job.group and not job.told:
                fields["group"] = job.group
        self._world.evidence.counts.pushed(task_id, again=not new)
        state.write(task_id, **fields)

    def write_data(self, task_id, kind):
        """HSET of other data, which the next reload, or the next start, takes."""

        def client(state):
            if "function" in state.fields(task_id):
                data = self._new_data(self.jobs[task_id], kind)
                self._data[task_id] = data["version"]
                self._world.note(None, "HSET data", task_id, data)
                state.write(task_id, data=json.dumps(data))

        self._world.server.client(client)

    def reload(self, task_id, kind):
        """As a client does that waits for the outcome: other data, the request, then looks at the hash."""

        def client(state):
            fields = state.fields(task_id)
            if "run" not in fields:
                return
            data, epoch = self._new_data(self.jobs[task_id], kind), int(fields["epoch"])
            self._world.note(None, "reload", task_id, data)
            state.write(task_id, data=json.dumps(data))
            state.erase(task_id, "reload_refused", "reloaded")  # with other data, as update.lua does
            self._data[task_id] = data["version"]
            verdict = self._world.server.store.control(Command.RELOAD, [task_id])[0]
            self._world.evidence.controlled(Command.RELOAD, task_id, verdict)
            if verdict is Verdict.REQUESTED:
                state.publish(f"task-{task_id}-control", Command.RELOAD.encode())
                self._world.after(LOOK, lambda: self._look(task_id, data, epoch, LONGEST))

        self._world.server.client(client)

    def _look(self, task_id, data, epoch, left):
        """Until the reload is decided, or somebody else wrote data."""
        fields = self._world.server.state.fields(task_id)
        if self._data[task_id] != data["version"] or not fields:
            return
        task, goal = read_task(task_id, fields), reloaded(epoch, settled=True)
        if task.epoch >= epoch and goal.over(task):
            self._world.evidence.steering.trials.told(
                task, data, refused=is_refused(task), done=goal.done(task)
            )
        elif left > 0:
            self._world.after(LOOK, lambda: self._look(task_id, data, epoch, left - LOOK))

    def start_fresh(self, task_id):
        """As the client does: what was saved goes if the task does not run."""

        def client(state):
            fields = state.fields(task_id)
            if not fields or self._world.flushed():
                return
            runs = ("run" in fields and task_id in state.runs) or fields.get("state") == RUNNING.encode()
            self._world.note(None, "start --fresh", task_id)
            verdict = self._world.server.store.control(Command.START, [task_id], fresh=True)[0]
            judge = self._world.evidence.steering
            if not runs:
                judge.started_fresh(task_id)
            self._world.evidence.controlled(Command.START, task_id, verdict)

        self._world.server.client(client)

    def hold(self, names, *, resume=False):
        """Pause functions, or resume them."""

        def client(_):
            self._world.note(None, "resume" if resume else "pause", *names)
            self._world.server.store.hold_functions(names, resume=resume)
            self._world.evidence.steering.held(names, resume=resume)

        self._world.server.client(client)

    def limit(self, entry, text):
        """HSET of a limit; None: HDEL."""

        def client(state):
            self._world.note(None, "limit", entry, text)
            if text is None:
                state.slots.limits.pop(entry, None)
            else:
                state.slots.limits[entry] = text
            self._world.evidence.steering.slots.written(entry, text)

        self._world.server.client(client)
