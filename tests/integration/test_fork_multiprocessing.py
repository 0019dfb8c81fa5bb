"""A task that uses `multiprocessing` by fork, in a program with an embedded server around the app."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import redis

from tests.integration.conftest import wait_until

ROOT = Path(__file__).parents[2]
PROGRAM = """
from gevent import monkey; monkey.patch_all()
import json, multiprocessing, os, sys, time
from pathlib import Path
from pytask import PyTask, Task, run_loop
from pytask.adapters.embedded import EmbeddedServer

folder = Path(sys.argv[1])

def note(kind):
    with (folder / "notes").open("a") as notes:
        notes.write(json.dumps([kind, os.getpid()]) + "\\n")

def child():
    time.sleep(0.5)  # a cooperative call, in which the parent's greenlets would get their turn
    note("child slept")

class Ticks(Task):
    class Config:
        NAME = "ticks"
    def start(self):
        run_loop(lambda: note("tick"), 0.02)

class Forks(Task):
    class Config:
        NAME = "forks"
    def start(self):
        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        while process.is_alive():
            time.sleep(0.02)
        return {"child": process.pid, "code": process.exitcode}

def sleeper():
    (folder / "asleep").touch()
    time.sleep(600)

class Killed(Forks):
    class Config:
        NAME = "killed"
    def start(self):
        process = multiprocessing.get_context("fork").Process(target=sleeper)
        process.start()
        while not (folder / "asleep").exists():
            time.sleep(0.02)
        process.terminate()
        while process.is_alive():
            time.sleep(0.02)
        return {"child": process.pid, "code": process.exitcode}

with EmbeddedServer(folder / "redis") as server:
    (folder / "url").write_text(server.url)
    app = PyTask(server.url)
    app.add_task(Ticks, Forks, Killed)
    try:
        app.run()
    finally:
        note("unwound")
"""


def test_the_child_does_its_own_work_and_nothing_of_the_worker(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    worker = subprocess.Popen(
        [sys.executable, str(program), str(tmp_path)], env={**os.environ, "PYTHONPATH": str(ROOT)}
    )

    def notes():
        file = tmp_path / "notes"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    try:
        wait_until(lambda: (tmp_path / "url").exists() and (tmp_path / "url").read_text(), 30)
        client = redis.Redis.from_url((tmp_path / "url").read_text(), decode_responses=True)
        for name in ("ticks", "forks", "killed"):
            client.hset(name, "function", name)
            client.lpush("new-task", name)
        wait_until(lambda: client.hget("forks", "state") == client.hget("killed", "state") == "ENDED", 30)
        forked = json.loads(client.hget("forks", "output"))
        assert forked["code"] == 0
        # An ordinary signal ends a child like any other program: the worker's handlers are not its own.
        assert json.loads(client.hget("killed", "output"))["code"] == -signal.SIGTERM
        entries = notes()
        assert [kind for kind, pid in entries if pid == forked["child"]] == ["child slept"]
        assert {pid for kind, pid in entries if kind != "child slept"} == {worker.pid}
        count = len(entries)
        wait_until(lambda: len(notes()) > count + 5, 10)
        assert client.hget("ticks", "state") == "RUNNING"
    finally:
        worker.send_signal(signal.SIGTERM)
        code = worker.wait(60)
    assert code == 0
    assert [pid for kind, pid in notes() if kind == "unwound"] == [worker.pid]
