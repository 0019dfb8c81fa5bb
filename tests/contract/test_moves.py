"""Every state with every trigger the store has a verb for: legal moves happen, others change nothing."""

import time

import pytest

from pytask.domain.lifecycle import RESTING, RUNNING, WAIT, State, Trigger, destination, sources
from pytask.domain.messages import Command
from pytask.domain.record import Adoption, Change, Expiry, RunRef, Verdict

OLD = 1000  # microseconds: a lease nobody renewed for decades


def settle(trigger):
    def verb(bench, ref):
        return bench.store.commit([Change(ref.id, ref.run, b'{"event":"x","data":null}', trigger)])[0]

    return verb


def expire(**options):
    def verb(bench, ref):
        seen = bench.leases().get(ref.id, OLD)
        return bench.store.expire([Expiry(id=ref.id, run=ref.run, seen=seen, **options)])[0]

    return verb


def expire_stopped(bench, ref):
    if ref.id in bench.runs():
        bench.write(ref.id, control="stop")
    return expire()(bench, ref)


def claim(bench, ref):
    bench.lpush(ref.id)
    (answer,) = bench.claim(bench.ref(ref.id))
    # The copy of the id is dealt with in any case; a claim's fence is the registry, not the queue.
    assert ref.id not in bench.queue()
    return answer.verdict


def renew(bench, ref):
    return bench.store.renew([ref]).get(ref, Verdict.OK)


def reload(bench, ref):
    return bench.store.reload(ref, bench.ref(ref.id), "w", 1000).verdict


def control(command):
    def verb(bench, ref):
        return bench.store.control(command, [ref.id])[0]

    return verb


def repair(bench, ref):
    if bench.hash(ref.id)["state"] == RUNNING:
        # The state that E16 is for: RUNNING in the hash, and nobody runs it.
        bench.drop("runs")
        bench.drop("leases")
        bench.erase(ref.id, "run")
        bench.write(ref.id, last_update="1.5")
    cursor, mended = bench.store.repair(0, 90)
    while cursor:
        cursor, more = bench.store.repair(cursor, 90)
        mended += more
    return Verdict.OK if mended else Verdict.STATE


def adopt(bench, ref):
    """E12 of a run that was claimed after what Redis remembers."""
    epoch = int(bench.hash(ref.id)["epoch"]) + 1
    newer = bench.ref(ref.id)
    (verdict,) = bench.store.adopt([Adoption(ref.id, newer.run, epoch)], "w")
    assert bench.hash(ref.id)["epoch"] == str(epoch)
    assert bench.runs()[ref.id] == newer.run
    return verdict


VERBS = {
    Trigger.CLAIM: claim,
    Trigger.RENEW: renew,
    Trigger.END: settle(Trigger.END),
    Trigger.FAIL: settle(Trigger.FAIL),
    Trigger.STOP: settle(Trigger.STOP),
    Trigger.RELEASE: settle(Trigger.RELEASE),
    Trigger.EXPIRE: expire(),
    Trigger.EXPIRE_STOPPED: expire_stopped,
    Trigger.POISON: expire(crashes=4, poison=True),
    Trigger.RELOAD: reload,
    Trigger.CANCEL: control(Command.STOP),
    Trigger.START: control(Command.START),
    Trigger.REQUEST: control(Command.RELOAD),
    Trigger.REPAIR: repair,
    Trigger.ADOPT: adopt,
}
PAIRS = [(state, trigger) for trigger in VERBS for state in State]


def bring(bench, state):
    """A task in `state`; the ref of its last (or only) run."""
    ref = bench.running("a")
    if state is not RUNNING:
        trigger = {WAIT: Trigger.RELEASE}.get(state) or next(
            t for t in (Trigger.END, Trigger.FAIL, Trigger.STOP) if destination(t) is state
        )
        assert settle(trigger)(bench, ref) is Verdict.OK
        bench.drop("queue")
    bench.events()
    return ref


@pytest.mark.parametrize(("state", "trigger"), PAIRS, ids=str)
def test_every_pair(bench, state, trigger):
    ref = bring(bench, state)
    before = bench.dump()
    verdict = VERBS[trigger](bench, ref)
    if state in sources(trigger):
        assert verdict in (Verdict.OK, Verdict.REQUESTED)
        assert_came_to(bench, destination(trigger))
    elif (state, trigger) == (RUNNING, Trigger.CANCEL):
        # There the same word is a control request.
        assert verdict is Verdict.REQUESTED
        bench.assert_registered(ref)
    else:
        assert verdict not in (Verdict.OK, Verdict.REQUESTED)
        assert bench.dump() == before
        assert bench.events() == []


def assert_came_to(bench, state):
    if state is RUNNING:
        bench.assert_registered(RunRef("a", bench.runs()["a"]))
    else:
        bench.assert_at_rest("a", state)


@pytest.mark.parametrize("state", RESTING)
def test_a_pushed_id_of_an_unknown_function_is_parked_from_any_resting_state(bench, state):
    bring(bench, state)
    bench.write("a", function="g")
    bench.lpush("a")
    assert bench.claim(bench.ref("a"))[0].verdict is Verdict.UNKNOWN
    assert bench.store.park("a", "f", b"{}") is Verdict.MOVED  # its function has changed
    assert bench.store.park("a", "g", b'{"event":"parked","data":null}') is Verdict.OK
    bench.assert_at_rest("a", destination(Trigger.PARK))
    assert bench.parking("g") == ["a"]


def test_a_running_task_is_not_parked(bench):
    ref = bench.running("a")
    bench.lpush("a")
    before = bench.dump()
    assert bench.store.park("a", "f", b'{"event":"parked","data":null}') is Verdict.MOVED
    assert bench.dump() == before
    bench.assert_registered(ref)


@pytest.mark.parametrize("word", ["", "RUNNING", "SLEEPING"])
def test_a_state_that_nobody_owns_counts_as_waiting(bench, word):
    bench.push("a", state=word)
    assert bench.claim(bench.ref("a"))[0].verdict is Verdict.OK
    bench.assert_registered(RunRef("a", bench.runs()["a"]))


@pytest.mark.wire
def test_repair_registers_a_run_that_the_registry_forgot(bench):
    ref = bench.running("a")
    bench.drop("runs")
    bench.drop("leases")
    cursor, mended = bench.store.repair(0, 90)
    while cursor:
        cursor, more = bench.store.repair(cursor, 90)
        mended += more
    assert mended == 1
    bench.assert_registered(ref)
    assert bench.queue() == []


def test_repair_hands_on_only_what_is_old(bench):
    bench.write("young", function="f", state="RUNNING", last_update=str(time.time()))
    bench.write("old", function="f", state="RUNNING", last_update="5")
    bench.write("ancient", function="f", state="RUNNING")
    bench.set_string("other")
    cursor, mended = bench.store.repair(0, 90)
    while cursor:
        cursor, more = bench.store.repair(cursor, 90)
        mended += more
    assert mended == 2
    assert set(bench.queue()) == {"old", "ancient"}
    assert bench.hash("young")["state"] == "RUNNING"
    bench.assert_at_rest("old", WAIT)
    assert {(i, name, data["reason"]) for i, name, data in bench.events()} == {
        ("old", "requeued", "nobody ran it"),
        ("ancient", "requeued", "nobody ran it"),
    }
