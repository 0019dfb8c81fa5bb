"""Tasks of groups that clients start by `Client.start(group=)`, and remove: groups take turns.

Which tasks a world has, what clients do to them, and the judge of the turns.
"""

from __future__ import annotations

from collections import Counter

from pytask.domain.lifecycle import RUNNING, WAIT
from pytask.domain.messages import Command
from tests.simulation.policy_faults import Act
from tests.simulation.steering import RULES, SteeredJob

HAVE = 0.5  # share of the worlds of `SteeringWorld` with such tasks
GROUPS = {"p": "solo", "q": "solo", "r": "crew"}
BEGIN = 60.0  # seconds in which clients start them first
LEAVES = {"claim", "control", "park", "reject"}  # the calls in which an id leaves the queue without an end
WAKES = LEAVES | {"commit", "expire", "serve"}
KINDS = {}


def draw(random):
    """Their jobs, by id."""
    found = {}
    for number in range(random.randint(6, 9)):
        group = random.choice(sorted(GROUPS))
        found[f"turn{number}"] = SteeredJob(
            function=GROUPS[group], rounds=random.randint(1, 6), round=random.uniform(1.0, 4.0), group=group
        )
    return found


def plan(random, *, length):
    """About 12 acts."""
    times = sorted(random.uniform(5, length) for _ in range(random.randint(8, 16)))
    return [Act(at, random.choice(sorted(KINDS)), random.random()) for at in times]


def kind(fn):
    KINDS[fn.__name__] = fn
    return fn


def _some(world, random, most):
    ids = world.steering.turns.ids
    return random.sample(ids, random.randint(1, min(most, len(ids))))


@kind
def start_groups(world, random):
    """In one call, in any order of their groups."""
    world.steering.turns.start(_some(world, random, 6))


@kind
def remove_grouped(world, random):
    """`rm`, of what waits in any place, and the same id again a while later."""
    state, ids = world.server.state, _some(world, random, 3)
    ids += [i for i in world.steering.turns.ids if _waits(state.fields(i)) and random.random() < 0.5]
    for number, task_id in enumerate(dict.fromkeys(ids)):
        at = random.uniform(0, 10) if number else 0.0
        if random.random() < 0.3:
            world.after(at, lambda task_id=task_id: world.control(task_id, Command.STOP))
        world.after(at + random.uniform(0, 5), lambda task_id=task_id: world.steering.turns.remove(task_id))
        again = at + random.uniform(5, 30)
        world.after(again, lambda task_id=task_id: world.steering.turns.start([task_id]))


@kind
def stop_runner(world, random):
    """Stop or pause the one that the others of its group follow."""
    runners = sorted(world.server.state.slots.runners.values())
    known = [task_id for task_id in runners if task_id in world.steering.turns.ids]
    for task_id in known[:2]:
        world.control(task_id, random.choice((Command.STOP, Command.PAUSE)))
        world.after(random.uniform(1, 60), lambda task_id=task_id: world.control(task_id, Command.START))


class Turns:
    """What clients do to them.  A world without them is the same as before there were any."""

    def __init__(self, world, on):
        self._world = world
        wanted = world.options.turns
        drawn = world.stream("turns").random() < HAVE
        self.on = on and (drawn if wanted is None else wanted)
        self.jobs = draw(world.stream("turn jobs")) if self.on else {}
        self.ids = sorted(self.jobs)

    def begin(self):
        if not self.on:
            return
        world, random = self._world, self._world.stream("turn course")
        left = list(self.ids)
        while left:
            part, left = left[:3], left[3:]
            world.after(random.uniform(0, BEGIN), lambda part=part: self.start(part))
        for act in plan(world.stream("turn plan"), length=world.length):
            world.after(act.at, lambda act=act: world.steering.act(KINDS, act))

    def start(self, ids):
        """As `Client.start_many(group=)`, see enqueue.lua; one that is there already is started again."""

        def client(state):
            world = self._world
            if world.flushed():
                return
            world.note(None, "client starts", *ids)
            judge, behind = world.evidence.steering.turns, {}
            judge.before(state)
            for place, task_id in enumerate(ids, 1):
                if state.fields(task_id):
                    verdict = world.server.store.control(Command.START, [task_id])[0]
                    world.evidence.controlled(Command.START, task_id, verdict)
                    continue
                world.steering.write(state, task_id)
                if not self._lines_up(state, task_id, place, behind):
                    state.queue.insert(0, task_id.encode())
            judge.after(state, "control")

        self._world.server.client(client)

    def _lines_up(self, state, task_id, place, behind):
        slots, group = state.slots, self.jobs[task_id].group
        entry = f"group:{group}"
        waits = len(slots.lines.get(entry, ()))
        if group not in behind:
            behind[group] = waits > 0 or group in slots.runners
            slots.groups.setdefault(entry, 0.0)
            if not behind[group]:
                behind[group] = True
                slots.runners[group] = task_id
                return False
        slots.line_up(entry, task_id, state.micros() + place)
        return True

    def remove(self, task_id):
        """As `Client.remove`, see remove.lua: what runs is left alone."""

        def client(state):
            world, fields = self._world, state.fields(task_id)
            runs = task_id in state.runs or fields.get("state") == RUNNING.encode()
            if not fields or runs or not world.may_lose("hash"):
                return
            world.note(None, "rm", task_id)
            judge = world.evidence.steering.turns
            judge.before(state)
            judge.tally["removed while it waited"] += _waits(fields)
            state.leave_places(task_id)
            state.delete(task_id)
            for ids in state.index.values():
                ids.pop(task_id, None)
            world.evidence.deleted(task_id)
            judge.after(state, "control")
            judge.removed(task_id, state)

        self._world.server.client(client)

    def start_missing(self):
        """All is well: those that were removed are started."""
        state = self._world.server.state
        missing = [task_id for task_id in self.ids if not state.fields(task_id)]
        if missing:
            self.start(missing)


class TurnsJudge:
    """Whether who leaves the queue passes the turn of its group on, and to which end of the queue it goes."""

    def __init__(self, world, violation):
        self._world = world
        self._violation = violation
        self._queued = Counter()
        self._runners = {}
        self._running = set()
        self.tally = Counter()

    def before(self, state):
        """A call is about to be carried out."""
        self._queued = Counter(state.queue)
        self._runners = {g: i for g, i in state.slots.runners.items() if i.encode() in self._queued}
        self._running = set(state.runs)

    def after(self, state, verb):
        """It was carried out."""
        if verb in WAKES:
            self._ends(state, verb)
        if verb in LEAVES:
            for group, task_id in self._runners.items():
                # (A copy of what runs already is dropped: the look at the waiting lists finds the next one.)
                if task_id.encode() not in state.queue and task_id not in self._running:
                    self._passed_on(state, group, task_id)

    def _ends(self, state, verb):
        """Groups take turns: the next goes behind all that wait, unless it had its turn before."""
        found = Counter(state.queue)
        copies = len(found) != found.total() or len(self._queued) != self._queued.total()
        if verb == "claim" or copies:
            return  # what a claim takes may come back in the same call, and of copies places cannot be told
        added = (found - self._queued).total()
        for raw in [raw for raw in state.queue if raw not in self._queued]:
            arrival = state.slots.woken.get(raw.decode(), 0)
            place = state.queue.index(raw)
            if (arrival > 0 and place >= added) or (arrival < 0 and place < len(state.queue) - added):
                self._violation("turn", f"{raw.decode()} came at {arrival} and is queued as {place} of all")
            self.tally["turns"] += arrival != 0

    def _passed_on(self, state, group, task_id):
        jobs = self._world.steering.jobs
        waiting = [i for i in state.slots.lines.get(f"group:{group}", ()) if _waits(state.fields(i))]
        # Slots count, too: the registry may have lost runs that live.
        live = sum(jobs[i].group == group for i in state.runs if i in jobs)
        live = max(live, len(state.slots.taken.get(f"group:{group}", ())))
        limits = [state.slots.limits.get(name) for name in (f"group:{group}", "group:*")]
        if any(limit is not None for limit in limits):
            return
        free = [i for i in waiting if live < RULES[jobs[i].function].get("GROUP_LIMIT", live + 1)]
        if len(free) < len(waiting) or not waiting:
            return
        self.tally["passed on"] += 1
        if not any(jobs[i].group == group for i in (raw.decode() for raw in state.queue) if i in jobs):
            self._violation("turn lost", f"{task_id} left, and nobody of {group} follows: {waiting}")

    def removed(self, task_id, state):
        lined = [entry for entry, line in state.slots.lines.items() if task_id in line]
        raw, parked = task_id.encode(), list(state.parking.values())
        if lined or raw in state.queue or task_id in state.timers or any(raw in ids for ids in parked):
            self._violation("removed", f"{task_id} is still in {lined or 'a place where it waits'}")
        if task_id in state.slots.runners.values():
            self._violation("removed", f"{task_id} is still followed by its group")


def _waits(fields):
    return bool(fields) and fields.get("state", WAIT.encode()) == WAIT.encode()
