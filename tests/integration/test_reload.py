"""Reloads with data that does not fit, or with which the new run fails: a real worker, all clients."""

import asyncio
import json
import signal
import time

import pytest
import redis

import pytask
import pytask.aio
from pytask import errors
from pytask.domain import lifecycle as life
from tests.support import cli_tools
from tests.support.cli_tools import PATIENCE, Started, done, until, write
from tests.support.servers import start_server

TASKS = """
    import attrs, gevent
    from pytask import Task

    def small(_self, _field, value):
        if value > 9:
            raise ValueError("rate must be 9 or less")

    @attrs.frozen
    class Polling:
        rate: int = attrs.field(validator=small)
        url: str = ""

    class Poll(Task):
        class Config:
            NAME = "poll"
            DATA = Polling
        def start(self):
            if self.task_data.url == "unknown:":
                raise self.Error("no such host")
            if self.task_data.url == "slow:":
                gevent.sleep(0.3)
                raise self.Error("no answer")
            while True:
                self.emit("polled", {"rate": self.task_data.rate})
                gevent.sleep(0.05)

    class Plain(Task):
        class Config:
            NAME = "plain"
        def start(self):
            gevent.sleep(1000)
"""
BAD = {
    "no JSON": ("{oops", "$", "is not JSON"),
    "no object": ("[1]", "$", "must be a JSON object"),
    "a wrong type": ('{"rate":"fast"}', "$.rate", "Expected `int`"),
    "an unknown key": ('{"rate":1,"ratio":2}', "$.ratio", "unknown field `ratio`"),
    "a failing validator": ('{"rate":10}', "$", "rate must be 9 or less"),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reload")
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
def client(site):
    with pytask.Client(site[0].url, timeout=5) as made:
        yield made


@pytest.fixture
def task(client):
    task_id = client.start("poll", {"rate": 1})
    client.wait(task_id, "RUNNING", PATIENCE)
    yield task_id
    client.stop(task_id, wait=PATIENCE)


def polls(client, task_id, rate):
    """Its run goes on, with this data."""
    return any(
        event.name == "polled" and event.data == {"rate": rate} for event in client.watch(task_id, seconds=1)
    )


@pytest.mark.parametrize("kind", BAD)
def test_data_that_does_not_fit_is_refused_and_the_run_goes_on(raw, client, task, kind):
    data, path, reason = BAD[kind]
    run = client.get(task).run
    watched = client.watch(task, seconds=PATIENCE)
    raw.hset(task, "data", data)
    outcome = client.reload(task, wait=PATIENCE)
    assert (outcome.done, outcome.state, outcome.refusal.path) == (False, life.RUNNING, path)
    assert reason in outcome.refusal.reason
    event = next(one for one in watched if one.name not in ("polled", "progress"))
    assert (event.name, event.data["path"]) == ("reload-refused", path)
    now = client.get(task)
    assert (now.run, now.control, now.refusal.path) == (run, "", path)
    assert now.history[-1].trigger == "refuse"
    assert polls(client, task, 1)


def test_a_reload_with_data_that_does_not_fit_and_its_fix(site, client, task):
    def call(*words):
        return done(cli_tools.pytask(*words, "--redis", site[0].url))

    answer = call("reload", task, "--data", '{"rate":"fast"}', "--wait", PATIENCE)
    assert answer.returncode == 1
    assert "refused" in answer.stdout
    assert "[PT049]" in answer.stderr
    assert "Expected `int`, got `str` - at `$.rate`" in answer.stdout + answer.stderr
    why = call("why", task)
    assert "its last reload was refused" in why.stdout
    assert "Expected `int`" in why.stdout
    shown = json.loads(call("show", task, "-o", "json").stdout)
    assert (shown["state"], shown["refusal"]["path"]) == ("RUNNING", "$.rate")
    assert "reload refused" in call("show", task).stdout
    (row,) = json.loads(call("reload", task, "--wait", PATIENCE, "-o", "json").stdout)["items"]
    assert (row["outcome"], row["done"], row["path"]) == ("refused", False, "$.rate")
    until(lambda: "[PT049]" in site[1].output, "the worker's log has it")
    # The fix.
    assert call("reload", task, "--data", '{"rate": 2}', "--wait", PATIENCE).returncode == 0
    assert client.get(task).refusal is None
    assert polls(client, task, 2)


def test_all_of_them_at_once(site, raw, client):
    ids = client.start_many([("poll", {"rate": n}) for n in (1, 2, 3)])
    for task_id in ids:
        client.wait(task_id, "RUNNING", PATIENCE)
    raw.hset(ids[1], "data", "{}")
    raw.hset(ids[2], "data", '{"rate":1,"url":"unknown:"}')
    began = time.monotonic()
    found = client.reload_many(ids, wait=PATIENCE)
    assert time.monotonic() - began < PATIENCE / 2
    assert [outcome.done for outcome in found] == [True, False, False]
    assert found[1].refusal.path == "$.rate"
    assert "failed at once: no such host" in found[2].refused
    assert [client.get(task_id).state for task_id in ids] == [life.RUNNING, life.RUNNING, life.ERROR]
    answer = done(
        cli_tools.pytask(
            "reload",
            "--name",
            "poll",
            "--state",
            "RUNNING",
            "--yes",
            "--wait",
            PATIENCE,
            "--redis",
            site[0].url,
        )
    )
    assert answer.returncode == 1
    assert answer.stdout.count("refused") >= 1
    for task_id in ids:
        client.stop(task_id, wait=PATIENCE)


@pytest.mark.parametrize("url", ["unknown:", "slow:"])
def test_a_new_run_that_fails_at_once_is_no_success(site, client, url):
    task_id = client.start("poll", {"rate": 1})
    client.wait(task_id, "RUNNING", PATIENCE)
    with pytest.raises(errors.RunFailed, match="failed at once: no"):
        client.reload(task_id, {"rate": 1, "url": url}, wait=PATIENCE)
    task_id = client.start("poll", {"rate": 1})
    client.wait(task_id, "RUNNING", PATIENCE)
    answer = done(
        cli_tools.pytask(
            "reload",
            task_id,
            "--data",
            json.dumps({"rate": 1, "url": url}),
            "--wait",
            PATIENCE,
            "--redis",
            site[0].url,
        )
    )
    assert (answer.returncode, "[PT141]" in answer.stderr) == (1, True), answer.stderr


def test_the_asyncio_client_says_the_same(site, client, task):
    async def steer():
        async with pytask.aio.Client(site[0].url, timeout=5) as aio:
            bad = await aio.reload(task, {"rate": []}, wait=PATIENCE)
            (listed,) = await aio.reload_many([task], wait=PATIENCE)
            good = await aio.reload(task, {"rate": 3}, wait=PATIENCE)
        return bad, listed, good

    bad, listed, good = asyncio.run(steer())
    assert (bad.done, bad.refusal.path) == (False, "$.rate")
    assert (listed.done, listed.refusal.path) == (False, "$.rate")
    assert good.done
    assert polls(client, task, 3)


def test_without_a_data_class_what_is_no_object_is_refused(client, raw):
    task_id = client.start("plain")
    client.wait(task_id, "RUNNING", PATIENCE)
    raw.hset(task_id, "data", "oops")
    assert client.reload(task_id, wait=PATIENCE).refusal.path == "$"
    raw.hdel(task_id, "data")
    assert client.reload(task_id, wait=PATIENCE).done
    client.stop(task_id, wait=PATIENCE)


def test_a_message_alone_is_refused_as_well(client, raw, task):
    """Published as with redis-cli: the worker that receives it stores the request."""
    raw.hset(task, "data", "{oops")
    run = client.get(task).run
    until(lambda: raw.publish(f"task-{task}-control", "reload"), "somebody hears it")
    until(lambda: client.get(task).refusal, "the refusal")
    assert client.get(task).run == run
