"""One world: processes, links, a server, clients, and a plan of faults, all drawn from one seed."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import random
import time
from collections import Counter

import attrs
import gevent

from pytask.domain.lifecycle import ENDED, ERROR, STOPPED
from pytask.domain.messages import Command
from pytask.domain.task import Task
from pytask.domain.timing import LEASE, Timing
from pytask.runtime.monitor import Monitor
from pytask.runtime.runs.native_threads import NativePool
from pytask.runtime.settings import Settings
from pytask.testing.links import Link
from pytask.testing.virtual_time import virtual_time, wait_for_ever
from tests.simulation import faults
from tests.simulation.evidence import Evidence
from tests.simulation.policies import PolicyJob, flap
from tests.simulation.policy_world import PolicyWorld
from tests.simulation.process import Process
from tests.simulation.server import Server
from tests.simulation.steering_world import SteeringWorld

LENGTH = 700.0  # seconds in which faults begin
PATIENCE = 3000.0  # seconds for which tasks may go on after everything was healed
SLACK = 1.0  # seconds beyond K that a measurement may be off: rates, and the deadline watch's period
YOUNG = (
    100.0  # seconds until a worker counts as one that has no monitor: the deaf ones may take its first one
)
SETTLE = 95.0  # seconds in which every run that Redis forgot has been stopped: K, and what a call takes
TASKS = 14
SLOTS = 5


@attrs.frozen(kw_only=True)
class Job:
    """What one task does."""

    seconds: float
    stubborn: bool = False
    stopping: float = 0.0  # seconds that its stop() takes
    poison: bool = False
    function: str = "work"
    restart: str = ""
    delay: float = 0.0

    @property
    def finals(self):
        return (ENDED, ERROR) if self.poison else (ENDED,)


@attrs.frozen(kw_only=True)
class Options:
    """What kind of world to draw."""

    mode: str = "safety"
    mutant: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    place: str | None = None  # where faults of processes and links come; None draws it
    aim: tuple[str, ...] = ()  # the calls in which faults catch a process; () draws from all
    tasks: int | None = None  # how many; None draws it
    longest: float = 600.0  # seconds that a task takes
    stubborn: float | None = None  # share of such tasks; None draws it
    stopping: float | None = None
    timing: Timing = attrs.Factory(Timing)
    policies: bool | None = None  # whether it has delayed and flapping tasks and schedules; None draws it
    steering: bool | None = None  # whether it has tasks that save, pause, reload and share groups
    turns: bool | None = None  # ... and such as clients start in groups, and remove
    failovers: bool | None = None  # whether one or two of its workers have a shorter failover


@attrs.define
class Outcome:
    """What came of a world."""

    seed: int
    mode: str
    violations: list
    faults: Counter
    pairs: Counter
    runs: int
    acts: int
    refused: int
    adopted: int
    virtual: float
    seconds: float
    digest: str
    tally: Counter = attrs.Factory(Counter)  # restarts, delays and occurrences


class World:
    """Built on a virtual loop; `run()` is called in its main greenlet."""

    def __init__(self, seed, loop, options, tell=None):
        self.seed = seed
        self.loop = loop
        self.options = options
        self.timing = options.timing
        self.tell = tell
        self.epochs_may_fall = False
        self.length = LENGTH
        self.digest = hashlib.sha256()
        self.lines = 0
        self.evidence = Evidence(self)
        self.server = Server(self)
        self.places = ["w0", "w1", "w2"]
        # How many of its processes claim what stands at the tail; the others are of the release before.
        self.tails = self.stream("tails").choice((1, 1, 1, 0.7, 0.3))
        self.failovers = self._draw_failovers()
        self.monitors = {"w0", "w1"}
        self.links = {place: Link(self, place) for place in self.places}
        self.processes = {}  # place -> the process that should be there
        self.everyone = []
        self.healed = False
        self.intervals = []
        self.snapshots = {}  # how long before a failover -> the data of then
        self._lost = {"runs": -1e9, "hash": -1e9}
        self._flushed_until = -1.0
        sweep = self.stream("sweep")
        # Without the slow sweep nothing tells of a dead run whose registry entry and lease are both lost.
        self.slow_sweep = sweep.random() < 0.5
        self.spared = None if self.slow_sweep else sweep.choice(("runs", "leases"))
        draw = self.stream("jobs")
        # Few tasks leave workers idle, which are in another state than busy ones: nothing of them is renewed.
        many = options.tasks or draw.choice((TASKS, TASKS, TASKS, 4))
        self.jobs = {f"t{number}": self._job(draw) for number in range(many)}
        self.policies = PolicyWorld(self)
        self.jobs |= self.policies.jobs
        self.common = sorted(self.jobs)  # of which the faults choose
        self.steering = SteeringWorld(self)
        self.jobs |= self.steering.jobs
        self.more_slots = self.policies.more_slots + self.steering.more_slots
        self.policy_acts = Counter()

    def stream(self, name):
        """Chance for one purpose, so that a change in one place leaves the others as they were."""
        return random.Random(f"{self.seed}/{name}")

    def _draw_failovers(self):
        """Seconds of the places that have another failover than the default: in a third of all worlds."""
        draw = self.stream("failovers")
        mixed = draw.random() < 1 / 3 if self.options.failovers is None else self.options.failovers
        places = draw.sample(self.places, draw.choice((1, 2))) if mixed else ()
        return {place: draw.choice((15.0, 20.0, 30.0, draw.uniform(15, 60))) for place in places}

    def settings_of(self, process):
        return Settings(name=process.name, max_tasks=SLOTS + self.more_slots, block_limit=None, samples=False,
                        slow_sweep=self.slow_sweep, hard_deadline=True, timing=self.timing,
                        failover=self.failovers.get(process.place, LEASE))  # fmt: skip

    def longest_silence(self, process):
        """After this long without an acknowledged renewal nothing of this process acts."""
        return process.timing.kill * 1.005 + SLACK

    def _job(self, draw):
        world = self.stream("traits")
        stubborn = world.choice((0, 0, 0.15)) if self.options.stubborn is None else self.options.stubborn
        stopping = world.choice((0, 0, 0.5)) if self.options.stopping is None else self.options.stopping
        poison = world.random() < 0.05
        return Job(
            seconds=min(self.options.longest, 20.0 * 30.0 ** draw.random()),
            stubborn=draw.random() < stubborn,
            stopping=draw.uniform(0.1, 10.0) if draw.random() < stopping else 0.0,
            poison=draw.random() < 0.1 and poison,
        )

    # -- the log --------------------------------------------------------------------------------------

    def note(self, who, *what):
        line = f"{self.loop.time:9.3f} {who or '-'!s:<7} {' '.join(map(str, what))}"
        self.digest.update(line.encode())
        self.digest.update(b"\n")
        self.lines += 1
        if self.tell is not None:
            self.tell(line)

    def after(self, seconds, fn):
        """The world's own doing; nothing after it was healed."""
        self.loop.later(None, seconds, self._unless_healed, fn)

    def healed_for(self, seconds):
        """Whether all has been well for that long."""
        return self.healed and self.loop.time > LENGTH + seconds

    def _unless_healed(self, fn):
        if not self.healed:
            fn()

    # -- a world's course -----------------------------------------------------------------------------

    def known_ids(self):
        """All tasks of which the evidence knows who queued them."""
        return [*self.jobs, *sorted(self.evidence.occurrences.ids)]

    def run(self):
        for place in self.places:
            self.boot(place)
        pushes = self.stream("pushes")
        for task_id in [task_id for task_id in self.jobs if task_id not in self.steering.jobs]:
            self.after(pushes.uniform(0, 60), lambda task_id=task_id: self.push(task_id))
        self.policies.begin()
        self.steering.begin()
        self._plan()
        gevent.sleep(LENGTH)
        self.heal()
        self._wait_for_all()
        self.evidence.at_rest(self.server.state, self.jobs)
        self.evidence.occurrences.at_rest(self.server.state)
        self.evidence.steering.at_rest(self.server.state)

    def _plan(self):
        plan = faults.draw(self.stream("plan"), length=LENGTH,
                           include=self.options.include, exclude=self.options.exclude)  # fmt: skip
        for fault in plan:
            faults.prepare(self, fault, random.Random(fault.seed))
            self.after(fault.at, lambda fault=fault: self._begin(fault))

    def _begin(self, fault):
        self.note(None, "FAULT", fault.kind)
        if fault.kind in ("flush", "recreate", "time_step"):
            self.epochs_may_fall = True
        lasts = faults.KINDS[fault.kind](self, random.Random(fault.seed))
        self.intervals.append((self.loop.time, self.loop.time + lasts, fault.kind))

    def heal(self):
        """No more faults; in a world of liveness those of two places stay for ever."""
        self.healed = True
        self.note(None, "healed")
        self.server.heal()
        core = self.places if self.options.mode == "safety" else self.places[:1]
        for place in core:
            self.links[place].heal()
            self.links[place].aims.clear()
        draw = self.stream("liveness")
        for place in self.places:
            process = self.processes.get(place)
            if place in core:
                if process is None:
                    self.boot(place)
                else:
                    process.end_hog()
                    process.cont()
                    self._need_monitor(process)
            else:
                for name in draw.sample(
                    ("deaf", "cut", "slow", "lose_replies", "lose_requests", "mute_feed"), 2
                ):
                    setattr(self.links[place], name, 1)
        for process in self.everyone:
            if not process.dead and self.processes.get(process.place) is not process:
                process.end_hog()
                process.cont()

    def _need_monitor(self, process):
        """The core has one: what was stopped and started may by now be queued behind a deaf worker."""
        living = process.worker.executor.living.values() if process.worker is not None else ()
        # A young one has not started its own yet; killed each time, it never would.
        young = self.loop.time - process.began < YOUNG
        if process.place == self.places[0] and not young and not any(run.cls is Monitor for run in living):
            process.kill("it has no monitor")

    def _wait_for_all(self):
        self.policies.end()
        until = self.loop.time + PATIENCE
        pushed = self.loop.time + SETTLE
        while self.loop.time < until:
            gevent.sleep(5.0)
            state = self.server.state
            words = {i: state.fields(i).get("state", b"").decode() for i in self.jobs}
            for task_id in self._monitors():
                if state.fields(task_id).get("state") == STOPPED.encode():
                    self.control(task_id, Command.START)
            # Stopped a moment before the healing: whoever claims it now may be one who hears nothing.
            # Or a failover lost its stop, and it is RUNNING without a run: doctor names what is missing.
            if self.options.mode == "liveness" and (core := self.processes.get(self.places[0])):
                self._need_monitor(core)
            for task_id, word in words.items():
                if word == STOPPED:
                    self.control(task_id, Command.START)
                elif not word and self.loop.time > pushed and task_id.encode() not in state.queue:
                    self.push(task_id)  # its hash is gone, or was never claimed
            self.policies.start_those_far_ahead()
            self.steering.resume_all()
            if (
                all(words[i] in job.finals for i, job in self.jobs.items())
                and not self._registered()
                and self.policies.over()
            ):
                return

    def _registered(self):
        state = self.server.state
        return any(i in state.runs or i in state.leases or i.encode() in state.queue for i in self.jobs)

    # -- processes ------------------------------------------------------------------------------------

    def boot(self, place):
        number = sum(process.place == place for process in self.everyone)
        process = Process(self, place, number)
        self.everyone.append(process)
        self.processes[place] = process
        process.start()
        self.note(process, "starts")

    def died(self, process):
        """A supervisor starts another in its place."""
        if self.processes.get(process.place) is process:
            del self.processes[process.place]
            pause = process.random.uniform(0.5, 20)
            self.loop.later(None, pause, self._boot_again, process.place)

    def _boot_again(self, place):
        if place not in self.processes:
            self.boot(place)

    def at_place(self, place, act):
        process = self.processes.get(place)
        if process is not None and not process.dead:
            act(process)

    def aim(self, place, verb, act):
        """Do it when the next call of `verb` is on its way; in half a minute at the latest."""
        link = self.links[place]
        entry = (verb, act)
        link.aims.append(entry)

        def give_up():
            if entry in link.aims:
                link.aims.remove(entry)
                self.at_place(place, act)

        self.after(30.0, give_up)

    def aimed(self, link, process, verb):
        for entry in [entry for entry in link.aims if entry[0] == verb]:
            link.aims.remove(entry)
            self.note(process, "caught in", verb)
            # A moment later: the request is on its way, the answer is not here.
            self.loop.later(None, link.random.uniform(0, 0.003), entry[1], process)

    def stop_process(self, process, seconds):
        if process.dead or process.stopped:
            return
        self.note(process, f"SIGSTOP for {seconds:.0f} s")
        process.stop()
        self.after(seconds, process.cont)

    def hog_process(self, process, seconds):
        runs = [living for living in self.evidence.living.values() if living.process is process]
        if runs and process.hog is None and not process.stopped:
            self.note(process, f"CPU loop for {seconds:.0f} s in", runs[0].task_id)
            process.begin_hog(runs[0])
            self.after(seconds, process.end_hog)

    def replace(self, process, early):
        if process.dead or process.leaving:
            return
        self.note(process, "SIGTERM")
        process.terminate()
        if early and self.processes.get(process.place) is process:
            self.boot(process.place)

    def toggle_monitor(self, draw, pause):
        """A monitor is stopped, and started a while later as an ordinary task."""
        known = self._monitors()
        if known:
            task_id = draw.choice(known)
            self.control(task_id, Command.STOP)
            self.after(pause, lambda: self.control(task_id, Command.START))

    def _monitors(self):
        return [i for i, value in self.server.state.values.items()
                if i not in self.jobs and value.get("function") == b"pytask/monitor"]  # fmt: skip

    # -- what processes and connections ask for -------------------------------------------------------

    native = NativePool

    def prestarted(self, process):
        return []

    def schedules(self):
        return self.policies.defined()

    def acknowledged(self, call, outcome):
        self.evidence.steering.acknowledged(call, outcome)

    def broken(self, process, what):
        self.evidence.broken(process, what)

    # -- clients --------------------------------------------------------------------------------------

    def push(self, task_id, anew=False):
        def client(state):
            if anew and not self.may_lose("hash"):
                return
            if anew:
                state.delete(task_id)
                self.evidence.deleted(task_id)
            if self.flushed():
                return  # it would be a new task to a Redis that lost everything; see `flush`
            (self.steering if task_id in self.steering.jobs else self.policies).write(state, task_id)
            state.queue.insert(0, task_id.encode())
            self.note(None, "pushed anew" if anew else "pushed", task_id)

        self.server.client(client)

    def control(self, task_id, command):
        def client(state):
            self.note(None, command, task_id)
            state.publish(f"task-{task_id}-control", command.encode())

        self.server.client(client)

    def stop_reason(self, task_id, word):
        """Written down by a client that has only redis-cli: while there is a run, and never over a stop."""

        def client(state):
            fields = state.fields(task_id)
            if "run" not in fields or fields.get("control") == Command.STOP.encode():
                return
            self.note(None, "HSET control", word, task_id)
            self.evidence.steering.reasons.asked(task_id, word)
            state.write(task_id, control=word)
            if word is Command.STOP:
                self.evidence.stops[task_id] = fields["run"].decode()

        self.server.client(client)

    def save(self, lag):
        """What a replica has, for a failover that comes; not before the marker was there (see the docs)."""
        if self.server.state.incarnation:
            self.snapshots[lag] = self.server.snapshot()

    def fail_over(self, snapshot, away, *, safe=False):
        """No server for `away` seconds, then another one."""
        self.server.go_down()

        def taken_over():
            self.server.fail_over(snapshot, safe=safe)
            if self.server.down:
                self.server.come_up()

        self.after(away, taken_over)

    def change_safely(self):
        """The server gets safe settings; once a renewal has seen them, another takes over, with all data."""
        server, number = self.server, self.server.failovers
        server.state.safe = True

        def once_seen():
            if server.failovers != number:
                return
            if server.down or not server.state.incarnation.get("safe"):
                self.after(1.0, once_seen)
                return
            self.note(None, "safe change of server")
            self.fail_over(server.snapshot(), 0.0, safe=True)

        once_seen()

    def lose_runs(self):
        def client(state):
            if self.may_lose("runs"):
                self.evidence.steering.slots.unregistered(state)
                state.runs.clear()

        self.server.client(client)

    def flush(self):
        def client(_):
            # A worker that has not reached Redis yet cannot know of the loss: it would store the schedules
            # of its code at once (docs/guarantees.md names it).
            if any(not process.last_ack for process in self.processes.values()) or not self.may_lose("runs"):
                return
            self.note(None, "FLUSHALL")
            self._flushed_until = self.loop.time + SETTLE
            self.server.flush()
            self.evidence.flushed()
            self.loop.later(None, SETTLE + 1, self._push_again)

        self.server.client(client)

    def flushed(self):
        """Whether runs that a loss of data has made unknown may live: no client may start their tasks."""
        return self.loop.time < self._flushed_until

    def _push_again(self):
        for task_id in self.jobs:
            if "state" not in self.server.state.fields(task_id):
                self.push(task_id)

    def may_lose(self, what):
        """The registry and a hash must not both go: then nothing in Redis knows of the run (.1.1, P2).

        Asked when a client decides, and again when the server takes it, which may be minutes later.
        """
        other = {"runs": "hash", "hash": "runs"}[what]
        now = self.loop.time
        if now - self._lost[other] < 2 * SETTLE:
            return False
        self._lost[what] = now
        return True

    # -- tasks ----------------------------------------------------------------------------------------

    def task_classes(self, process):
        own = {"work": self.task_class(process)}
        return own | self.policies.classes(process) | self.steering.classes(process)

    def task_class(self, process):
        return type("Work", (Work,), {"world": self, "process": process})


class Work(Task):
    """Acts every second."""

    world: World
    process: Process

    class Config:
        NAME = "work"

    def start(self):
        world, process = self.world, self.process
        job = world.jobs[self.id]
        if isinstance(job, PolicyJob) and job.restart:
            flap(self)
            return
        evidence, loop = world.evidence, world.loop
        until = loop.time + job.seconds
        crash_at = loop.time + process.random.uniform(1, 30) if job.poison else None
        living = evidence.begin(self.id, self._run.claim.run, process)
        try:
            while loop.time < until:
                try:
                    gevent.sleep(1.0)
                except gevent.GreenletExit:
                    if not job.stubborn:
                        raise
                if loop.time < until:
                    evidence.act(living)
                if crash_at is not None and loop.time > crash_at and not world.healed:
                    process.kill("poison")
                    wait_for_ever()
        finally:
            evidence.finish(living)

    def stop(self):
        seconds = self.world.jobs[self.id].stopping
        if seconds:
            gevent.sleep(seconds)


class _Errors(logging.Handler):
    """What the runtime logs with a traceback is a bug of it."""

    def __init__(self, world):
        super().__init__(logging.DEBUG if world.tell is not None else logging.ERROR)
        self._world = world

    def emit(self, record):
        world = self._world
        if record.exc_info:
            world.evidence.broken(world.loop.life, f"{record.getMessage()}: {record.exc_info[1]!r}")
        elif world.tell is not None:
            world.tell(f"{world.loop.time:9.3f} {world.loop.life or '-'!s:<7} log: {record.getMessage()}")


@contextlib.contextmanager
def _listening(world):
    log = logging.getLogger("pytask")
    before, handler = (log.level, log.propagate), _Errors(world)
    log.addHandler(handler)
    log.setLevel(logging.INFO if world.tell is not None else logging.ERROR)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.level, log.propagate = before


_kept = []  # worlds that are over: collected, they would unwind the greenlets of dead processes


def run_world(seed, options=None, tell=None):
    """One world; returns its `Outcome`.  The thread's own hub is untouched."""
    options = options or Options()
    began = time.perf_counter()
    with virtual_time() as loop:
        world = World(seed, loop, options, tell)
        gevent.get_hub().on_error = lambda _, error: world.evidence.broken(loop.life, f"{error!r}")
        with _listening(world):
            try:
                world.run()
            except Exception as error:
                world.evidence.broken(None, f"the world itself: {error!r}")
        loop.ended = True
    _kept.append(world)
    return Outcome(
        seed=seed, mode=options.mode, violations=world.evidence.violations,
        faults=Counter(name for _, _, name in world.intervals), pairs=_pairs(world.intervals),
        runs=len(world.evidence.order), acts=world.evidence.acts, refused=world.evidence.refused,
        adopted=world.evidence.adopted,
        tally=world.evidence.counts.tally + world.evidence.occurrences.tally + world.policy_acts
        + world.evidence.steering.tally,
        virtual=loop.time, seconds=time.perf_counter() - began, digest=world.digest.hexdigest(),
    )  # fmt: skip


def _pairs(intervals):
    found = Counter()
    for at, (begin, end, name) in enumerate(intervals):
        for other_begin, other_end, other in intervals[at + 1 :]:
            if other_begin < end and begin < other_end:
                found[tuple(sorted((name, other)))] += 1
    return found
