"""Restart policies with a real worker: what a person sees, and what a person can do about it."""

import json
import signal

import pytest
import redis

from pytask import Client
from tests.support import cli_tools
from tests.support.cli_tools import Started, done, until, write
from tests.support.servers import start_server

TASKS = """
    import gevent
    from pytask import Restart, Task

    class Flaky(Task):
        class Config:
            NAME = "flaky"
            RESTART = Restart("failure", first=0.1, cap=0.2, limit=2)
        def start(self):
            self.emit("attempt", self.attempt)
            if self.attempt < self.task_data.get("until", 99):
                raise OSError("no route")
            return self.attempt

    class Slow(Task):
        class Config:
            NAME = "slow"
            RESTART = Restart("failure", first=600, cap=600)
            TIMEOUT = 0.2
        def start(self):
            gevent.sleep(1000)

    class Plain(Task):
        class Config:
            NAME = "plain"
        def start(self):
            raise OSError("no route")

    class Forever(Task):
        class Config:
            NAME = "forever"
            RESTART = Restart("always", first=0.1, cap=0.1)
        def start(self):
            if self.attempt == 3:
                raise self.Fatal("enough")
            return self.attempt
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("restarts")
    write(folder / "tasks.py", TASKS)
    with (
        start_server("valkey") as server,
        Started(
            cli_tools.pytask("run", "tasks.py", "--redis", server.url, "--name", "w1"), folder, folder
        ) as one,
    ):
        with redis.Redis.from_url(server.url, decode_responses=True) as raw:
            until(lambda: raw.pubsub_numsub("pytask:hint")[0][1], lambda: one.output)
        yield server, one
        one.end(signal.SIGKILL)


@pytest.fixture
def raw(site):
    with redis.Redis.from_url(site[0].url, decode_responses=True) as made:
        yield made


@pytest.fixture
def events(raw):
    pubsub = raw.pubsub(ignore_subscribe_messages=True)
    pubsub.psubscribe("task-*")
    pubsub.get_message(timeout=1)
    yield lambda: list(_heard(pubsub))
    pubsub.close()


def _heard(pubsub):
    while (message := pubsub.get_message(timeout=0.2)) is not None:
        yield json.loads(message["data"])


def push(raw, task_id, function, data=None, **fields):
    raw.delete(task_id)
    raw.hset(task_id, mapping={"function": function, "data": json.dumps(data or {}), **fields})
    raw.lpush("new-task", task_id)


def reaches(raw, task_id, state):
    until(lambda: raw.hget(task_id, "state") == state, lambda: raw.hgetall(task_id))
    return raw.hgetall(task_id)


def pytask(site, *words):
    return done(cli_tools.pytask(*words, "--redis", site[0].url))


def test_a_task_that_fails_twice_ends_at_the_third_attempt(raw, events):
    push(raw, "a", "flaky", {"until": 3})
    found = reaches(raw, "a", "ENDED")
    assert found["output"] == "3"
    assert not {"restarts", "failed_at", "restart_times", "error"} & found.keys()
    told = events()
    assert [e["data"] for e in told if e["event"] == "attempt"] == [1, 2, 3]
    retries = [e["data"] for e in told if e["event"] == "retrying"]
    assert [(one["attempt"], one["error"]) for one in retries] == [
        (2, "OSError: no route"), (3, "OSError: no route"),
    ]  # fmt: skip
    assert all(0.05 <= one["delay"] <= 0.2 for one in retries)


def test_a_client_waits_through_all_attempts(site, raw):
    with Client(site[0].url) as client:
        client.start("flaky", {"until": 3}, id="w")
        assert client.wait("w", timeout=30).output == 3
        client.start("flaky", {}, id="x")
        assert "gave up after 2 restarts" in client.wait("x", timeout=30).error


def test_a_give_up_is_seen_and_a_start_begins_again(site, raw, events):
    push(raw, "b", "flaky")
    first = reaches(raw, "b", "ERROR")["error"].partition("\n")[0]
    assert first.startswith("[PT163] gave up after 2 restarts in ")
    assert first.endswith("; the last failure: OSError: no route")
    assert [e["data"]["error"] for e in events() if e["event"] == "error"] == [first]
    until(lambda: f"task b failed: {first}" in site[1].output, lambda: site[1].output)
    assert site[1].output.count("task b failed: OSError: no route; attempt ") == 2
    shown = pytask(site, "why", "b")
    assert "gave up after 2 restarts" in shown.stdout, shown
    # The fix of the explanation.
    raw.hset("b", "data", json.dumps({"until": 2}))
    assert pytask(site, "start", "b").returncode == 0
    assert reaches(raw, "b", "ENDED")["output"] == "2"


def test_a_queued_id_begins_a_new_count_after_an_error(raw):
    push(raw, "c", "flaky")
    reaches(raw, "c", "ERROR")
    raw.hset("c", "data", json.dumps({"until": 2}))
    raw.lpush("new-task", "c")
    assert reaches(raw, "c", "ENDED")["output"] == "2"


def test_a_timeout_waits_for_its_next_run_and_a_stop_or_a_start_ends_the_wait(site, raw):
    push(raw, "d", "slow")
    until(lambda: raw.zscore("pytask:timers", "d"), lambda: raw.hgetall("d"))
    found = raw.hgetall("d")
    assert (found["state"], found["restarts"], found["error"]) == ("WAIT", "1", "timed out after 0.2 s")
    seconds, micros = raw.time()
    assert 300 - 60 < raw.zscore("pytask:timers", "d") / 1000 - seconds <= 600
    assert seconds - 60 < float(found["failed_at"]) <= seconds + micros / 1e6 + 1
    assert pytask(site, "start", "d").returncode == 0  # now, and the count is forgotten
    until(
        lambda: raw.hget("d", "attempts") == "2" and raw.zscore("pytask:timers", "d"),
        lambda: raw.hgetall("d"),
    )
    assert raw.hget("d", "restarts") == "1"
    assert pytask(site, "stop", "d").returncode == 0
    assert raw.hget("d", "state") == "STOPPED"
    assert raw.zscore("pytask:timers", "d") is None


def test_redis_cli_alone_chooses_the_policy(raw):
    push(raw, "e", "plain", restart="failure")
    until(lambda: int(raw.hget("e", "restarts") or 0) >= 2, lambda: raw.hgetall("e"))
    raw.publish("task-e-control", "stop")
    reaches(raw, "e", "STOPPED")
    push(raw, "f", "flaky", restart="never")
    assert reaches(raw, "f", "ERROR")["error"].startswith("OSError: no route")
    push(raw, "g", "plain", restart="sometimes")
    assert "restart is 'sometimes'" in reaches(raw, "g", "ERROR")["error"]


def test_always_runs_again_after_its_end_until_something_fatal(raw, events):
    push(raw, "h", "forever")
    assert reaches(raw, "h", "ERROR")["error"] == "enough"
    retries = [e["data"] for e in events() if e["event"] == "retrying"]
    assert [(one["attempt"], one["error"]) for one in retries] == [(2, None), (3, None)]
