"""What `claim` promises, beyond the moves themselves."""

import time

import pytest

from pytask.domain.lifecycle import WAIT, Trigger
from pytask.domain.record import (
    Adoption,
    Verdict,
)
from tests.contract.benches import ended, words


@pytest.mark.wire
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


@pytest.mark.wire
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


@pytest.mark.wire
def test_data_that_is_not_utf8_comes_as_it_is(bench):
    bench.push("a", data=b"\xff\xfe")
    assert bench.claim(bench.ref("a"))[0].data == b"\xff\xfe"


@pytest.mark.wire
def test_a_task_whose_key_is_no_hash_any_more_as_the_answer_comes_does_not_run(bench):
    bench.push("a")
    ref = bench.ref("a")
    bench.claim(ref)
    bench.delete("a")
    bench.set_string("a")
    assert [one.verdict for one in bench.claim(ref)] == [Verdict.GONE]
    assert bench.store.commit([ended(ref, Trigger.RELEASE)]) == [Verdict.GONE]
    assert (bench.runs(), bench.leases()) == ({}, {})


@pytest.mark.wire
@pytest.mark.parametrize("recreated", [False, True])
def test_a_task_that_was_deleted_before_the_answer_came_does_not_run(bench, recreated):
    """With the same id pushed again, it would run with the data of the new task, which runs again later."""
    bench.push("a", attempts="3")
    ref = bench.ref("a")
    bench.claim(ref)
    bench.delete("a")
    if recreated:
        bench.push("a", data=b"new")
    (claim,) = bench.claim(ref)
    assert (claim.verdict, claim.won, claim.registered) == (Verdict.GONE, False, True)
    assert bench.store.commit([ended(ref, Trigger.RELEASE)]) == [Verdict.GONE]
    assert (bench.runs(), bench.leases()) == ({}, {})
    if recreated:
        (claim,) = bench.claim(bench.ref("a"))
        assert (claim.verdict, claim.data) == (Verdict.OK, b"new")


@pytest.mark.parametrize(("size", "data", "over"), [(10, b"0123456789", 0), (11, None, 11)])
def test_data_over_the_limit_is_not_read(bench, size, data, over):
    bench.push("a", data="01234567890"[:size])
    ref = bench.ref("a")
    (claim,) = bench.claim(ref, max_data=10)
    assert (claim.verdict, claim.data, claim.oversize) == (Verdict.OK, data, over)
    (claim,) = bench.claim(ref, max_data=10)
    assert (claim.verdict, claim.data, claim.oversize) == (Verdict.ALREADY, data, over)


@pytest.mark.wire
def test_the_oldest_is_peeked_first(bench):
    for task_id in "abc":
        bench.push(task_id)
    assert bench.store.peek(2) == [b"a", b"b"]
    assert bench.store.peek(9) == [b"a", b"b", b"c"]
    assert bench.store.peek(9, "f") == []


@pytest.mark.wire
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


@pytest.mark.wire
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


def test_a_hash_recreated_waits_for_the_old_run(bench):
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


@pytest.mark.parametrize("recreated", [True, False])
def test_a_registered_run_without_a_lease_gets_one_when_its_id_is_pushed(bench, recreated):
    # Its owner may be dead: no monitor would ever look at it, and the id could never be claimed again.
    old = bench.running("a")
    bench.drop("leases")
    if recreated:
        bench.delete("a")
    bench.push("a")
    assert words(bench.claim(bench.ref("a"))) == [Verdict.ROTATED if recreated else Verdict.DUPLICATE]
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


@pytest.mark.wire
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


@pytest.mark.wire
def test_empty_batches_are_answered_by_nothing(bench):
    assert bench.claim() == bench.store.commit([]) == bench.store.expire([]) == []
    assert bench.store.renew([]) == {}


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


def test_a_hash_without_fields_is_no_key(bench):
    bench.push("a", function="f", data="1")
    bench.erase("a", "function", "data")
    assert not bench.exists("a")
    assert bench.claim(bench.ref("a"))[0].verdict is Verdict.NOHASH
