"""Workers with different failovers in one fleet, at scaled times."""

import json
import os
import signal

import pytest

from tests.support.cli_tools import SLEEPER, Started, done, pytask, until, write
from tests.support.servers import start_server

pytestmark = pytest.mark.slow
SCALE = "0.4"  # a failover of 15 s: T is 10 s; the default: K is 28 s, T is 36 s


@pytest.fixture
def place(tmp_path):
    write(tmp_path / "tasks.py", SLEEPER)
    with start_server("valkey", "--appendonly", "yes") as server:
        yield tmp_path, server


def worker(place, name, *words, **env):
    folder, server = place
    given = ("run", "tasks.py", "--redis", server.url, "--time-scale", SCALE, "--name", name, *words)
    # As on machines of their own: no locks, by which neighbors prove a death at once.
    return Started(pytask(*given), folder, cwd=folder, PYTASK_RUNTIME_DIR="off", **env)


def read(place, *words):
    folder, server = place
    found = done(pytask(*words, "--redis", server.url, "-o", "json"), folder)
    assert found.returncode == 0, found.stdout + found.stderr
    return json.loads(found.stdout)["items"]


def runs(place, name):
    """The run of each task of a worker."""
    rows = read(place, "ls", "--worker", name, "-s", "RUNNING")
    return {row["id"]: row["run"] for row in rows if row["function"] == "sleeper"}


def push(place):
    folder, server = place
    assert done(pytask("new", "sleeper", "--redis", server.url), folder).returncode == 0


def process_of(place, name):
    (found,) = [row for row in read(place, "workers") if row["name"] == name]
    return found


def test_a_dead_worker_with_a_short_failover_is_replaced_while_a_frozen_one_is_not(place):
    with worker(place, "short", "--failover", "15s"):
        for _ in range(2):
            push(place)
        until(lambda: len(runs(place, "short")) == 2, "they do not run")
        with worker(place, "long") as long:
            until(lambda: push(place) or runs(place, "long"), "the second worker gets no task")
            # A monitor with a short failover, which watches the runs of both.
            with worker(place, "third", PYTASK_FAILOVER="15"):
                until(lambda: len(read(place, "workers")) == 3, "the third worker does not report")
                held, frozen = runs(place, "short"), runs(place, "long")
                assert all("~e249:" in run for run in held.values())
                assert not any("~" in run for run in frozen.values())
                dead = process_of(place, "short")
                assert (dead["expiry"], process_of(place, "long")["expiry"]) == pytest.approx((9.96, 36))
                os.kill(process_of(place, "long")["pid"], signal.SIGSTOP)
                os.kill(dead["pid"], signal.SIGKILL)
                until(lambda: runs(place, "third").keys() >= held.keys(), "they do not come back")
                assert runs(place, "long") == frozen  # frozen before the other died: for longer than its T
                long.process.send_signal(signal.SIGCONT)
                until(lambda: process_of(place, "long")["silent"] < 2, "it does not continue")
                assert runs(place, "long").items() >= frozen.items()
