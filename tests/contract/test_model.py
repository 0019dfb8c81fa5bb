"""The script contract, by model: random histories on the twin and on every real server, side by side.

After every step the answers, all that is kept and all that was published must be alike, and the invariants of
the protocol must hold.  A short, derandomized run is part of the suite; the full one of 2,000 histories of 50
steps on each server is `PYTASK_MODEL=full python dev.py test tests/contract/test_model.py`.  PYTASK_MODEL=N
stands for N histories, PYTASK_MODEL_SEED=S draws others.  A failure prints its history as a program, as it
was found; with PYTASK_MODEL_SHRINK=1 it is made as short as can be first, which takes minutes.
"""

import os
from itertools import count

import attrs
import pytest
import redis
from hypothesis import HealthCheck, Phase, note, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from pytask.adapters.memory.state import number
from pytask.domain.errors import FailoverSuspected
from pytask.domain.figures import WorkerInfo
from pytask.domain.lifecycle import Trigger
from pytask.domain.messages import Command, IdFault
from pytask.domain.record import (
    Adoption,
    Change,
    Confirmation,
    Expiry,
    InForce,
    RunRef,
    Tail,
    Trial,
    Verdict,
)
from tests.contract.benches import KEEP, SOON, MemoryBench, RedisBench
from tests.support.servers import is_available, start_server

FULL = (2000, 50)
SHORT = (20, 40)
ASKED = os.environ.get("PYTASK_MODEL", "")
EXAMPLES, STEPS = FULL if ASKED == "full" else (int(ASKED), FULL[1]) if ASKED else SHORT
SHRINK = bool(os.environ.get("PYTASK_MODEL_SHRINK"))
PHASES = tuple(Phase) if SHRINK else (Phase.explicit, Phase.generate)  # shrinking takes minutes
SEED = os.environ.get("PYTASK_MODEL_SEED")

IDS = ("a", "b", "c", "d")
FUNCTIONS = ("f", "g")
CLOCKS = {
    "epoch",
    "last_update",
    "crash_at",
    "lost_at",
    "start_at",
    "history",
    "settling",
    "reload_refused",
    "paused",
    "reloaded",
}  # each server's own TIME: compared as set or not
ENDS = (None, Trigger.END, Trigger.FAIL, Trigger.STOP, Trigger.RELEASE, Trigger.RETRY, Trigger.ROLL_BACK)
FUTURE = "9999999999.5"
TIMES = ("5", FUTURE, "soon")
RUBBISH = (
    "",
    "RUNNING",
    "WAIT",
    "ENDED",
    "PAUSED",
    "stop",
    "reload",
    "hop",
    "-1",
    "1e400",
    "nan",
    "9" * 20,
    "x",
)
FIELDS = (
    "state",
    "run",
    "control",
    "epoch",
    "crashes",
    "attempts",
    "last_run",
    "local",
    "last_update",
    "start_at",
    "function",
    "not_before",
    "restart",
    "restarts",
    "paused",
)
X = b'{"event":"x","data":null}'
NOTHING = "da39a3ee5e6b4b0d3255bfef95601890afd80709"  # SHA-1 of no data

tasks = st.sampled_from(IDS)
names = st.sampled_from(FUNCTIONS)
few = st.lists(tasks, min_size=1, max_size=4)
recent = st.integers(0, 7)  # one of the last runs, the newest first
faults = st.sampled_from((IdFault.NO_HASH, IdFault.WRONG_TYPE, IdFault.LOCAL, IdFault.CONTROL))
kept = st.sampled_from((None, 0, 500))
servers = st.sampled_from(("", "own", "own", "other"))  # which one a claim or an expiry is meant for
sources = st.sampled_from((None, None, None, "g"))


def picture(kept):
    """What must be alike on both: times as present or absent."""
    hashes = {}
    for task_id, (is_string, fields, ttl) in kept["hashes"].items():
        # The rest of a delay is a time of the server, too; others are written by the rules.
        clocks = CLOCKS if fields.get("not_before") in (*TIMES, None) else CLOCKS | {"not_before"}
        plain = {n: ("set" if n in clocks else v) for n, v in fields.items()}
        hashes[task_id] = (is_string, plain, ttl is not None)
    notes = [(entry["id_hex"], entry["reason"]) for entry in kept["rejected"]]
    names = ("leases", "timers", "paused", "workers", "marker")
    return kept | {"hashes": hashes, "rejected": notes} | {name: sorted(kept[name]) for name in names}


def received(bench):
    """Events since the last look, without the epoch."""

    def plain(data):
        return (
            {k: v for k, v in data.items() if k not in ("epoch", "delay")} if isinstance(data, dict) else data
        )

    return [(task_id, name, plain(data)) for task_id, name, data in bench.events()]


class Contract(RuleBasedStateMachine):
    """One history.  `spoiled` are ids whose keys a client wrote over, for which less is promised."""

    server = None

    def __init__(self):
        super().__init__()
        self.server.raw.flushall()
        self.server.store.renew([])
        self.server.events()
        self.benches = (MemoryBench(KEEP), self.server)
        self.numbers = count(1)
        self.known = [RunRef("a", "nobody:0")]
        self.spoiled = set()
        self.scribbled = set()  # those of them whose hash a client wrote over
        self.on_hold = set()  # what waits and is paused, as of the last step
        self.stops = {}  # id -> the run that is asked to stop, as of the last step
        self.epochs = [{}, {}]
        self.tails = []  # claims of what stood at the tail, the newest first
        self.told = {}  # run -> the id for which such a claim has made it

    def both(self, act):
        """The answer, which must be alike."""
        ours, theirs = (act(bench) for bench in self.benches)
        assert ours == theirs, f"twin: {ours}\nserver: {theirs}"
        note(f"# {theirs}")
        return theirs

    def ref(self, task_id, worker=0):
        self.known.insert(0, RunRef(task_id, f"session-{worker}:{next(self.numbers)}"))
        return self.known[0]

    def old(self, back):
        return self.known[min(back, len(self.known) - 1)]

    # -- clients --------------------------------------------------------------------------------------

    @initialize(first=few)
    def begin(self, first):
        for task_id in first:
            self.push(task_id, "f", "1", None)

    @rule(
        task_id=tasks,
        function=names,
        data=st.sampled_from(("1", "{", "x" * 20)),
        crashes=st.sampled_from((None, "1", "2")),
        not_before=st.sampled_from((None, None, None, *TIMES)),
    )
    def push(self, task_id, function, data, crashes, not_before=None):
        more = {} if crashes is None else {"crashes": crashes}
        if not_before is not None:
            more["not_before"] = not_before

        def act(bench):
            if bench.is_string(task_id):
                bench.delete(task_id)
            bench.push(task_id, function, data, **more)

        self.both(act)

    @rule(task_id=tasks, copies=st.integers(1, 3))
    def push_copies(self, task_id, copies):
        self.both(lambda bench: [bench.lpush(task_id) for _ in range(copies)])

    @rule(task_id=tasks, again=st.booleans())
    def delete(self, task_id, again):
        self.both(lambda bench: bench.delete(task_id))
        self.stops.pop(task_id, None)
        for epochs in self.epochs:
            epochs.pop(task_id, None)  # what counted its runs is gone
        if again:
            self.push(task_id, "f", "1", None)

    @rule(task_id=tasks, name=st.sampled_from(FIELDS), value=st.sampled_from(RUBBISH))
    def write_rubbish(self, task_id, name, value):
        self.scribble(task_id)
        self.both(lambda bench: None if bench.is_string(task_id) else bench.write(task_id, **{name: value}))

    @rule(task_id=tasks, name=st.sampled_from(FIELDS))
    def erase_field(self, task_id, name):
        self.scribble(task_id)
        self.both(lambda bench: None if bench.is_string(task_id) else bench.erase(task_id, name))

    def scribble(self, task_id):
        self.spoiled.add(task_id)
        self.scribbled.add(task_id)

    @rule(task_id=tasks, word=st.sampled_from(("stop", "stop", "reload")))
    def request(self, task_id, word):
        """As a client may that has nothing but redis-cli: while there is a run, and never over a stop."""
        fields = self.benches[0].hash(task_id) if not self.benches[0].is_string(task_id) else {}
        if "run" in fields and fields.get("control") != "stop":
            self.both(lambda bench: bench.write(task_id, control=word))

    @rule(task_id=tasks)
    def make_another_type(self, task_id):
        self.scribble(task_id)

        def act(bench):
            bench.delete(task_id)
            bench.set_string(task_id)

        self.both(act)

    @rule(name=st.sampled_from(("runs", "leases")), task_id=st.none() | tasks)
    def drop_registry(self, name, task_id):
        self.spoiled.update(IDS if task_id is None else {task_id})
        self.both(lambda bench: bench.drop(name) if task_id is None else bench.drop_entry(name, task_id))

    @rule(task_id=tasks)
    def let_expire(self, task_id):
        self.both(lambda bench: bench.set_ttl(task_id, 500) if bench.exists(task_id) else None)

    # -- workers --------------------------------------------------------------------------------------

    @rule(
        worker=st.integers(0, 2),
        limit=st.integers(1, 5),
        functions=st.sampled_from((("f",), ("f", "g"))),
        source=sources,
        quarantine=st.integers(0, 2),
        server=servers,
    )
    def peek_and_claim(self, worker, limit, functions, source, quarantine, server):
        raw_ids = self.both(lambda bench: bench.store.peek(limit, source))
        ids = list(dict.fromkeys(raw.decode() for raw in raw_ids))
        if ids:
            self.claim([self.ref(i, worker) for i in ids], functions, source, quarantine, server)

    @rule(ids=few, back=recent, quarantine=st.integers(0, 2))
    def claim_late(self, ids, back, quarantine):
        """Ids that moved meanwhile, copies within one batch, and a repeat of an old claim."""
        self.claim([*map(self.ref, ids), self.old(back)], ("f", "g"), None, quarantine)

    @rule(
        worker=st.integers(0, 2),
        limit=st.integers(0, 5),
        functions=st.sampled_from((("f",), ("f", "g"))),
        quarantine=st.integers(0, 2),
        server=servers,
        back=st.none() | st.integers(0, 3),
    )
    def claim_tail(self, worker, limit, functions, quarantine, server, back):
        """What stands at the tail: a new call; or an earlier one that is repeated, closed, or comes late."""
        if back is None or back >= len(self.tails):
            self.tails.insert(0, Tail(f"session-{worker}", next(self.numbers), limit))
            for _ in range(limit):
                next(self.numbers)
            tail = self.tails[0]
        else:
            tail = attrs.evolve(self.tails[back], count=min(limit, self.tails[back].count))
        options = {"functions": functions, "quarantine": quarantine, "max_data": 10}

        def act(bench):
            found = of_server(bench, server, lambda word: bench.claim_tail(tail, **options, server=word))
            return answers_of(found), bench.store.ahead

        before = self.benches[1].runs()
        answers, _ = self.both(act)
        for task_id, run, verdict, *_ in answers:
            ref = RunRef(task_id, run)
            if verdict is Verdict.OK:
                assert task_id not in before
                assert run not in self.told, "the run of another call"
                self.told[run] = task_id
                self.known.insert(0, ref)
            elif verdict is Verdict.ALREADY:  # exactly what this call has claimed before
                assert before[task_id] == run
                assert self.told[run] == task_id

    def claim(self, refs, functions, source, quarantine, server=""):
        options = {"functions": functions, "source": source, "quarantine": quarantine, "max_data": 10}

        def act(bench):
            found = of_server(bench, server, lambda word: bench.claim(*refs, **options, server=word))
            return answers_of(found)

        before = self.benches[1].queue()
        answers = self.both(act)
        if source is None and len(before) <= 128:
            rotated = {a[0] for a in answers if a[2] is Verdict.ROTATED}  # a second ref of it is DUPLICATE
            taken = {
                a[0]
                for a in answers
                if a[2] in (Verdict.OK, Verdict.DUPLICATE, Verdict.DELAYED, Verdict.PAUSED)
            }
            self.assert_taken_whole(taken - rotated)

    def assert_taken_whole(self, ids):
        """I9: no copy of a claimed id stays in a short queue."""
        assert not ids & set(self.benches[1].queue())

    @rule(
        task_id=tasks,
        reason=faults,
        source=sources,
    )
    def reject(self, task_id, reason, source):
        self.both(lambda bench: bench.store.reject(task_id.encode(), reason, source))

    @rule(task_id=tasks, function=names, source=sources)
    def park(self, task_id, function, source):
        if not self.benches[0].is_string(task_id):
            self.both(lambda bench: bench.store.park(task_id, function, X, source))

    @rule(ids=st.lists(tasks, max_size=2), limit=st.integers(len(IDS), 10))
    def due(self, ids, limit):
        """Some have waited for long enough.

        The server's store goes on past those that wait no more until it has moved one: with a smaller limit
        the two would get there in a different number of calls (see test_timers.py).
        """

        def act(bench):
            for at, task_id in enumerate(ids):
                if task_id in bench.timers():
                    bench.set_timer(task_id, at + 1)
            bench.store._due = ()  # what an earlier call has read: the answer depends on it
            found = bench.store.due(limit)
            return found.moved, found.timer is None, found.timer == 0, found.schedule

        self.both(act)

    @rule(task_id=tasks)
    def leave_in_the_timers(self, task_id):
        """As a worker does that does not know them."""
        self.spoiled.add(task_id)
        self.both(lambda bench: bench.set_timer(task_id, 7))

    @rule()
    def parked(self):
        self.both(lambda bench: sorted(bench.store.parked()))

    @rule(backs=st.lists(recent, max_size=5, unique=True))
    def renew(self, backs):
        refs = list(dict.fromkeys(map(self.old, backs)))
        before = [bench.marker().get("id") for bench in self.benches]
        self.both(lambda bench: bench.store.renew(refs))
        for bench, marker in zip(self.benches, before, strict=True):
            found = bench.store.incarnation
            assert found.id == bench.marker()["id"]
            assert marker in (None, found.id)
            assert found.server
            assert found.age == -1

    @rule()
    def lose_the_marker(self):
        self.both(lambda bench: bench.drop("incarnation"))

    @rule(
        backs=st.lists(recent, min_size=1, max_size=3),
        later=st.sampled_from((-1, 0, 1, 5000)),
        paused=st.booleans(),
        counted=st.integers(0, 2),
    )
    def adopt(self, backs, later, paused, counted):
        """Runs that their owner still has, newer or older than what Redis tells of the id."""
        refs = list(map(self.old, backs))
        self.on_hold -= {ref.id for ref in refs}

        def act(bench):
            known = [number({"epoch": bench.hash(r.id).get("epoch", "0").encode()}, "epoch") for r in refs]
            found = [
                Adoption(
                    r.id,
                    r.run,
                    max(0, e + later),
                    paused,
                    crashes=counted,
                    restarts=counted,
                    failed="5" * counted,
                )
                for r, e in zip(refs, known, strict=True)
            ]
            return bench.store.adopt(found, "w")

        self.both(act)

    @rule(task_id=tasks, function=names, data=st.sampled_from((None, b"1")), paused=st.booleans())
    def restore(self, task_id, function, data, paused):
        self.both(lambda bench: bench.store.restore(task_id, function, data, paused=paused))

    @rule(
        backs=st.lists(recent, min_size=1, max_size=3), word=st.sampled_from((Command.PAUSE, Command.START))
    )
    def confirm(self, backs, word):
        told = [Confirmation(ref.id, ref.run, word) for ref in map(self.old, backs)]
        self.both(lambda bench: bench.store.confirm(told))

    @rule(
        names=st.lists(st.sampled_from((*FUNCTIONS, "*")), max_size=2),
        resume=st.sampled_from((True, True, False)),
    )
    def hold_functions(self, names, resume):
        def act(bench):
            return bench.store.hold_functions(names, resume=resume), sorted(bench.store.held_functions())

        self.both(act)

    @rule(task_id=tasks)
    def leave_in_the_paused_set(self, task_id):
        self.spoiled.add(task_id)
        self.both(lambda bench: bench.set_paused(task_id))

    @rule(worker=st.integers(0, 2))
    def runs_of(self, worker):
        def act(bench):
            cursor, found = bench.store.runs_of(f"session-{worker}:")
            while cursor:
                cursor, more = bench.store.runs_of(f"session-{worker}:", cursor)
                found += more
            leases = bench.leases()
            assert all(one.lease == leases.get(one.id, 0) for one in found)
            return sorted((one.id, one.run, one.crashes) for one in found)

        self.both(act)

    @rule(
        ends=st.lists(
            st.tuples(recent, st.sampled_from(ENDS), kept, st.booleans()),
            min_size=1,
            max_size=5,
        )
    )
    def commit(self, ends):
        """Ends and events of living runs and of zombies, the same one twice in a batch, too."""
        changes = []
        for back, trigger, keep, local in ends:
            ref = self.old(back)
            fields = {"output": b"1"} if trigger is Trigger.END else {}
            if trigger is Trigger.RETRY:
                fields = {"error": "lost", "restarts": "2", "restart_times": "5"}
            alone = local and trigger not in (Trigger.RETRY, Trigger.ROLL_BACK)
            trial = Trial(rejected=NOTHING) if trigger is Trigger.ROLL_BACK else None
            changes.append(
                Change(ref.id, ref.run, X, trigger, fields, keep, alone, 1000 * len(changes), trial=trial)
            )
        owners = self.benches[1].runs()
        hashes = {c.id: self.benches[1].hash(c.id).get("run") for c in changes}
        verdicts = self.both(lambda bench: bench.store.commit(changes))
        for change, verdict in zip(changes, verdicts, strict=True):
            if verdict is Verdict.OK:  # I5: an accepted write is of the run that was there
                assert owners.get(change.id, hashes[change.id]) == change.run

    @rule(back=recent, repeat=st.booleans())
    def commit_again(self, back, repeat):
        self.commit([(back, Trigger.END, 500, False)] * (1 + repeat))

    @rule(back=recent, new=st.none() | recent, lived=st.sampled_from((None, b"1", b"")), tried=st.booleans())
    def reload(self, back, new, lived, tried):
        old = self.old(back)
        repeated = None if new is None else self.old(new)
        run = repeated if repeated and repeated.id == old.id else self.ref(old.id)

        def act(bench):
            force = None if lived is None else InForce("f", lived, tried)
            found = bench.store.reload(old, run, "w", 10, lived=force)
            return found.verdict, found.function, found.data, found.crashes, found.oversize, found.trial

        self.both(act)

    @rule(back=recent, path=st.sampled_from(("$", "$.a")), meanwhile=st.booleans())
    def refuse(self, back, path, meanwhile):
        ref = self.old(back)

        def act(bench):
            judged = bench.store.preview(ref, 10)
            if meanwhile:
                judged = attrs.evolve(judged, data=b"9", oversize=0)
            return judged.verdict, judged.data, bench.store.refuse(judged, path, "no fit", InForce("f", b"5"))

        self.both(act)

    @rule(
        back=recent,
        number=st.integers(1, 2),
        lived=st.sampled_from((None, b"1", b"")),
        tried=st.booleans(),
    )
    def accept(self, back, number, lived, tried):
        ref = self.old(back)

        def act(bench):
            force = None if lived is None else InForce("f", lived, tried)
            judged = bench.store.preview(ref, 1000)
            taken = bench.store.accept(judged, f"{ref.run}#{number}", "w", force)
            return judged.verdict, taken.verdict, taken.trial

        self.both(act)

    @rule(back=recent, mark=st.sampled_from(("", "#1")), repeated=st.booleans())
    def settle(self, back, mark, repeated):
        ref = self.old(back)
        self.both(lambda bench: bench.store.settle(ref, mark and ref.run + mark, repeated=repeated))

    @rule(task_id=tasks, again=st.none() | recent)
    def open_local(self, task_id, again):
        """Its id is a fresh uuid in life: a hash is there only when the call is repeated."""
        ref = self.ref(task_id) if again is None else self.old(again)
        fresh = not self.benches[0].exists(ref.id) or self.benches[0].runs().get(ref.id) == ref.run
        if fresh and not self.benches[0].is_string(ref.id):
            self.both(lambda bench: bench.store.open_local(ref, "f", b"1", "w").verdict)

    @rule(session=st.sampled_from("st"), leaves=st.booleans())
    def show_up(self, session, leaves):
        info = WorkerInfo(session=session, name="w", host="h", pid=1, running=0)

        def act(bench):
            return bench.store.leave(session) if leaves else bench.store.announce(info) is None

        self.both(act)

    @rule(within=st.sampled_from((-10, 1000)))
    def recent_workers(self, within):
        self.both(lambda bench: sorted(bench.store.recent_workers(within), key=lambda info: info.session))

    # -- control and the monitor ----------------------------------------------------------------------

    @rule(command=st.sampled_from(Command), ids=few, age=st.sampled_from((None, 0.0, 1000.0)))
    def control(self, command, ids, age):
        """`age`: seconds within which a start is known to be newer than this message."""
        ages = () if age is None else [age] * len(ids)
        if command is Command.START:
            self.on_hold -= set(ids)
        self.both(lambda bench: bench.store.control(command, ids, ages))

    @rule()
    def suspects(self):
        def act(bench):
            return sorted((s.id, s.run, s.crashes) for s in bench.store.suspects(-1000, 0))

        self.both(act)

    @rule(
        backs=st.lists(recent, min_size=1, max_size=3),
        stale=st.booleans(),
        crashes=st.integers(0, 4),
        poison=st.booleans(),
        server=servers,
    )
    def expire(self, backs, stale, crashes, poison, server):
        """The worker of these runs crashed: silent, or renewed since the monitor looked."""

        def act(bench):
            leases = bench.leases()
            found = [
                Expiry(
                    id=r.id,
                    run=r.run,
                    seen=leases.get(r.id, 5) - stale,
                    crashes=crashes,
                    poison=poison,
                    proven=crashes % 2 > 0,
                )
                for r in map(self.old, backs)
            ]
            return of_server(bench, server, lambda word: bench.store.expire(found, word))

        self.both(act)

    @rule(expiry=st.sampled_from((-10, 1000)))
    def repair(self, expiry):
        self.both(lambda bench: sum_of_steps(bench, expiry))

    @rule()
    def tidy(self):
        self.both(lambda bench: bench.store.tidy("m", 100))
        self.both(lambda bench: bench.store.retire())

    # -- what must hold -------------------------------------------------------------------------------

    @invariant()
    def all_that_must_hold(self):
        """One look at each side for all of it: looking costs more than the steps do."""
        kept = [bench.kept(IDS, FUNCTIONS) for bench in self.benches]
        self.assert_alike(*map(picture, kept))
        for one, epochs in zip(kept, self.epochs, strict=True):
            fields = {task_id: fields for task_id, (_, fields, _) in one["hashes"].items()}
            self.assert_running_is_one_thing(one["runs"], one["leases"], fields)
            self.assert_epochs_grow(epochs, fields)
        self.assert_nothing_paused_is_started({i: fields for i, (_, fields, _) in kept[1]["hashes"].items()})
        self.assert_no_stop_is_lost({i: fields for i, (_, fields, _) in kept[1]["hashes"].items()})

    def assert_nothing_paused_is_started(self, hashes):
        """What waits and is paused goes on only by a start."""
        for task_id in self.on_hold - self.spoiled:
            assert hashes[task_id].get("state") != "RUNNING", task_id
        self.on_hold = {i for i, fields in hashes.items() if "paused" in fields and "run" not in fields}

    def assert_no_stop_is_lost(self, hashes):
        """A stop request is kept until the task is at rest: no step queues, restarts or reloads it before.

        (A start applies only to a task at rest.)
        """
        for task_id, run in self.stops.items():
            fields = hashes[task_id]
            asked = "run" in fields and fields.get("control") == "stop"
            at_rest = fields.get("state") in ("STOPPED", "ENDED", "ERROR")
            assert not fields or asked or at_rest or task_id in self.scribbled, (task_id, run, fields)
        self.stops = {
            task_id: fields["run"]
            for task_id, fields in hashes.items()
            if "run" in fields and fields.get("control") == "stop" and task_id not in self.scribbled
        }

    def assert_alike(self, ours, theirs):
        for part in ours:
            assert ours[part] == theirs[part], f"{part}\ntwin:   {ours[part]}\nserver: {theirs[part]}"
        assert received(self.benches[0]) == received(self.benches[1])

    def assert_running_is_one_thing(self, runs, leases, hashes):
        """I3 and I7, for ids that no client wrote over."""
        assert len(set(runs.values())) == len(runs) or self.spoiled
        for task_id in set(IDS) - self.spoiled:
            assert (task_id in runs) == (task_id in leases), task_id
            fields = hashes[task_id]
            if "run" in fields:
                assert fields["state"] == "RUNNING", task_id
                assert fields["run"] == runs.get(task_id), task_id
            assert ("run" in fields) == (fields.get("state") == "RUNNING"), task_id

    def assert_epochs_grow(self, epochs, hashes):
        """I4, for ids that no client wrote over."""
        for task_id in set(IDS) - self.spoiled:
            fields = hashes[task_id]
            if "epoch" not in fields:
                epochs.pop(task_id, None)  # deleted, and with it what counted its runs
                continue
            run, epoch = epochs.get(task_id, (None, -1))
            now, current = int(fields["epoch"]), fields.get("run")
            # Only while a run goes on is its epoch one number: `adopt` here puts back what ended, too,
            # under an epoch that no worker would claim for it.
            assert now == epoch if current and current == run else now >= epoch, task_id
            epochs[task_id] = current, now


def of_server(bench, server, act):
    """The answer to a request for the server that is there; refused where it is for another."""
    own = bench.marker().get("server", "")
    if server != "other":
        return act(own if server == "own" else "")
    with pytest.raises(FailoverSuspected):
        act("0" * 40)
    return []


def answers_of(claims):
    """All but the epochs and the delays, which are times."""
    return [(c.id, c.run, c.verdict, c.function, c.data, c.crashes, c.oversize, c.fields) for c in claims]


def sum_of_steps(bench, expiry):
    cursor, mended = bench.store.repair(0, expiry)
    while cursor:
        cursor, more = bench.store.repair(cursor, expiry)
        mended += more
    return mended


@pytest.fixture(scope="module", params=["redis62", "redis", "valkey", "cluster"])
def place(request):
    kind = "valkey" if request.param == "cluster" else request.param
    if not is_available(kind):
        pytest.skip(f"no {kind} server for this platform")
    clustered = request.param == "cluster"
    with start_server(kind, *(["--cluster-enabled", "yes"] if clustered else [])) as server:
        at = {"host": server.host, "port": server.port, "socket_timeout": SOON}
        raw = redis.Redis(**at)
        if clustered:
            raw.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            while raw.cluster("INFO")["cluster_state"] != "ok":
                assert server.alive
        client = redis.Redis(**at)
        bench = RedisBench(client, raw, KEEP, "{pt}:" if clustered else "")
        yield bench
        bench.close()


def test_the_twin_and_the_server_tell_one_history(place):
    machine = type("Contract", (Contract,), {"server": place})
    run_machine(
        seed(int(SEED))(machine) if SEED else machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=SEED is None,
            database=None,
            print_blob=True,
            phases=PHASES,
            suppress_health_check=list(HealthCheck),
        ),
    )
