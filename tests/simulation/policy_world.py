"""The part of a world that has delayed and flapping tasks and schedules, and what clients do to these."""

from __future__ import annotations

import random
from collections import defaultdict

import attrs
import gevent

from pytask.domain.lifecycle import RUNNING, WAIT
from pytask.domain.messages import Command
from tests.simulation import occurrences, policies, policy_faults

BEGIN = 60.0  # seconds in which clients push and define
HEALTHY = 60.0  # seconds after the healing, until the schedules are removed
SOON = 300.0  # seconds for which a world waits for a delayed task
KEY = "pytask:schedule:{}"


class PolicyWorld:
    """Drawn from streams of its own: a world without it is the same as before there was one."""

    def __init__(self, world):
        self._world = world
        wanted = world.options.policies
        drawn = world.stream("policies").random() < policies.HAVE
        self.on = drawn if wanted is None else wanted
        self.more_slots = policies.SLOTS if self.on else 0
        self.jobs = policies.draw(world.stream("policy jobs")) if self.on else {}
        self.schedules = occurrences.draw(world.stream("schedules")) if self.on else {}
        self.over_schedules = False
        self.flapped = defaultdict(int)  # id -> runs that ended as its policy wants to restart
        self._delayed = set()  # ids that were pushed with their `not_before`
        self._streams = {}

    # -- the course of a world ----------------------------------------------------------------------------

    def begin(self):
        if not self.on:
            return
        world, draw = self._world, self._world.stream("policy course")
        for task_id in self.jobs:
            world.after(draw.uniform(0, BEGIN), lambda task_id=task_id: world.push(task_id))
        for name, spec in self.schedules.items():
            if not spec.code:
                world.after(draw.uniform(0, BEGIN), lambda name=name: self.add_schedule(name))
        for act in policy_faults.draw(world.stream("policy plan"), length=world.length):
            world.after(act.at, lambda act=act: self._act(act))

    def _act(self, act):
        world = self._world
        world.note(None, "ACT", act.kind)
        lasts = policy_faults.KINDS[act.kind](world, random.Random(act.seed))
        world.policy_acts[act.kind] += 1
        del lasts

    def end(self):
        """All is well: each schedule goes on, then it is removed, and what it started comes to rest."""
        if not self.on:
            return
        for name in self.schedules:
            self.pause_schedule(name, paused=False)
        world, judge = self._world, self._world.evidence.occurrences
        gevent.sleep(HEALTHY)
        before = judge.waits_for_nothing(world.server.state)
        gevent.sleep(2 * world.timing.sweep)
        judge.on_time(world.server.state, before)
        self.start_those_far_ahead()
        self.over_schedules = True
        for name in self.schedules:
            self.remove_schedule(name)
        gevent.sleep(1.0)

    def start_those_far_ahead(self):
        """The clock was set back; also under a task that began before that and is queued again later."""
        now = self._world.server.state.millis()
        for task_id, due in sorted(self._world.server.state.timers.items()):
            if due - now > SOON * 1000:
                self._world.control(task_id, Command.START)

    def over(self):
        """Whether what schedules started has come to rest."""
        state = self._world.server.state
        for task_id in self._world.evidence.occurrences.ids:
            word = state.fields(task_id).get("state", b"").decode()
            if word in (WAIT, RUNNING) or task_id in state.timers or task_id in state.runs:
                return False
        return not any(task_id in state.timers for task_id in self.jobs)

    # -- workers ------------------------------------------------------------------------------------------

    def defined(self):
        """What the code of a worker that starts now says."""
        # A worker that starts after a loss of data knows nothing of it; see `World.flush`.
        known = not self._world.flushed()
        found = (
            []
            if self.over_schedules or not known
            else [spec.defined for spec in self.schedules.values() if spec.code]
        )
        return tuple(found)

    def classes(self, process):
        return policies.classes(self._world, process) if self.on else {}

    def last_of(self, task_id, policy):
        """Seconds of the next run of a flapping task; None for its last run."""
        if self.flapped[task_id] >= self.jobs[task_id].failures or self._world.healed_for(120.0):
            return None
        return policies.length(self._stream(task_id), policy)

    def length_of_tick(self, task_id):
        draw = self._stream(task_id.partition("@")[0])
        return draw.choice((draw.uniform(0.5, 8.0), draw.uniform(0.5, 8.0), draw.uniform(20.0, 120.0)))

    def _stream(self, name):
        if name not in self._streams:
            self._streams[name] = self._world.stream(f"runs of {name}")
        return self._streams[name]

    # -- clients ------------------------------------------------------------------------------------------

    def write(self, state, task_id):
        """The hash of a push: with its optional fields where there is none yet."""
        world, job = self._world, self._world.jobs[task_id]
        new = "function" not in state.fields(task_id)
        fields, due = {"function": job.function}, None
        if new and job.restart:
            fields["restart"] = job.restart
        if new and job.delay and task_id not in self._delayed:
            self._delayed.add(task_id)
            fields["not_before"] = f"{world.server.now() + job.delay:.3f}"
            due = round(float(fields["not_before"]) * 1000)
        world.evidence.counts.pushed(task_id, due=due, again=not new)
        state.write(task_id, **fields)

    def add_schedule(self, name):
        """As define_schedule.lua does for a client."""
        spec = self.schedules.get(name)
        if spec is None:
            return

        def client(_):
            if self.over_schedules:
                return
            world = self._world
            if world.flushed():
                world.after(10.0, lambda: self.add_schedule(name))
                return
            world.note(None, "schedule", name, spec.step, spec.overlap, spec.missed)
            verdict = world.server.store.schedules.define(spec.definition)
            world.evidence.occurrences.was_defined(spec.definition, verdict)

        self._world.server.client(client)

    def change_schedule(self, name, overlap, missed):
        spec = self.schedules.get(name)
        if spec is None or spec.overlap == "allow":
            return

        def client(state):
            if self.over_schedules or not state.fields(KEY.format(name)) or name not in state.schedules:
                return
            world = self._world
            changed = attrs.evolve(spec, overlap=overlap, missed=missed)
            world.note(None, "schedule", name, "is now", overlap, missed)
            world.server.store.schedules.define(changed.definition)
            world.evidence.occurrences.changed(changed)

        self._world.server.client(client)

    def remove_schedule(self, name):
        """As remove_schedule.lua does."""

        def client(state):
            self._world.note(None, "no schedule", name)
            state.schedules.pop(name, None)
            state.occurrences.pop(name, None)
            state.delete(KEY.format(name))
            self._world.evidence.occurrences.removed(name)

        self._world.server.client(client)

    def pause_schedule(self, name, *, paused):
        """As pause_schedule.lua does."""

        def client(state):
            key = KEY.format(name)
            if not state.fields(key):
                return
            self._world.note(None, "pause" if paused else "resume", name)
            if paused:
                state.write(key, paused="1")
                return
            by_hand = state.fields(key).get("paused", b"") not in (b"", b"0")
            state.erase(key, "paused", "error")
            if by_hand and state.schedules.get(name, 0.0) < state.millis():
                state.schedules[name] = 0.0
                self._world.evidence.occurrences.resumed(name, state.millis())

        self._world.server.client(client)
