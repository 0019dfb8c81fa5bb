"""`pytask call`: one task in the foreground, in a process of its own."""

import os
import signal
import subprocess
import sys

import pytest

TASKS = """
import gevent
from pytask import Restart, Task

class Add(Task):
    class Config:
        NAME = "add"
    def start(self):
        self.progress(1, 2, "half")
        self.emit("sum", {"of": self.task_data})
        return self.task_data["a"] + self.task_data.get("b", 0) + (self.saved or 0)

class Fails(Task):
    class Config:
        NAME = "fails"
        RESTART = Restart("failure")
    def start(self):
        raise self.Error("no such feed")

class Endless(Task):
    class Config:
        NAME = "endless"
    def start(self):
        self.emit("ready")
        self.stopped = gevent.event.Event()
        self.stopped.wait()
        self.emit("over")
        gevent.sleep(self.task_data["seconds"])
    def stop(self, reason):
        self.emit("asked", reason)
        self.stopped.set()

class Breaks(Task):
    class Config:
        NAME = "breaks"
    def start(self):
        value = 41
        breakpoint()
        return value

class Waits(Task):
    class Config:
        NAME = "waits"
    async def start(self):
        await self.sleep(0.01)
        return "awaited"
"""


@pytest.fixture
def call(tmp_path):
    (tmp_path / "tasks.py").write_text(TASKS)
    started = []

    def run(*words, **options):
        made = subprocess.Popen(
            [sys.executable, "-m", "pytask", "call", "tasks.py", *words],
            cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"NO_COLOR": "1"}, **options,
        )  # fmt: skip
        started.append(made)
        return made

    yield run
    for one in started:
        one.kill()
        one.communicate()


def test_a_task_runs_to_its_end_and_its_output_is_the_last_line(call):
    out, err = (made := call("add", "a=2", "b=3", "--saved", "10")).communicate(timeout=60)
    assert made.returncode == 0, err
    lines = out.splitlines()
    assert lines[-1] == "15"
    assert 'sum {"of": {"a": 2, "b": 3}}' in lines
    assert any(line.startswith("progress ") for line in lines)
    assert lines[-2].startswith("ended")


def test_a_task_with_async_and_one_that_fails(call):
    waits, fails, unknown = call("waits"), call("fails"), call("adds")
    out, err = waits.communicate(timeout=60)
    assert (waits.returncode, out.splitlines()[-1]) == (0, '"awaited"'), err
    _, err = fails.communicate(timeout=60)
    assert (fails.returncode, "no such feed" in err) == (1, True), err
    _, err = unknown.communicate(timeout=60)
    assert unknown.returncode != 0
    assert "no task 'adds'; there are: add, breaks, endless, fails, waits" in err


def test_ctrl_c_stops_it_and_a_second_one_ends_the_process(call):
    for seconds, again in ((0, False), (600, True)):
        made = call("endless", f"seconds={seconds}")
        while made.stdout.readline().strip() != "ready":
            assert made.poll() is None
        made.send_signal(signal.SIGINT)
        while made.stdout.readline().strip() != 'asked "stop"':
            assert made.poll() is None
        if again:
            while made.stdout.readline().strip() != "over":
                assert made.poll() is None
            made.send_signal(signal.SIGINT)
        out, _ = made.communicate(timeout=60)
        assert made.returncode == 130
        assert ("stopped" in out) is not again


def test_a_breakpoint_opens_the_debugger(call):
    made = call("breaks")
    out, err = made.communicate("p value\nc\n", timeout=60)
    assert made.returncode == 0, err
    assert "(Pdb) 41" in out
    assert out.splitlines()[-1] == "41"
