"""E12, the marker of the data, and verbs that only the known server may answer."""

import pytest

from pytask.domain.errors import FailoverSuspected
from pytask.domain.lifecycle import Trigger
from pytask.domain.record import Adoption, Change, Incarnation, RunRef, Verdict


def failed_over(bench, *, safe=False):
    if not bench.fail_over(safe=safe):
        pytest.skip("this server tells no replication id")


def epoch_of(bench, task_id):
    return int(bench.hash(task_id)["epoch"])


def adopt(bench, ref, epoch):
    return bench.store.adopt([Adoption(ref.id, ref.run, epoch)], "me")[0]


def forget(bench, ref):
    """Redis goes back to before the claim: the hash as the client wrote it, and the id in the queue."""
    bench.drop("runs")
    bench.drop("leases")
    bench.delete(ref.id)
    bench.push(ref.id)


# -- the marker --------------------------------------------------------------------------------------------


def test_the_marker_stays_what_it_is(bench):
    before = bench.store.incarnation
    assert before.id == bench.marker()["id"]
    assert before.server == bench.marker()["server"]
    assert (before.age, before.changed) == (-1, -1)
    bench.store.renew([])
    bench.store.renew([bench.running("a")])
    assert bench.store.incarnation == before


def test_lost_data_takes_the_marker_with_it(bench):
    before = bench.store.incarnation
    bench.drop("incarnation")
    bench.store.renew([])
    after = bench.store.incarnation
    assert after.id not in ("", before.id)
    assert (after.server, after.age) == (before.server, -1)


def test_a_change_after_which_writes_may_be_lost_is_dated(bench):
    before = bench.store.incarnation
    failed_over(bench, safe=False)
    bench.store.renew([])
    after = bench.store.incarnation
    assert after.id == before.id
    assert after.server not in ("", before.server)
    assert 0 <= after.age < 60
    assert 0 <= after.changed < 60
    bench.store.renew([])  # and is not dated anew
    assert bench.store.incarnation.age >= after.age


def test_a_change_after_which_nothing_is_lost_is_not(bench):
    before = bench.store.incarnation
    failed_over(bench, safe=True)
    bench.store.renew([])
    assert bench.store.incarnation.server not in ("", before.server)
    assert bench.store.incarnation.age == -1
    assert 0 <= bench.store.incarnation.changed < 60  # a worker that starts now waits for the owners


def test_a_safe_change_does_not_end_the_wait_after_an_unsafe_one(bench):
    """A worker that starts now must not claim what a run still works on whose worker cannot reach Redis."""
    failed_over(bench, safe=False)
    bench.store.renew([])
    failed_over(bench, safe=True)
    bench.store.renew([])
    assert 0 <= bench.store.incarnation.changed <= bench.store.incarnation.age < 60


def test_a_change_that_is_ahead_of_the_clock_counts_from_now_on(real):
    """The clock of Redis was set back: otherwise each worker that starts would wait, for hours."""
    ahead = real.now() + 7200 * 1_000_000
    real.raw.hset(real.keys.incarnation, mapping={"since": ahead, "changed": ahead})
    real.store.renew([])
    assert (real.store.incarnation.age, real.store.incarnation.changed) == (0, 0)
    real.store.renew([])
    assert 0 < real.store.incarnation.age < 60


def test_a_marker_of_another_type_is_left_alone(real):
    ref = real.running("a")
    real.drop("incarnation")
    real.raw.set(real.keys.incarnation, "x")
    assert real.store.renew([ref]) == {}
    assert real.store.incarnation == Incarnation(server=real.raw.info("replication")["master_replid"])
    assert real.raw.get(real.keys.incarnation) == b"x"


# -- only the known server ---------------------------------------------------------------------------------


@pytest.mark.wire
def test_a_claim_meant_for_another_server_does_nothing(bench):
    bench.push("a")
    known = bench.store.incarnation.server
    failed_over(bench)
    before = bench.dump()
    with pytest.raises(FailoverSuspected, match="PT055"):
        bench.claim(bench.ref("a"), server=known)
    assert bench.dump() == before
    bench.store.renew([])
    (claim,) = bench.claim(bench.ref("a"), server=bench.store.incarnation.server)
    assert claim.verdict is Verdict.OK


@pytest.mark.wire
def test_an_expiry_meant_for_another_server_does_nothing(bench):
    ref = bench.running("a")
    known = bench.store.incarnation.server
    failed_over(bench)
    before = bench.dump()
    with pytest.raises(FailoverSuspected):
        bench.store.expire([bench.expiry(ref)], known)
    assert bench.dump() == before
    bench.store.renew([])
    assert bench.store.expire([bench.expiry(ref)], bench.store.incarnation.server) == [Verdict.OK]


# -- E12 ---------------------------------------------------------------------------------------------------


@pytest.mark.wire
def test_a_forgotten_claim_is_put_back(bench):
    ref = bench.running("a")
    epoch = epoch_of(bench, "a")
    forget(bench, ref)
    bench.events()
    assert bench.store.renew([ref]) == {ref: Verdict.GONE}
    assert adopt(bench, ref, epoch) is Verdict.OK
    bench.assert_registered(ref)
    assert bench.hash("a")["epoch"] == str(epoch)
    assert bench.hash("a")["worker"] == "me"
    assert bench.queue() == []
    assert bench.events() == [("a", "running", {"worker": "me", "run": ref.run, "epoch": epoch})]
    assert bench.store.renew([ref]) == {}
    assert adopt(bench, ref, epoch) is Verdict.OK  # its own repeat


def test_a_newer_run_is_not_displaced(bench):
    old = bench.running("a")
    epoch = epoch_of(bench, "a")
    forget(bench, old)
    new = bench.ref("a")
    bench.write("a", epoch=epoch)  # so that the next one is newer, however fast the clock
    bench.claim(new)
    before = bench.dump()
    assert bench.store.renew([old]) == {old: Verdict.FENCED}
    assert adopt(bench, old, epoch) is Verdict.FENCED
    assert bench.dump() == before
    bench.assert_registered(new)


def test_an_older_run_that_redis_still_believes_in_is_displaced(bench):
    older = bench.running("a")
    mine = bench.ref("a")
    assert adopt(bench, mine, epoch_of(bench, "a") + 5) is Verdict.OK
    bench.assert_registered(mine)
    assert bench.store.renew([older]) == {older: Verdict.FENCED}


def test_two_runs_of_one_epoch_are_both_left_as_they_are(bench):
    there = bench.running("a")
    assert adopt(bench, bench.ref("a"), epoch_of(bench, "a")) is Verdict.FENCED
    bench.assert_registered(there)


def test_what_is_already_over_is_not_put_back(bench):
    ref = bench.running("a")
    epoch = epoch_of(bench, "a")
    bench.store.commit([Change("a", ref.run, b"", Trigger.END)])
    before = bench.dump()
    assert adopt(bench, ref, epoch) is Verdict.FENCED
    assert bench.dump() == before


def test_without_a_hash_there_is_nothing_to_put_back(bench):
    ref = RunRef("a", "session:9")
    assert adopt(bench, ref, 9) is Verdict.GONE
    bench.set_string("a")
    assert adopt(bench, ref, 9) is Verdict.GONE
    assert bench.runs() == {}


def test_a_run_registered_under_a_hash_that_was_recreated_is_not_displaced(bench):
    live = bench.running("a")
    bench.delete("a")
    bench.write("a", function="f")
    assert adopt(bench, bench.ref("a"), 10**15) is Verdict.FENCED
    assert bench.runs() == {"a": live.run}


@pytest.mark.wire
def test_a_batch_is_answered_in_order(bench):
    first, second = bench.running("a"), bench.running("b")
    epochs = epoch_of(bench, "a"), epoch_of(bench, "b")
    forget(bench, first)
    bench.push("b")
    answers = bench.store.adopt(
        [Adoption("a", first.run, epochs[0]), Adoption("x", "s:1", 5), Adoption("b", second.run, epochs[1])],
        "me",
    )
    assert answers[:2] == [Verdict.OK, Verdict.GONE]
    bench.assert_registered(first)


# -- restore -----------------------------------------------------------------------------------------------


@pytest.mark.wire
@pytest.mark.parametrize("data", [b'{"a":1}', b"\xff\x00", None])
def test_a_lost_task_is_recreated_and_queued(bench, data):
    assert bench.store.restore("a", "f", data) is Verdict.OK
    bench.assert_at_rest("a", "WAIT")
    assert bench.queue() == ["a"]
    assert bench.events() == [("a", "requeued", {"reason": "restored after a loss of data"})]
    (claim,) = bench.claim(bench.ref("a"))
    assert (claim.verdict, claim.function, claim.data) == (Verdict.OK, "f", data)


@pytest.mark.wire
def test_a_lost_task_keeps_its_policy_its_count_and_its_occurrence(bench):
    kept = {
        "restart": "failure", "restarts": "3", "restart_times": "1 2 3", "group": "g",
        "scheduled": '{"schedule":"a","scheduled_for":5.000,"missed":0}',
    }  # fmt: skip
    bench.push("a", not_before="5", **kept)
    (claim,) = bench.claim(bench.ref("a"))
    bench.delete("a")
    bench.drop_entry("runs", "a")
    assert bench.store.restore("a", "f", claim.data, fields=claim.fields) is Verdict.OK
    assert bench.hash("a").items() >= kept.items()
    assert "not_before" not in bench.hash("a")  # its time has come
    assert bench.claim(bench.ref("a"))[0].fields == claim.fields


@pytest.mark.wire
def test_a_task_that_was_lost_with_data_that_is_lost_itself_is_not_recreated(bench):
    bench.store.renew([])
    marker = bench.store.incarnation.id
    bench.drop("incarnation")
    assert bench.store.restore("a", "f", b"1", marker=marker) is Verdict.MOVED
    bench.store.renew([])
    assert bench.store.restore("a", "f", b"1", marker=marker) is Verdict.MOVED
    assert (bench.exists("a"), bench.queue()) == (False, [])
    assert bench.store.restore("a", "f", b"1", marker=bench.store.incarnation.id) is Verdict.OK


def test_what_is_there_is_not_recreated(bench):
    bench.running("runs")
    bench.push("waits")
    live = bench.running("deleted")
    bench.delete("deleted")
    before = bench.dump()
    for task_id in ("runs", "waits", live.id):
        assert bench.store.restore(task_id, "f", b"1") is Verdict.STATE
    assert bench.dump() == before
