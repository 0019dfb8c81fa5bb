"""Runs that were renewed together stay together."""

from pytask.domain.leases import RENEW_CHUNK, Chunk, LeaseBook, stamps
from pytask.domain.record import RunRef


def refs(count, first=0):
    return [RunRef(f"t{n}", f"s:{n}") for n in range(first, first + count)]


def filled(count, *, batch=256):
    book = LeaseBook()
    for number, ref in enumerate(refs(count)):
        book.add(ref, number // batch / 10)
    return book


def rounds(book, count=3):
    """Renew everything once at each time; the chunks of the last round."""
    first = int(book.oldest()) + 10
    for now in range(first, first + count):
        chunks = []
        while chunk := book.due(now - 1):
            chunks.append(chunk)
            book.renewed(chunk, now)
    return chunks


def test_after_a_round_the_chunks_are_full_and_the_same_objects():
    book = filled(2600)
    first = rounds(book)
    assert [len(chunk) for chunk in first] == [1000, 1000, 600]
    again = rounds(book, 5)
    assert all(isinstance(chunk, Chunk) for chunk in again)
    assert [id(chunk) for chunk in again] == [id(chunk) for chunk in first]


def test_no_chunk_is_larger_than_one_call_may_be():
    assert max(map(len, rounds(filled(5000, batch=5000)))) == RENEW_CHUNK


def test_a_run_that_ends_changes_its_own_chunk_only():
    book = filled(4000)
    before = rounds(book)
    gone = before[1][7]
    book.remove(gone.run)
    after = rounds(book, 1)
    assert [new is old for new, old in zip(after, before, strict=True)] == [
        at != 1 for at in range(len(before))
    ]
    assert after[1] == [ref for ref in before[1] if ref != gone]
    assert [id(chunk) for chunk in rounds(book, 1)] == [id(chunk) for chunk in after]


def test_a_chunk_that_was_asked_for_before_a_run_ended_brings_it_not_back():
    book = filled(500)
    (chunk,) = rounds(book)
    gone = chunk[3]
    book.remove(gone.run)
    book.renewed(chunk, 50)
    assert gone.run not in book
    assert (len(book), book.oldest()) == (499, 50)


def test_chunks_that_shrank_are_joined():
    book = filled(2000)
    for number in range(2000):
        if number % 10:
            book.remove(f"s:{number}")
    assert [len(chunk) for chunk in rounds(book)] == [200]


def test_runs_claimed_one_by_one_but_soon_after_each_other_count_from_the_first():
    book = LeaseBook()
    for number, ref in enumerate(refs(100)):
        book.add(ref, 5 + number / 10_000)
    assert (book.oldest(), len(book.due(5))) == (5, 100)
    book.add(RunRef("x", "s:x"), 5.02)
    assert len(book.due(5.01)) == 100


def test_an_answer_that_came_late_sets_no_chunk_back():
    book = filled(100)
    (chunk,) = rounds(book)
    book.renewed(chunk, 3)
    assert book.oldest() == 12  # as the rounds left it
    book.add(RunRef("late", "s:late"), 4)
    assert book.oldest() == 4
    assert book.due(5) == [RunRef("late", "s:late")]


def stamped(book, now):
    """Renew everything once: for each run, whether its `last_update` was written."""
    found = {}
    while chunk := book.due(now - 1):
        found |= {ref.run: stamps(chunk) for ref in chunk}
        book.renewed(chunk, now)
    return found


def test_each_third_renewal_writes_last_update():
    book = filled(2000, batch=1000)
    written = [set(stamped(book, now).values()) for now in range(10, 17)]
    assert written == [{False}, {False}, {True}, {False}, {False}, {True}, {False}]


def test_no_run_is_left_without_for_longer_whatever_joins_and_leaves():
    """A claim writes it, too: of three renewals in a row one does."""
    book = filled(300, batch=100)
    since = dict.fromkeys((ref.run for ref in refs(300)), 0)
    for now in range(10, 60):
        for run, written in stamped(book, now).items():
            since[run] = 0 if written else since[run] + 1
        assert max(since.values()) < 3
        ended, joined = next(iter(since)), RunRef(f"n{now}", f"n:{now}")
        book.remove(ended)
        del since[ended]
        book.add(joined, now + 0.5)
        since[joined.run] = 0


def test_a_run_that_ends_during_a_renewal_leaves_none_without():
    book = filled(10, batch=10)
    chunk = book.due(5)
    assert not stamps(chunk)
    book.remove("s:3")
    book.renewed(chunk, 10)
    assert set(stamped(book, 15).values()) == {True}
