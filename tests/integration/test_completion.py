"""Completion in the real shells, each at a terminal of its own, with words that Redis knows.

The program that they complete is the real one, with more patience; run without a question it writes its
arguments to a file.
"""

import os
import pty
import select
import shutil
import subprocess
import sys
import time

import pytest
import redis

from pytask.adapters.redis.acl import command as acl
from tests.support.cli_tools import PATIENCE, ROOT, environment, pytask
from tests.support.servers import HOST

pytestmark = pytest.mark.slow

START = {
    "bash": ["--norc", "--noprofile", "-i"],
    "zsh": ["-f", "-i"],
    "fish": ["--no-config", "--interactive"],
}
LOAD = {
    "bash": "source {script}",
    "zsh": "autoload -Uz compinit; compinit -D; source {script}",
    "fish": "source {script}",
}
# A busy machine answers late, and what is tested here is not the patience of completion.
PATIENT = """
from pytask.cli import candidates

candidates.BUDGET = candidates.REPLY = candidates.CONNECTING = 10.0
from pytask.__main__ import main

main()
"""


class Shell:
    """An interactive shell; `arguments(keys)` are those of the program after these keys and Enter."""

    def __init__(self, name, folder, url):
        self._record = folder / "arguments"
        self._shown = b""
        script, program = folder / "script", folder / "bin" / "pytask"
        made = subprocess.run(
            pytask("completion", name), cwd=ROOT, env=environment(), capture_output=True, check=True
        )
        script.write_bytes(made.stdout)
        program.parent.mkdir()
        program.write_text(
            "#!/bin/sh\n"
            f'[ -n "$_PYTASK_COMPLETE" ] && exec {sys.executable} {folder / "patient.py"}\n'
            f"printf '%s\\0' \"$@\" > {self._record}.new && mv {self._record}.new {self._record}\n"
        )
        program.chmod(0o755)
        (folder / "patient.py").write_text(PATIENT)
        env = environment(PYTASK_REDIS_URL=url, TERM="xterm", HOME=str(folder))
        env |= {"PATH": f"{program.parent}:{env['PATH']}", "LC_ALL": "C.UTF-8"}
        self._own, theirs = pty.openpty()
        self.process = subprocess.Popen(
            ["setsid", "--ctty", shutil.which(name), *START[name]],
            cwd=folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs,
        )  # fmt: skip
        os.close(theirs)
        self._type(LOAD[name].format(script=script) + "\r")

    def _type(self, keys):
        os.write(self._own, keys.encode())

    def arguments(self, keys, wanted):
        """Types the keys until the program gets the wanted arguments: a slow machine may answer too late."""
        deadline = time.monotonic() + PATIENCE
        found = None
        while found != wanted:
            if time.monotonic() > deadline:
                pytest.fail(f"{found} instead of {wanted}:\n{self._shown.decode(errors='replace')}")
            self._record.unlink(missing_ok=True)
            self._type(keys + "\r")
            while not self._record.exists() and time.monotonic() < deadline:
                self._read()
            if self._record.exists():
                found = self._record.read_text().split("\0")[:-1]
        self._read()
        return self._shown.decode(errors="replace")

    def _read(self):
        """What it prints has to be read, or it waits."""
        if select.select([self._own], [], [], 0.05)[0]:
            self._shown += os.read(self._own, 65536)

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self._own)


@pytest.fixture(params=START)
def shell(request, tmp_path, store, client):
    """Each shell that is installed."""
    for program in (request.param, "setsid"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    made = Shell(request.param, tmp_path, store.url)
    yield made
    made.close()


@pytest.fixture
def tasks(client):
    for name in ("report-17", "a:b:one", "two words", "q'uote", "$(touch injected)", "evil\n\x1b[2J"):
        client.hset(name, mapping={"function": "echo", "state": "ENDED"})


def test_ids_complete(shell, tasks):
    shell.arguments("pytask show rep\t", ["show", "report-17"])
    shell.arguments("pytask show a:b:\t", ["show", "a:b:one"])
    shell.arguments("pytask stop -y rep\t a:\t", ["stop", "-y", "report-17", "a:b:one"])


def test_ids_that_need_quoting_are_what_they_are(shell, tasks, tmp_path):
    shell.arguments("pytask show two\t", ["show", "two words"])
    shell.arguments("pytask show q\t", ["show", "q'uote"])
    shell.arguments("pytask show \\$\t", ["show", "$(touch injected)"])
    shown = shell.arguments("pytask show evil\t", ["show", "evil"])  # it is not offered
    assert "\x1b[2J" not in shown
    assert not (tmp_path / "injected").exists()


def test_options_and_states_complete(shell):
    shell.arguments("pytask ls --sta\tRUN\t", ["ls", "--state", "RUNNING"])
    shell.arguments("pytask ls --state=RUN\t", ["ls", "--state=RUNNING"])
    shell.arguments("pytask funct\t", ["functions"])


def test_the_address_on_the_line_counts(shell, store, client, tmp_path):
    with redis.Redis(HOST, store.port, db=3) as other:
        other.hset("app:elsewhere", mapping={"function": "echo", "state": "ENDED"})
    url = f"redis://127.0.0.1:{store.port}/3"
    words = ["show", "--redis", url, "--namespace", "app:", "elsewhere"]
    shell.arguments(f"pytask {' '.join(words[:-1])} el\t", words)
    client.hset("of-file:inside", mapping={"function": "echo", "state": "ENDED"})
    (tmp_path / "other.toml").write_text('namespace = "of-file:"\n')
    words = ["show", "--config", "other.toml", "inside"]
    shell.arguments("pytask show --config other.toml ins\t", words)


def test_a_server_that_is_away_or_refuses_completes_nothing_and_says_nothing(shell, tasks, store, client):
    client.config_set("requirepass", "s3cr3t-word")
    client.acl_setuser("poor", enabled=True, passwords=["+poor-word"], categories=["-@all"])
    try:
        for url in (
            "redis://127.0.0.1:1",
            store.url,
            f"redis://:wr0ng-word@127.0.0.1:{store.port}",
            f"redis://poor:poor-word@127.0.0.1:{store.port}",
        ):
            shown = shell.arguments(f"pytask show --redis {url} rep\t", ["show", "--redis", url, "rep"])
    finally:
        client.config_set("requirepass", "")
        client.acl_deluser("poor")
    for word in ("Traceback", "NOAUTH", "NOPERM", "WRONGPASS", "PT0", "Error"):
        assert word not in shown
    shell.arguments("pytask show rep\t", ["show", "report-17"])


def test_who_may_only_read_gets_everything(client, store, cli):
    from pytask.cli.candidates import candidates

    client.execute_command(*acl("watcher", "").replace("PASSWORD", "pw").split())
    client.hset("report-17", mapping={"function": "echo", "state": "ENDED"})
    url = f"redis://pytask-watcher:pw@127.0.0.1:{store.port}"
    assert candidates("ids", {"redis": url}, "rep") == ["report-17"]
