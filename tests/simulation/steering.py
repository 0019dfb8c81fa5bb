"""Tasks that save, wait at gates, take new data and share groups: what a world draws, and their classes."""

from __future__ import annotations

import attrs
import gevent

from pytask.domain.lifecycle import ENDED, ERROR
from pytask.domain.task import Task

HAVE = 0.75  # share of the worlds with such tasks
SLOTS = 3  # that a process has more, for them
GOOD, REFUSED, RAISES, DIES, LATE = "good", "refused", "raises", "dies", "late"
BAD = {REFUSED: "check() refuses it", RAISES: "on_reload() raises", DIES: "the run fails soon", LATE: "later"}


@attrs.frozen(kw_only=True)
class SteeredJob:
    """What one of these tasks does; the same attributes as a `Job`."""

    function: str
    rounds: int  # after which it ends, whatever runs they were in: what it saves is their number
    round: float  # seconds
    group: str = ""
    told: bool = False  # only by its data
    stopping: float = 0.0
    seconds: float = 0.0
    stubborn: bool = False
    poison: bool = False
    restart: str = ""
    delay: float = 0.0

    @property
    def reloads(self):
        """Whether clients write other data for it."""
        return self.function in ("steady", "inplace") and not self.group

    @property
    def finals(self):
        return (ENDED, ERROR) if self.reloads else (ENDED,)


RULES = {  # the limits of each function, in its `Config`
    "steady": {},
    "inplace": {},
    "solo": {"GROUP_LIMIT": 1},
    "crew": {"GROUP_LIMIT": 2, "GROUP": "team"},
    "few": {"LIMIT": 2},
    "rated": {"RATE": (3, 20.0)},
}
GROUPED = {"solo": ("a",), "crew": ("b", "b", "c"), "few": ("", "c"), "rated": ("", "d"), "steady": ("c",)}


def draw(random):
    """The jobs of one world, by id."""
    found = {}
    for number in range(random.randint(3, 4)):
        found[f"k{number}"] = SteeredJob(
            function=random.choice(("steady", "inplace")),
            rounds=random.randint(10, 90),
            round=random.uniform(2.0, 5.0),
            stopping=random.choice((0.0, 0.0, random.uniform(0.1, 4.0))),
        )
    for function in random.sample(sorted(GROUPED), 2):
        for number in range(random.randint(3, 4)):
            found[f"{function}{number}"] = SteeredJob(
                function=function,
                rounds=random.choice((random.randint(1, 6), random.randint(4, 25))),
                round=random.uniform(2.0, 5.0),
                group=random.choice(GROUPED[function]),
                told=function == "crew" and random.random() < 0.5,
                stopping=random.choice((0.0, 0.0, random.uniform(0.1, 4.0))),
            )
    return found


class Steered(Task):
    """Counts rounds, and saves their number; waits at a gate before each."""

    world: object
    process: object

    @classmethod
    def check(cls, data):
        if data["kind"] == REFUSED:
            raise ValueError(BAD[REFUSED])

    def start(self):
        world, evidence = self.world, self.world.evidence
        job, judge = world.jobs[self.id], evidence.steering
        living = evidence.begin(self.id, self._run.claim.run, self.process)
        try:
            saved = self.saved
            judge.began(living, saved, self.task_data)
            done = 0 if saved is None else saved["done"]
            while done < job.rounds:
                self._fail_if_due(living)
                judge.arrives(living)
                self.gate()
                judge.passed(living)
                evidence.act(living)
                judge.acted(living)
                done += 1
                world.steering.save(self, living, done)
                gevent.sleep(judge.trials.nap(living, job.round))
        finally:
            judge.over(living)
            evidence.finish(living)

    def _fail_if_due(self, living):
        if self.world.evidence.steering.trials.fails(living):
            raise self.Error("fails with this data")

    def stop(self, reason):
        judge = self.world.evidence.steering.reasons
        judge.told(self.id, self._run.ref.run, self.process, reason)
        seconds = self.world.jobs[self.id].stopping
        if seconds:
            gevent.sleep(seconds)


class InPlace(Steered):
    """Takes new data while it goes on."""

    def on_reload(self, data):
        random = self.world.steering.stream(self.id)
        gevent.sleep(random.choice((0.0, random.uniform(0.0, 2.0))))
        if data["kind"] == RAISES:
            raise ValueError(BAD[RAISES])
        self.world.evidence.steering.trials.took(self.id, self._run.ref.run, data)


def classes(world, process):
    """The task classes of one process, by name."""
    found = {}
    for name, given in RULES.items():
        config = type("Config", (), {"NAME": name} | given)
        base = InPlace if name == "inplace" else Steered
        found[name] = type(name.title(), (base,), {"Config": config, "world": world, "process": process})
    return found
