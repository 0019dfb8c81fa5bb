"""`pytask drill`: a real worker is killed, and its tasks are followed to the next one."""

import json
import socket

import pytest

from tests.support.cli_tools import SLEEPER, Started, done, pytask, until, write
from tests.support.servers import start_server

pytestmark = pytest.mark.slow
SCALE = "0.05"  # of the times of the protocol: an expiry of 4.5 s


@pytest.fixture
def place(tmp_path):
    write(tmp_path / "tasks.py", SLEEPER)
    with start_server("valkey", "--appendonly", "yes") as server:
        yield tmp_path, server


def worker(place, name):
    folder, server = place
    words = ("run", "tasks.py", "--redis", server.url, "--time-scale", SCALE, "--name", name)
    return Started(pytask(*words), folder, cwd=folder)


def call(place, *words, code=0):
    folder, server = place
    found = done(pytask(*words, "--redis", server.url), folder)
    assert found.returncode == code, found.stdout + found.stderr
    return found


def running(place, name):
    listed = json.loads(call(place, "ls", "--worker", name, "-s", "RUNNING", "-o", "json").stdout)["items"]
    return {row["id"] for row in listed if row["function"] == "sleeper"}


def workers(place):
    return call(place, "workers", "-o", "id").stdout.split()


def test_a_killed_worker_and_one_that_is_ended(place):
    with worker(place, "oak"):
        ids = {call(place, "new", "sleeper", "-o", "id").stdout.strip() for _ in range(3)}
        until(lambda: running(place, "oak") == ids, "they do not run")
        with worker(place, "elm"):
            until(lambda: len(workers(place)) == 2, "the second worker does not report")
            refused = call(place, "drill", "-y", code=2)
            assert "name one of elm, oak" in refused.stderr
            unsure = call(place, "drill", "oak", code=2)
            assert "confirm with -y" in unsure.stderr
            limited = ("--wait", "120", "--limit", "0.001")
            found = call(place, "drill", "oak", "-y", "-o", "json", *limited, code=3)
            told = json.loads(found.stdout)
            rows = {row["id"]: row for row in told["items"]}
            assert ids <= rows.keys()
            assert {rows[i]["outcome"] for i in ids} == {"came back"}
            assert {rows[i]["worker"] for i in ids} == {"elm"}
            assert told["longest"] == max(row["gone"] for row in rows.values())
            assert "and the limit is 0.001 s" in found.stderr
            until(lambda: running(place, "elm") == ids, "they do not run on")
            with worker(place, "yew"):
                until(lambda: len(workers(place)) >= 2, "the third worker does not report")
                found = call(place, "drill", "elm", "--term", "-y", "--wait", "120")
                assert "came back" in found.stdout
                assert "p99" in found.stderr
                until(lambda: running(place, "yew") == ids, "they do not run on")


def test_a_worker_without_tasks_gives_nothing_to_measure(place):
    with worker(place, "oak"):
        until(lambda: workers(place), "the worker does not report")
        found = call(place, "drill", "-y")
        assert "not followed: 1 pre-started task, which ends with its worker" in found.stderr
        assert "nothing was measured" in found.stderr


def test_without_a_worker_here_it_says_so(place):
    found = call(place, "drill", "-y", code=2)
    assert "no worker runs on this machine" in found.stderr
    script = call(place, "drill", "--explain").stdout
    assert "pytask:workers:info" in script
    assert socket.gethostname() not in script
