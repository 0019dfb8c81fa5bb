"""A stop is replaced by nothing but its being carried out, or a start that came later.

The table below has every script that writes `control`, or ends what it stands for.  In each, a stop stands in
the hash that the script was not told of: it was written while the request was on its way, as by redis-cli.
"""

import pytest

from pytask.domain.lifecycle import ENDED, ERROR, STOPPED, Trigger
from pytask.domain.messages import Command
from pytask.domain.record import Adoption, Change, RunRef, Verdict
from tests.contract.benches import KEEP

EVENT = b'{"event":"x","data":null}'
PENDING = "still asked, of the same run"
NEW = "new:1"


def end(trigger, event=EVENT, **options):
    return lambda bench, ref: bench.store.commit([Change(ref.id, ref.run, event, trigger, **options)])


def claim_of_a_copy(bench, ref):
    bench.lpush("a")
    return [claim.verdict for claim in bench.claim(bench.ref("a"))]


def of_a_lost_registry(act):
    def lost(bench, ref):
        bench.drop("runs")
        return act(bench, ref)

    return lost


def adopted(run, more):
    def adopt(bench, ref):
        if run:  # Redis went back to a time before this run was claimed
            bench.erase("a", "run")
            bench.write("a", run="before:1")
            bench.drop("runs")
        epoch = int(bench.hash("a")["epoch"]) + more
        return bench.store.adopt([Adoption("a", run or ref.run, epoch)], "w")

    return adopt


def repair_of_a_run_of_nobody(bench, ref):
    bench.drop("runs")
    bench.drop("leases")
    bench.erase("a", "run")
    bench.write("a", last_update="1")
    return [bench.store.repair(0, 90)[1]]


def park(bench, ref):
    bench.lpush("a")
    return [bench.store.park("a", "f", EVENT)]


def reload_lost_on_the_way(bench, ref):
    """The first answer was lost, and the stop came after it: the new run has it."""
    bench.write("a", control="reload")
    first = bench.store.reload(ref, RunRef("a", NEW), "w", 100)
    bench.write("a", control="stop")
    again = bench.store.reload(ref, RunRef("a", NEW), "w", 100)
    return [first.verdict, again.verdict, *bench.store.renew([RunRef("a", NEW)]).values()]


# step: (what it does, what it answers, what becomes of the task)
TABLE = {
    "renew": (lambda b, r: list(b.store.renew([r]).values()), ["stop"], PENDING),
    "stop": (lambda b, _: b.store.control(Command.STOP, ["a"]), ["REQUESTED"], PENDING),
    "request": (lambda b, _: b.store.control(Command.RELOAD, ["a"]), ["REQUESTED"], PENDING),
    "start": (lambda b, _: b.store.control(Command.START, ["a"]), ["STATE"], PENDING),
    "claim of a copy": (claim_of_a_copy, ["DUPLICATE"], PENDING),
    "claim, registry lost": (of_a_lost_registry(claim_of_a_copy), ["DUPLICATE"], PENDING),
    "park": (park, ["MOVED"], PENDING),
    "restore": (lambda b, _: [b.store.restore("a", "f", b"1")], ["STATE"], PENDING),
    "an event": (end(None), ["OK"], PENDING),
    "end": (end(Trigger.END), ["OK"], ENDED),
    "fail": (end(Trigger.FAIL), ["OK"], ERROR),
    "stopped": (end(Trigger.STOP), ["OK"], STOPPED),
    "release": (end(Trigger.RELEASE), ["OK"], STOPPED),
    "release of a doubtful claim": (end(Trigger.RELEASE, b""), ["OK"], STOPPED),
    "release, registry lost": (of_a_lost_registry(end(Trigger.RELEASE)), ["OK"], STOPPED),
    "reload": (lambda b, r: [b.store.reload(r, RunRef("a", NEW), "w", 100).verdict], ["stop"], PENDING),
    "reload, answer lost": (reload_lost_on_the_way, ["OK", "ALREADY", "stop"], PENDING),
    "expire": (lambda b, r: b.store.expire([b.expiry(r, poison=True)]), ["OK"], STOPPED),
    "expire, registry lost": (
        of_a_lost_registry(lambda b, r: b.store.expire([b.expiry(r)])), ["OK"], STOPPED,
    ),
    "repair of the registry": (of_a_lost_registry(lambda b, _: [b.store.repair(0, 90)[1]]), [1], PENDING),
    "repair of a run of nobody": (repair_of_a_run_of_nobody, [1], STOPPED),
    "adopt of the same run": (adopted(None, 0), ["OK"], PENDING),
    "adopt after a rollback": (adopted(NEW, 1), ["OK"], PENDING),
}  # fmt: skip


@pytest.mark.parametrize("step", TABLE)
def test_a_stop_written_behind_a_script_that_is_on_its_way_is_not_lost(bench, step):
    act, answer, becomes = TABLE[step]
    ref = bench.running("a")
    bench.write("a", control="stop")
    bench.events()
    assert act(bench, ref) == answer
    fields = bench.hash("a")
    if becomes is PENDING:
        assert (fields["state"], fields["control"]) == ("RUNNING", "stop")
        assert "run" in fields
        return
    assert (fields["state"], fields.get("control"), fields.get("run")) == (becomes, None, None)
    assert (bench.queue(), bench.runs(), bench.leases()) == ([], {}, {})
    assert "a" in bench.index(becomes)
    if becomes is STOPPED and step != "stopped":
        assert bench.events() == [("a", "stopped", None)]


@pytest.mark.wire
def test_a_release_that_finds_a_stop_says_so_in_the_history_and_is_repeated_safely(bench):
    ref, other = bench.running("a"), bench.running("b")
    bench.write("a", control="stop")
    bench.write("b", control="reload")  # it reads its data anew wherever it runs next
    changes = [Change(one.id, one.run, EVENT, Trigger.RELEASE) for one in (ref, other)]
    assert bench.store.commit(changes) == ["OK", "OK"]
    assert [bench.hash(i)["state"] for i in "ab"] == ["STOPPED", "WAIT"]
    assert bench.queue() == ["b"]
    assert bench.hash("a")["history"].split()[1:4] == ["RUNNING", "STOPPED", "stop"]
    before = bench.dump()
    assert bench.store.commit(changes) == ["ALREADY", "ALREADY"]
    assert bench.dump() == before


def test_a_stop_found_by_a_release_keeps_the_hash_as_long_as_any_stop(bench):
    ref = bench.running("a")
    bench.write("a", control="stop")
    bench.store.commit([Change("a", ref.run, EVENT, Trigger.RELEASE)])
    assert bench.expires_in("a", KEEP.stopped)


def test_a_start_that_came_later_replaces_a_stop(bench):
    ref = bench.running("a")
    bench.write("a", control="stop")
    bench.store.commit([Change("a", ref.run, EVENT, Trigger.RELEASE)])
    assert bench.store.control(Command.START, ["a"]) == [Verdict.OK]
    again = bench.ref("a")
    assert bench.claim(again)[0].won
    assert bench.store.renew([again]) == {}
