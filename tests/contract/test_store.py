"""What each verb of the store promises, beyond the moves themselves."""

import json
import time

import attrs
import pytest

from pytask.adapters.rules import Retention
from pytask.domain import history
from pytask.domain.figures import WorkerInfo
from pytask.domain.leases import Chunk
from pytask.domain.lifecycle import ENDED, ERROR, RESTING, STOPPED, WAIT, Trigger, destination
from pytask.domain.messages import Command, IdFault
from pytask.domain.record import (
    Adoption,
    Change,
    Expiry,
    RunRef,
    Verdict,
)

X = b'{"event":"x","data":null}'
STRANGER = "stranger:1"


def words(claims):
    return [claim.verdict for claim in claims]


def ended(ref, trigger=Trigger.END, **options):
    return Change(ref.id, ref.run, X, trigger, **options)


# -- claim -----------------------------------------------------------------------------------------------


def test_claim_gives_the_run_and_what_the_client_wrote(bench):
    bench.push("a", function="f", data='{"x":"ü"}')
    ref = bench.ref("a")
    (claim,) = bench.claim(ref)
    assert (claim.verdict, claim.function, claim.data) == (Verdict.OK, "f", '{"x":"ü"}'.encode())
    assert (claim.crashes, claim.oversize) == (0, 0)
    fields = bench.hash("a")
    assert (fields["worker"], fields["attempts"], fields["epoch"]) == ("w", "1", str(claim.epoch))
    assert abs(float(fields["last_update"]) - time.time()) < 60
    assert abs(bench.leases()["a"] - bench.now()) < 60e6
    assert abs(claim.epoch - time.time() * 1000) < 60_000
    bench.assert_registered(ref)
    running = {"worker": "w", "run": ref.run, "epoch": claim.epoch}
    assert bench.events() == [("a", "running", running)]


def test_a_repeated_claim_is_answered_alike_and_does_nothing(bench):
    bench.push("a")
    ref = bench.ref("a")
    (first,) = bench.claim(ref)
    before, _ = bench.dump(), bench.events()
    (again,) = bench.claim(ref)
    assert again.verdict is Verdict.ALREADY
    assert (again.function, again.data, again.epoch) == (first.function, first.data, first.epoch)
    assert bench.dump() == before
    assert bench.events() == []


def test_a_hash_without_data_or_function_is_claimed(bench):
    bench.write("a", data="{}")
    bench.write("b", function="f")
    bench.lpush("a")
    bench.lpush("b")
    a, b = bench.claim(bench.ref("a"), bench.ref("b"))
    assert (a.verdict, a.function, a.data) == (Verdict.OK, "", b"{}")
    assert (b.verdict, b.function, b.data) == (Verdict.OK, "f", None)


def test_data_that_is_not_utf8_comes_as_it_is(bench):
    bench.push("a", data=b"\xff\xfe")
    assert bench.claim(bench.ref("a"))[0].data == b"\xff\xfe"


@pytest.mark.parametrize(("size", "data", "over"), [(10, b"0123456789", 0), (11, None, 11)])
def test_data_over_the_limit_is_not_read(bench, size, data, over):
    bench.push("a", data="01234567890"[:size])
    ref = bench.ref("a")
    (claim,) = bench.claim(ref, max_data=10)
    assert (claim.verdict, claim.data, claim.oversize) == (Verdict.OK, data, over)
    (claim,) = bench.claim(ref, max_data=10)
    assert (claim.verdict, claim.data, claim.oversize) == (Verdict.ALREADY, data, over)


def test_the_oldest_is_peeked_first(bench):
    for task_id in "abc":
        bench.push(task_id)
    assert bench.store.peek(2) == [b"a", b"b"]
    assert bench.store.peek(9) == [b"a", b"b", b"c"]
    assert bench.store.peek(9, "f") == []


def test_ids_of_a_batch_are_answered_in_order(bench):
    for task_id in "ab":
        bench.push(task_id)
    bench.push("strange", function="g")
    bench.lpush("nothing")
    bench.set_string("string")
    bench.lpush("string")
    refs = [bench.ref(i) for i in ("string", "b", "absent", "strange", "a", "nothing")]
    claims = bench.claim(*refs)
    assert words(claims) == ["BADTYPE", "OK", "MOVED", "UNKNOWN", "OK", "NOHASH"]
    assert claims[3].function == "g"
    assert bench.queue() == ["string", "nothing", "strange"]
    assert not bench.exists("nothing")
    assert set(bench.runs()) == set(bench.leases()) == {"a", "b"}


def test_an_id_beyond_the_window_has_moved(bench):
    bench.push("far")
    for number in range(100):
        bench.push(str(number))
    ref = bench.ref("99")
    assert words(bench.claim(ref)) == [Verdict.MOVED]
    assert words(bench.claim(bench.ref("far"))) == [Verdict.OK]
    assert len(bench.queue()) == 100


def test_claims_leave_a_long_queue_in_order(bench):
    for number in range(300):
        bench.push(str(number))
    claims = bench.claim(*(bench.ref(str(i)) for i in (0, 1, 2, 4)))
    assert words(claims) == [Verdict.OK] * 4
    assert bench.queue() == [str(i) for i in range(299, 4, -1)] + ["3"]


def test_copies_are_coalesced(bench):
    for task_id in ("a", "b", "a", "a"):
        bench.push(task_id)
    assert words(bench.claim(bench.ref("a"))) == [Verdict.OK]
    assert bench.queue() == ["b"]


@pytest.mark.parametrize(("others", "left"), [(100, 0), (200, 1)])
def test_copies_far_from_the_tail_are_removed_from_short_lists_only(bench, others, left):
    bench.push("a")
    for number in range(others):
        bench.push(str(number))
    bench.push("a")
    assert words(bench.claim(bench.ref("a"))) == [Verdict.OK]
    assert bench.queue().count("a") == left
    assert len(bench.queue()) == others + left


def test_copies_in_one_batch_rotate_once(bench):
    bench.push("b")
    bench.running("a")
    bench.delete("a")
    bench.push("a")
    bench.push("a")
    assert words(bench.claim(bench.ref("a"), bench.ref("a"))) == [Verdict.ROTATED, Verdict.DUPLICATE]
    assert bench.queue() == ["a", "b"]


def test_copies_in_one_batch_give_one_run(bench):
    bench.push("a")
    bench.push("a")
    first, second = bench.ref("a"), bench.ref("a")
    assert words(bench.claim(first, second)) == [Verdict.OK, Verdict.DUPLICATE]
    bench.assert_registered(first)
    assert bench.queue() == []
    assert [name for _, name, _ in bench.events()] == ["running"]


def test_a_copy_of_a_running_id_is_dropped(bench):
    ref = bench.running("a")
    bench.events()
    bench.push("a")
    assert words(bench.claim(bench.ref("a"))) == [Verdict.DUPLICATE]
    assert bench.queue() == []
    bench.assert_registered(ref)
    assert bench.events() == []


def test_a_run_that_the_registry_forgot_is_not_claimed_over(bench):
    ref = bench.running("a")
    bench.drop("runs")
    bench.drop("leases")
    bench.push("a")
    assert words(bench.claim(bench.ref("a"))) == [Verdict.DUPLICATE]
    bench.assert_registered(ref)
    assert bench.queue() == []


def test_a_hash_made_anew_waits_for_the_old_run(bench):
    old = bench.running("a")
    bench.delete("a")
    bench.push("a", data="2")
    bench.push("b")
    new = bench.ref("a")
    assert words(bench.claim(new, bench.ref("b"))) == [Verdict.ROTATED, Verdict.OK]
    assert bench.queue() == ["a"]
    assert bench.store.commit([ended(old, Trigger.RELEASE)]) == [Verdict.GONE]
    (claim,) = bench.claim(new)
    assert (claim.verdict, claim.data) == (Verdict.OK, b"2")
    bench.assert_registered(new)


@pytest.mark.parametrize("anew", [True, False])
def test_a_registered_run_without_a_lease_gets_one_when_its_id_is_pushed(bench, anew):
    # Its owner may be dead: no monitor would ever look at it, and the id could never be claimed again.
    old = bench.running("a")
    bench.drop("leases")
    if anew:
        bench.delete("a")
    bench.push("a")
    assert words(bench.claim(bench.ref("a"))) == [Verdict.ROTATED if anew else Verdict.DUPLICATE]
    (suspect,) = bench.store.suspects(-5, 5)
    assert (suspect.id, suspect.run) == ("a", old.run)
    assert bench.store.expire([bench.expiry(old)]) == [Verdict.OK]
    assert words(bench.claim(bench.ref("a"))) == [Verdict.OK]


def test_a_copy_leaves_the_lease_as_it_is(bench):
    bench.running("a")
    bench.set_lease("a", 5)
    bench.push("a")
    bench.claim(bench.ref("a"))
    assert bench.leases() == {"a": 5}


def test_an_id_rotates_to_the_far_end(bench):
    bench.running("a")
    bench.delete("a")
    for task_id in "abc":
        bench.push(task_id)
    assert words(bench.claim(bench.ref("a"))) == [Verdict.ROTATED]
    assert bench.queue() == ["a", "c", "b"]


def test_only_so_many_that_crashed_before_are_taken(bench):
    for task_id in "abc":
        bench.push(task_id, crashes="2")
    bench.push("d", crashes="1")  # its only crash may have been a neighbour's
    refs = [bench.ref(i) for i in "abcd"]
    assert words(bench.claim(*refs, quarantine=2)) == ["OK", "OK", "ROTATED", "OK"]
    assert bench.queue() == ["c"]
    assert words(bench.claim(bench.ref("c"), quarantine=0)) == ["ROTATED"]
    (claim,) = bench.claim(bench.ref("c"))
    assert (claim.verdict, claim.crashes) == (Verdict.OK, 2)


def test_a_claim_lifts_the_expiry_of_a_hash(bench):
    bench.push("a")
    bench.set_ttl("a", 100)
    assert bench.expires_in("a", 100)
    bench.claim(bench.ref("a"))
    assert bench.ttl("a") is None


def test_a_claim_clears_what_the_last_run_left(bench):
    ref = bench.running("a")
    bench.store.commit([ended(ref, fields={"output": b"5"})])
    bench.write("a", error="e", control="stop")
    bench.running("a")
    assert not {"output", "error", "control"} & set(bench.hash("a"))
    assert bench.hash("a")["attempts"] == "2"


def test_fields_of_the_clients_own_outlive_the_first_claim(bench):
    bench.running("a", output="mine")
    assert bench.hash("a")["output"] == "mine"


def test_the_epoch_grows_with_every_run(bench):
    bench.push("a", epoch=str(2**50))
    ref = bench.ref("a")
    assert bench.claim(ref)[0].epoch == 2**50 + 1
    assert bench.store.reload(ref, bench.ref("a"), "w", 10).epoch == 2**50 + 2


def test_the_epoch_grows_also_when_the_hash_was_lost(bench):
    epochs = []
    for _ in range(3):
        bench.push("a")
        ref = bench.ref("a")
        epochs.append(bench.claim(ref)[0].epoch)
        bench.store.commit([ended(ref)])
        bench.delete("a")
        time.sleep(0.002)  # it counts milliseconds
    assert epochs == sorted(set(epochs))


def test_broken_numbers_in_a_hash_count_as_none(bench):
    bench.push("a", epoch="soon", attempts="many", crashes="few")
    (claim,) = bench.claim(bench.ref("a"))
    assert (claim.verdict, claim.crashes) == (Verdict.OK, 0)
    assert bench.hash("a")["attempts"] == "1"


def test_empty_batches_are_answered_by_nothing(bench):
    assert bench.claim() == bench.store.commit([]) == bench.store.expire([]) == []
    assert bench.store.renew([]) == {}


# -- parking and rejecting -------------------------------------------------------------------------------


def test_park_and_claim_from_the_parking_list(bench):
    bench.push("a", function="g")
    bench.set_ttl("a", 100)
    assert bench.store.park("a", "g", b'{"event":"parked","data":{"function":"g"}}') is Verdict.OK
    assert (bench.queue(), bench.parking("g")) == ([], ["a"])
    assert bench.ttl("a") is None
    assert bench.events() == [("a", "parked", {"function": "g"})]
    assert bench.store.parked() == ["g"]
    assert bench.store.peek(5, "g") == [b"a"]
    ref = bench.ref("a")
    assert words(bench.claim(ref, functions=["g"], source="g")) == [Verdict.OK]
    bench.assert_registered(ref)
    assert bench.parking("g") == []
    assert bench.store.parked() == []


def test_an_id_that_left_the_queue_is_not_parked(bench):
    bench.write("a", function="g")
    before = bench.dump()
    assert bench.store.park("a", "g", X) is Verdict.MOVED
    assert bench.store.park("nothing", "g", X) is Verdict.MOVED
    assert bench.dump() == before


def test_one_copy_is_parked_at_a_time(bench):
    bench.push("a", function="g")
    bench.push("b")
    bench.push("a", function="g")
    assert bench.store.park("a", "g", X) is Verdict.OK
    assert bench.queue() == ["a", "b"]


@pytest.mark.parametrize("reason", [IdFault.ENCODING, IdFault.CONTROL, IdFault.LONG, IdFault.RESERVED])
def test_an_impossible_id_is_noted_in_hex(bench, reason):
    raw = b"bad\xff\n"
    bench.lpush(raw)
    bench.push("good")
    assert bench.store.reject(raw, reason) is Verdict.OK
    assert bench.queue() == ["good"]
    (note,) = bench.rejected()
    assert (note["id_hex"], note["reason"]) == (raw.hex(), reason)
    assert abs(note["at"] - time.time()) < 60
    assert bench.events() == []  # no such channel
    assert bench.store.reject(raw, reason) is Verdict.MOVED


def test_an_id_without_a_hash_is_rejected_only_while_it_has_none(bench):
    bench.lpush("a")
    bench.write("a", function="f")
    assert bench.store.reject(b"a", IdFault.NO_HASH) is Verdict.MOVED
    assert bench.queue() == ["a"]
    bench.delete("a")
    assert bench.store.reject(b"a", IdFault.NO_HASH) is Verdict.OK
    assert (bench.queue(), bench.exists("a")) == ([], False)
    assert bench.events() == [("a", "rejected", {"reason": "no-hash"})]


def test_a_key_of_another_type_is_rejected_and_kept(bench):
    bench.lpush("a")
    assert bench.store.reject(b"a", IdFault.WRONG_TYPE) is Verdict.MOVED
    bench.set_string("a")
    assert bench.store.reject(b"a", IdFault.WRONG_TYPE) is Verdict.OK
    assert (bench.queue(), bench.exists("a")) == ([], True)
    assert bench.events() == [("a", "rejected", {"reason": "wrong-type"})]


def test_the_id_of_a_local_task_is_rejected(bench):
    ref = bench.ref("a")
    bench.store.open_local(ref, "f", b"null", "w")
    bench.lpush("a")
    # While it runs the copy is a duplicate like any other.
    assert words(bench.claim(bench.ref("a"))) == [Verdict.DUPLICATE]
    bench.drop("runs")
    bench.drop("leases")
    bench.lpush("a")
    assert words(bench.claim(bench.ref("a"))) == [Verdict.LOCAL]
    assert bench.store.reject(b"a", IdFault.LOCAL) is Verdict.OK
    assert bench.queue() == []
    bench.push("b")
    assert bench.store.reject(b"b", IdFault.LOCAL) is Verdict.MOVED


# -- renew -----------------------------------------------------------------------------------------------


def test_renew_moves_the_lease_and_names_only_what_is_not_well(bench):
    ours, fenced, deleted, anew, stopped, reloaded = (bench.running(i) for i in "abcdef")
    bench.set_lease("a", 5)
    bench.write("a", state="WAIT")  # a client's doing
    bench.delete("c")
    bench.delete("d")
    bench.write("d", function="f")
    bench.store.control(Command.STOP, ["e"])
    bench.store.control(Command.RELOAD, ["f"])
    other = RunRef(fenced.id, STRANGER)
    before = bench.dump()
    assert bench.store.renew([other]) == {other: Verdict.FENCED}
    assert bench.dump() == before
    assert bench.store.renew([ours, deleted, anew, stopped, reloaded]) == {
        deleted: Verdict.GONE,
        anew: Verdict.GONE,
        stopped: Verdict.STOP,
        reloaded: Verdict.RELOAD,
    }
    bench.assert_registered(ours)
    assert abs(bench.leases()["a"] - bench.now()) < 60e6
    assert not bench.exists("c")  # no ghost
    assert bench.hash("d") == {"function": "f"}
    assert bench.store.renew([]) == {}


def test_a_large_renewal_names_the_right_ones_in_each_of_its_calls(bench):
    refs = [bench.running(f"t{number}") for number in range(610)]
    gone, stopped, fenced, reloaded = (refs[n] for n in (0, 249, 250, 609))
    bench.delete(gone.id)
    bench.store.control(Command.STOP, [stopped.id])
    bench.store.control(Command.RELOAD, [reloaded.id])
    refs[250] = other = RunRef(fenced.id, STRANGER)
    bench.set_lease(refs[400].id, 5)
    expected = {
        gone: Verdict.GONE,
        stopped: Verdict.STOP,
        other: Verdict.FENCED,
        reloaded: Verdict.RELOAD,
    }
    chunk = Chunk(refs)  # as a worker sends it: packed once, sent every time
    assert bench.store.renew(chunk) == expected
    bench.forget_scripts()
    assert bench.store.renew(chunk) == expected
    assert abs(bench.leases()[refs[400].id] - bench.now()) < 60e6


@pytest.mark.parametrize("lost", [["runs"], ["leases"], ["runs", "leases"]])
def test_renew_restores_a_lost_registry(bench, lost):
    refs = [bench.running("a"), bench.running("b")]
    for name in lost:
        bench.drop(name)
    assert bench.store.renew(refs) == {}
    for ref in refs:
        bench.assert_registered(ref)


def test_an_ended_run_is_not_restored_by_a_late_renewal(bench):
    ref = bench.running("a")
    bench.store.commit([ended(ref)])
    before = bench.dump()
    assert bench.store.renew([ref]) == {ref: Verdict.GONE}
    assert bench.dump() == before


def test_a_key_of_another_type_does_not_fail_the_chunk(bench):
    broken, well = bench.running("a"), bench.running("b")
    bench.delete("a")
    bench.set_string("a")
    assert bench.store.renew([broken, well]) == {broken: Verdict.GONE}
    assert bench.store.commit([ended(broken, Trigger.RELEASE)]) == [Verdict.GONE]
    assert (set(bench.runs()), set(bench.leases())) == ({"b"}, {"b"})


@pytest.mark.parametrize("word", ["pause", "GONE!", ""])
def test_a_wish_of_a_newer_release_is_ignored(bench, word):
    ref = bench.running("a", control=word)
    bench.write("a", control=word)
    assert bench.store.renew([ref]) == {}


# -- commit ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trigger", "fields", "state"),
    [
        (Trigger.END, {"output": b'{"x":1}'}, ENDED),
        (Trigger.FAIL, {"error": "it broke"}, ERROR),
        (Trigger.STOP, {}, STOPPED),
        (Trigger.RELEASE, {}, WAIT),
    ],
)
def test_an_end_is_written_once(bench, trigger, fields, state):
    ref = bench.running("a")
    bench.events()
    change = ended(ref, trigger, fields=fields)
    assert bench.store.commit([change]) == [Verdict.OK]
    bench.assert_at_rest("a", state)
    found = bench.hash("a")
    assert found["last_run"] == ref.run
    for name, value in fields.items():
        assert found[name] == (value.decode() if isinstance(value, bytes) else value)
    assert bench.queue() == (["a"] if trigger is Trigger.RELEASE else [])
    assert bench.events() == [("a", "x", None)]
    before = bench.dump()
    assert bench.store.commit([change]) == [Verdict.ALREADY]
    assert bench.dump() == before
    assert bench.events() == []


def test_a_released_task_is_taken_next_and_an_expired_one_last(bench):
    released, expired = bench.running("r"), bench.running("e")
    for task_id in "ab":
        bench.push(task_id)
    bench.store.commit([ended(released, Trigger.RELEASE)])
    bench.store.expire([bench.expiry(expired)])
    assert bench.queue() == ["e", "b", "a", "r"]
    assert bench.store.peek(1) == [b"r"]


def test_a_wrong_run_changes_and_says_nothing(bench):
    bench.running("a")
    bench.events()
    before = bench.dump()
    wrong = RunRef("a", STRANGER)
    changes = [Change("a", STRANGER, X), *(ended(wrong, t) for t in (Trigger.END, Trigger.RELEASE))]
    assert bench.store.commit(changes) == [Verdict.FENCED] * 3
    assert bench.store.renew([wrong]) == {wrong: Verdict.FENCED}
    assert bench.store.reload(wrong, bench.ref("a"), "w", 9).verdict is Verdict.FENCED
    assert bench.store.open_local(wrong, "f", b"1", "w").verdict is Verdict.FENCED
    assert bench.store.expire([Expiry(id="a", run=STRANGER, seen=bench.leases()["a"])]) == [Verdict.FENCED]
    assert bench.dump() == before
    assert bench.events() == []


def test_the_end_of_an_older_run_does_not_reach_the_newer(bench):
    old = bench.running("a")
    bench.store.expire([bench.expiry(old)])
    new = bench.ref("a")
    assert words(bench.claim(new)) == [Verdict.OK]
    assert bench.store.commit([ended(old)]) == [Verdict.ALREADY]  # it did end: by expiry
    bench.assert_registered(new)


def test_the_events_of_a_batch_are_published_in_order(bench):
    a, b = bench.running("a"), bench.running("b")
    bench.events()
    batch = [
        Change("a", a.run, b'{"event":"one","data":1}'),
        Change("b", STRANGER, b'{"event":"stranger","data":null}'),
        Change("b", b.run, b'{"event":"two","data":{"x":[1]}}'),
        Change("a", a.run, b'{"event":"three","data":"\xc3\xbc"}'),
        Change("a", a.run, b"", Trigger.END),
        Change("a", a.run, b'{"event":"late","data":null}'),
    ]
    verdicts = bench.store.commit(batch)
    assert verdicts == ["OK", "FENCED", "OK", "OK", "OK", "FENCED"]
    assert bench.events() == [("a", "one", 1), ("b", "two", {"x": [1]}), ("a", "three", "ü")]
    bench.assert_at_rest("a", ENDED)
    bench.assert_registered(b)


def test_the_end_twice_in_a_batch_is_done_once(bench):
    ref = bench.running("a")
    assert bench.store.commit([ended(ref), ended(ref)]) == [Verdict.OK, Verdict.ALREADY]
    assert [name for _, name, _ in bench.events()] == ["running", "x"]


@pytest.mark.parametrize("trigger", [Trigger.END, Trigger.FAIL, Trigger.STOP, Trigger.RELEASE])
@pytest.mark.parametrize("anew", [False, True])
def test_a_deleted_hash_is_not_made_again(bench, trigger, anew):
    ref = bench.running("a")
    bench.events()
    bench.delete("a")
    if anew:
        bench.write("a", function="f")
    assert bench.store.commit([ended(ref, trigger)]) == [Verdict.GONE]
    assert bench.exists("a") == anew
    assert bench.hash("a") == ({"function": "f"} if anew else {})
    assert (bench.runs(), bench.leases(), bench.queue()) == ({}, {}, [])
    assert not any(bench.index(state) for state in RESTING)
    assert bench.events() == []


def test_a_finished_hash_has_no_expiry_of_its_own(bench):
    days, forever, not_at_all = (bench.running(i) for i in "abc")
    changes = [ended(days, keep=100), ended(forever), ended(not_at_all, keep=0)]
    assert bench.store.commit(changes) == [Verdict.OK] * 3
    assert bench.ttl("a") is bench.ttl("b") is None
    assert not bench.exists("c")
    assert bench.index(ENDED) == {"a", "b"}
    assert [i for i, name, _ in bench.events() if name == "x"] == ["a", "b", "c"]


def test_an_ended_run_forgives_crashes_and_a_failed_one_does_not(bench):
    good, bad = (bench.running(i, crashes="2", crash_at="5") for i in "ab")
    bench.store.commit([ended(good), ended(bad, Trigger.FAIL)])
    assert "crashes" not in bench.hash("a")
    assert bench.hash("b")["crashes"] == "2"


# -- local tasks -----------------------------------------------------------------------------------------


def test_a_local_task_is_a_run_like_any_other(bench):
    ref = bench.ref("a", session="s-1")
    claim = bench.store.open_local(ref, "f", b"[1]", "w")
    assert (claim.verdict, claim.function, claim.data) == (Verdict.OK, "f", b"[1]")
    bench.assert_registered(ref)
    assert (bench.hash("a")["local"], bench.queue()) == ("s-1", [])
    assert bench.events() == [("a", "running", {"worker": "w", "run": ref.run, "epoch": claim.epoch})]
    before = bench.dump()
    again = bench.store.open_local(ref, "f", b"[1]", "w")
    assert (again.verdict, again.epoch, again.data) == (Verdict.ALREADY, claim.epoch, b"[1]")
    assert bench.dump() == before
    assert bench.store.renew([ref]) == {}


def test_a_released_local_task_is_deleted(bench):
    ref = bench.ref("a")
    bench.store.open_local(ref, "f", b"null", "w")
    assert bench.store.commit([ended(ref, Trigger.RELEASE, local=True)]) == [Verdict.OK]
    assert not bench.exists("a")
    assert (bench.runs(), bench.leases(), bench.queue()) == ({}, {}, [])


def test_an_expired_local_task_is_deleted(bench):
    ref = bench.ref("a")
    bench.store.open_local(ref, "f", b"null", "w")
    assert bench.store.expire([bench.expiry(ref)]) == [Verdict.OK]
    assert not bench.exists("a")
    assert (bench.runs(), bench.leases(), bench.queue()) == ({}, {}, [])


# -- reload ----------------------------------------------------------------------------------------------


def test_what_a_reload_would_begin_with_can_be_read_before(bench):
    ref = bench.running("a")
    bench.write("a", data="2")
    before = bench.dump()
    claim = bench.store.preview(ref, 1000)
    assert (claim.verdict, claim.run, claim.function, claim.data) == (Verdict.OK, ref.run, "f", b"2")
    assert claim.epoch == int(bench.hash("a")["epoch"])
    assert bench.store.preview(bench.ref("a"), 1000).verdict is Verdict.FENCED
    bench.write("a", data="x" * 11)
    assert (bench.store.preview(ref, 10).oversize, bench.store.preview(ref, 10).data) == (11, None)
    bench.write("a", data="2")
    assert bench.dump() == before
    bench.delete("a")
    assert bench.store.preview(ref, 1000).verdict is Verdict.GONE


def test_a_refused_reload_leaves_the_run_and_says_so(bench):
    ref = bench.running("a")
    bench.store.who = "yew"
    bench.store.control(Command.RELOAD, ["a"])
    bench.events()
    judged = bench.store.preview(ref, 1000)
    assert bench.store.refuse(judged, "$.a", 'it is "odd"') is Verdict.OK
    bench.assert_registered(ref)
    fields = bench.hash("a")
    assert "control" not in fields
    kept = json.loads(fields["reload_refused"])
    assert (kept["epoch"], kept["path"], kept["reason"]) == (judged.epoch, "$.a", 'it is "odd"')
    assert kept["at"] > 0
    told = {"path": "$.a", "reason": 'it is "odd"', "epoch": judged.epoch}
    assert bench.events() == [("a", "reload-refused", told)]
    line = history.read(fields["history"])[-1]
    assert (line.trigger, line.target, line.who, line.why) == ("refuse", "RUNNING", "yew", '$.a: it is "odd"')
    assert bench.store.renew([ref]) == {}


@pytest.mark.parametrize("changed", [{"data": "3"}, {"function": "g"}, {"data": ""}])
def test_other_data_than_was_judged_is_not_refused(bench, changed):
    ref = bench.running("a")
    judged = bench.store.preview(ref, 1000)
    bench.store.control(Command.RELOAD, ["a"])
    bench.write("a", **changed)
    before = bench.dump()
    bench.events()
    assert bench.store.refuse(judged, "$", "bad") is Verdict.MOVED
    assert (bench.dump(), bench.events()) == (before, [])
    assert bench.store.refuse(bench.store.preview(ref, 1000), "$", "bad") is Verdict.OK


def test_data_that_was_not_read_is_refused_by_its_size(bench):
    ref = bench.running("a")
    bench.write("a", data="x" * 20)
    judged = bench.store.preview(ref, 10)
    bench.write("a", data="x" * 21)
    assert bench.store.refuse(judged, "$", "bad") is Verdict.MOVED
    assert bench.store.refuse(bench.store.preview(ref, 10), "$", "bad") is Verdict.OK


def test_a_refusal_keeps_a_stop_and_writes_nothing_for_another_run(bench):
    ref = bench.running("a")
    judged = bench.store.preview(ref, 1000)
    bench.store.control(Command.STOP, ["a"])
    assert bench.store.refuse(judged, "$", "bad") is Verdict.OK
    assert bench.hash("a")["control"] == "stop"
    before = bench.dump()
    other = bench.ref("a")
    assert bench.store.refuse(attrs.evolve(judged, run=other.run), "$", "bad") is Verdict.FENCED
    assert bench.store.settle(other) is Verdict.FENCED
    assert bench.dump() == before
    bench.delete("a")
    assert bench.store.refuse(judged, "$", "bad") is bench.store.settle(ref) is Verdict.GONE
    assert not bench.exists("a")


def test_the_run_that_a_reload_began_settles_once_it_lives(bench):
    old, new = bench.running("a"), bench.ref("a")
    assert "settling" not in bench.hash("a")
    claim = bench.store.reload(old, new, "w", 1000)
    assert bench.hash("a")["settling"] == str(claim.epoch)
    assert bench.store.settle(old) is Verdict.FENCED
    assert bench.store.settle(new) is Verdict.OK
    assert "settling" not in bench.hash("a")
    assert bench.store.settle(new) is Verdict.OK


def test_a_reload_is_a_new_run_in_place(bench):
    old = bench.running("a")
    bench.store.control(Command.RELOAD, ["a"])
    bench.write("a", data="2")
    before = int(bench.hash("a")["epoch"])
    bench.events()
    new = bench.ref("a")
    claim = bench.store.reload(old, new, "w2", 1000)
    assert (claim.verdict, claim.run, claim.function, claim.data) == (Verdict.OK, new.run, "f", b"2")
    assert claim.epoch > before
    bench.assert_registered(new)
    fields = bench.hash("a")
    assert "control" not in fields
    assert (fields["worker"], fields["last_run"]) == ("w2", old.run)
    assert bench.events() == [("a", "reloaded", {"worker": "w2", "run": new.run, "epoch": claim.epoch})]
    dump = bench.dump()
    again = bench.store.reload(old, new, "w2", 1000)
    assert (again.verdict, again.epoch, again.data) == (Verdict.ALREADY, claim.epoch, b"2")
    assert bench.dump() == dump
    assert bench.events() == []
    assert bench.store.renew([old]) == {old: Verdict.FENCED}


def test_a_reload_with_too_much_data_does_not_read_it(bench):
    old = bench.running("a", data="x" * 20)
    claim = bench.store.reload(old, bench.ref("a"), "w", 10)
    assert (claim.verdict, claim.data, claim.oversize) == (Verdict.OK, None, 20)


@pytest.mark.parametrize("change", ["delete", "anew", "string"])
def test_a_reload_of_what_is_gone(bench, change):
    old = bench.running("a")
    bench.delete("a")
    if change == "anew":
        bench.write("a", function="f")
    if change == "string":
        bench.set_string("a")
    before = bench.dump()
    assert bench.store.reload(old, bench.ref("a"), "w", 10).verdict is Verdict.GONE
    assert bench.dump() == before


# -- control ---------------------------------------------------------------------------------------------


def test_stop_takes_a_waiting_task_out_of_the_queue(bench):
    for task_id in ("a", "b", "a"):
        bench.push(task_id)
    bench.set_ttl("a", 100)
    assert bench.store.control(Command.STOP, ["a"]) == [Verdict.OK]
    assert bench.queue() == ["b"]
    bench.assert_at_rest("a", STOPPED)
    assert bench.ttl("a") is None
    assert bench.events() == [("a", "stopped", None)]
    assert bench.store.control(Command.STOP, ["a"]) == [Verdict.STATE]
    assert bench.events() == []


def test_stop_takes_a_parked_task_out_of_its_list(bench):
    bench.push("a", function="g")
    bench.store.park("a", "g", X)
    assert bench.store.control(Command.STOP, ["a"]) == [Verdict.OK]
    bench.assert_at_rest("a", STOPPED)
    assert bench.parking("g") == []
    assert bench.store.parked() == []


def test_stop_of_a_run_is_written_down_for_its_owner(bench):
    ref = bench.running("a")
    bench.events()
    for _ in range(2):
        assert bench.store.control(Command.STOP, ["a"]) == [Verdict.REQUESTED]
    assert bench.hash("a")["control"] == "stop"
    bench.assert_registered(ref)
    assert bench.events() == []
    assert bench.store.renew([ref]) == {ref: Verdict.STOP}


def test_stop_reaches_a_run_that_the_registry_forgot(bench):
    ref = bench.running("a")
    bench.drop("runs")
    assert bench.store.control(Command.STOP, ["a"]) == [Verdict.REQUESTED]
    assert bench.store.renew([ref]) == {ref: Verdict.STOP}


def test_a_stop_of_a_hash_made_anew_under_a_dying_run_is_carried_out_and_not_only_acknowledged(bench):
    bench.running("a")
    bench.delete("a")
    bench.push("a")
    assert bench.store.control(Command.RELOAD, ["a"]) == [Verdict.STATE]
    assert bench.store.control(Command.STOP, ["a"]) == [Verdict.REQUESTED]  # its owner is told, too
    assert (bench.hash("a")["state"], bench.queue()) == (STOPPED, [])
    assert "control" not in bench.hash("a")


def test_reload_does_not_replace_a_stop(bench):
    ref = bench.running("a")
    bench.store.control(Command.STOP, ["a"])
    assert bench.store.control(Command.RELOAD, ["a"]) == [Verdict.REQUESTED]
    assert bench.store.renew([ref]) == {ref: Verdict.STOP}


def test_stop_replaces_a_reload(bench):
    ref = bench.running("a")
    bench.store.control(Command.RELOAD, ["a"])
    bench.store.control(Command.STOP, ["a"])
    assert bench.store.renew([ref]) == {ref: Verdict.STOP}


@pytest.mark.parametrize("trigger", [Trigger.END, Trigger.FAIL, Trigger.STOP])
def test_stop_and_start_of_what_rested_and_was_pushed_again(bench, trigger):
    bench.store.commit([ended(bench.running("a"), trigger)])
    bench.push("a")
    bench.events()
    assert bench.store.control(Command.STOP, ["a"]) == [Verdict.OK]
    assert bench.queue() == []
    bench.assert_at_rest("a", STOPPED)
    assert bench.events() == [("a", "stopped", None)]
    bench.push("a")
    assert bench.store.control(Command.START, ["a"]) == [Verdict.OK]
    assert bench.queue() == ["a"]
    bench.assert_at_rest("a", WAIT)


def test_start_puts_a_task_at_rest_into_the_queue(bench):
    for task_id, trigger in zip("abc", (Trigger.END, Trigger.FAIL, Trigger.STOP), strict=True):
        bench.store.commit([ended(bench.running(task_id, crashes="2"), trigger, keep=100)])
    bench.write("c", control="stop")
    bench.events()
    assert bench.store.control(Command.START, ["a", "b", "c"]) == [Verdict.OK] * 3
    assert bench.queue() == ["c", "b", "a"]
    for task_id in "abc":
        bench.assert_at_rest(task_id, WAIT)
        assert bench.ttl(task_id) is None
        assert bench.hash(task_id)["crashes"] == "0"
    assert "control" not in bench.hash("c")
    assert bench.events() == [(i, "queued", None) for i in "abc"]
    assert bench.store.control(Command.START, ["a"]) == [Verdict.STATE]


def test_a_stop_from_before_the_last_start_does_not_undo_it(bench):
    bench.store.commit([ended(bench.running("a"), Trigger.STOP)])
    assert bench.store.control(Command.START, ["a"]) == [Verdict.OK]
    assert bench.store.control(Command.STOP, ["a"], [60.0]) == [Verdict.STATE]
    assert bench.queue() == ["a"]
    ref = bench.ref("a")
    bench.claim(ref)
    assert bench.store.control(Command.STOP, ["a"], [60.0]) == [Verdict.STATE]
    assert "control" not in bench.hash("a")
    assert bench.store.control(Command.STOP, ["a"], [0.0]) == [Verdict.REQUESTED]
    assert bench.store.renew([ref]) == {ref: Verdict.STOP}


def test_one_start_that_two_workers_carry_out_starts_a_short_task_once(bench):
    bench.store.commit([ended(bench.running("a"))])
    assert bench.store.control(Command.START, ["a"], [60.0]) == [Verdict.OK]
    ref = bench.ref("a")
    bench.claim(ref)
    bench.store.commit([ended(ref)])
    assert bench.store.control(Command.START, ["a"], [60.0]) == [Verdict.STATE]
    assert bench.store.control(Command.START, ["a"], [0.0]) == [Verdict.OK]


@pytest.mark.parametrize("rubbish", ["", "soon", "nan", "inf", "-1", "99999999999"])
def test_a_time_of_start_that_cannot_be_right_hides_no_stop(bench, rubbish):
    bench.push("a")
    bench.write("a", start_at=rubbish)
    assert bench.store.control(Command.STOP, ["a"], [60.0]) == [Verdict.OK]


@pytest.mark.parametrize("command", list(Command))
def test_control_of_what_is_no_task(bench, command):
    bench.set_string("s")
    before = bench.dump()
    nothing = Verdict.STATE if command is Command.RELOAD else Verdict.NOHASH
    assert bench.store.control(command, ["absent", "s"]) == [nothing, Verdict.BADTYPE]
    assert bench.dump() == before
    assert bench.store.control(command, []) == []


# -- the monitor -----------------------------------------------------------------------------------------


def test_suspects_lie_on_both_sides_of_the_window(bench):
    refs = {i: bench.running(i, crashes="1") for i in ("old", "young", "well", "near", "ahead")}
    now = bench.now()
    # Far apart, as time goes on while they are set and looked at.
    ages = {"old": -1000, "young": -100, "well": 0, "near": 100, "ahead": 1000}
    for task_id, age in ages.items():
        bench.set_lease(task_id, now + age * 1_000_000)
    found = bench.store.suspects(500, 500)
    assert [one.id for one in found] == ["old", "ahead"]
    (old, _) = found
    assert (old.run, old.lease, old.crashes) == (refs["old"].run, now - 1_000_000_000, 1)
    assert old.epoch == int(bench.hash("old")["epoch"])
    assert old.session == "session"
    assert {one.id for one in bench.store.suspects(50, 50)} == {"old", "young", "near", "ahead"}
    assert [one.id for one in bench.store.suspects(50, 50, limit=1)] == ["old", "near"]
    bench.drop("runs")  # their hashes name them still
    assert [(one.id, one.run) for one in bench.store.suspects(500, 500)] == [
        (i, refs[i].run) for i in ("old", "ahead")
    ]


def test_a_suspect_without_a_hash(bench):
    ref = bench.running("a")
    bench.delete("a")
    bench.set_string("a")
    bench.set_lease("a", 7)
    (one,) = bench.store.suspects(1, 1)
    assert (one.run, one.lease, one.epoch, one.crashes, one.age) == (ref.run, 7, 0, 0, 0.000007)


def read_runs_of(bench, prefix):
    found, cursor = [], 0
    while True:
        cursor, some = bench.store.runs_of(prefix, cursor)
        found += some
        if not cursor:
            return {one.id: one for one in found}


def test_the_runs_of_a_process_are_found_by_their_prefix(bench):
    for i in range(600):  # enough for a hash that is scanned in steps
        session = "dead.s1" if i % 200 == 0 else "deadly.s2"
        task_id = f"t{i}"
        bench.push(task_id, crashes="1")
        assert bench.claim(bench.ref(task_id, session))[0].won
    found = read_runs_of(bench, "dead.")
    assert set(found) == {"t0", "t200", "t400"}
    for task_id, one in found.items():
        fields = bench.hash(task_id)
        assert (one.run, one.lease) == (fields["run"], bench.leases()[task_id])
        assert (one.epoch, one.crashes) == (int(fields["epoch"]), 1)
    assert read_runs_of(bench, "nobody.") == {}


def test_a_registered_run_without_lease_or_hash_is_found_too(bench):
    ref = bench.running("a")
    bench.delete("a")
    bench.drop("leases")
    found = read_runs_of(bench, "session:")
    assert [(one.id, one.run, one.lease, one.crashes) for one in found.values()] == [("a", ref.run, 0, 0)]
    expiry = Expiry(id="a", run=ref.run, seen=0)
    assert bench.store.expire([expiry]) == ["OK"]
    assert bench.runs() == {}


def test_a_lease_of_nobody_is_dropped(bench):
    """Found by chaos: a worker died, a client deleted its task's hash, and another one `pytask:runs`."""
    bench.running("gone")
    named = bench.running("named")
    bench.set_lease("gone", 7)
    bench.set_lease("named", 8)
    bench.delete("gone")
    bench.drop("runs")
    assert [one.id for one in bench.store.suspects(1, 1)] == ["named"]
    assert list(bench.leases()) == ["named"]  # its owner may live: the next renewal registers it again
    assert bench.store.renew([named]) == {}
    assert bench.runs() == {"named": named.run}


def test_expiry_hands_the_task_on(bench):
    ref = bench.running("a")
    bench.events()
    expiry = bench.expiry(ref, crashes=2)
    assert bench.store.expire([expiry]) == [Verdict.OK]
    bench.assert_at_rest("a", WAIT)
    assert (bench.hash("a")["crashes"], bench.queue()) == ("2", ["a"])
    assert bench.events() == [("a", "requeued", {"reason": "lease expired"})]
    before = bench.dump()
    assert bench.store.expire([expiry]) == [Verdict.ALREADY]
    assert bench.dump() == before


def test_a_renewed_lease_is_not_expired(bench):
    ref = bench.running("a")
    bench.events()
    expiry = bench.expiry(ref)
    time.sleep(0.001)
    assert bench.store.renew([ref]) == {}
    before = bench.dump()
    assert bench.store.expire([expiry]) == [Verdict.RENEWED]
    assert bench.dump() == before
    assert bench.events() == []


def test_a_task_asked_to_stop_is_not_handed_on(bench):
    ref = bench.running("a")
    bench.store.control(Command.STOP, ["a"])
    bench.events()
    assert bench.store.expire([bench.expiry(ref, crashes=4, poison=True)]) == [Verdict.OK]
    bench.assert_at_rest("a", STOPPED)
    assert bench.queue() == []
    assert "control" not in bench.hash("a")
    assert bench.events() == [("a", "stopped", None)]


def test_poison_is_an_error(bench):
    ref = bench.running("a")
    bench.events()
    assert bench.store.expire([bench.expiry(ref, crashes=4, poison=True)]) == [Verdict.OK]
    bench.assert_at_rest("a", ERROR)
    fields = bench.hash("a")
    assert fields["crashes"] == "4"
    assert fields["error"].startswith("poison")
    assert bench.queue() == []
    assert bench.ttl("a") is None
    assert bench.events() == [("a", "error", {"error": fields["error"]})]


@pytest.mark.parametrize("kept", [None, 0, 30])
def test_poison_is_kept_as_long_as_other_errors(make, kept):
    bench = make(retention=Retention(error=kept))
    ref = bench.running("a")
    assert bench.store.expire([bench.expiry(ref, crashes=4, poison=True)]) == [Verdict.OK]
    assert bench.exists("a") is (kept != 0)
    assert bench.ttl("a") is None
    assert bench.index(ERROR) == (set() if kept == 0 else {"a"})
    assert (bench.runs(), bench.leases()) == ({}, {})


@pytest.mark.parametrize("change", ["delete", "anew", "string"])
def test_expiry_of_what_is_gone_only_clears_the_registry(bench, change):
    ref = bench.running("a")
    bench.events()
    bench.delete("a")
    if change == "anew":
        bench.write("a", function="f")
    if change == "string":
        bench.set_string("a")
    assert bench.store.expire([bench.expiry(ref)]) == [Verdict.OK]
    assert (bench.runs(), bench.leases(), bench.queue()) == ({}, {}, [])
    assert bench.hash("a") == ({"function": "f"} if change == "anew" else {}) if change != "string" else True
    assert bench.events() == []


def test_a_batch_of_expiries(bench):
    refs = [bench.running(i) for i in "abc"]
    batch = [bench.expiry(ref) for ref in refs]
    bench.store.commit([ended(refs[1])])
    bench.set_lease("c", 5)
    assert bench.store.expire(batch) == ["OK", "ALREADY", "RENEWED"]
    assert bench.queue() == ["a"]


# -- workers and monitors --------------------------------------------------------------------------------


def test_workers_show_themselves_and_leave(bench):
    info = WorkerInfo(session="s1", name="w", host="h", pid=1, running=2, functions=("f",))
    assert bench.store.announce(info) is None
    assert bench.workers() == {"s1"}
    bench.store.tidy("monitor", 100)
    assert 0 <= bench.store.announce(info) < 60  # seconds since that sweep
    bench.store.leave("s1")
    assert bench.workers() == set()


def test_the_crew_shows_what_it_said_of_itself(bench):
    assert bench.store.recent_workers(10) == []
    info = WorkerInfo(
        session="s1", name="w", host="h", pid=1, running=3, functions=("f", "g"), tasks=2, max_tasks=7,
        version="1.2.3", started=1_700_000_000.5, lag=0.001, round_trip=0.0002, monitor=True, expiry=90.0,
        kept_by={"a": "thread t (in f at x.py:1)"},
    )  # fmt: skip
    bench.store.announce(info)
    assert bench.store.recent_workers(10) == [info]
    assert bench.store.recent_workers(-5) == []
    bench.store.leave("s1")
    assert bench.store.recent_workers(10) == []


def test_the_crew_of_other_releases(real):
    shown = {
        "old": '{"session":"old","name":"w","host":"h","pid":1,"running":2,"functions":["f"]}',
        "new": '{"session":"new","running":5,"tasks":4,"max_tasks":9,"version":"9.0","colour":"red"}',
        "odd": '{"session":"odd","running":"many","tasks":-1,"max_tasks":true,"functions":0,"version":[1]}',
        "list": "[]",
        "torn": '{"session":',
        "nameless": "{}",
    }
    now = real.now() // 1_000_000
    real.raw.zadd(real.keys.workers, dict.fromkeys([*shown, "entry-gone"], now))
    real.raw.hset(real.keys.worker_info, mapping=shown)
    found = {one.session: one for one in real.store.recent_workers(10)}
    assert set(found) == {"old", "new", "odd"}
    assert (found["old"].running, found["old"].tasks, found["old"].max_tasks) == (2, None, None)
    assert (found["new"].tasks, found["new"].max_tasks, found["new"].functions) == (4, 9, ())
    assert [found[name].version for name in ("old", "new", "odd")] == ["", "9.0", ""]
    assert (found["odd"].running, found["odd"].tasks, found["odd"].max_tasks) == (0, None, None)


def test_a_sweep_in_the_future_is_one_of_now(real):
    """After a step of the clock, or of a release that writes fractions of a second."""
    real.raw.zadd(real.keys.monitors, {"m": real.now() / 1e6 + 60.5})
    assert real.store.announce(WorkerInfo(session="s1", name="w", host="h", pid=1, running=2)) == 0


def test_tidy_forgets_workers_long_silent(bench):
    bench.store.announce(WorkerInfo(session="s1", name="w", host="h", pid=1, running=2))
    bench.store.tidy("monitor", 100)
    assert bench.workers() == {"s1"}
    bench.store.tidy("monitor", -1)
    assert bench.workers() == set()


def finished(bench, task_id, trigger, seconds):
    """A task that ended so long ago."""
    bench.store.commit([ended(bench.running(task_id), trigger, keep=60)])
    bench.set_index(destination(trigger), task_id, bench.now() / 1e6 - seconds)


def test_hashes_go_once_they_rested_as_long_as_they_are_kept(bench):
    # ENDED is kept for 60 s here, ERROR for 120 s, STOPPED for ever.
    for trigger in (Trigger.END, Trigger.FAIL, Trigger.STOP):
        for seconds in (0, 90, 150):
            finished(bench, f"{trigger}-{seconds}", trigger, seconds)
    bench.store.retire()
    assert bench.index(ENDED) == {"end-0"}
    assert bench.index(ERROR) == {"fail-0", "fail-90"}
    assert bench.index(STOPPED) == {"stop-0", "stop-90", "stop-150"}
    there = {f"{t}-{s}" for t in ("end", "fail", "stop") for s in (0, 90, 150)}
    assert {i for i in there if bench.exists(i)} == there - {"end-90", "end-150", "fail-150"}


def test_a_hash_stays_while_its_id_waits_again(bench):
    """As plain Redis pushes it: nothing in the hash tells of it but the data."""
    finished(bench, "weekly", Trigger.END, 10_000)
    finished(bench, "other", Trigger.END, 10_000)
    bench.push("weekly", data='{"week":2}')
    bench.store.retire()
    assert not bench.exists("other")
    assert bench.hash("weekly")["data"] == '{"week":2}'
    bench.store.retire()
    (claim,) = bench.claim(bench.ref("weekly"))
    assert (claim.won, claim.data) == (True, b'{"week":2}')
    bench.store.retire()
    assert bench.hash("weekly")["state"] == "RUNNING"


@pytest.mark.parametrize("change", ["gone", "string", "claimed", "stale"])
def test_an_index_entry_that_is_no_longer_true_deletes_nothing(bench, change):
    if change == "string":
        bench.set_string("a")
    if change == "claimed":
        bench.running("a")
    if change == "stale":
        bench.write("a", function="f")
    before = bench.hash("a")
    bench.set_index(ENDED, "a", 1_000_000)
    bench.store.retire()
    assert bench.index(ENDED) == set()
    assert bench.hash("a") == before
    assert bench.exists("a") is (change != "gone")


def test_the_index_follows_the_state(bench):
    ref = bench.running("a")
    for trigger, state in ((Trigger.END, ENDED), (Trigger.FAIL, ERROR), (Trigger.STOP, STOPPED)):
        bench.store.commit([ended(ref, trigger)])
        assert [s for s in RESTING if bench.index(s)] == [state]
        ref = bench.running("a")
        assert not any(bench.index(s) for s in RESTING)


def test_names_that_json_must_escape(bench):
    bench.push('a"b\\')
    ref = bench.ref('a"b\\')
    (claim,) = bench.store.claim(bench.request(ref))
    assert claim.verdict is Verdict.OK
    ((task_id, name, data),) = bench.events()
    assert (task_id, name, data["run"]) == ('a"b\\', "running", ref.run)
    assert json.dumps(data)


@pytest.mark.parametrize("odd", ["inf", "nan", "-5", "1e300", "many", "9007199254740993"])
def test_numbers_that_a_client_spoiled_are_taken_as_none(bench, odd):
    bench.push("a", epoch=odd, attempts=odd, crashes=odd)
    (claim,) = bench.claim(bench.ref("a"))
    assert claim.verdict is Verdict.OK
    assert abs(claim.epoch / 1000 - bench.now() / 1e6) < 60
    assert (claim.crashes, bench.hash("a")["attempts"]) == (0, "1")


@pytest.mark.parametrize("name", ["", "f" * 513])
def test_a_name_that_no_task_can_have_is_no_name(bench, name):
    bench.push("a", function=name)
    (claim,) = bench.claim(bench.ref("a"))
    assert (claim.verdict, claim.function) == (Verdict.OK, "")


def test_an_end_is_taken_although_the_registry_lost_the_run(bench):
    ref = bench.running("a")
    bench.drop("runs")
    assert bench.store.commit([Change("a", ref.run, X), ended(ref)]) == [Verdict.OK, Verdict.OK]
    bench.assert_at_rest("a", ENDED)


def test_a_registered_run_without_a_lease_gets_one_in_the_slow_sweep(bench):
    ref = bench.running("a")
    bench.drop("leases")
    assert bench.store.repair(0, 90)[1] == 1
    bench.assert_registered(ref)


def test_a_registered_run_without_a_lease_or_a_hash_is_cleared_away(bench):
    """Its worker is dead, a client deleted the hash, and the leases were lost: no monitor would see it."""
    refs = [bench.running(task_id) for task_id in ("gone", "anew", "stays")]
    bench.delete("gone")
    bench.delete("anew")
    bench.push("anew")
    bench.drop("leases")
    assert bench.store.suspects(500, 500) == []
    assert set(bench.leases()) == {ref.id for ref in refs}
    found = [Expiry(id=r.id, run=r.run, seen=bench.leases()[r.id], crashes=0, poison=False) for r in refs]
    assert bench.store.expire(found[:2]) == [Verdict.OK, Verdict.OK]
    assert set(bench.runs()) == set(bench.leases()) == {"stays"}
    assert bench.hash("gone") == {}


@pytest.mark.parametrize("lost", ["runs", "leases"])
def test_a_dead_run_is_handed_on_though_a_client_deleted_the_registry_or_the_leases(bench, lost):
    ref, living = bench.running("a"), bench.running("b")
    bench.set_lease("a", 7)
    bench.drop(lost)
    bench.store.suspects(500, 500)  # the first sweep: runs without a lease are given one
    bench.store.renew([living])
    bench.set_lease("a", 7)
    (suspect,) = bench.store.suspects(500, 500)
    assert (suspect.id, suspect.run, suspect.lease) == ("a", ref.run, 7)
    expiry = Expiry(id="a", run=suspect.run, seen=suspect.lease)
    bench.events()
    assert bench.store.expire([expiry]) == [Verdict.OK]
    bench.assert_at_rest("a", WAIT)
    assert bench.queue() == ["a"]
    assert bench.store.expire([expiry]) == [Verdict.ALREADY]
    bench.assert_registered(living)


def test_a_living_owner_that_registers_again_keeps_its_run(bench):
    ref = bench.running("a")
    bench.set_lease("a", 7)
    bench.drop("runs")
    (suspect,) = bench.store.suspects(500, 500)
    bench.store.renew([ref])
    assert bench.store.expire([Expiry(id="a", run=suspect.run, seen=suspect.lease)]) == [Verdict.RENEWED]
    bench.assert_registered(ref)


@pytest.mark.parametrize(("name", "value"), [("state", "ENDED"), ("run", "not a run"), ("run", "")])
def test_a_lease_whose_hash_names_no_run_that_runs_is_no_suspect(bench, name, value):
    bench.running("a")
    bench.set_lease("a", 7)
    bench.drop("runs")
    bench.write("a", **{name: value})
    assert bench.store.suspects(500, 500) == []


@pytest.mark.parametrize("word", [None, "what", "RUNNING"])
@pytest.mark.parametrize("verb", ["claim", "adopt"])
def test_a_task_without_a_known_state_leaves_the_index_of_waiting_ones(bench, verb, word):
    bench.push("a", **({} if word is None else {"state": word}))
    bench.set_index(WAIT, "a", 1)
    ref = bench.ref("a")
    if verb == "claim":
        assert bench.claim(ref)[0].verdict is Verdict.OK
    else:
        assert bench.store.adopt([Adoption("a", ref.run, 10**15)], "w") == [Verdict.OK]
    bench.assert_registered(ref)


def test_a_key_of_another_type_is_not_rejected_as_a_local_task(bench):
    bench.lpush("a")
    bench.set_string("a")
    assert bench.store.reject(b"a", IdFault.LOCAL) is Verdict.MOVED
    assert bench.queue() == ["a"]


def test_a_hash_without_fields_is_no_key(bench):
    bench.push("a", function="f", data="1")
    bench.erase("a", "function", "data")
    assert not bench.exists("a")
    assert bench.claim(bench.ref("a"))[0].verdict is Verdict.NOHASH


@pytest.mark.parametrize("odd", ["9" * 20, "-1", "inf", "nan", "many"])
def test_a_monitor_counts_spoiled_numbers_as_the_scripts_do(bench, odd):
    ref = bench.running("a")
    bench.write("a", crashes=odd, epoch=odd)
    (suspect,) = bench.store.suspects(-1000, 0)
    assert (suspect.run, suspect.crashes, suspect.epoch) == (ref.run, 0, 0)


@pytest.mark.parametrize("odd", ["9" * 20, "-1", "1e400", "nan", "yesterday"])
def test_a_spoiled_time_does_not_keep_a_task_from_repair(bench, odd):
    bench.write("a", function="f", state="RUNNING", last_update=odd)
    assert bench.store.repair(0, 90)[1] == 1
    assert bench.queue() == ["a"]


def test_two_runs_of_one_id_in_a_renewal_are_judged_by_one_look_at_the_registry(bench):
    """A worker that gives up an old run may still hold it beside the new one: the answer has no order."""
    old, new = bench.ref("t"), bench.running("t")
    bench.drop("runs")
    assert bench.store.renew([new, old]) == {old: Verdict.GONE}
    assert bench.store.renew([new, old]) == {old: Verdict.FENCED}
