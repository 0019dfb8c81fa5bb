"""Ctrl-C anywhere is clean: the exit code is 130, and nothing is printed that nobody asked for."""

import array
import contextlib
import fcntl
import os
import pty
import signal
import socket
import subprocess
import sys
import termios

import psutil
import pytest
import redis

from tests.support.cli_tools import Started, environment, pytask, until, write
from tests.support.servers import start_server

pytestmark = pytest.mark.slow

TASKS = """
    import gevent
    from pytask import Task

    class Sleeper(Task):
        class Config:
            NAME = "sleeper"
        def start(self):
            gevent.sleep(1000)
"""
# In one write: where PYTHONUNBUFFERED is set, print() makes two, and the signal may come between them.
SLOW = """
    import sys, time
    sys.stdout.write("importing\\n")
    sys.stdout.flush()
    time.sleep(1000)
"""
# All verbs that ask Redis.
ASKING = {
    "new": ["sleeper"], "stop": ["x"], "start": ["x"], "reload": ["x"], "requeue": ["x"], "wait": ["x"],
    "rm": ["x"], "ls": [], "show": ["x"], "why": ["x"], "watch": [], "status": [], "top": [], "workers": [],
    "functions": [], "doctor": [],
}  # fmt: skip
WAITING = [["wait", "idle"], ["watch", "idle"], ["new", "sleeper", "--wait", "1000"], ["watch"]]


@pytest.fixture(scope="module")
def store():
    with start_server("valkey", appendonly=True) as server:
        yield server


@pytest.fixture
def client(store):
    with redis.Redis.from_url(store.url, decode_responses=True) as made:
        made.flushall()
        yield made


@contextlib.contextmanager
def started(*commands, **env):
    """Processes with pipes; nothing is left of them."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    children = [subprocess.Popen(pytask(*words), env=environment(**env), **pipes) for words in commands]
    try:
        yield children
    finally:
        for child in children:
            child.kill()
            child.communicate()


def talks(child, port):
    """Whether it has a connection to the server."""
    with contextlib.suppress(psutil.Error):
        return any(
            line.raddr and line.raddr.port == port for line in psutil.Process(child.pid).net_connections()
        )
    return False


def interrupted(child):
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    return child.returncode, out, err


def test_while_the_command_is_imported():
    """From its first own line on: until then, Python itself prints a traceback."""
    code = """if True:
        import os, signal, sys
        from importlib.abc import MetaPathFinder

        class Interrupt(MetaPathFinder):  # a second own module is about to be imported
            def find_spec(self, name, path, target=None):
                known = ("pytask", "pytask.domain", "pytask.domain.version", "pytask.daemon",
                         "pytask.daemon.interrupt", "pytask.__main__")
                if name.startswith("pytask") and name not in known:
                    os.kill(os.getpid(), signal.SIGINT)

        sys.meta_path.insert(0, Interrupt())
        sys.argv[1:] = ["dev", "tasks.py"]
        import pytask.__main__
        pytask.__main__.main()
    """
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (130, "")


def test_while_redis_does_not_answer(store):
    store.freeze()
    try:
        words = [[verb, *rest] for verb, rest in ASKING.items()]
        with started(*words, PYTASK_REDIS_URL=store.url, PYTASK_TIMEOUT="100") as children:
            for child in children:
                until(lambda c=child: talks(c, store.port), lambda c=child: c.args)
                assert interrupted(child) == (130, "", ""), child.args
    finally:
        store.thaw()


def test_while_it_waits_for_what_does_not_come(store, client):
    client.hset("idle", mapping={"function": "sleeper", "state": "WAIT"})
    with started(*WAITING, PYTASK_REDIS_URL=store.url, PYTASK_TIMEOUT="8") as children:
        until(lambda: client.pubsub_numsub("task-idle") == [("task-idle", 2)], "two wait for that task")
        until(lambda: len(client.pubsub_channels("task-*")) == 2, "one waits for its own")
        until(lambda: client.pubsub_numpat() >= 1, "and one for all")
        for child in children:
            assert child.poll() is None, child.communicate()
        for child in children:
            code, out, err = interrupted(child)
            assert (
                code,
                err.replace(
                    "pytask: no running worker knows 'sleeper'. The task waits until one does.\n", ""
                ),
            ) == (130, ""), child.args
            assert "Traceback" not in out


TAKE_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, command, folder=None, **env):
        self._leader, follower = pty.openpty()
        self._name = os.ttyname(follower)
        self.process = subprocess.Popen(
            [sys.executable, "-c", TAKE_TERMINAL, *command],
            cwd=folder,
            env=environment(**env),
            stdin=follower,
            stdout=follower,
            stderr=follower,
        )
        os.close(follower)
        os.set_blocking(self._leader, False)
        self._seen = bytearray()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.hang_up()

    @property
    def text(self):
        with contextlib.suppress(OSError):
            while chunk := os.read(self._leader, 65536):
                self._seen.extend(chunk)
        return self._seen.decode(errors="replace")

    def shows(self, text):
        until(lambda: text in self.text, lambda: self.text)

    def type(self, text):
        os.write(self._leader, text.encode())

    def code(self):
        """The exit code.  What it prints until then is read, or it might stand still with a full terminal."""
        until(lambda: self.text is not None and self.process.poll() is not None, lambda: self.text)
        return self.process.returncode

    def has_read(self):
        """Whether all lines that were typed have been read."""
        left = array.array("i", [0])
        follower = os.open(self._name, os.O_RDWR | os.O_NOCTTY)
        fcntl.ioctl(follower, termios.FIONREAD, left)
        os.close(follower)
        return left[0] == 0

    def hang_up(self):
        if self._leader >= 0:
            os.closerange(self._leader, self._leader + 1)  # gevent puts off what os.close is to do
            self._leader = -1


ANSWERS = {"Ctrl-C": ("\x03", 130), "Ctrl-D": ("\x04", 1), "no": ("n\r", 1), "yes": ("y\r", 0)}


@pytest.mark.parametrize("answer", ANSWERS)
def test_at_a_question(store, client, answer):
    keys, code = ANSWERS[answer]
    client.hset("idle", mapping={"function": "sleeper"})
    client.lpush("new-task", "idle")
    with Terminal(pytask("stop", "--all"), PYTASK_REDIS_URL=store.url, PYTASK_TIMEOUT="8") as terminal:
        terminal.shows("Stop 1 task? [y/N]: ")
        terminal.type(keys)
        assert terminal.code() == code, terminal.text
        assert "Traceback" not in terminal.text
        assert "Aborted" not in terminal.text
    assert client.hget("idle", "state") == ("STOPPED" if answer == "yes" else None)


def test_while_it_reads_from_the_terminal(store, client):
    command = pytask("new", "sleeper", "--data", "-")
    with Terminal(command, PYTASK_REDIS_URL=store.url) as terminal:
        terminal.type('{"a":\n')
        terminal.shows('{"a":')
        until(terminal.has_read, "it waits for more")
        terminal.type("\x03")
        assert terminal.code() == 130, terminal.text
        assert "Traceback" not in terminal.text
    assert client.llen("new-task") == 0


def test_while_health_waits_for_a_worker_that_hangs(tmp_path):
    path = tmp_path / f"{os.getpid()}.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(tmp_path)
        listener.bind(str(path))
        listener.listen()
        words = ["health", "--live", "--run-dir", str(tmp_path), "--timeout", "1000"]
        with started(words) as (child,):
            line, _ = listener.accept()
            with line:
                assert interrupted(child) == (130, "", "")


def test_a_daemon_that_still_imports_its_tasks(store, tmp_path):
    write(tmp_path / "tasks.py", SLOW)
    for flags, number, code in (
        ([], signal.SIGINT, 130),
        ([], signal.SIGTERM, 0),
        (["--embedded"], signal.SIGINT, 130),
    ):
        with Started(pytask("run", "tasks.py", *flags), tmp_path, tmp_path) as daemon:
            daemon.says("importing")
            assert daemon.end(number) == code
            assert daemon.output == "importing\n"


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_terminal_that_is_closed_takes_the_daemon_with_it(store, client, tmp_path, processes):
    """SIGHUP means a new start to a service, and the end to what runs on a terminal that went away."""
    write(tmp_path / "tasks.py", TASKS)
    command = pytask("run", "tasks.py", "--processes", processes, "--time-scale", "0.2")
    client.hset("t", mapping={"function": "sleeper"})
    client.lpush("new-task", "t")
    with Terminal(command, tmp_path, PYTASK_REDIS_URL=store.url) as terminal:
        until(lambda: terminal.text and client.hget("t", "state") == "RUNNING", lambda: terminal.text)
        family = psutil.Process(terminal.process.pid).children(recursive=True)
        terminal.hang_up()
        terminal.process.wait(30)
        until(lambda: not any(child.is_running() for child in family), lambda: family)
    assert client.hget("t", "state") == "WAIT"


def test_ctrl_c_on_a_terminal_ends_a_daemon_with_all_its_processes(store, client, tmp_path):
    write(tmp_path / "tasks.py", TASKS)
    client.hset("t", mapping={"function": "sleeper"})
    client.lpush("new-task", "t")
    with Terminal(
        pytask("run", "tasks.py", "--processes", "2"), tmp_path, PYTASK_REDIS_URL=store.url
    ) as terminal:
        until(lambda: terminal.text and client.hget("t", "state") == "RUNNING", lambda: terminal.text)
        terminal.type("\x03")
        assert terminal.code() == 0, terminal.text
        assert "Traceback" not in terminal.text
    assert client.hget("t", "state") == "WAIT"
