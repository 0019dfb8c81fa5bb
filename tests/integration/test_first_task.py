"""docs/first-task.md as a newcomer does it: typed line by line, within five minutes."""

import json
import re
import signal
import time

import pytest
import redis

from tests.support.cli_tools import ROOT, Started, pytask, until
from tests.support.typed_pages import Shell, blocks, commands, fits

pytestmark = pytest.mark.slow
BLOCKS = blocks((ROOT / "docs" / "first-task.md").read_text("utf-8"))
SECONDS = 300
VARIES = ("pytask workers", "pytask why")  # the page shows the beginning of what they print


class Newcomer:
    """Types the blocks of the page; what is called as a block does it."""

    def __init__(self, folder):
        self.shell, self.folder = Shell(folder), folder
        self.daemon = self.redis = None
        self.counts = []  # what each `pytask watch` showed
        self.worker = ""  # that runs the task

    def close(self):
        if self.daemon is not None:
            self.daemon.__exit__()
        if self.redis is not None:
            self.redis.close()

    def write(self, text):
        (self.folder / "tick.py").write_text(text)

    def change(self, text):
        """Put it in the place of the line that assigns the same."""
        before = (self.folder / "tick.py").read_text()
        after, changes = re.subn(
            rf"^{re.escape(text.partition('=')[0])}=.*\n", text, before, flags=re.MULTILINE
        )
        assert changes == 1
        self.write(after)

    def foreground(self, block):
        """A command that Ctrl-C ends."""
        ((command, shown),) = commands(block)
        before, _, after = shown.partition("^C\n")
        with self.started(command) as run:
            run.says(before.splitlines()[-1])
            run.end(signal.SIGINT)
            said = run.output.splitlines()
        assert fits(before, "\n".join(said[: len(before.splitlines())]))
        assert fits(after, said[-1])

    def background(self, block):
        """The first terminal; what is typed in the second one finds its server."""
        ((command, shown),) = commands(block)
        self.daemon = self.started(command)
        self.daemon.says("export ")
        line = next(line for line in self.daemon.output.splitlines() if "export " in line)
        assert fits(shown, line)
        self.redis = redis.Redis.from_url(line.partition("=")[2].strip(), decode_responses=True)
        until(lambda: self.redis.hlen("pytask:workers:info"), lambda: self.daemon.output)

    def started(self, command):
        return Started(pytask(*command.split()[1:]), self.folder, self.folder)

    def changed(self, block):
        """A person sees in the first terminal that the new code runs."""
        self.moved()
        self.typed(block)
        first, second = self.counts[-1]
        assert second == first + 100
        assert first > self.counts[-2][-1]

    def killed(self, block):
        self.moved()
        self.typed(block)
        first, second = self.counts[-1]
        assert second == first + 100
        assert first > self.counts[-2][-1] - 600  # what the last 5 s before the kill added may be lost
        assert first > 100

    def moved(self):
        """The task runs on another worker than before."""

        def runs():
            state, worker = self.redis.hmget("clock-1", "state", "worker")
            return state == "RUNNING" and worker not in {"", self.worker}

        until(runs, lambda: self.daemon.output)

    def typed(self, block):
        for command, shown in commands(block):
            self.worker = self.redis.hget("clock-1", "worker")
            code, said = self.shell(self.with_number(command))
            assert code == 0, (command, said, self.daemon.output)
            if command.startswith(VARIES):
                shown, said = shown.splitlines()[0], said.splitlines()[0]  # noqa: PLW2901
            assert fits(shown, said), f"$ {command}\n{said}\n--- and the page shows:\n{shown}"
            if "watch" in command:
                self.counts.append([int(one) for one in re.findall(r'"count": (\d+)', said)])

    def with_number(self, command):
        """The command with the number of the process that runs the task."""
        if "PID" not in command:
            return command
        entries = map(json.loads, self.redis.hvals("pytask:workers:info"))
        return command.replace("PID", next(str(one["pid"]) for one in entries if one["name"] == self.worker))


def test_from_nothing_to_a_task_that_survives_a_kill(tmp_path):
    began = time.monotonic()
    person = Newcomer(tmp_path)
    does = {"tick.py": person.write, "": person.typed}
    try:
        for _, name, text in BLOCKS:
            (does.get(name) or getattr(person, name))(text)
        assert len(person.counts) == 3
        assert "had died" in person.shell("pytask why clock-1")[1]
        assert person.daemon.end(signal.SIGINT) == 0
    finally:
        person.close()
    assert [path.name for path in tmp_path.glob("*.py")] == ["tick.py"]
    assert time.monotonic() - began < SECONDS
