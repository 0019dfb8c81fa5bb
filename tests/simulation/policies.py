"""Delayed and flapping tasks: what a world draws, and the classes that workers run."""

from __future__ import annotations

import attrs
import gevent

from pytask import Restart
from pytask.domain.lifecycle import ENDED, ERROR
from pytask.domain.task import Task

FLAPS = 8  # failures of a task at most, before its last run
HAVE = 0.75  # share of the worlds with such tasks
SLOTS = 3  # that a process has more, for them


@attrs.frozen(kw_only=True)
class Policy:
    """A restart policy as the evidence knows it, which decides by its own rules."""

    on: str = "never"
    first: float = 1.0
    factor: float = 2.0
    cap: float = 300.0
    healthy: float = 600.0
    limit: int | None = None
    window: float | None = None
    timeout: float | None = None  # seconds of one run

    def longest(self, restarts):
        """Seconds of the wait before a restart; it is at least half of them."""
        return min(self.cap, self.first * self.factor ** (restarts - 1))

    @property
    def config(self):
        """The inner class `Config` of a task class."""
        kept = attrs.asdict(self, filter=lambda attribute, _: attribute.name not in ("on", "timeout"))
        found = {} if self.on == "never" else {"RESTART": Restart(self.on, **kept)}
        return found if self.timeout is None else found | {"TIMEOUT": self.timeout}


POLICIES = {
    "work": Policy(),
    "flappy": Policy(on="failure", first=1.0, cap=30.0, healthy=60.0),
    "limited": Policy(on="failure", first=2.0, factor=1.5, cap=20.0, healthy=40.0, limit=3),
    "windowed": Policy(on="failure", first=2.0, cap=8.0, healthy=50.0, limit=3, window=60.0),
    "timed": Policy(on="failure", first=1.0, cap=10.0, healthy=1000.0, limit=6, timeout=45.0),
    "always": Policy(on="always", first=3.0, cap=40.0, healthy=60.0),
}


@attrs.frozen(kw_only=True)
class PolicyJob:
    """What one of these tasks does; the same attributes as a `Job`."""

    function: str
    seconds: float = 20.0  # of the last run
    failures: int = 0  # runs that fail before it
    fatal: bool = False  # the last run fails for good
    restart: str = ""  # the hash field, written by the client
    delay: float = 0.0  # seconds from the push to `not_before`
    stubborn: bool = False
    stopping: float = 0.0
    poison: bool = False

    @property
    def finals(self):
        return (ENDED, ERROR)


def draw(random):
    """The jobs of one world, by id."""
    found = {}
    for number in range(random.randint(2, 4)):
        delay = random.choice((random.uniform(1, 60), random.uniform(30, 300), random.uniform(100, 500)))
        found[f"d{number}"] = PolicyJob(function="work", seconds=random.uniform(3, 40), delay=delay)
    for number in range(random.randint(3, 5)):
        function = random.choice([name for name in POLICIES if name != "work"])
        failures = random.randint(1, FLAPS)
        found[f"f{number}"] = PolicyJob(
            function=function,
            seconds=random.uniform(5, 40),
            failures=failures,
            fatal=function == "always" or random.random() < 0.2,
            stopping=random.choice((0.0, 0.0, random.uniform(0.1, 6.0))),
        )
    word = random.choice(("never", "failure", "always", "sometimes"))
    function = "flappy" if word == "never" else "work"
    found["o0"] = PolicyJob(
        function=function, restart=word, failures=random.randint(1, 4), fatal=word == "always",
        delay=random.choice((0.0, random.uniform(5, 200))),
    )  # fmt: skip
    return found


def flap(task):
    """The `start()` of a task that fails as often as its job says, then ends, or fails for good."""
    world, evidence = task.world, task.world.evidence
    job = world.jobs[task.id]
    living = evidence.begin(task.id, task._run.claim.run, task.process)
    evidence.counts.began(living, task.attempt)
    lasts = world.policies.last_of(task.id, POLICIES[job.function])
    until = world.loop.time + (job.seconds if lasts is None else lasts)
    try:
        while world.loop.time < until:
            gevent.sleep(min(1.0, until - world.loop.time))
            if world.loop.time < until:
                evidence.act(living)
        _over(task, living, job, lasts is None)
    finally:
        evidence.finish(living)


def _over(task, living, job, last):
    flapped = task.world.policies.flapped
    flapped[task.id] += not last
    kind = "failed"
    if last:
        kind = "fatal" if job.fatal else "ended"
    elif "always" in (job.function, job.restart) and flapped[task.id] % 2:
        kind = "ended"
    task.world.evidence.counts.over(living, kind)
    if kind == "fatal":
        raise task.Fatal("for good")
    if kind == "failed":
        raise task.Error("flaps")


class Flapping(Task):
    """Fails as often as its job says."""

    world: object
    process: object

    def start(self):
        flap(self)

    def stop(self):
        seconds = self.world.jobs[self.id].stopping
        if seconds:
            gevent.sleep(seconds)


class Tick(Task):
    """Started by a schedule."""

    world: object
    process: object

    def start(self):
        world, evidence = self.world, self.world.evidence
        living = evidence.begin(self.id, self._run.claim.run, self.process)
        evidence.occurrences.began(living, self.scheduled)
        until = world.loop.time + world.policies.length_of_tick(self.id)
        try:
            while world.loop.time < until:
                gevent.sleep(min(1.0, until - world.loop.time))
                if world.loop.time < until:
                    evidence.act(living)
            evidence.counts.over(living, "ended")
        finally:
            evidence.finish(living)


def classes(world, process):
    """The task classes of one process, by name."""
    kinds = {name: (Flapping, policy.config) for name, policy in POLICIES.items() if name != "work"}
    kinds["tick"] = (Tick, {})
    found = {}
    for name, (base, given) in kinds.items():
        config = type("Config", (), {"NAME": name} | given)
        found[name] = type(name.title(), (base,), {"Config": config, "world": world, "process": process})
    return found


def length(random, policy):
    """Seconds of a run that fails: short, or near the time after which it counts as healthy."""
    edge = policy.timeout or policy.healthy
    near = edge if edge < 200 else 30.0
    return random.choice((
        random.uniform(0.0, 3.0), random.uniform(0.0, 3.0), random.uniform(3.0, 30.0),
        near - random.uniform(1.0, 3.0), near + random.uniform(1.0, 3.0),
    ))  # fmt: skip
