"""Random lives of schedules, told to the in-memory twin and to a server: both must do and answer alike."""

import random
import re

import pytest

from pytask.domain.firing import Definition, Firing, Start
from pytask.domain.lifecycle import Trigger
from pytask.domain.messages import Command
from pytask.domain.record import Change, RunRef
from pytask.domain.schedules import Overlap
from tests.contract.benches import MemoryBench

NAMES = ("s", "t")
BASE = 1_700_000_000_000  # ms: a firing does not look at the clock, only a claim of a delayed task does
CLOCKS = {"epoch", "last_update", "start_at", "history"}
STEPS = 250


class Teller:
    """Draws one step after another, and says it to both benches."""

    def __init__(self, seed, benches):
        self.random = random.Random(seed)
        self.benches = benches
        self.count = 0
        self.refs = []
        self.now = BASE

    def step(self):
        name = self.random.choice([n for n in dir(self) if n.startswith("do_")])
        act = getattr(self, name)()
        return name, [act(bench) for bench in self.benches]

    def name(self):
        return self.random.choice(NAMES)

    def do_fire(self):
        name, overlap = self.name(), self.random.choice(list(Overlap))
        self.now += 60_000
        allow = overlap is Overlap.ALLOW
        starts = tuple(
            Start(
                f"{name}@{self.random.randrange(9)}" if allow else name,
                self.now + number,
                number,
                self.random.choice(["", "", "1764579600.5"]),
            )
            for number in range(self.random.randrange(4))
        )
        scores = [bench.times().get(name, 0.0) for bench in self.benches]
        assert scores[0] == scores[1]
        firing = Firing(
            name=name,
            score=scores[0] + self.random.choice([0, 0, 0, 1]),
            paused=self.random.random() < 0.3,
            overlap=overlap,
            starts=starts,
            skipped=("{}",) * self.random.randrange(2),
            next=self.now + 60_000,
            recheck=self.now + 5_000,
        )
        return lambda bench: bench.store.schedules.fire([firing, firing])

    do_fire_again = do_fire_once_more = do_fire

    def do_write(self):
        name, field = (
            self.name(),
            self.random.choice(["paused", "behind", "fires", "function", "data", "every"]),
        )
        value = self.random.choice(["", "0", "1", "error", "f", "g", str(self.now), "x"])
        return lambda bench: bench.set_schedule(name, self.now, **{"function": "f", field: value})

    do_write_more = do_write

    def do_define(self):
        name = self.name()
        fields = {"function": self.random.choice("fg"), "every": self.random.choice(["60", "90"])}
        data = self.random.choice([b"", b"{}"])
        how = {"lost": self.random.random() < 0.3, "marker": self.random.choice(["", "", "other"])}
        definition = Definition(name=name, fields=fields, data=data, origin="code", **how)
        return lambda bench: bench.store.schedules.define(definition)

    def do_fault(self):
        name = self.name()
        return lambda bench: bench.store.schedules.fault(name, bench.times().get(name, 0), "why")

    def do_delete(self):
        name = self.name()
        return lambda bench: bench.delete_schedule(name)

    def do_delete_task(self):
        name = self.name()
        return lambda bench: bench.delete(name)

    def do_foreign(self):
        name = self.name()
        fields = self.random.choice([{"function": "h"}, {"local": "w"}, {"function": "f", "state": "ENDED"}])
        return lambda bench: None if bench.is_string(name) else bench.write(name, **fields)

    def do_string(self):
        name = self.name()
        return lambda bench: None if bench.exists(name) else bench.set_string(name)

    def do_claim(self):
        self.count += 1
        ref = RunRef(self.name(), f"w:{self.count}")
        self.refs.append(ref)
        request = [bench.request(ref, functions=("f", "g", "h")) for bench in self.benches]
        return lambda bench: [one.verdict for one in bench.store.claim(request[0])]

    do_claim_more = do_claim

    def do_commit(self):
        ref = self.random.choice(self.refs[-4:] or [RunRef("s", "w:0")])
        trigger = self.random.choice([Trigger.END, Trigger.FAIL, Trigger.STOP, Trigger.RELEASE])
        change = Change(ref.id, ref.run, b'{"event":"x","data":null}', trigger)
        return lambda bench: bench.store.commit([change])

    do_commit_more = do_commit

    def do_control(self):
        name, command = self.name(), self.random.choice([Command.STOP, Command.START])
        return lambda bench: bench.store.control(command, [name])


def state(bench):
    """All that is kept, without times of the clock."""
    ids = [*NAMES, *(f"{name}@{number}" for name in NAMES for number in range(9))]
    hashes = {}
    for task_id in ids:
        fields = bench.hash(task_id)
        moves = re.sub(r"^\d+ ", "", fields.get("history", ""), flags=re.MULTILINE)
        known = {name: value for name, value in fields.items() if name not in CLOCKS}
        hashes[task_id] = (bench.is_string(task_id), known, moves)
    return {
        "hashes": hashes,
        "queue": bench.queue(),
        "timers": set(bench.timers()),
        "runs": bench.runs(),
        "schedules": {name: bench.schedule(name) for name in NAMES},
        "times": bench.times(),
        "occurrences": {name: bench.occurrences(name) for name in NAMES},
    }


@pytest.mark.parametrize("seed", range(2))
def test_a_random_history_has_the_same_end_in_memory_and_on_a_server(real, seed):
    memory = MemoryBench(real.retention)
    teller, seen = Teller(seed, [memory, real]), set()
    for number in range(STEPS):
        name, answers = teller.step()
        assert answers[0] == answers[1], (number, name)
        expected, found = state(memory), state(real)
        for part, content in expected.items():
            assert found[part] == content, (number, name, part)
        seen |= {line.get("reason", "") for lines in expected["occurrences"].values() for line in lines}
    assert "" in seen
    assert seen & {"overlap", "taken"}
