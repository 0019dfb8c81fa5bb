"""Long random histories, told to the in-memory twin and to a server: both must answer alike."""

import hashlib
import json
import random
import re

import attrs
import pytest

from pytask.domain.lifecycle import RESTING, Trigger
from pytask.domain.messages import Command, IdFault
from pytask.domain.record import Change, Confirmation, Expiry, InForce, RunRef, Save, Trial
from tests.contract.benches import MemoryBench

IDS = "abcdef"
KEEP = (None, 0, 500)
ENDS = (None, Trigger.END, Trigger.FAIL, Trigger.STOP, Trigger.RELEASE, Trigger.ROLL_BACK)
CLOCKS = {"epoch", "last_update", "crash_at", "lost_at", "start_at", "saved_at", "paused", "reloaded"}
SILENCE = re.compile(r"(?<=silent%20for%20)\d+")  # seconds, each by its own clock
STEPS = 200
LOOK = 6  # steps between two comparisons of the whole state, which are slow


def sha1(data):
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


class Teller:
    """Draws one step after another, and says it to both benches."""

    def __init__(self, seed, benches):
        self.random = random.Random(seed)
        self.benches = benches
        self.known = []
        self.count = 0

    def ref(self, task_id):
        self.count += 1
        self.known.append(RunRef(task_id, f"s{self.count % 3}:{self.count}"))
        return self.known[-1]

    def old_ref(self):
        """A run of before; one of the last is likely to live."""
        recent = self.known[-12:] or [RunRef("a", "nobody:0")]
        return self.random.choice(recent)

    def some(self, make, most=4):
        return [make() for _ in range(self.random.randint(1, most))]

    def step(self):
        name = self.random.choice([n for n in dir(self) if n.startswith("do_")])
        act = getattr(self, name)()
        return name, [act(bench) for bench in self.benches]

    def do_push(self):
        fields = {"function": self.random.choice("ffg"), "data": self.random.choice(["1", "y" * 7, "x" * 20])}
        if self.random.random() < 0.2:
            fields["crashes"] = self.random.choice(["1", "soon"])
        if self.random.random() < 0.2:
            fields["state"] = self.random.choice(["RUNNING", "what"])
        task_id = self.random.choice(IDS)

        def act(bench):
            if bench.is_string(task_id):
                bench.delete(task_id)
            bench.push(task_id, **fields)

        return act

    do_push_more = do_push

    def do_tamper(self):
        task_id = self.random.choice(IDS)
        kind = self.random.choice(["delete", "string", "lpush", "drop runs", "drop leases", "erase run"])

        def act(bench):
            if kind == "delete":
                bench.delete(task_id)
            elif kind == "string":
                bench.delete(task_id)
                bench.set_string(task_id)
            elif kind == "lpush":
                bench.lpush(task_id)
            elif kind == "erase run":
                if not bench.is_string(task_id):
                    bench.erase(task_id, "run")
            elif self.seldom:
                bench.drop(kind.split()[1])

        self.seldom = self.random.random() < 0.1
        return act

    def do_claim(self):
        refs = self.some(lambda: self.ref(self.random.choice(IDS)), 6)
        if self.known and self.random.random() < 0.2:
            refs.append(self.old_ref())
        functions = self.random.choice([["f"], ["f", "g"]])
        source = "g" if "g" in functions and self.random.random() < 0.3 else None
        options = {
            "functions": functions,
            "source": source,
            "max_data": 10,
            "quarantine": self.random.randint(0, 2),
        }

        def act(bench):
            claims = bench.claim(*refs, **options)
            return [(c.verdict, c.function, c.data, c.crashes, c.oversize, c.fields) for c in claims]

        return act

    do_claim_more = do_claim

    def do_renew(self):
        refs = list(dict.fromkeys(self.some(self.old_ref)))
        return lambda bench: bench.store.renew(refs)

    def do_save(self):
        refs = list(dict.fromkeys(self.some(self.old_ref)))
        saves = {
            ref.run: Save(ref.id, ref.run, self.random.randint(0, 5), b"%d" % self.random.randint(0, 99))
            for ref in refs
            if self.random.random() < 0.7
        }
        return lambda bench: bench.store.renew(refs, saves)

    def do_save_now(self):
        ref = self.old_ref()
        one = Save(ref.id, ref.run, self.random.randint(0, 9), b"%d" % self.random.randint(0, 99))
        return lambda bench: bench.store.save(one)

    def do_start_fresh(self):
        ids = self.some(lambda: self.random.choice(IDS))
        return lambda bench: bench.store.control(Command.START, ids, fresh=True)

    def do_commit(self):
        def change():
            ref = self.old_ref()
            trigger, keep = self.random.choice(ENDS), self.random.choice(KEEP)
            fields = {"output": b"1"} if trigger is Trigger.END else {}
            if self.random.random() < 0.4:
                fields = {"saved": b"" if trigger is Trigger.END else b"[3]", **fields}
            payload = b'{"event":"%d","data":null}' % self.random.randint(0, 999)
            trial = (
                Trial(rejected=sha1(b"1"), good=self.random.choice([None, b"", b"7"]))
                if trigger is Trigger.ROLL_BACK
                else None
            )
            local = self.random.random() < 0.1
            return Change(ref.id, ref.run, payload, trigger, fields, keep, local, trial=trial)

        changes = self.some(change)
        return lambda bench: bench.store.commit(changes)

    def do_reload(self):
        old = self.old_ref()
        new = self.ref(old.id) if self.random.random() < 0.8 else self.old_ref()
        new = RunRef(old.id, new.run)

        tried = self.random.random() < 0.3
        lived = self.random.choice([None, *(InForce("f", one, tried) for one in (b"1", None, b"2"))])
        saved = self.random.choice([b"", b"", b"9"])

        def act(bench):
            claim = bench.store.reload(old, new, "w", 10, saved, lived=lived)
            return claim.verdict, claim.function, claim.data, claim.oversize, claim.trial

        return act

    def do_refuse(self):
        ref, path = self.old_ref(), self.random.choice(["$", "$.a"])
        judged = self.random.choice([None, b"1", b"y" * 7])

        def act(bench):
            claim = bench.store.preview(ref, 10)
            if judged is not None and claim.won:
                claim = attrs.evolve(claim, data=judged, oversize=0)
            dump = claim.verdict, claim.function, claim.data, claim.crashes, claim.oversize
            return dump, bench.store.refuse(
                attrs.evolve(claim, function="f"), path, "no fit", InForce("f", b"5")
            )

        return act

    def do_accept(self):
        ref, number = self.old_ref(), self.random.randint(1, 2)
        tried = self.random.random() < 0.3
        lived = self.random.choice([None, InForce("f", b"1", tried), InForce("f", None, tried)])

        def act(bench):
            claim = bench.store.preview(ref, 1000)
            taken = bench.store.accept(claim, f"{ref.run}#{number}", "w", lived)
            return claim.verdict, taken.verdict, taken.trial

        return act

    def do_settle(self):
        ref, mark = self.old_ref(), self.random.choice(["", "#1"])
        repeated = self.random.random() < 0.3
        return lambda bench: bench.store.settle(ref, mark and ref.run + mark, repeated=repeated)

    def do_open_local(self):
        ref = self.old_ref() if self.random.random() < 0.5 else self.ref(self.random.choice(IDS))

        def act(bench):
            return None if bench.is_string(ref.id) else bench.store.open_local(ref, "f", b"1", "w").verdict

        return act

    def do_control(self):
        command = self.random.choice(list(Command))
        ids = self.some(lambda: self.random.choice(IDS))
        return lambda bench: bench.store.control(command, ids)

    def do_expire(self):
        ref, poison = self.old_ref(), self.random.random() < 0.3
        moved = self.random.random() < 0.2
        crashes = self.random.randint(0, 4)

        def act(bench):
            seen = bench.leases().get(ref.id, 5) + moved
            expiry = Expiry(
                id=ref.id, run=ref.run, seen=seen, crashes=crashes, poison=poison, proven=crashes % 2 > 0
            )
            return bench.store.expire([expiry])

        return act

    def do_confirm(self):
        ref, word = self.old_ref(), self.random.choice([Command.PAUSE, Command.START])
        return lambda bench: bench.store.confirm([Confirmation(ref.id, ref.run, word)])

    def do_hold_functions(self):
        name, resume = self.random.choice("fg*"), self.random.random() < 0.7
        return lambda bench: bench.store.hold_functions([name], resume=resume)

    def do_park(self):
        task_id, function = self.random.choice(IDS), self.random.choice("gf")

        def act(bench):
            if bench.is_string(task_id):
                return None
            return bench.store.park(task_id, function, b'{"event":"parked","data":null}')

        return act

    def do_reject(self):
        raw = self.random.choice(IDS).encode()
        reason = self.random.choice([IdFault.NO_HASH, IdFault.WRONG_TYPE, IdFault.CONTROL])
        return lambda bench: bench.store.reject(raw, reason)

    def do_repair(self):
        return lambda bench: bench.store.repair(0, 90)[1]

    def do_parked(self):
        return lambda bench: sorted(bench.store.parked())

    def do_suspects(self):
        return lambda bench: {(s.id, s.run) for s in bench.store.suspects(-100, 0)}


def picture(bench):
    """All that must be alike: everything but the times."""
    hashes = {}
    for task_id in IDS:
        fields = {name: value for name, value in bench.hash(task_id).items() if name not in CLOCKS}
        if "history" in fields:
            lines = [line.partition(" ")[2] for line in fields["history"].splitlines()]
            fields["history"] = [SILENCE.sub("", line) for line in lines]
        if "reload_refused" in fields:
            kept = json.loads(fields["reload_refused"])
            fields["reload_refused"] = list(kept), kept["path"], kept["reason"]
        if "settling" in fields:
            fields["settling"] = fields["settling"] == bench.hash(task_id).get("epoch")
        hashes[task_id] = (bench.is_string(task_id), fields, bench.ttl(task_id) is not None)
    lists = (
        sorted(bench.paused()),
        bench.queue(),
        bench.parking("g"),
        bench.parking("f"),
        [n["id_hex"] for n in bench.rejected()],
    )
    # Entries of hashes that a client deleted or wrote over may stay; those of the states there are must be.
    indexed = {s: {i for i in bench.index(s) if hashes[i][1].get("state") == s} for s in RESTING}
    return hashes, lists, bench.runs(), set(bench.leases()), indexed


def dump(bench):
    return [
        (i, name, (data or {}).get("run") if isinstance(data, dict) else data)
        for i, name, data in bench.events()
    ]


@pytest.mark.parametrize("seed", range(4))
def test_the_twin_answers_as_the_server_does(real, seed):
    twin = MemoryBench(real.retention)
    teller = Teller(seed, [twin, real])
    history = []
    for at in range(STEPS):
        name, (ours, theirs) = teller.step()
        history.append((name, theirs))
        assert ours == theirs, history[-LOOK:]
        if at % LOOK == 0:
            assert picture(twin) == picture(real), history[-LOOK:]
    assert dump(twin) == dump(real)
