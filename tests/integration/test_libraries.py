"""docs/libraries.md: its programs run in tasks that are stopped; its measurement, in a short form."""

import json
import re
import socketserver
import subprocess
import sys
import threading
from contextlib import contextmanager

import gevent
import pytest

import pytask
from tests.support import cli_tools
from tests.support.cli_tools import PATIENCE, ROOT, Started, until, write
from tests.support.servers import HOST, start_postgres, start_server

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "libraries.md").read_text()
PROGRAMS = dict(re.findall(r"^```python (\S+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))
IMPORTS = """
import asyncio, os, socket, subprocess, sys, threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from queue import Queue
from pytask import Task

ADDRESS = ("127.0.0.1", int(os.environ["ECHO_PORT"]))
"""
POOL = """
class Line:
    def __init__(self):
        self.socket = socket.create_connection(ADDRESS)
        self.file = self.socket.makefile("rw")

    def ask(self, word):
        print(word, file=self.file, flush=True)
        return self.file.readline().strip()

    def close(self):
        self.file.close()
        self.socket.close()

connect = Line
POOL = Queue()
for _ in range(2):
    POOL.put(None)
"""
ASKER = """
SEEN = {"right": 0, "wrong": 0}

class Ask(Task):
    class Config:
        NAME = "ask"

    def start(self):
        number = 0
        while True:
            number += 1
            with connection() as line:
                got = line.ask(f"{self.id}-{number}")
            SEEN["right" if got == f"{self.id}-{number}" else "wrong"] += 1

class Seen(Task):
    class Config:
        NAME = "seen"

    def start(self):
        return dict(SEEN)
"""
LOOP = """
LEFT = []

async def wait(name, seconds):
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        LEFT.append(name)
        raise
    return name

class Wait(Task):
    class Config:
        NAME = "wait"

    def start(self):
        self.emit("waits")
        return awaited(wait(self.id, self.task_data["seconds"]))

class Left(Task):
    class Config:
        NAME = "left"

    def start(self):
        return LEFT
"""
BEFORE = {"pool.py": POOL, "cancel.py": 'import psycopg\nDATABASE = os.environ["DATABASE"]\n'}
AFTER = {"pool.py": ASKER, "loop.py": LOOP}


class Echo(socketserver.StreamRequestHandler):
    """Says each line again after a moment, in which its client may be killed."""

    def handle(self):
        self.server.open += 1
        try:
            for line in self.rfile:
                gevent.sleep(0.005)
                self.wfile.write(line)
        except OSError:
            pass  # it was killed
        self.server.open -= 1


@pytest.fixture(scope="module")
def echo():
    with socketserver.ThreadingTCPServer((HOST, 0), Echo) as server:
        server.open = 0
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def store():
    with start_server("valkey") as running:
        yield running


@pytest.fixture
def run(store, echo, tmp_path):
    """Run a program of the page in a worker, changed by `change`; a client."""

    @contextmanager
    def running(name, change=lambda text: text, **env):
        program = BEFORE.get(name, "") + "\n" + change(PROGRAMS[name]) + AFTER.get(name, "")
        write(tmp_path / "tasks.py", IMPORTS + program)
        command = cli_tools.pytask("run", "tasks.py", "--redis", store.url, "--run-dir", tmp_path / "run")
        env |= {"ECHO_PORT": str(echo.server_address[1])}
        with (
            Started(command, tmp_path, tmp_path, **env) as worker,
            pytask.Client(store.url, timeout=5, connect_timeout=5) as client,
        ):
            worker.says("takes tasks from")
            yield client
            assert worker.end() == 0, worker.output

    return running


def result(client, function, data=None, **named):
    found = client.wait(client.start(function, data, **named), timeout=PATIENCE)
    assert found.state == "ENDED", found
    return found.output


def answers_under_kills(client, name):
    """What tasks were told that share the pool, while tasks beside them were stopped."""
    asking = [client.start("ask", id=f"{name}-{number}") for number in range(5)]
    for number in range(25):
        until(lambda: result(client, "seen")["right"] > 0, "an answer")
        assert client.stop(asking[number], wait=PATIENCE)
        asking.append(client.start("ask", id=f"{name}-{number + 5}"))
    before = result(client, "seen")["right"]
    until(lambda: sum(result(client, "seen").values()) > before + 20, "they go on")
    for task in asking[25:]:
        client.stop(task, wait=PATIENCE)
    return result(client, "seen")


def test_a_pool_that_looks_for_base_exceptions_gives_no_wrong_answer(run):
    with run("pool.py") as client:
        seen = answers_under_kills(client, "base")
    assert seen["right"] > 20
    assert seen["wrong"] == 0


def test_a_pool_that_looks_for_exceptions_gives_wrong_answers(run):
    with run("pool.py", lambda text: text.replace("BaseException", "Exception", 1)) as client:
        seen = answers_under_kills(client, "plain")
    assert seen["wrong"] > 0


def test_what_is_closed_in_finally_is_closed_when_the_task_is_stopped(run, echo):
    with run("close.py") as client:
        before = echo.open
        client.start("follow", id="follow")
        until(lambda: echo.open == before + 1, "a connection")
        assert client.stop("follow", wait=PATIENCE)
        until(lambda: echo.open == before, "it is closed")


def test_a_statement_is_cancelled_at_the_server(run):
    psycopg = pytest.importorskip("psycopg", reason="no wheels for this platform")
    found = "select count(*) from pg_stat_activity where query like '%pg_sleep(600)%' and state = 'active'"
    try:
        postgres = start_postgres()
    except LookupError as error:
        pytest.skip(str(error))
    with postgres, psycopg.connect(postgres.url, autocommit=True) as admin:

        def statements():
            return admin.execute(f"{found} and pid <> pg_backend_pid()").fetchone()[0]

        with run("cancel.py", DATABASE=postgres.url) as client:
            client.start("refresh", id="refresh")
            until(lambda: statements() == 1, "the statement")
            assert client.stop("refresh", wait=PATIENCE).state == "STOPPED"
            until(lambda: statements() == 0, "it is cancelled")


def test_a_pool_that_is_made_at_import_keeps_no_task(run):
    with run("threads.py") as client:
        assert result(client, "sum", {"numbers": [1, 2, 3]}) == 6
        assert result(client, "sum", {"numbers": [4, 5]}) == 9


def test_tasks_share_one_loop_and_a_stop_cancels_what_the_task_waits_for(run):
    with run("loop.py") as client:
        tasks = [client.start("wait", {"seconds": 0.2}, id=f"wait-{number}") for number in range(10)]
        events = client.watch("long", seconds=PATIENCE)
        client.start("wait", {"seconds": 1000}, id="long")
        assert [client.wait(task, timeout=PATIENCE).output for task in tasks] == tasks
        assert any(event.name == "waits" for event in events)
        assert client.stop("long", wait=PATIENCE)
        until(lambda: result(client, "left") == ["long"], "it was cancelled, and nothing else")
        assert result(client, "wait", {"seconds": 0}, id="later") == "later"


def test_a_program_computes(run):
    with run("program.py") as client:
        assert result(client, "convert") == "42"


def test_every_program_of_the_page_is_run_here():
    assert set(PROGRAMS) == {"pool.py", "close.py", "cancel.py", "threads.py", "loop.py", "program.py"}


def test_the_measurement_runs(tmp_path):
    """On what needs no environment: what lets others run, and what does not."""
    words = ["http.client", "os.system", "--here", "--json", tmp_path / "found.json"]
    command = [sys.executable, "-m", "benchmarks.libraries", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    waits, holds = found["http.client, a connection a call"], found["os.system()"]
    assert (waits["once"], waits["right"], waits["others"]) == ("ENDED", 20, ["ENDED", "ENDED"])
    assert holds["gap"] > waits["gap"]
    for name in ("http.client, a connection a call", "os.system()"):
        assert f"| {name} | " in done.stdout
    assert "| **no, while it waits** | yes | when the call returns |" in done.stdout
