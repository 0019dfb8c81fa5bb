"""Calls in native threads: what they return, who waits for whom, and what goes on after a kill."""

import gc
import logging
import traceback
from contextvars import ContextVar
from types import SimpleNamespace

import gevent
import pytest
from gevent import monkey

from pytask.domain.control import StopReason
from pytask.domain.errors import WrongThread
from pytask.domain.lifecycle import Trigger
from pytask.domain.task import Task
from pytask.domain.timing import Timing
from pytask.runtime.runs import log_relay, native_threads
from pytask.runtime.runs.native_threads import NativePool
from tests.unit.runtime.fakes import World, switch, until

A = SimpleNamespace(id="a")
place = ContextVar("place", default="nowhere")


@pytest.fixture
def lock():
    """A lock of native threads, held: a call of `acquire` stands for C code that waits."""
    made = monkey.get_original("_thread", "allocate_lock")()
    made.acquire()
    yield made
    if made.locked():
        made.release()


def spawn(pool, fn, *args, task="a", **kwargs):
    """A greenlet that makes this call, as far as it gets."""
    greenlet = gevent.spawn(pool.call, SimpleNamespace(id=task), fn, args, kwargs)
    switch()
    return greenlet


def fails():
    place.set("in the thread")
    raise KeyError("missing")


def test_the_loop_turns_while_a_call_waits(lock):
    pool = NativePool(1)
    waiting = spawn(pool, lock.acquire)
    assert not waiting.ready()
    lock.release()
    assert waiting.get() is True


def test_nothing_is_made_before_the_first_call():
    pool = NativePool(4)
    assert pool._pool is None
    assert pool.call(A, int, ("ff",), {"base": 16}) == 255
    assert pool._pool is not None


def test_an_error_comes_with_the_lines_that_raised_it_and_is_not_printed(capsys):
    with pytest.raises(KeyError, match="missing") as caught:
        NativePool(1).call(A, fails, (), {})
    assert "fails" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert capsys.readouterr().err == ""


def test_even_what_ends_a_program_is_raised_where_the_call_was_made():
    with pytest.raises(SystemExit):
        NativePool(1).call(A, exit, (3,), {})


def test_contextvars_are_copied():
    place.set("outside")
    pool = NativePool(1)
    assert pool.call(A, place.get, (), {}) == "outside"
    with pytest.raises(KeyError):
        pool.call(A, fails, (), {})
    assert place.get() == "outside"


def test_a_call_in_such_a_thread_needs_no_further_one():
    pool = NativePool(1)
    assert pool.call(A, lambda: pool.call(A, log_relay.get_ident, (), {}) == log_relay.get_ident(), (), {})


def test_calls_that_wait_for_a_thread_are_done_in_their_order(lock):
    pool, done = NativePool(1), []
    spawn(pool, lock.acquire)
    waiting = [spawn(pool, done.append, number) for number in range(20)]
    lock.release()
    late = gevent.spawn(pool.call, A, done.append, ("late",), {})
    gevent.joinall([*waiting, late])
    assert done == [*range(20), "late"]


def test_who_is_killed_while_it_waits_for_a_thread_has_done_nothing(lock):
    pool, done = NativePool(1), []
    spawn(pool, lock.acquire)
    first, second = spawn(pool, done.append, "first"), spawn(pool, done.append, "second")
    first.kill()
    lock.release()
    second.join()
    assert done == ["second"]


def test_a_place_that_comes_with_the_kill_goes_to_the_next(lock):
    pool, done = NativePool(1), []
    spawn(pool, lock.acquire)
    first, second = spawn(pool, done.append, "first"), spawn(pool, done.append, "second")
    # In one turn of the loop: its taker is being killed as the place is given away.
    first.kill(block=False)
    pool._leave_place(next(iter(pool._busy)))
    lock.release()
    second.join()
    assert done == ["second"]
    until(lambda: not pool._busy)


def test_a_killed_task_waits_for_no_thread_and_the_thread_keeps_its_place(lock, monkeypatch, caplog):
    monkeypatch.setattr(native_threads, "LONG", 0.01)
    pool, done = NativePool(1), []
    waiting = spawn(pool, lock.acquire)
    waiting.kill()
    assert waiting.ready()
    following = spawn(pool, done.append, "done")
    until(lambda: "[PT048] task a no longer waits for" in caplog.text)
    assert not done
    lock.release()
    following.join()
    assert done == ["done"]


def test_a_call_that_is_over_soon_after_the_kill_is_not_worth_a_line(lock, caplog):
    pool = NativePool(1)
    waiting = spawn(pool, lock.acquire)
    (call,) = pool._busy
    waiting.kill()
    lock.release()
    until(lambda: not pool._busy)
    pool._outlives(call)
    assert "PT048" not in caplog.text


def test_who_waits_for_long_and_who_has_the_threads_is_said(lock, monkeypatch, caplog):
    monkeypatch.setattr(native_threads, "LONG", 0.01)
    pool = NativePool(1)
    spawn(pool, lock.acquire, task="slow")
    waiting = spawn(pool, str, task="next")
    until(lambda: "PT047" in caplog.text)
    assert "1 calls of self.blocking() wait for one of 1 threads: next str of task next" in caplog.text
    assert "acquire of task slow for 0 s" in caplog.text
    lock.release()
    waiting.join()
    until(lambda: pool._teller is None)
    assert caplog.text.count("PT047") == 1


class Kept(logging.Handler):
    """Records, and the threads in which they came."""

    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append((log_relay.get_ident(), record))


def test_what_is_logged_in_a_thread_is_handled_by_the_loop_as_the_tasks():
    logger, kept = logging.getLogger("test.native"), Kept()
    logger.addHandler(kept)
    logger.setLevel("INFO")
    try:
        NativePool(1).call(A, lambda: [logger.info("line %d", n) for n in range(200)], (), {})
        until(lambda: len(kept.records) == 200)
        logger.info("outside")
    finally:
        logger.removeHandler(kept)
    assert [record.getMessage() for _, record in kept.records[:-1]] == [f"line {n}" for n in range(200)]
    assert {thread for thread, _ in kept.records} == {log_relay.get_ident()}
    assert all((record.task, record.pytask_run) == ("a", A) for _, record in kept.records[:-1])
    assert not hasattr(kept.records[-1][1], "pytask_run")


def test_a_handler_that_fails_keeps_no_other_line(monkeypatch):
    logger, kept = logging.getLogger("test.native"), Kept()
    monkeypatch.setattr(logger, "handlers", [kept])
    monkeypatch.setattr(kept, "handle", lambda record: {}[record.msg])
    NativePool(1).call(A, logger.warning, ("fails",), {})
    switch()
    monkeypatch.undo()
    logger.addHandler(kept)
    NativePool(1).call(A, logger.warning, ("comes",), {})
    until(lambda: kept.records)
    logger.removeHandler(kept)


def test_a_line_with_wrong_arguments_is_no_error_of_the_function():
    logger, kept = logging.getLogger("test.native"), Kept()
    logger.addHandler(kept)
    try:
        NativePool(1).call(A, logger.warning, ("%d lines", "x"), {})
        until(lambda: kept.records)
    finally:
        logger.removeHandler(kept)
    assert kept.records[0][1].getMessage() == "%d lines (its arguments do not fit: TypeError)"


def test_a_call_keeps_nothing_alive():
    class Big:
        pass

    pool, big = NativePool(1), Big()
    pool.call(A, lambda one: None, (big,), {})
    switch()
    del big
    gc.collect()
    assert not [one for one in gc.get_objects() if type(one) is Big]


# -- in a task ---------------------------------------------------------------------------------------------


def demo(start, **methods):
    return type("Demo", (Task,), {"Config": type("Config", (), {"NAME": "demo"}), "start": start, **methods})


def outcome(world):
    (change,) = [change for change in world.commit() if change.trigger is not None]
    return change


def test_what_a_function_returns_is_what_the_task_gets():
    world = World(demo(lambda self: self.blocking(int, "ff", base=16)), timing=Timing())
    world.launch()
    until(lambda: not world.executor.living)
    assert outcome(world).fields["output"] == b"255"


def test_any_name_is_free_for_an_argument_of_the_function():
    def start(self):
        def names(**named):
            return sorted(named)

        return self.blocking(names, fn=1, run=2) + self.spawn(names, fn=1, run=2, args=3).get()

    world = World(demo(start), timing=Timing())
    world.launch()
    until(lambda: not world.executor.living)
    assert outcome(world).fields["output"] == b'["fn","run","args","fn","run"]'


def test_a_stopped_task_is_over_at_once(lock):
    world = World(demo(lambda self: self.blocking(lock.acquire)))
    run = world.launch()
    assert not run.over
    world.executor.stop_reason(run, StopReason.STOP)
    until(lambda: run.over)
    assert world.ends() == [("s1:1", Trigger.STOP)]
    assert lock.locked()


@pytest.mark.parametrize(
    "what",
    [
        lambda task: task.emit("event"),
        lambda task: task.progress(1),
        lambda task: task.spawn(str),
        lambda task: task.subprocess(["true"]),
        lambda task: task.redis,
    ],
)
def test_what_belongs_to_the_loop_is_refused_in_a_thread_with_the_fix(what):
    errors = []

    def start(self):
        self.spawn(str)
        try:
            self.blocking(what, self)
        except WrongThread as error:
            errors.append(str(error))

    world = World(demo(start), timing=Timing())
    world.launch()
    until(lambda: not world.executor.living)
    assert errors
    assert errors[0].startswith("[PT014] task a: ")
    assert "return the result from the function that self.blocking() calls" in errors[0]


def test_id_epoch_and_data_are_there_in_a_thread():
    def start(self):
        return self.blocking(lambda: [self.id, self.epoch, self.task_data])

    world = World(demo(start), timing=Timing())
    world.launch(data=b'{"n":1}', epoch=7)
    until(lambda: not world.executor.living)
    assert outcome(world).fields["output"] == b'["a",7,{"n":1}]'


def test_in_a_task_that_no_worker_runs_the_function_is_called_directly():
    class Plain(Task):
        def start(self):
            return self.blocking(log_relay.get_ident), self.blocking(place.set, "in the call")

    place.set("outside")
    assert Plain(None).start()[0] == log_relay.get_ident()
    assert place.get() == "outside"
