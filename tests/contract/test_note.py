"""Lines of tasks' logs and progress, on every backend: a ring, fenced, and nothing for a full Redis."""

import json

import pytest

from pytask.domain.errors import Refused
from pytask.domain.lifecycle import Trigger
from pytask.domain.record import Change, Notes, Verdict
from tests.contract.benches import RedisBench

PROGRESS = b'{"done":1,"epoch":5}'
EVENT = b'{"event":"progress","data":{"done":1}}'
DAY = 86400


def lines(*numbers):
    return tuple(b'{"n":%d}' % n for n in numbers)


def note(bench, *notes, ring=5, keep=DAY):
    return bench.store.note(list(notes), ring, keep)


@pytest.mark.wire
def test_nothing_noted(bench):
    assert note(bench) == []


@pytest.mark.wire
def test_a_ring_keeps_the_newest_lines_in_their_order(bench):
    ref = bench.running("a")
    assert note(bench, Notes("a", ref.run, lines(1, 2, 3))) == [Verdict.OK]
    assert bench.log("a") == [*lines(1, 2, 3)]
    note(bench, Notes("a", ref.run, lines(4, 5, 6, 7)))
    assert bench.log("a") == [*lines(3, 4, 5, 6, 7)]
    note(bench, Notes("a", ref.run, lines(8)), ring=2)  # the setting was made smaller
    assert bench.log("a") == [*lines(7, 8)]


def test_a_ring_goes_with_time(bench):
    ref = bench.running("a")
    note(bench, Notes("a", ref.run, lines(1)), keep=50)
    assert 0 < bench.log_ttl("a") <= 50
    note(bench, Notes("a", ref.run, lines(2)), keep=9000)  # each line begins the time anew
    assert 50 < bench.log_ttl("a") <= 9000


def test_a_line_is_any_bytes_that_json_has(bench):
    ref = bench.running("a")
    odd = (json.dumps({"text": "\x00\r\n ü \\ '"}).encode(), b"x" * 10_000)
    note(bench, Notes("a", ref.run, odd))
    assert bench.log("a") == [*odd]


@pytest.mark.wire
def test_progress_is_in_the_hash_and_is_published(bench):
    ref = bench.running("a")
    before = bench.hash("a")
    bench.events()
    assert note(bench, Notes("a", ref.run, (), PROGRESS, EVENT)) == [Verdict.OK]
    assert bench.hash("a") == before | {"progress": PROGRESS.decode()}
    assert bench.events() == [("a", "progress", {"done": 1})]
    assert bench.log("a") == []
    bench.assert_registered(ref)


@pytest.mark.wire
def test_many_runs_in_one_call_each_by_itself(bench):
    refs = [bench.running(f"task-{n}") for n in range(40)]
    bench.delete("task-7")
    notes = [Notes(ref.id, ref.run, lines(*range(n % 4)), PROGRESS, EVENT) for n, ref in enumerate(refs)]
    assert note(bench, *notes) == [Verdict.GONE if n == 7 else Verdict.OK for n in range(40)]
    for n in range(40):
        assert bench.log(f"task-{n}") == ([] if n == 7 else [*lines(*range(n % 4))])
    assert not bench.exists("task-7")  # no ghost of a deleted task


def test_a_run_that_is_not_the_tasks_any_more_notes_nothing(bench):
    old = bench.running("a")
    bench.store.commit([Change("a", old.run, b"", Trigger.RELEASE)])
    late = Notes("a", old.run, lines(1), PROGRESS, EVENT)
    assert note(bench, late) == [Verdict.FENCED]
    new = bench.ref("a")
    bench.claim(new)
    bench.events()
    assert note(bench, late, Notes("a", new.run, lines(2))) == [Verdict.FENCED, Verdict.OK]
    assert bench.log("a") == [*lines(2)]
    assert "progress" not in bench.hash("a")
    assert bench.events() == []


def test_a_deleted_task_gets_neither_a_ring_nor_a_hash(bench):
    ref = bench.running("a")
    bench.delete("a")
    assert note(bench, Notes("a", ref.run, lines(1), PROGRESS, EVENT)) == [Verdict.GONE]
    assert not bench.exists("a")
    assert bench.log("a") == []


def test_a_run_that_the_registry_lost_is_still_the_tasks(bench):
    ref = bench.running("a")
    bench.drop("runs")
    assert note(bench, Notes("a", ref.run, lines(1), PROGRESS, EVENT)) == [Verdict.OK]
    assert bench.log("a") == [*lines(1)]


def test_the_lines_outlive_the_run_and_its_hash(bench):
    ref = bench.running("a")
    note(bench, Notes("a", ref.run, lines(1)))
    bench.store.commit([Change("a", ref.run, b"", Trigger.END, keep=0)])
    assert not bench.exists("a")
    assert bench.log("a") == [*lines(1)]


def test_a_hash_of_another_type_and_a_ring_of_another_type(make):
    bench = make()
    ref, other = bench.running("a"), bench.running("b")
    bench.set_string("a")
    assert note(bench, Notes("a", ref.run, lines(1)), Notes("b", other.run, lines(1)))[1] is Verdict.OK
    assert bench.log("a") == []
    if isinstance(bench, RedisBench):
        bench.raw.set(bench.keys.log("b"), "x")
        both = [
            Notes("b", other.run, lines(2), PROGRESS, EVENT),
            Notes("c", bench.running("c").run, lines(1)),
        ]
        assert note(bench, *both) == [Verdict.BADTYPE, Verdict.OK]
        assert bench.raw.get(bench.keys.log("b")) == b"x"
        assert bench.hash("b")["progress"] == PROGRESS.decode()


def test_a_full_redis_refuses_lines_and_takes_ends(real):
    ref = real.running("a")
    real.raw.config_set("maxmemory", 1)
    try:
        with pytest.raises(Refused, match="OOM"):
            note(real, Notes("a", ref.run, lines(1), PROGRESS, EVENT))
        with pytest.raises(Refused, match="OOM"):
            note(real, Notes("a", ref.run, lines(1)))
        assert real.store.commit([Change("a", ref.run, b"", Trigger.END)]) == [Verdict.OK]
    finally:
        real.raw.config_set("maxmemory", 0)
    assert real.log("a") == []
    assert "progress" not in real.hash("a")


@pytest.mark.wire
def test_the_largest_call(bench):
    """500 lines, of 500 runs or of one: within the limit of arguments in Lua."""
    refs = [bench.running(f"task-{n}") for n in range(500)]
    crowd = [Notes(ref.id, ref.run, lines(1), PROGRESS, EVENT) for ref in refs]
    assert note(bench, *crowd) == [Verdict.OK] * 500
    assert note(bench, Notes("task-7", refs[7].run, lines(*range(2, 502))), ring=400) == [Verdict.OK]
    assert bench.log("task-7") == [*lines(*range(102, 502))]
    assert bench.log("task-499") == [*lines(1)]
