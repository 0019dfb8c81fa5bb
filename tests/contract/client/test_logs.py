"""Reading tasks' logs, for both faces of the client; a store plays the worker."""

import json
import threading
import time

import pytest

from pytask import errors
from pytask.client import Progress
from pytask.domain.figures import WorkerInfo
from pytask.domain.lifecycle import STOPPED, Trigger
from pytask.domain.record import Notes, Verdict

RING = 20


def line(n, epoch=1, text=None):
    fields = {"n": n, "at": 1.5, "level": "info", "logger": "app", "text": text or str(n), "epoch": epoch}
    return json.dumps(fields).encode()


def write(both, ref, *numbers, epoch=1, ring=RING):
    notes = Notes(ref.id, ref.run, tuple(line(n, epoch) for n in numbers))
    assert both.bench.store.note([notes], ring, 1000) == [Verdict.OK]


def numbers(lines):
    return [(one.number, one.missed) for one in lines]


@pytest.mark.wire
def test_the_last_lines_of_a_task(both):
    ref = both.bench.running("a")
    assert list(both.client.logs("a")) == []
    write(both, ref, 1, 2, 3)
    first, *_ = found = list(both.client.logs("a"))
    assert numbers(found) == [(1, 0), (2, 0), (3, 0)]
    assert (first.at, first.level, first.logger, first.text, first.epoch) == (1.5, "info", "app", "1", 1)
    assert numbers(both.client.logs("a", limit=2)) == [(2, 0), (3, 0)]
    assert numbers(both.client.logs("a", limit=0)) == []
    write(both, ref, *range(4, 4 + RING))
    assert numbers(both.client.logs("a", limit=None))[0] == (4, 0)
    assert len(list(both.client.logs("a", limit=None))) == RING


@pytest.mark.wire
def test_lines_of_earlier_runs_and_lines_that_are_missing_or_there_twice(both):
    ref = both.bench.running("a")
    write(both, ref, 1, 2, 5)
    write(both, ref, 2, 5)  # after a lost reply inside of a worker
    write(both, ref, 3, 4, epoch=2)
    found = [(one.epoch, one.number, one.missed) for one in both.client.logs("a")]
    assert found == [(1, 1, 0), (1, 2, 0), (1, 5, 2), (2, 3, 0), (2, 4, 0)]


@pytest.mark.wire
def test_what_is_no_line_is_left_out(both):
    ref = both.bench.running("a")
    junk = (b"x", b"[]", b"{}", b'{"n":"1","epoch":1,"at":1}', b"\xff", b"[" * 5000)
    both.bench.store.note([Notes("a", ref.run, (*junk, line(1)))], RING, 1000)
    assert numbers(both.client.logs("a")) == [(1, 0)]


@pytest.mark.wire
def test_no_such_task_is_raised_at_the_call(both):
    with pytest.raises(errors.NoSuchTask):
        both.client.logs("nobody")
    for limit in (-1, 1.5, True, "3"):
        with pytest.raises(errors.BadData):
            both.client.logs("nobody", limit=limit)


def test_the_lines_of_a_task_that_is_gone(both):
    ref = both.bench.running("a")
    write(both, ref, 1)
    both.bench.delete("a")
    assert numbers(both.client.logs("a", follow=True)) == [(1, 0)]  # and nothing is waited for


@pytest.mark.wire
def test_remove_takes_the_lines_along(both):
    ref = both.bench.running("a")
    write(both, ref, 1)
    both.end(ref)
    assert both.client.remove("a") is True
    assert both.bench.log("a") == []
    with pytest.raises(errors.NoSuchTask):
        both.client.logs("a")


@pytest.mark.wire
def test_following_until_the_end(both):
    ref = both.bench.running("a")
    write(both, ref, 1)
    lines = both.client.logs("a", follow=True)
    assert next(lines).number == 1
    write(both, ref, 2, 3)
    assert [next(lines).number, next(lines).number] == [2, 3]
    write(both, ref, 4)
    both.end(ref)
    assert [one.number for one in lines] == [4]


def test_following_from_now_on(both):
    ref = both.bench.running("a")
    write(both, ref, 1, 2)
    lines = both.client.logs("a", limit=0, follow=True)
    write(both, ref, 3)
    assert next(lines).number == 3
    both.end(ref, Trigger.STOP, "stopped")
    assert list(lines) == []
    assert both.bench.hash("a")["state"] == STOPPED


def test_following_over_a_new_run(both):
    ref = both.bench.running("a")
    lines = both.client.logs("a", follow=True)
    write(both, ref, 1, 2)
    assert [next(lines).number, next(lines).number] == [1, 2]
    again = both.bench.ref("a")
    both.bench.store.reload(ref, again, "w", 1000)
    write(both, again, 1, epoch=2)
    found = next(lines)
    assert (found.epoch, found.number, found.missed) == (2, 1, 0)
    lines.close()


@pytest.mark.wire
def test_who_follows_too_slowly_learns_what_was_missed(both):
    ref = both.bench.running("a")
    write(both, ref, 1)
    lines = both.client.logs("a", follow=True)
    assert next(lines).number == 1
    write(both, ref, *range(2, 2 + 3 * RING))
    found = next(lines)
    assert (found.number, found.missed) == (2 + 2 * RING, 2 * RING)
    both.end(ref)
    assert len(list(lines)) == RING - 1


def test_a_task_that_ends_while_it_is_followed_wakes_the_follower(real):
    ref = real.bench.running("a")
    lines = real.client.logs("a", follow=True)

    def later():
        time.sleep(0.3)
        write(real, ref, 1)
        real.end(ref)

    worker = threading.Thread(target=later)
    worker.start()
    assert [one.number for one in lines] == [1]
    worker.join()


def test_following_outlives_lost_connections(real):
    ref = real.bench.running("a")
    write(real, ref, 1)
    lines = real.client.logs("a", follow=True)
    assert next(lines).number == 1
    real.bench.raw.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    real.bench.store.reset()
    write(real, ref, 2)
    assert next(lines).number == 2
    real.end(ref)
    assert list(lines) == []


@pytest.mark.wire
def test_progress_is_that_of_the_last_run(both):
    ref = both.bench.running("a")
    assert both.client.get("a").progress is None
    epoch = int(both.bench.hash("a")["epoch"])

    def fields(**members):
        field = json.dumps({"at": 5, "epoch": epoch} | members).encode()
        event = json.dumps({"event": "progress", "data": members}).encode()
        return both.bench.store.note([Notes("a", ref.run, (), field, event)], RING, 1000)

    events = both.client.watch("a")
    fields(done=3, total=10, note="pages")
    event = next(events)
    assert (event.name, event.data) == ("progress", {"done": 3, "total": 10, "note": "pages"})
    events.close()
    expected = Progress(done=3, total=10, note="pages", at=5)
    assert both.client.get("a").progress == expected
    assert str(expected) == "3/10 (30 %) pages"
    assert [task.progress for task in both.client.list()] == [expected]
    for odd in ("{}", "x", "[]", json.dumps({"done": "x", "epoch": epoch}), '{"done":1,"epoch":1}'):
        both.bench.write("a", progress=odd)
        assert both.client.get("a").progress is None


def test_a_worker_shows_how_many_lines_it_keeps(both):
    for session, kept in (("s1", 200), ("s2", 0), ("s3", None)):
        both.bench.store.announce(
            WorkerInfo(session=session, name="w", host="h", pid=1, running=0, task_logs=kept)
        )
    assert {w.session: w.task_logs for w in both.client.workers()} == {"s1": 200, "s2": 0, "s3": None}
