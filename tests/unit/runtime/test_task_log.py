"""Lines of logs and progress: whose they are, in which order they go, and what becomes of too many."""

import contextlib
import json
import logging
import os
import sys
import time

import gevent
import pytest
from gevent.event import Event

from pytask.domain.errors import BadData, Refused, Unavailable
from pytask.domain.lifecycle import Trigger
from pytask.domain.record import Verdict
from pytask.domain.task import Task
from pytask.domain.task_log import TEXT_MOST
from pytask.runtime.runs import output
from pytask.runtime.runs import task_log as journals
from pytask.runtime.runs.log_handler import TaskLines
from pytask.runtime.runs.task_log import LINES_MOST, MANY
from pytask.runtime.tree import Service
from tests.unit.runtime.fakes import World, switch

log = logging.getLogger("app.part")


def demo(start, **methods):
    return type("Demo", (Task,), {"Config": type("Config", (), {"NAME": "demo"}), "start": start, **methods})


@pytest.fixture
def listening():
    """The handler at the root logger, as a worker with task_logs puts it there."""
    root = logging.getLogger()
    level = root.level
    root.setLevel("INFO")
    TaskLines.install()
    yield
    TaskLines.remove()
    root.setLevel(level)
    assert not any(isinstance(handler, TaskLines) for handler in root.handlers)


def world_of(start, task_logs=100, **settings):
    return World(demo(start), task_logs=task_logs, **settings)


def sent(world):
    """The lines that reached the store, in order: (task, run, line)."""
    batches = [batch for batch, _, _ in world.store.asked("note")]
    return [(n.id, n.run, json.loads(line)) for batch in batches for n in batch for line in n.lines]


def texts(world):
    return [line["text"] for _, _, line in sent(world)]


def progresses(world):
    batches = [batch for batch, _, _ in world.store.asked("note")]
    return [(json.loads(n.progress), json.loads(n.event)) for batch in batches for n in batch if n.progress]


# -- whose lines ------------------------------------------------------------------------------------------


def test_what_a_task_logs_goes_before_its_end(listening):
    def start(_self):
        log.info("seen %d of %s", 3, "five")
        log.debug("not let through")

    world = world_of(start)
    run = world.launch("a", epoch=7)
    world.commit()
    ((task_id, run_id, line),) = sent(world)
    assert (task_id, run_id) == ("a", run.ref.run if run else "s1:1")
    assert line.pop("at") == pytest.approx(time.time(), abs=600)
    assert line == {"n": 1, "level": "info", "logger": "app.part", "text": "seen 3 of five", "epoch": 7}
    assert [verb for verb, _ in world.store.calls] == ["note", "commit"]
    assert world.store.asked("note")[0][1:] == (100, 7 * 86400)


def test_greenlets_of_a_task_log_for_it_and_others_for_nobody(listening):
    gate = Event()

    def start(self):
        gevent.spawn(log.info, "a child")
        self.spawn(log.info, "another")
        gevent.spawn(gevent.spawn, log.info, "a grandchild")
        Service.spawn(log.info, "the worker's own")
        gate.wait()

    world = world_of(start)
    world.launch("a")
    log.info("outside")
    switch()
    gate.set()
    switch()
    world.commit()
    assert sorted(texts(world)) == ["a child", "a grandchild", "another"]
    assert {task_id for task_id, _, _ in sent(world)} == {"a"}


def test_an_exception_comes_with_its_traceback_and_odd_texts_as_they_can(listening):
    def start(_self):
        try:
            raise ValueError("no such page")
        except ValueError:
            log.exception("failed")
        log.info("x" * 10_000)
        log.info("half \ud800")

    world = world_of(start)
    world.launch("a")
    world.commit()
    first, second, third = texts(world)
    assert first.startswith("failed\nTraceback (most recent call last):\n")
    assert first.endswith("ValueError: no such page")
    assert len(second) <= TEXT_MOST
    assert third == "half ?"


def test_a_line_that_cannot_be_formatted_is_reported_as_logging_reports_it(listening, capsys, monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", True)

    bad = logging.makeLogRecord({"name": "app", "msg": "%d", "args": ("no number",), "levelno": 20})

    def start(_self):
        TaskLines._shared.handle(bad)  # not by the logger: pytest's own handler raises
        log.info("goes on")

    world = world_of(start)
    world.launch("a")
    world.commit()
    assert texts(world) == ["goes on"]
    assert "no number" in capsys.readouterr().err


def test_off_costs_nothing_and_sends_nothing(listening):
    def start(_self):
        log.info("a line")

    world = world_of(start, task_logs=0)  # another app of the process has logs
    world.launch("a")
    world.commit()
    assert world.store.asked("note") == []


def test_a_forked_child_logs_for_no_task_of_its_parent_but_for_its_own(listening, monkeypatch):
    own = os.getpid()

    def start(_self):
        monkeypatch.setattr(os, "getpid", lambda: own + 1)
        log.info("in the child")
        TaskLines.install()  # a worker is started there
        log.info("by the child's worker")
        monkeypatch.setattr(os, "getpid", lambda: own)
        TaskLines.remove()

    world = world_of(start)
    world.launch("a")
    world.commit()
    assert texts(world) == ["by the child's worker"]


def test_one_handler_for_all_workers_of_a_process():
    root = logging.getLogger()
    for _ in range(2):
        TaskLines.install()
    assert sum(isinstance(handler, TaskLines) for handler in root.handlers) == 1
    TaskLines.remove()
    assert sum(isinstance(handler, TaskLines) for handler in root.handlers) == 1
    TaskLines.remove()
    assert not any(isinstance(handler, TaskLines) for handler in root.handlers)


# -- progress ---------------------------------------------------------------------------------------------


def test_only_the_newest_progress_goes(listening):
    gate = Event()

    def start(self):
        for done in range(100):
            self.progress(done, 100, "looking")
        log.info("between")
        self.progress(100, 100)
        gate.wait()

    world = world_of(start)
    world.launch("a", epoch=7)
    world.commit()
    at = int(world.clock.now)
    expected = {"done": 100, "total": 100}
    assert progresses(world) == [
        ({**expected, "at": at, "epoch": 7}, {"event": "progress", "data": expected})
    ]
    between, progress = (line for _, _, line in sent(world))
    assert (between["n"], between["text"]) == (1, "between")
    assert (progress["n"], progress["level"], progress["text"]) == (2, "progress", "100/100 (100 %)")
    gate.set()
    switch()


def test_a_note_shows_no_value_of_a_secret_field():
    def start(self):
        self.progress(1, note=f"with {self.task_data['token']}")

    world = world_of(start)
    world.executor.tasks["demo"].Config.SECRET = ("token",)
    world.launch("a", data=b'{"token": "correct-horse"}')
    world.commit()
    assert "********" in str(progresses(world))
    assert "correct-horse" not in str(progresses(world)) + str(sent(world))


def test_without_a_ring_there_is_progress_all_the_same():
    world = world_of(lambda self: self.progress(1), task_logs=0)
    world.launch("a")
    world.commit()
    assert [field["done"] for field, _ in progresses(world)] == [1]
    assert sent(world) == []


def test_a_setting_switches_progress_off_but_not_the_look_at_its_arguments():
    def start(self):
        self.progress(1)
        self.progress("much")

    world = world_of(start, progress=False)
    world.launch("a")
    (change,) = world.commit()
    assert change.trigger is Trigger.FAIL
    assert "progress(done=...)" in str(change.fields["error"])
    assert world.store.asked("note") == []


def test_bad_progress_is_an_error_of_the_task():
    failed = []

    def start(self):
        with pytest.raises(BadData):
            self.progress(-1)
        failed.append(True)

    world_of(start).launch("a")
    assert failed


# -- the way to Redis -------------------------------------------------------------------------------------


def chatter(count, start=0):
    def begin(_self):
        for n in range(start, start + count):
            log.info("%d", n)

    return begin


def test_many_lines_go_in_calls_of_bounded_size(listening):
    world = world_of(chatter(2 * MANY + 10), task_logs=10_000)
    world.launch("a")
    world.commit()
    assert texts(world) == [str(n) for n in range(2 * MANY + 10)]
    assert [len(batch[0].lines) for batch, _, _ in world.store.asked("note")] == [MANY, MANY, 10]
    assert [verb for verb, _ in world.store.calls] == ["note", "note", "note", "commit"]


def test_of_one_call_no_more_lines_go_than_the_ring_keeps(listening):
    world = world_of(chatter(50), task_logs=3)
    world.launch("a")
    world.commit()
    assert texts(world) == ["47", "48", "49"]
    assert [line["n"] for _, _, line in sent(world)] == [48, 49, 50]  # so that a reader sees what is missing


def test_without_an_answer_the_same_is_sent_again_and_the_end_waits(listening):
    world = world_of(chatter(2))
    world.launch("a")
    world.store.say("note", Unavailable("?"))
    with pytest.raises(Unavailable):
        world.committer.commit()
    assert world.store.asked("commit") == []
    (end,) = world.commit()
    assert end.trigger is Trigger.END
    first, second = world.store.asked("note")
    assert first == second


@pytest.mark.parametrize("refusal", [Refused("OOM", "OOM"), ValueError("a bug")])
def test_what_is_refused_is_dropped_and_reported_and_the_end_goes(listening, caplog, refusal):
    world = world_of(chatter(2))
    world.launch("a")
    world.store.say("note", refusal)
    (end,) = world.commit()
    assert end.trigger is Trigger.END
    assert len(world.store.asked("note")) == 1
    assert world.committer.journal.dropped == 2
    assert "dropped 2 lines of task logs" in caplog.text
    assert len(world.committer.journal) == 0


def limit_calls(world, limit):
    """A proxy that closes the connection at a call of more than `limit` bytes of lines."""

    def note(notes, *_):
        if sum(len(line) for one in notes for line in one.lines) > limit:
            raise Unavailable("connection closed by the server")
        return [Verdict.OK] * len(notes)

    world.store.say("note", *[note] * 200)


def attempts(world, most=12, *, renewed=True):
    """Attempts of the committer, each a moment after a renewal that was acknowledged (or not)."""
    for _ in range(most):
        world.clock.move(world.timing.heartbeat)
        if renewed:
            world.lease.acknowledged([], world.clock())
        world.clock.move(world.timing.heartbeat / 50)
        with contextlib.suppress(Unavailable):
            world.committer.commit()


def test_lines_that_are_never_taken_together_go_in_small_calls_and_hold_up_no_end(listening, caplog):
    world = world_of(lambda _self: [log.info("%03d %s", n, "x" * 1000) for n in range(200)], task_logs=1000)
    limit_calls(world, 50_000)
    world.launch("a")
    attempts(world)
    assert world.ends() == [("s1:1", Trigger.END)]
    taken = [batch for batch, _, _ in world.store.asked("note") if sum(len(n.lines) for n in batch) < 50]
    assert [json.loads(line)["n"] for b in taken for n in b for line in n.lines] == [*range(1, 201)]
    assert world.committer.journal.dropped == 0
    assert "sending them in small calls: [PT051] connection closed" in caplog.text
    seen = len(world.store.asked("note"))
    world.launch("b")
    attempts(world, 1)
    assert len(world.ends()) == 2
    assert all(sum(len(n.lines) for n in b) < 50 for b, _, _ in world.store.asked("note")[seen:])


def test_lines_that_are_not_even_taken_in_small_calls_are_dropped(listening):
    world = world_of(chatter(5))
    limit_calls(world, 0)
    world.launch("a")
    attempts(world)
    assert world.ends() == [("s1:1", Trigger.END)]
    assert world.committer.journal.dropped == 5


def test_while_nothing_is_acknowledged_lines_are_repeated_and_health_knows(listening):
    world = world_of(chatter(5))
    limit_calls(world, 0)
    world.launch("a")
    attempts(world, 20, renewed=False)
    calls = world.store.asked("note")
    assert calls == [calls[0]] * 20
    assert world.committer.held > 10 * world.timing.heartbeat


def test_a_ring_of_another_type_loses_its_own_lines_only(listening):
    world = world_of(chatter(1))
    world.launch("a")
    world.store.say("note", [Verdict.BADTYPE])
    world.commit()
    assert world.committer.journal.dropped == 1


def test_a_redis_that_is_away_costs_the_oldest_lines_and_no_memory(listening):
    world = world_of(chatter(LINES_MOST + 25), task_logs=10_000)
    world.launch("a")
    journal = world.committer.journal
    assert (len(journal), journal.dropped) == (LINES_MOST, 25)
    world.commit()
    assert texts(world) == [str(n) for n in range(25, LINES_MOST + 25)]


def test_long_lines_are_bounded_in_bytes(listening, monkeypatch):
    monkeypatch.setattr(journals, "BYTES_MOST", 100_000)

    def start(_self):
        for _ in range(100):
            log.info("x" * TEXT_MOST)

    world = world_of(start)
    world.launch("a")
    assert len(world.committer.journal) < 50
    assert len(world.committer.journal) + world.committer.journal.dropped == 100
    world.commit()


def test_a_task_that_logs_never_waits_and_its_lines_go_together(listening):
    """Lines alone linger for a moment; so the committer makes a few calls, not one a line."""
    gate, done = Event(), Event()

    def start(_self):
        for n in range(20):
            log.info("%d", n)
            gevent.sleep(0.002)
        done.set()
        gate.wait()

    world = world_of(start)
    committer = Service.spawn(world.committer.run)
    world.launch("a")
    assert done.wait(20)
    gate.set()
    while len(texts(world)) < 20:
        gevent.sleep(0.01)
    assert texts(world) == [str(n) for n in range(20)]
    assert len(world.store.asked("note")) < 20
    world.committer.end()
    committer.join(5)
    assert committer.ready()


def test_an_end_does_not_linger(listening, monkeypatch):
    monkeypatch.setattr("pytask.runtime.runs.committer.LINGER", 1000.0)
    gate = Event()

    def start(_self):
        log.info("a line")
        gate.wait()

    world = world_of(start)
    committer = Service.spawn(world.committer.run)
    world.launch("a")
    switch()
    assert world.store.asked("note") == []  # it waits for more
    gate.set()
    switch(20)
    assert texts(world) == ["a line"]
    assert len(world.store.asked("commit")) == 1
    world.committer.end()
    committer.join(5)
    assert committer.ready()


# -- output ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def copied():
    """Within a test, as pytest puts streams of its own in place before each."""
    before = sys.stdout, sys.stderr
    output.install()
    try:
        yield
    finally:
        output.remove()
    assert (sys.stdout, sys.stderr) == before


def test_what_a_task_prints_is_in_its_log_and_where_it_went_before(capsys):
    def start(self):
        print("one", 2)
        print("half a ", end="")
        gevent.sleep(0)
        sys.stderr.write("a warning\nanother\n")
        print(f"line of {self.id}", end="")

    world = world_of(start)
    with copied():
        world.launch("a")
        world.launch("b")
        print("outside")
    world.commit()
    assert [(one, line["level"], line["logger"], line["text"]) for one, _, line in sent(world)] == [
        found
        for one in "ab"
        for found in [
            (one, "info", "stdout", "one 2"),
            (one, "warning", "stderr", "a warning"),
            (one, "warning", "stderr", "another"),
            (one, "info", "stdout", f"half a line of {one}"),
        ]
    ]
    assert not world.executor.journal.unfinished
    seen = capsys.readouterr()
    assert "one 2\n" in seen.out
    assert "outside" in seen.out
    assert seen.err.count("another") == 2


def test_what_is_logged_to_a_stream_is_kept_once(listening):
    def start(_self):
        handler = logging.StreamHandler()  # to the stream as it is now
        log.addHandler(handler)
        log.info("once")
        log.removeHandler(handler)

    world = world_of(start)
    with copied():
        world.launch()
    world.commit()
    assert texts(world) == ["once"]


def test_a_bar_of_progress_is_one_line_and_one_without_end_is_cut():
    def start(_self):
        for at in range(5):
            sys.stderr.write(f"\r{at}0 %")
        sys.stderr.write("\r\n")
        print()
        print("x" * (3 * TEXT_MOST), end="")

    world = world_of(start)
    with copied():
        run = world.launch()
    world.commit()
    assert run.failure is None
    first, second = texts(world)
    assert first == "40 %"
    assert TEXT_MOST / 2 < len(second) <= TEXT_MOST


def test_what_the_stream_refuses_is_the_tasks_own_error():
    world = world_of(lambda _self: sys.stdout.write(b"bytes"))
    with copied():
        run = world.launch()
    assert "TypeError" in run.failure


def test_without_a_ring_nothing_is_kept():
    world = world_of(lambda _self: print("x", end=""), task_logs=0)
    with copied():
        world.launch()
    world.commit()
    assert sent(world) == []
    assert not world.executor.journal.unfinished


def test_a_greenlet_that_fails_is_in_the_log_of_its_task(listening):
    def start(self):
        self.spawn(int, "nonsense")
        gevent.sleep(0.001)

    world = world_of(start)
    world.launch()
    switch(20)
    world.commit()
    assert any("greenlet int of task a failed: ValueError" in text for text in texts(world))
