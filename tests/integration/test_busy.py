"""A task that takes all there is and holds nobody up."""

import json
import re
import signal

import pytest
from click.testing import CliRunner

from pytask.cli.main import main
from tests.integration.conftest import wait_until
from tests.support.cli_tools import Started, pytask, write

pytestmark = pytest.mark.slow


def cli(*words):
    return CliRunner().invoke(main, words)


TASKS = """
import gevent
from pytask import Task

class Spin(Task):
    class Config:
        NAME = "spin"

    def start(self):
        while True:
            gevent.sleep(0)

class Rest(Task):
    class Config:
        NAME = "rest"

    def start(self):
        gevent.sleep(1e9)
"""


def test_a_polite_spinner_is_named_by_doctor_and_by_a_signal(lab, tmp_path, no_settings, monkeypatch):
    monkeypatch.setenv("PYTASK_REDIS_URL", lab.server.url)
    monkeypatch.setenv("PYTASK_TIMEOUT", "5")

    def rows(verb):
        return json.loads(cli(verb, "-o", "json").stdout)["items"]

    target = write(tmp_path / "tasks.py", TASKS)
    command = pytask("run", target, "--redis", lab.server.url, "--time-scale=0.2", "--name=busy")
    with Started(command, tmp_path, tmp_path) as daemon:
        rest, spin = lab.push("rest"), lab.push("spin")
        lab.wait_state([rest, spin], "RUNNING")
        daemon.process.send_signal(signal.SIGUSR1)
        daemon.says("--- end of busiest tasks")
        (line,) = [line for line in daemon.output.splitlines() if "% task " in line]
        assert f"task spin: {spin}, " in line
        wait_until(lambda: rows("workers")[0]["cpu"])
        assert re.search(r"\bcpu\b", cli("workers").stdout.splitlines()[0].lower())
        assert re.search(r" \d+% ", cli("top", "--once").stdout)
    # How much of a core a process gets is a matter of this machine: one that had it all shows this.
    shown = {"session": "s", "name": "full", "host": "h", "pid": 1, "cpu": 0.98, "busiest": [
        {"id": spin, "function": "spin", "share": 0.97, "turns": 9}, "of a later release",
    ]}  # fmt: skip
    lab.redis.zadd("pytask:workers", {"s": lab.redis.time()[0]})
    lab.redis.hset("pytask:workers:info", "s", json.dumps(shown))
    (found,) = [one for one in rows("doctor") if one["code"] == "PT150"]
    assert found["what"].startswith("worker full uses 98% of the one core")
    assert found["what"].endswith(f"busiest tasks: '{spin}' (spin) 97%")
    assert not found["serious"]
