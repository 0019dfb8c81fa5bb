"""A worker exits after SIGTERM, regardless of what its tasks did with processes and signals."""

import json
import signal
import sys

import psutil
import pytest

from tests.support.cli_tools import Started, pytask, until, write

CHILDREN = """
    import asyncio, atexit, ctypes, multiprocessing, os, signal, sys, time
    from concurrent.futures import ProcessPoolExecutor
    from pathlib import Path
    import gevent
    from pytask import Task

    def stubborn():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        Path("stubborn").touch()
        while True:
            time.sleep(100)

    class Children(Task):
        class Config:
            NAME = "children"
        def start(self):
            multiprocessing.get_context("fork").Process(target=stubborn).start()
            multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,)).start()
            self.pool = ProcessPoolExecutor(1)
            self.pool.submit(time.sleep, 600)
            while not Path("stubborn").exists():
                gevent.sleep(0.02)
            self.emit("ready", None)
            Path("ready").touch()
            gevent.sleep(600)

    class Hangs(Task):
        class Config:
            NAME = "hangs"
        def start(self):
            atexit.register(time.sleep, 600)
            Path("ready").touch()
            gevent.sleep(600)

    class Bot(Task):
        class Config:
            NAME = "bot"
        def start(self):
            asyncio.run(self.poll())
            signal.set_wakeup_fd(-1)
        async def poll(self):
            loop, stop = asyncio.get_running_loop(), asyncio.Event()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, stop.set)
            Path("ready").touch()
            if not self.task_data["brief"]:
                await stop.wait()

    class Deep(Task):
        class Config:
            NAME = "deep"
        def start(self):
            libc = ctypes.CDLL(None, use_errno=True)
            libc.signal.argtypes, libc.signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
            libc.signal(signal.SIGTERM, 1)  # SIG_IGN, behind the back of Python
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
            gevent.sleep(1)  # two looks
            Path("ready").touch()
            gevent.sleep(600)
"""


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "tasks.py", CHILDREN)
    return tmp_path


def push(client, name):
    client.hset("t", mapping={"function": name})
    client.lpush("new-task", "t")


def worker(folder, store, *flags):
    command = pytask("run", "tasks.py", "--redis", store.url, "--time-scale", "0.1", *flags)
    return Started(command, folder, folder)


def lives(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("processes", ["1", "2"])
def test_children_of_multiprocessing_end_with_the_worker(store, client, folder, processes):
    push(client, "children")
    with worker(folder, store, "--processes", processes) as daemon:
        until((folder / "ready").exists, lambda: daemon.output)
        family = psutil.Process(daemon.process.pid).children(recursive=True)
        assert daemon.end(signal.SIGTERM) == 0, daemon.output
        until(lambda: not any(map(lives, family)), lambda: family)  # the resource tracker ends a little later
    assert client.hget("t", "state") == "WAIT"
    assert "PT125" not in daemon.output


def test_what_hangs_at_the_exit_is_cut_short_and_shown(store, client, folder):
    push(client, "hangs")
    with worker(folder, store) as daemon:
        until((folder / "ready").exists, lambda: daemon.output)
        assert daemon.end(signal.SIGTERM) == 0, daemon.output
    assert client.hget("t", "state") == "WAIT"
    assert "[PT125] the process did not exit within" in daemon.output


@pytest.mark.parametrize(
    ("name", "data", "state"),
    [("bot", {"brief": False}, "WAIT"), ("bot", {"brief": True}, "ENDED"), ("deep", {}, "WAIT")],
)
def test_a_task_that_handles_signals_does_not_keep_the_worker(store, client, folder, name, data, state):
    client.hset("t", "data", json.dumps(data))
    push(client, name)
    with worker(folder, store) as daemon:
        until((folder / "ready").exists, lambda: daemon.output)
        if state == "ENDED":
            until(lambda: client.hget("t", "state") == state, lambda: daemon.output)
        daemon.says("[PT123] task t (bot) set a wake-up descriptor" if name == "bot" else "[PT123] something")
        assert daemon.end(signal.SIGTERM) == 0, daemon.output
    assert "releasing" in daemon.output
    assert client.hget("t", "state") == state


PROGRAM = """
    from gevent import monkey
    monkey.patch_all()
    import sys, threading, time
    from pathlib import Path
    import gevent
    from pytask import PyTask, Task, Timing

    class Threads(Task):
        class Config:
            NAME = "threads"
        def start(self):
            gevent.spawn_raw(self.leave_a_thread)  # none of the task's own, which would end with it
            gevent.sleep(600)
        def leave_a_thread(self):
            threading.Thread(target=self.wait, name="left-by-a-task", daemon=False).start()
            Path("ready").touch()
        def wait(self):
            while not Path("go").exists():
                time.sleep(0.02)

    if __name__ == "__main__":
        app = PyTask(sys.argv[1], timing=Timing().scaled(0.1))
        app.add_task(Threads)
        app.run()
        Path("returned").touch()
"""


def test_run_returns_in_a_program_of_ones_own_and_names_what_is_left(store, client, tmp_path):
    folder = tmp_path
    write(folder / "program.py", PROGRAM)
    push(client, "threads")
    with Started([sys.executable, "program.py", store.url], folder, folder) as program:
        until((folder / "ready").exists, lambda: program.output)
        program.process.send_signal(signal.SIGTERM)
        until((folder / "returned").exists, lambda: program.output)
        program.says(
            "[PT137] threads that were started since run() prevent the process from exiting: left-by-a-task."
        )
        assert client.hget("t", "state") == "WAIT"
        (folder / "go").touch()  # the end of the process is the program's
        until(lambda: program.process.poll() is not None, lambda: program.output)
    assert program.process.returncode == 0, program.output
