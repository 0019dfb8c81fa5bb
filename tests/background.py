"""Long commands that run beside the other tests, one after the other, and whose tests come last.

A command is declared when its module is imported.  With a single core's worth of work each, a simulation
and a chaos run then cost the whole suite little more than the time of the longer half.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 900  # seconds that a test waits for its command, the ones before it included

commands = {}
_chain = None
_folder = None


class Done(NamedTuple):
    """How a command came out; both outputs in one text."""

    returncode: int
    stdout: str


class Command:
    """Words after `python`, run in the project's folder."""

    def __init__(self, name, *words):
        self.name = name
        self.words = [sys.executable, *map(str, words)]
        commands[name] = self

    def done(self):
        """Its result; run now, where it was not started with the session."""
        if _chain is None or self.name not in _chain.names:
            start([self.name])
        deadline = time.monotonic() + LONGEST
        code = _folder / f"{self.name}.code"
        while not code.exists():
            assert _chain.process.poll() is None or code.exists(), f"{self.name} was not run to its end"
            assert time.monotonic() < deadline, f"{self.name} takes longer than {LONGEST} s"
            time.sleep(0.2)
        return Done(int(code.read_text()), (_folder / f"{self.name}.out").read_text(errors="replace"))


class Chain(NamedTuple):
    """The process that runs commands one after the other."""

    names: list
    process: subprocess.Popen


def start(names):
    """Begin to run these in the background; what is still running of an earlier chain is waited for."""
    global _chain, _folder  # noqa: PLW0603 - one chain a session
    if _chain is not None:
        _chain.process.wait()
    _folder = _folder or Path(tempfile.mkdtemp(prefix="pytask-background-"))
    orders = json.dumps([[name, commands[name].words] for name in names])
    process = subprocess.Popen(
        [sys.executable, __file__, str(_folder), orders],
        cwd=ROOT, stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    _chain = Chain(names, process)


def end():
    """End what still runs; its children are told by their own SIGTERM handling, as on a Ctrl-C."""
    if _chain is not None and _chain.process.poll() is None:
        os.killpg(_chain.process.pid, signal.SIGTERM)
        _chain.process.wait()


def main(folder, orders):
    """Run them; what a command printed is there before its exit code is."""
    for name, words in json.loads(orders):
        with (Path(folder) / f"{name}.out").open("wb") as output:
            done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False)
        part = Path(folder) / f"{name}.part"
        part.write_text(str(done.returncode))
        part.rename(Path(folder) / f"{name}.code")


if __name__ == "__main__":
    main(*sys.argv[1:])
