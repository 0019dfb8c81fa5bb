"""`self.subprocess()` in a real worker: a program and its children end with the run, however that ends."""

import os
import signal
import subprocess

import psutil
import pytest

from tests.support.cli_tools import Started, pytask, until, write

TASKS = """
    import multiprocessing
    import os
    import subprocess
    import time
    from pathlib import Path
    import gevent
    from pytask import Task

    # A program with a child; both ignore SIGTERM.
    STUBBORN = '''
    trap : TERM
    sh -c "trap : TERM; echo \\\\$\\\\$ > grandchild; while :; do sleep 1000; done" &
    echo $$ > child
    while :; do sleep 1000; done
    '''

    class Base(Task):
        def begin(self):
            program = self.subprocess(["sh", "-c", STUBBORN])
            while not all(Path(name).exists() and Path(name).read_text() for name in ("child", "grandchild")):
                gevent.sleep(0.01)
            Path("ready").touch()
            return program

    class Returns(Base):
        class Config:
            NAME = "returns"
        def start(self):
            self.begin()

    class Raises(Base):
        class Config:
            NAME = "raises"
        def start(self):
            self.begin()
            raise ValueError("wrong")

    class ChildRaises(Base):
        class Config:
            NAME = "child_raises"
        def start(self):
            self.begin()
            self.spawn(int, "x")
            gevent.sleep(1000)

    class Waits(Base):
        class Config:
            NAME = "waits"
        def start(self):
            with self.begin() as program:
                program.wait()

    class Leaves(Task):
        '''Its program is gone, and has left a child behind.'''
        class Config:
            NAME = "leaves"
        def start(self):
            with self.subprocess("sleep 1000 & echo $! > child", shell=True) as program:
                program.wait()
            Path("grandchild").write_text(Path("child").read_text())
            Path("ready").touch()
            gevent.sleep(1000)

    class Forks(Base):
        '''A child of another kind, which outlives a worker that is killed.'''
        class Config:
            NAME = "forks"
        def start(self):
            self.subprocess(["true"]).wait()
            child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
            child.start()
            Path("forked").write_text(str(child.pid))
            self.begin().wait()

    class Talks(Task):
        class Config:
            NAME = "talks"
        def start(self):
            upper = self.subprocess(
                ["tr", "a-z", "A-Z"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            said = upper.communicate("hello")[0]
            lines = self.subprocess(["printf", "a\\\\nb\\\\n"], stdout=subprocess.PIPE, text=True)
            own = self.subprocess("read _", shell=True, stdin=subprocess.PIPE)
            leads = os.getpgid(own.pid) == os.getsid(own.pid) == own.pid
            own.communicate(b"end")
            code = self.subprocess(["sh", "-c", "exit 3"]).wait()
            return [said, list(lines.stdout), code, leads]
"""


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "tasks.py", TASKS)
    return tmp_path


@pytest.fixture
def worker(store, folder):
    command = pytask("run", "tasks.py", "--redis", store.url, "--time-scale", "0.1")
    with Started(command, folder, folder) as started:
        yield started


def push(client, name):
    client.hset("t", mapping={"function": name})
    client.lpush("new-task", "t")


def state(client, worker, wanted):
    until(lambda: client.hget("t", "state") == wanted, lambda: worker.output)


def lives(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def family(folder, worker):
    """The pids of the program and of its child."""
    until((folder / "ready").exists, lambda: worker.output)
    pids = [int((folder / name).read_text()) for name in ("child", "grandchild")]
    assert all(map(lives, pids))
    return pids


def beside(worker):
    """The process that ends what a dead worker leaves."""
    children = psutil.Process(worker.process.pid).children()
    return [child for child in children if any("orphan_reaper.py" in word for word in child.cmdline())]


def test_a_program_talks_as_one_of_popen_does(client, worker):
    push(client, "talks")
    state(client, worker, "ENDED")
    assert client.hget("t", "output") == '["HELLO",["a\\n","b\\n"],3,true]'


@pytest.mark.parametrize(
    ("name", "wanted"), [("returns", "ENDED"), ("raises", "ERROR"), ("child_raises", "ERROR")]
)
def test_a_run_that_ends_is_over_when_its_programs_are(client, worker, folder, name, wanted):
    push(client, name)
    state(client, worker, wanted)
    assert not any(map(lives, [int((folder / one).read_text()) for one in ("child", "grandchild")]))


@pytest.mark.parametrize("name", ["waits", "leaves"])
def test_a_run_that_is_stopped_leaves_no_program(client, worker, folder, name):
    push(client, name)
    pids = family(folder, worker)
    client.publish("task-t-control", "stop")
    state(client, worker, "STOPPED")
    assert not any(map(lives, pids))
    assert "PT042" not in worker.output


def test_a_run_that_is_released_leaves_no_program(client, worker, folder):
    push(client, "waits")
    pids = family(folder, worker)
    (keeper,) = beside(worker)
    assert worker.end(signal.SIGTERM) == 0, worker.output
    assert client.hget("t", "state") == "WAIT"
    assert not any(map(lives, pids))
    until(lambda: not lives(keeper.pid), keeper)


def test_a_lost_lease_leaves_no_program(store, client, worker, folder):
    push(client, "waits")
    pids = family(folder, worker)
    os.kill(store.pid, signal.SIGSTOP)
    try:
        worker.says("stopping all tasks of this worker")
        until(lambda: not any(map(lives, pids)), lambda: worker.output)
    finally:
        os.kill(store.pid, signal.SIGCONT)


@pytest.mark.parametrize("name", ["waits", "leaves", "forks"])
def test_a_worker_that_is_killed_leaves_no_program(client, worker, folder, name):
    push(client, name)
    pids = family(folder, worker)
    (keeper,) = beside(worker)
    worker.process.kill()
    until(lambda: not any(map(lives, pids)), pids)
    until(lambda: not lives(keeper.pid), keeper)
    if name == "forks":
        os.kill(int((folder / "forked").read_text()), signal.SIGKILL)


def test_the_process_beside_the_worker_is_started_again(client, worker, folder):
    push(client, "talks")
    state(client, worker, "ENDED")
    (keeper,) = beside(worker)
    keeper.kill()
    until(lambda: not lives(keeper.pid), keeper)
    push(client, "waits")
    pids = family(folder, worker)
    worker.process.kill()
    until(lambda: not any(map(lives, pids)), pids)


def test_nothing_is_beside_a_worker_whose_tasks_start_no_program(client, worker):
    worker.says("takes tasks from")
    assert not beside(worker)


def test_ctrl_c_reaches_the_worker_alone(store, client, folder):
    """As a terminal sends it: to the process group."""
    command = pytask("run", "tasks.py", "--redis", store.url, "--time-scale", "0.1")
    with Started(command, folder, folder) as worker:
        push(client, "waits")
        pids = family(folder, worker)
        subprocess.run(["kill", "-INT", "--", f"-{worker.process.pid}"], check=True)
        assert worker.process.wait(60) == 0, worker.output
        assert not any(map(lives, pids))
        assert client.hget("t", "state") == "WAIT"
