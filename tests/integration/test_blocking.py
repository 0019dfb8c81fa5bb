"""`self.blocking()` in a real worker: C code that waits holds up nobody, and no exit."""

import hashlib
import signal

import pytest

import pytask
from tests.support import cli_tools
from tests.support.cli_tools import PATIENCE, Started, until, write
from tests.support.servers import start_server

TASKS = """
    import hashlib
    import logging
    import sqlite3
    import time
    from pathlib import Path
    import gevent
    from gevent import monkey
    from pytask import Task

    native_sleep = monkey.get_original("time", "sleep")
    TICKS = 0
    log = logging.getLogger("tasks")
    log.propagate = False  # not to the terminal
    log.addHandler(logging.FileHandler("some.log"))
    log.setLevel("INFO")

    class Ticks(Task):
        class Config:
            NAME = "ticks"
        def start(self):
            global TICKS
            Path("ticks").touch()
            while True:
                TICKS += 1
                gevent.sleep(0.01)

    class Direct(Task):
        class Config:
            NAME = "direct"
        def start(self):
            before = TICKS
            native_sleep(1)
            return TICKS - before

    class Works(Task):
        '''Each in its turn, and the ticks of another task meanwhile.'''
        class Config:
            NAME = "works"
        def start(self):
            before = TICKS
            self.blocking(native_sleep, 1)
            waited = TICKS - before
            key = self.blocking(hashlib.pbkdf2_hmac, "sha256", b"word", b"salt", 200_000)
            return {"waited": waited, "key": key.hex(), "rows": self.blocking(self.query)}
        def query(self):
            with sqlite3.connect("some.db", timeout=1) as database:
                database.execute("create table if not exists numbers (n)")
                database.executemany("insert into numbers values (?)", [(n,) for n in range(1000)])
                return database.execute("select count(*) from numbers").fetchone()[0]

    class Fails(Task):
        class Config:
            NAME = "fails"
        def start(self):
            self.blocking(self.work)
        def work(self):
            return {}["no such key"]

    class Emits(Task):
        class Config:
            NAME = "emits"
        def start(self):
            self.blocking(self.emit, "event")

    class Logs(Task):
        '''In several threads, and in the loop: the locks of the handlers are used by all of them.'''
        class Config:
            NAME = "logs"
        def start(self):
            workers = [self.spawn(self.blocking, self.work) for _ in range(4)]
            while not all(worker.ready() for worker in workers):
                log.info("in the loop")
                gevent.sleep(0)
            for worker in workers:
                worker.get()
            self.blocking(log.warning, "the last of %s", "all")
        def work(self):
            for number in range(5_000):
                log.info("in a thread %d", number)

    class Asks(Task):
        class Config:
            NAME = "asks"
        def start(self):
            client = self.redis
            return self.blocking(lambda: client.echo("hello").decode())

    class Looks(Task):
        '''As docs/threads.md has it.'''
        class Config:
            NAME = "looks"
        def start(self):
            self.cancelled = False
            try:
                self.blocking(self.work)
            finally:
                self.cancelled = True
        def work(self):
            Path("looks").touch()
            while not self.cancelled:
                native_sleep(0.01)
            Path("noticed").touch()

    class Forever(Task):
        class Config:
            NAME = "forever"
        def start(self):
            self.blocking(self.work)
        def work(self):
            Path("forever").touch()
            native_sleep(600)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A server, and a worker of these tasks."""
    folder = tmp_path_factory.mktemp("blocking")
    write(folder / "tasks.py", TASKS)
    with start_server("valkey") as store:
        words = ("run", "tasks.py", "--redis", store.url, "--time-scale", 0.1)
        with Started(cli_tools.pytask(*words), folder, folder) as worker:
            worker.says("takes tasks from")
            yield store, worker, folder


@pytest.fixture
def worker(place):
    return place[1]


@pytest.fixture
def folder(place):
    return place[2]


@pytest.fixture
def tasks(place):
    with pytask.Client(place[0].url, timeout=5, connect_timeout=5) as made:
        yield made


def ended(tasks, function):
    """The task, which came to its end."""
    return tasks.wait(tasks.start(function), timeout=PATIENCE)


def begun(tasks, function, folder):
    """The id of a task that runs, and has said so by a file of its name."""
    (folder / function).unlink(missing_ok=True)
    task = tasks.start(function)
    until((folder / function).exists, f"{function} begins")
    return task


def test_other_tasks_go_on_while_c_code_waits_and_nothing_holds_the_loop(tasks, worker, folder):
    ticks = begun(tasks, "ticks", folder)
    before = worker.output.count("PT041")
    found = ended(tasks, "works")
    assert found.output["waited"] > 1  # 100, on an idle machine
    assert found.output["key"] == hashlib.pbkdf2_hmac("sha256", b"word", b"salt", 200_000).hex()
    assert found.output["rows"] == 1000
    assert worker.output.count("PT041") == before
    assert ended(tasks, "direct").output == 0
    worker.says("or move the work to a native thread: self.blocking(f, *args)")  # the remedy of PT041
    tasks.stop(ticks, wait=PATIENCE)


def test_the_error_of_a_function_is_the_tasks_with_its_lines(tasks):
    error = ended(tasks, "fails").error
    assert error.startswith("KeyError: 'no such key'")
    assert 'return {}["no such key"]' in error


def test_what_belongs_to_the_loop_says_so(tasks):
    assert ended(tasks, "emits").error.startswith("[PT014] task ")


def test_threads_and_the_loop_can_log_at_once(tasks, folder):
    assert ended(tasks, "logs").state == "ENDED"
    until(lambda: (folder / "some.log").read_text().endswith("the last of all\n"), "the last line")
    lines = (folder / "some.log").read_text().splitlines()  # written after the end of the task, too
    assert [lines.count(f"in a thread {number}") for number in (0, 4_999)] == [4, 4]
    assert "in the loop" in lines


def test_the_redis_client_works_where_it_was_taken_before(tasks):
    assert ended(tasks, "asks").output == "hello"


def test_a_function_notices_the_end_of_its_run_by_a_flag(tasks, folder):
    task = begun(tasks, "looks", folder)
    assert tasks.stop(task, wait=PATIENCE)
    until((folder / "noticed").exists, "it sees the flag")


def test_a_function_that_never_returns_keeps_neither_a_stop_nor_the_exit(tasks, worker, folder):
    """The last test of the worker, which ends."""
    task = begun(tasks, "forever", folder)
    assert tasks.stop(task, wait=PATIENCE)
    worker.says("[PT048] task")
    second = begun(tasks, "forever", folder)
    assert worker.end(signal.SIGTERM) == 0, worker.output
    assert tasks.get(second).state == "WAIT"
    assert "PT125" not in worker.output
    assert "PT137" not in worker.output
