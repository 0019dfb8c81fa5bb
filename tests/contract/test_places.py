"""A task that waits is in exactly one place; any other is in none.

The places: queue, parking list, timers, paused set, and the waiting lists of limits.

Random histories of what workers, monitors and clients do; no client breaks a rule of docs/protocol.md here,
and an id that is pushed while it waits is claimed in the same step.  See test_model.py for those who do.
"""

from itertools import count

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from pytask.domain.lifecycle import RESTING, RUNNING, Trigger
from pytask.domain.limits import Rule
from pytask.domain.messages import Command
from pytask.domain.record import Adoption, Change, Expiry, RunRef, Verdict
from tests.contract.benches import X

IDS = ("a", "b", "c")
KNOWN, UNKNOWN = "f", "g"
tasks = st.sampled_from(IDS)
functions = st.sampled_from((KNOWN, KNOWN, UNKNOWN))
times = st.sampled_from((None, None, "5", "9999999999"))
GROUPS = {"a": "x", "b": "x", "c": ""}
RULES = {KNOWN: Rule(group_limit=1, limit=2)}
ENTRIES = ("group:x", f"function:{KNOWN}")
ENDS = (Trigger.END, Trigger.FAIL, Trigger.STOP, Trigger.RELEASE, Trigger.RETRY)


class Places(RuleBasedStateMachine):
    bench = None

    def __init__(self):
        super().__init__()
        self.bench.clear()
        self.numbers = count(1)

    # -- clients ------------------------------------------------------------------------------------------

    @rule(task_id=tasks, function=functions, not_before=times)
    def push(self, task_id, function, not_before):
        fields = self.bench.hash(task_id)
        if task_id in self.bench.queue() + self.bench.parking(UNKNOWN):
            return  # a copy in a list is one place more, until a worker meets it
        if any(task_id in self.bench.line(entry) for entry in ENTRIES):
            function = KNOWN  # the list of another function would only find out when it is its turn
        more = {} if not_before is None else {"not_before": not_before}
        self.bench.push(task_id, function, group=GROUPS[task_id], **more)
        if not_before is None:
            self.bench.erase(task_id, "not_before")
        if fields:
            self.claim()

    @rule(task_id=tasks, command=st.sampled_from(Command))
    def control(self, task_id, command):
        self.bench.store.control(command, [task_id])

    # -- workers ------------------------------------------------------------------------------------------

    @rule()
    def claim(self):
        for source in (None, UNKNOWN):
            ids = list(dict.fromkeys(raw.decode() for raw in self.bench.store.peek(10, source)))
            refs = [RunRef(i, f"s:{next(self.numbers)}") for i in ids]
            known = (KNOWN,) if source is None else (KNOWN, UNKNOWN)
            answers = self.bench.claim(*refs, source=source, functions=known, rules=RULES) if refs else []
            for one in answers:
                if one.verdict is Verdict.UNKNOWN:
                    assert self.bench.store.park(one.id, one.function, X) is Verdict.OK
            if source is None and next(self.numbers) % 2:
                return  # what is parked stays parked for now

    @rule(task_id=tasks, trigger=st.sampled_from(ENDS), delay=st.sampled_from((0.0, 1000.0)))
    def end(self, task_id, trigger, delay):
        run = self.bench.runs().get(task_id)
        if run is not None:
            change = Change(task_id, run, X, trigger, {}, delay=delay if trigger is Trigger.RETRY else 0.0)
            assert self.bench.store.commit([change]) == [Verdict.OK]

    @rule(early=st.none() | tasks)
    def due(self, early):
        if early in self.bench.timers():
            self.bench.set_timer(early, 5)
        self.bench.store.due()

    @rule()
    def serve(self):
        self.bench.look_again()
        self.bench.store.serve(RULES)

    @rule(task_id=tasks)
    def adopt(self, task_id):
        """The data went back to a time before this run was claimed."""
        fields = self.bench.hash(task_id)
        # (The copy in a parking list is dropped by the worker that meets it.)
        if fields and task_id not in self.bench.parking(UNKNOWN):
            epoch = int(fields.get("epoch", 0)) + 1
            self.bench.store.adopt([Adoption(task_id, f"s:{next(self.numbers)}", epoch)], "w")

    # -- monitors -----------------------------------------------------------------------------------------

    @rule(task_id=tasks, poison=st.booleans())
    def expire(self, task_id, poison):
        run = self.bench.runs().get(task_id)
        if run is not None:
            seen = self.bench.leases()[task_id]
            self.bench.store.expire([Expiry(id=task_id, run=run, seen=seen, poison=poison)])

    @rule(task_id=tasks)
    def repair(self, task_id):
        """A run that nobody knows any more."""
        if task_id in self.bench.runs():
            for name in ("runs", "leases"):
                self.bench.drop_entry(name, task_id)
            self.bench.erase(task_id, "run")
        cursor = None
        while cursor != 0:
            cursor, _ = self.bench.store.repair(cursor or 0, -10)

    # -- what must hold -----------------------------------------------------------------------------------

    @invariant()
    def each_task_that_waits_is_in_one_place(self):
        queue, timers, paused = self.bench.queue(), self.bench.timers(), self.bench.paused()
        parked = [raw for name in (KNOWN, UNKNOWN) for raw in self.bench.parking(name)]
        for task_id in IDS:
            fields = self.bench.hash(task_id)
            word = fields.get("state", "WAIT" if fields else "")
            found = queue.count(task_id) + parked.count(task_id) + (task_id in timers)
            found += task_id in paused and word != RUNNING
            found += sum(task_id in self.bench.line(entry) for entry in ENTRIES)
            assert found == (word == "WAIT"), (task_id, fields, queue, parked, timers)
            assert (task_id in paused) == ("paused" in fields), task_id
            assert (task_id in self.bench.runs()) == (word == RUNNING)
            if "state" in fields:
                indexed = {state for state in RESTING if task_id in self.bench.index(state)}
                assert indexed == ({word} - {RUNNING}), task_id

    @invariant()
    def the_slots_are_those_of_the_runs(self):
        assert self.bench.slots("group:x") == {i for i in self.bench.runs() if GROUPS[i]}


def test_a_task_that_waits_is_in_exactly_one_place(bench):
    run_machine(
        type("Places", (Places,), {"bench": bench}),
        settings=settings(
            max_examples=200 if hasattr(bench, "state") else 30,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            database=None,
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
        ),
    )
