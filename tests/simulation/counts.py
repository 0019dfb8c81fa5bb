"""Whether restarts are counted exactly, nothing starts before its time, and a waiting task is in one place.

The count follows from what the runs did, by rules that are written here once more: `attempt` of each run, and
each decision that the store accepted, must agree with it.
"""

from __future__ import annotations

import copy
from collections import Counter

import attrs

from pytask.domain.lifecycle import RUNNING, WAIT, Trigger
from pytask.domain.messages import Command
from pytask.domain.record import Verdict
from tests.simulation.policies import POLICIES, Policy

NEAR = 0.5  # seconds between the beginning of a run and of its code
SLACK = 10.0  # seconds by which the time of a failure may be measured differently: a claim's call, rates
WORDS = ("never", "failure", "always")


@attrs.define
class Known:
    """What the next run of a task follows from."""

    restarts: int = 0
    times: tuple = ()  # of the world, of the failures that were counted
    due: float = 0.0  # ms: not before, by the clock of the server
    served: bool = False  # a run has begun since: no other one waits for that time again
    retry: float = 0.0  # ms: the end of a wait between two runs
    tickets: int = 0  # how many claims may still come from a waiting state
    pushed: bool = False  # by a client while it ran or waited: it may be in two places


@attrs.frozen
class Began:
    """What a run was claimed with."""

    restarts: int
    times: tuple
    word: str  # the hash field `restart`


@attrs.define
class Over:
    """How the code of a run ended."""

    kind: str  # "failed", "fatal", "ended"; "" while it runs, and where it was killed
    clock: float  # of its process, when it began
    lived: float = 0.0  # seconds of its process until then
    at: float = 0.0  # the world's time


class Counts:
    """The judge of restarts, delays and places."""

    def __init__(self, world, violation):
        self._world = world
        self._violation = violation
        self._known = {}
        self._began = {}  # run -> Began
        self._over = {}  # run -> Over
        self._processes = {}  # run -> where it began
        self.tally = Counter()

    def _of(self, task_id):
        return self._known.setdefault(task_id, Known())

    # -- clients ----------------------------------------------------------------------------------------

    def pushed(self, task_id, *, due=None, again=False):
        known = self._of(task_id)
        known.tickets += 1
        known.retry = 0.0  # a push of a waiting task starts it
        known.pushed = known.pushed or again
        if due is not None:
            known.due, known.served = due, False

    def forgotten(self, task_id):
        """The hash was deleted; copies of the id may still wait."""
        tickets = self._of(task_id).tickets
        self._known[task_id] = Known(tickets=tickets, pushed=True)

    def flushed(self):
        self._known.clear()

    def snapshot(self):
        return copy.deepcopy(self._known)

    def restore(self, snapshot):
        self._known = copy.deepcopy(snapshot)

    def adopted(self, task_id, run):
        """Its owner restored a run that has begun, with its counts; what it waited for is over."""
        known, began = self._of(task_id), self._began.get(run)
        if began is not None:
            known.restarts, known.times = began.restarts, began.times
        known.due, known.served, known.retry = 0.0, True, 0.0

    def scheduled(self, task_id, not_before):
        """A schedule starts it, with a delay if it has a jitter."""
        known = self._of(task_id)
        known.restarts, known.times, known.retry = 0, (), 0.0
        known.due, known.served = float(not_before or 0) * 1000, False

    # -- the store --------------------------------------------------------------------------------------

    def queued(self, task_id):
        """It waits again: by a start, a hand-back, an expiry, a repair, a schedule."""
        self._of(task_id).tickets += 1

    def moved(self, before, state):
        """The timers moved what is due, by the clock of that moment; it may be set back before the claim."""
        for task_id in before - state.timers.keys():
            known = self._of(task_id)
            if known.retry > state.millis():
                self._violation("too early", f"{task_id} {(known.retry - state.millis()) / 1000:.3f} s")
            known.retry = 0.0

    def claimed(self, task_id, run, fields, now, *, reloaded=None):
        """A run begins; `reloaded` is the one that it goes on with, None for a claim."""
        known = self._of(task_id)
        word = fields.get("restart", b"").decode()
        self._began[run] = Began(known.restarts, known.times, word)
        if reloaded is not None:
            # It has what the claim of the run before it had, whatever a failover took from the hash.
            self._began[run] = self._began.get(reloaded, self._began[run])
            return
        known.tickets -= 1
        if known.tickets < 0:
            self._violation("started twice", f"{run} of {task_id}: nobody queued it again")
        if now < max(known.due, known.retry):
            late = (max(known.due, known.retry) - now) / 1000
            self._violation("too early", f"{run} of {task_id}: {late:.3f} s before its time")
        if known.due:
            self.tally["delayed"] += 1
            known.due, known.served = 0.0, True
        known.retry = 0.0

    def delayed(self, task_id):
        """A claim came before its time."""
        if self._of(task_id).served and task_id not in self._world.steering.jobs:
            self._violation("delayed again", f"{task_id} has begun, and waits for that time once more")

    def controlled(self, command, task_id, verdict):
        if verdict is not Verdict.OK:
            return
        known = self._of(task_id)
        if command is Command.START:
            self._known[task_id] = Known(tickets=known.tickets, pushed=known.pushed)
        elif command is Command.STOP:
            known.tickets = 0
            known.retry = 0.0
            self.tally["stopped while it waited"] += 1

    def committed(self, change, state):
        """An end that the store accepted."""
        if change.trigger is Trigger.RELEASE and not change.event and _state(state, change.id) == WAIT:
            self.queued(change.id)  # the claim of an answer that was lost, and nobody hears of it
        began, job = self._began.get(change.run), self._world.jobs.get(change.id)
        if began is None or job is None or change.id in self._world.steering.jobs:
            return
        tell = {Trigger.RETRY: self._retried, Trigger.FAIL: self._failed, Trigger.END: self._ended}
        if change.trigger in tell:
            tell[change.trigger](change, began, _policy(job, began), state)

    def _retried(self, change, began, policy, state):
        task_id, over = change.id, self._over.get(change.run)
        name = f"{change.run} of {task_id}"
        failed, ended = self._outcome(change.run, policy)
        if not (failed or (ended and policy.on == "always")) or policy.on == "never":
            self._violation("counted", f"{name} is retried: {over}, {policy.on}")
            return
        restarts = int(change.fields["restarts"])
        least, most = self._health(change.run, policy)
        allowed = {1} if most >= policy.healthy else set()
        allowed |= {began.restarts + 1} if least < policy.healthy else set()
        if restarts not in allowed:
            text = f"{name}: restart {restarts} after {began.restarts}, lived {least:.1f} s"
            self._violation("count", text)
        if policy.limit is not None and self._made(change.run, policy, restarts, least=True) >= policy.limit:
            self._violation("limit", f"{name}: restart {restarts} beyond the limit of {policy.limit}")
        longest = policy.longest(restarts)
        if not longest / 2 - 0.001 <= change.delay <= longest + 0.001:
            self._violation("delay", f"{name}: {change.delay:.3f} s instead of {longest:g} s or half of it")
        self.tally["retried"] += 1
        self.tally["reset"] += restarts == 1 and began.restarts > 0
        known = self._of(task_id)
        at = over.at if over is not None and over.kind else self._world.loop.time
        if _state(state, task_id) == WAIT:
            known.restarts, known.times = restarts, (*began.times, at)
            known.tickets += 1
            known.retry = 0.0 if known.pushed else state.millis() + change.delay * 1000
        else:
            self.tally["retry became a stop"] += 1

    def _failed(self, change, began, policy, state):
        over = self._over.get(change.run)
        failed, ended = self._outcome(change.run, policy)
        known = self._of(change.id)
        if over is not None and over.kind == "fatal" and self._timeout_was_due(over, policy):
            failed = False  # a process that was stopped goes on with either
        if (failed and policy.on != "never") or (ended and policy.on == "always"):
            reset = self._health(change.run, policy)[0] >= policy.healthy
            made = self._made(change.run, policy, 1 if reset else began.restarts + 1, least=False)
            if policy.limit is None or made < policy.limit:
                self._violation("gave up", f"{change.run} of {change.id}: {over}, {made} restarts made")
            self.tally["gave up"] += 1
        elif over is None and began.word in ("", *WORDS):
            self._violation("counted", f"{change.run} of {change.id} failed, but never began")
        known.restarts, known.times = 0, ()

    def _ended(self, change, began, policy, state):
        if policy.on == "always":
            self._violation("counted", f"{change.run} of {change.id} ended: its policy is always")
        known = self._of(change.id)
        known.restarts, known.times = 0, ()

    def _timeout_was_due(self, over, policy):
        return policy.timeout is not None and over.lived >= policy.timeout - NEAR

    def _outcome(self, run, policy):
        """Whether it failed, and whether it ended, in a way that its policy is for."""
        over = self._over.get(run)
        if over is None:
            return False, False
        timed_out = False
        if policy.timeout is not None:
            # What it did while it was being stopped is not its outcome.
            lived = over.lived if over.kind else self._clock(run) - over.clock
            timed_out = lived >= policy.timeout - NEAR
            if lived >= policy.timeout + NEAR:
                return True, False
        return over.kind == "failed" or timed_out, over.kind == "ended"

    def _clock(self, run):
        return self._processes[run].clock()

    def _health(self, run, policy):
        """How long it lived at least, and at most, in seconds of its process."""
        over = self._over[run]
        most = self._clock(run) - over.clock + NEAR
        return (over.lived if over.kind else policy.timeout or 0.0), most

    def _made(self, run, policy, restarts, *, least):
        began, over = self._began[run], self._over.get(run)
        if policy.window is None:
            return restarts - 1
        # A step of Redis's clock moves the times of the failures, too.
        if self._world.server.stepped:
            return 0 if least else 1_000_000
        # The decision was made when the run was over; its commit may have come much later.
        now = over.at if over is not None and over.kind else self._world.loop.time
        edge = policy.window + (-SLACK if least else SLACK)
        return sum(now - at < edge for at in began.times)

    # -- tasks ------------------------------------------------------------------------------------------

    def began(self, living, attempt):
        self._processes[living.run] = living.process
        self._over[living.run] = Over("", living.process.clock())
        expected = self._began[living.run].restarts + 1
        if attempt != expected:
            self._violation(
                "attempt", f"{living.run} of {living.task_id} is attempt {attempt} instead of {expected}"
            )

    def over(self, living, kind):
        over = self._over.setdefault(living.run, Over("", living.process.clock()))
        over.kind, over.lived = kind, living.process.clock() - over.clock
        over.at = self._world.loop.time

    # -- places -----------------------------------------------------------------------------------------

    def places(self, state):
        """A task that waits is in one place, any other in none."""
        queued = set(state.queue)
        aside = {task_id for line in state.slots.lines.values() for task_id in line} | state.timers.keys()
        for task_id in self._world.known_ids():
            known = self._known.get(task_id)
            if known and known.pushed and task_id.encode() not in queued:
                known.pushed = False
            # This is done after every step of the server, and most tasks run: nothing more is asked of these.
            if task_id not in state.runs or task_id in aside:
                self._place(state, task_id, queued, aside, pushed=bool(known and known.pushed))

    def _place(self, state, task_id, queued, aside, *, pushed):
        value = state.values.get(task_id)
        if not isinstance(value, dict):
            return
        raw, apart = task_id.encode(), _apart(state, task_id, aside)
        word = value.get("state", WAIT.encode()).decode()
        places = [*apart, *(["the queue"] if raw in queued else [])]
        if apart and len(places) > 1 and not pushed:
            self._violation("two places", f"{task_id} is {word}, in {' and in '.join(places)}")
        if task_id in state.runs:
            return
        if word == WAIT and not places and not any(raw in ids for ids in state.parking.values()):
            self._violation("no place", f"{task_id} waits nowhere")
        if word not in (WAIT, RUNNING) and apart and not pushed:
            self._violation("two places", f"{task_id} is {word}, and in {apart[0]}")


def _apart(state, task_id, aside):
    """The places beside the queue and the parking lists.

    The paused set has those that run, too, and, until a sweep, those whose hash a client deleted.
    """
    found = []
    if task_id in aside:
        found = ["the timers"] if task_id in state.timers else []
        if any(task_id in line for line in state.slots.lines.values()):
            found.append("a waiting list")
    if task_id in state.paused and task_id not in state.runs and "paused" in state.fields(task_id):
        found.append("the paused set")
    return found


def _state(state, task_id):
    return state.fields(task_id).get("state", b"").decode()


def _policy(job, began):
    policy = POLICIES[job.function]
    if began.word in WORDS and began.word != policy.on:
        return attrs.evolve(policy, on=began.word)
    return policy if began.word in ("", *WORDS) else Policy()
