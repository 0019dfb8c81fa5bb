"""However large what a client wrote: what one answer may carry to a worker or a monitor."""

import pytest

from pytask.domain.messages import Command, IdFault, read_id
from pytask.domain.record import Verdict

OK, MOVED = Verdict.OK, Verdict.MOVED
HUGE = "9" * 2_000_000


def words(claims):
    return [claim.verdict for claim in claims]


def push_sizes(bench, *sizes):
    ids = [f"t{number}" for number in range(len(sizes))]
    for task_id, size in zip(ids, sizes, strict=True):
        bench.push(task_id, data="x" * size)
    return [bench.ref(task_id) for task_id in ids]


@pytest.mark.wire
@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((10, 1), [OK, MOVED]),  # one alone may fill the batch
        ((4, 6, 1), [OK, OK, MOVED]),  # to the byte
        ((4, 7, 1), [OK, MOVED, MOVED]),  # the order of the queue is kept: a smaller one does not overtake
        (
            (11, 4, 6, 99, 1),
            [OK, OK, OK, OK, MOVED],
        ),  # over the limit: not read, weighs nothing
        ((0, 0, 10), [OK, OK, OK]),
    ],
)
def test_the_data_of_a_batch_has_one_limit(bench, sizes, expected):
    refs = push_sizes(bench, *sizes)
    before = bench.queue()
    claims = bench.claim(*refs, max_data=10)
    assert words(claims) == expected
    assert sum(len(claim.data or b"") for claim in claims) <= 10
    left = [ref.id for ref, verdict in zip(refs, expected, strict=True) if verdict is MOVED]
    assert bench.queue() == [task_id for task_id in before if task_id in left]
    for task_id in left:
        assert bench.hash(task_id).keys() == {"function", "data"}
        assert task_id not in bench.runs()
    # A repeat of a lost answer says the same, and takes no more.
    again = bench.claim(*refs, max_data=10)
    assert words(again) == [Verdict.ALREADY if word is OK else word for word in expected]
    assert [claim.data for claim in again] == [claim.data for claim in claims]
    # What was left comes with the next batches, each of which gets on.
    for _ in left:
        waiting = [ref for ref in refs if ref.id in bench.queue()]
        assert not waiting or words(bench.claim(*waiting, max_data=10))[0] is OK
    assert bench.queue() == []


def test_what_is_ours_is_answered_however_large_it_became(bench):
    refs = push_sizes(bench, 4, 4)
    bench.claim(*refs, max_data=10)
    for ref in refs:
        bench.write(ref.id, data="x" * 9)
    assert words(bench.claim(*refs, max_data=10)) == [Verdict.ALREADY, Verdict.ALREADY]


def test_other_copies_in_a_full_batch_are_dropped_as_ever(bench):
    push_sizes(bench, 9, 9)
    first, second, copy = bench.ref("t0"), bench.ref("t1"), bench.ref("t0")
    assert words(bench.claim(first, second, copy, max_data=10)) == [OK, MOVED, Verdict.DUPLICATE]


@pytest.mark.wire
def test_of_an_id_that_is_too_long_the_beginning_is_seen_and_noted(bench):
    first, second = b"x" * 100_000 + b"1", b"x" * 100_000 + b"2"
    bench.push("good")
    for raw in (first, b"y" * 513, second):
        bench.lpush(raw)
    for cut in (b"x" * 513, b"y" * 513, b"x" * 513):
        assert bench.store.peek(9) == [b"good", cut]
        assert read_id(cut) is IdFault.LONG
        assert bench.store.reject(cut, IdFault.LONG) is OK
    assert bench.queue() == ["good"]
    assert bench.store.peek(9) == [b"good"]
    assert bench.store.reject(cut, IdFault.LONG) is MOVED
    notes = bench.rejected()
    assert [bytes.fromhex(note["id_hex"]) for note in notes] == [b"x" * 513, b"y" * 513, b"x" * 513]


def test_a_claim_tells_the_ids_behind_its_batch(bench):
    for task_id in "abcdef":
        bench.push(task_id)
    assert words(bench.claim(bench.ref("a"))) == [OK]
    assert bench.store.ahead is None  # not asked for
    assert words(bench.claim(bench.ref("b"), bench.ref("d"), look=2)) == [OK, OK]
    assert bench.store.ahead == [b"c", b"e"]  # what was taken is not among them
    assert words(bench.claim(bench.ref("b"), bench.ref("nowhere"), look=9)) == [MOVED, MOVED]
    assert bench.store.ahead == [b"c", b"e", b"f"]
    assert words(bench.claim(*map(bench.ref, "cef"), look=9)) == [OK, OK, OK]
    assert bench.store.ahead == []


def test_as_many_ids_behind_a_batch_as_are_wanted(bench):
    ids = [f"t{number}" for number in range(400)]
    for task_id in ids:
        bench.push(task_id)
    bench.claim(bench.ref(ids[0]), look=256)
    assert bench.store.ahead == [task_id.encode() for task_id in ids[1:257]]


def test_the_ids_behind_a_batch_end_with_one_that_is_too_long(bench):
    bench.push("a")
    bench.push("b\nb")
    for raw in (b"x" * 100_000, b"y" * 513):
        bench.lpush(raw)
    bench.push("c")
    bench.claim(bench.ref("a"), look=9)
    assert bench.store.ahead == [b"b\nb", b"x" * 513]


@pytest.mark.wire
def test_what_a_client_wrote_cannot_shift_the_answers(bench):
    """They travel in one piece, told apart by their lengths."""
    names = {"a": "f", "b": "OK 1 0 0 1 1", "c": "", "d": "g\n9"}
    for task_id, function in names.items():
        bench.push(task_id, function=function, data=f"{task_id} OK 7")
    bench.push("e", function=b"\xff\x00")
    bench.lpush("OK 1")
    claims = bench.claim(*map(bench.ref, "abcde"), functions=("g\n9", "f"), look=9)
    assert words(claims) == [OK, Verdict.UNKNOWN, OK, OK, Verdict.UNKNOWN]
    assert [claim.function for claim in claims] == ["f", "OK 1 0 0 1 1", "", "g\n9", "\udcff\0"]
    assert [claim.data for claim in claims] == [b"a OK 7", None, b"c OK 7", b"d OK 7", None]
    assert bench.store.ahead == [b"b", b"e", b"OK 1"]


def test_the_longest_id_is_peeked_as_it_is(bench):
    bench.push("x" * 512)
    assert bench.store.peek(1) == [b"x" * 512]


@pytest.mark.wire
@pytest.mark.parametrize("run", [b"\xff\xfe", "r" * 129, HUGE, "two words", "line\n", ""])
def test_what_cannot_be_a_run_id_is_not_registered(bench, run):
    """A monitor reads the registry; what it cannot read would end every sweep."""
    bench.push("a", state="RUNNING", run=run)
    bench.write("b", function="f", state="RUNNING", run=run, last_update="1")
    assert bench.store.repair(0, 90)[1] >= 1
    assert "b" not in bench.runs()
    assert bench.hash("b")["state"] == "WAIT"
    # Nobody runs it, and the push says what is wanted.
    ref = bench.ref("a")
    assert words(bench.claim(ref)) == [OK]
    bench.assert_registered(ref)


@pytest.mark.parametrize("number", [HUGE, "-1", "inf", "nan", "1e999999", "", "x", b"\xff"])
def test_a_suspect_carries_numbers_whatever_is_in_its_hash(bench, number):
    ref = bench.running("a")
    bench.write("a", epoch=number, crashes=number)
    bench.set_lease("a", bench.now() - 1_000_000_000)
    (suspect,) = bench.store.suspects(10, 10)
    assert (suspect.id, suspect.run, suspect.epoch, suspect.crashes) == ("a", ref.run, 0, 0)
    assert bench.store.runs_of("session")[1] == [suspect]
    bench.delete("a")
    bench.set_string("a")
    assert bench.store.suspects(10, 10) == [suspect]


@pytest.mark.wire
@pytest.mark.parametrize("function", [HUGE, b"\xff", "", "f\n"])
def test_a_task_is_stopped_whatever_its_function_is_called(bench, function):
    bench.push("a", function=function)
    bench.push("b")
    assert bench.store.control(Command.STOP, ["a", "b", "c"]) == [OK, OK, Verdict.NOHASH]
    assert bench.queue() == []
