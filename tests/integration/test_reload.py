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
    from pytask.errors import BadData

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

    class Live(Task):
        class Config:
            NAME = "live"
        @staticmethod
        def check(data):
            if data["rate"] > 9:
                raise ValueError(f"rate {data['rate']} is above 9")
            if data["rate"] < 0:
                raise BadData("rate is below 0", "$.rate")
        def on_reload(self, data):
            if data.get("url") == "unknown:":
                raise ConnectionError("no such host")
            self.emit("took", [self.task_data["rate"], data["rate"]])
        def start(self):
            while True:
                if self.task_data.get("url") == "slow:":
                    raise self.Error("no answer")
                self.emit("polled", {"rate": self.task_data["rate"]})
                gevent.sleep(0.05)

    class Secret(Task):
        class Config:
            NAME = "secret"
            SECRET = ("token",)
        @staticmethod
        def check(data):
            if "n" in data:
                raise ValueError(f"not with {data['token']}")
        def start(self):
            gevent.sleep(1000)

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

    # The worker decides, although the command line would know it first.
    unfit = ("--data", '{"rate":"fast"}', "--no-check")
    answer = call("reload", task, *unfit, "--wait", PATIENCE)
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
    assert (shown["data"], client.get(task).data) == ({"rate": 1}, {"rate": 1}), "that of the run"
    # The same again is refused again; nothing is lost.
    (row,) = json.loads(call("reload", task, *unfit, "--wait", PATIENCE, "-o", "json").stdout)["items"]
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
    assert client.get(ids[0]).state == client.get(ids[1]).state == life.RUNNING
    client.wait(ids[2], "RUNNING", PATIENCE)
    assert client.get(ids[2]).data == {"rate": 3}
    assert "rolled back to its previous data: no such host" in found[2].refused
    assert found[2].rolled_back.reason == "no such host"
    raw.hset(ids[1], "data", "{}")
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
def test_a_run_that_fails_soon_after_its_reload_is_rolled_back(site, client, raw, task, url):
    watched = client.watch(task, seconds=PATIENCE)
    raw.hset(task, "data", json.dumps({"rate": 2, "url": url}))
    client.reload(task)
    names, events = ("reloaded", "rolled-back", "running"), {}
    for event in watched:
        events |= {event.name: event.data} if event.name in names else {}
        if event.name == "running":
            break
    assert [*events] == list(names)
    assert events["rolled-back"]["reason"].startswith("no ")
    assert events["rolled-back"]["epoch"] == events["reloaded"]["epoch"]
    fields = raw.hgetall(task)
    assert json.loads(fields["data"]) == {"rate": 1}
    assert json.loads(fields["data_bad"]) == {"rate": 2, "url": url}
    assert json.loads(fields["rolled_back"])["reason"].startswith("no ")
    assert not {"trial", "data_ok", "settling", "restarts"} & set(fields)
    assert "roll_back" in [move.trigger for move in client.get(task).history]
    until(lambda: "[PT164]" in site[1].output, "the worker's log has it")
    assert polls(client, task, 1)


def test_a_run_without_new_data_that_fails_is_an_error(client):
    """There is nothing to go back to."""
    task_id = client.start("poll", {"rate": 1, "url": "slow:"})
    client.wait(task_id, "RUNNING", PATIENCE)
    with pytest.raises(errors.RunFailed, match="failed at once: no answer"):
        client.reload(task_id, wait=PATIENCE)


@pytest.fixture
def live(client):
    task_id = client.start("live", {"rate": 1})
    client.wait(task_id, "RUNNING", PATIENCE)
    yield task_id
    client.stop(task_id, wait=PATIENCE)


@pytest.mark.parametrize(
    ("rate", "path", "reason"),
    [
        (10, "$", "data does not pass Live.check(): rate 10 is above 9"),
        (-1, "$.rate", "Live.check(): rate is below 0"),
    ],
)
def test_data_that_the_task_refuses_stops_nothing(client, raw, live, rate, path, reason):
    run = client.get(live).run
    outcome = client.reload(live, {"rate": rate}, wait=PATIENCE)
    assert (outcome.done, outcome.refusal.path) == (False, path)
    assert reason in outcome.refusal.reason
    assert client.get(live).run == run
    assert (raw.hget(live, "data"), raw.hget(live, "data_bad")) == ('{"rate":1}', f'{{"rate":{rate}}}')
    # At a start it is an error.
    other = client.start("live", {"rate": rate})
    assert reason in client.wait(other, timeout=PATIENCE).error


def test_a_task_takes_new_data_in_place(client, raw, live):
    run, epoch = client.get(live).run, client.get(live).epoch
    watched = client.watch(live, seconds=PATIENCE)
    outcome = client.reload(live, {"rate": 2}, wait=PATIENCE)
    assert (outcome.done, outcome.in_place, outcome.state) == (True, True, life.RUNNING)
    assert client.get(live).on_trial
    events = {}
    for event in watched:
        events[event.name] = event.data
        if event.name == "reloaded":
            break
    assert events["took"] == [1, 2]
    assert (events["reloaded"]["run"], events["reloaded"]["in_place"]) == (run, True)
    assert polls(client, live, 2)
    fields = raw.hgetall(live)
    assert (fields["run"], int(fields["epoch"]), fields["data"]) == (run, epoch, '{"rate":2}')
    assert (fields["trial"], fields["data_ok"]) == (f"{run}#1", '{"rate":1}')
    assert "control" not in fields


def test_a_task_that_does_not_take_the_data_goes_on_with_its_own(site, client, raw, live):
    run = client.get(live).run
    outcome = client.reload(live, {"rate": 2, "url": "unknown:"}, wait=PATIENCE)
    assert outcome.refusal.reason == "on_reload() raised ConnectionError: no such host"
    assert (client.get(live).run, client.get(live).data) == (run, {"rate": 1})
    assert polls(client, live, 1)
    until(lambda: "[PT165]" in site[1].output, "the worker's log has it")


def test_data_that_fails_soon_after_a_reload_in_place_is_rolled_back(client, raw, live):
    outcome = client.reload(live, {"rate": 2, "url": "slow:"}, wait=PATIENCE, settled=True)
    assert (outcome.done, outcome.rolled_back.reason) == (False, "no answer")
    task = client.wait(live, "RUNNING", PATIENCE)
    assert task.data == {"rate": 1}
    assert polls(client, live, 1)


def test_the_asyncio_client_says_the_same(site, client, task):
    async def steer():
        async with pytask.aio.Client(site[0].url, timeout=5) as aio:
            bad = await aio.reload(task, {"rate": []}, wait=PATIENCE)
            (again,) = await aio.reload_many([task], wait=PATIENCE)  # with the data in force
            back = await aio.reload(task, {"rate": 2, "url": "unknown:"}, wait=PATIENCE)
            await aio.wait(task, "RUNNING", PATIENCE)
            good = await aio.reload(task, {"rate": 3}, wait=PATIENCE, settled=True)
        return bad, again, back, good

    bad, again, back, good = asyncio.run(steer())
    assert (bad.done, bad.refusal.path) == (False, "$.rate")
    assert (again.done, again.in_place) == (True, False)
    assert (back.done, back.rolled_back.reason) == (False, "no such host")
    assert good.done
    assert not client.get(task).on_trial
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


def test_the_command_line_says_what_came_of_it(site, client, live):
    def call(*words):
        return done(cli_tools.pytask(*words, "--redis", site[0].url))

    def reload(data, *more):
        return call("reload", live, "--data", json.dumps(data), "--wait", PATIENCE, *more)

    assert reload({"rate": 2}).returncode == 0
    assert "it took its data in place" in call("why", live).stdout
    assert "taken in place" in call("show", live).stdout
    answer = reload({"rate": 3, "url": "slow:"}, "--settled")
    assert (answer.returncode, "rolled back" in answer.stdout) == (1, True)
    assert "[PT164]" in answer.stderr
    assert "was rolled back to its previous data: no answer" in answer.stderr
    client.wait(live, "RUNNING", PATIENCE)
    why = call("why", live).stdout
    assert "its last reload was rolled back" in why
    assert "no answer" in why
    shown = json.loads(call("show", live, "-o", "json").stdout)
    assert (shown["data"]["rate"] in (1, 2), shown["rejected"]) == (True, {"rate": 3, "url": "slow:"})
    assert shown["rolled_back"]["reason"] == "no answer"
    (row,) = json.loads(reload({"rate": 10}, "-o", "json").stdout)["items"]
    assert (row["outcome"], row["path"]) == ("refused", "$")
    usage = call("reload", live, "--settled")
    assert (usage.returncode, "--settled needs --wait" in usage.stderr) == (2, True)
    with pytest.raises(errors.ConfigError, match="needs wait=SECONDS"):
        client.reload(live, settled=True)


def test_rejected_data_is_masked_like_data(site, client):
    task_id = client.start("secret", {"token": "correct-horse"})
    client.wait(task_id, "RUNNING", PATIENCE)
    outcome = client.reload(task_id, {"token": "battery-staple", "n": 1}, wait=PATIENCE)
    assert outcome.refusal
    assert "battery" not in outcome.refusal.reason
    for words in ((), ("-o", "json")):
        shown = done(cli_tools.pytask("show", task_id, "--redis", site[0].url, *words)).stdout
        assert "battery" not in shown
        assert "horse" not in shown
    revealed = done(cli_tools.pytask("show", task_id, "--reveal", "--redis", site[0].url)).stdout
    assert '"battery-staple"' in revealed
    client.stop(task_id, wait=PATIENCE)
