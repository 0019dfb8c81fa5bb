"""What tasks save, with real workers that are killed, stopped and reloaded, and what a person sees of it."""

import json
import signal

import pytest
import redis

from pytask import Client, PyTask, Task
from pytask.cli.messages import explanations
from pytask.testing import MemoryBackend
from tests.integration.conftest import H
from tests.integration.saves import SLACK, Campaign
from tests.support import cli_tools, saved
from tests.support.cli_tools import Started, done, until, write
from tests.support.servers import start_server

TASKS = """
    import gevent
    from pytask import Task
    from pytask.errors import BadData

    class Counter(Task):
        class Config:
            NAME = "counter"
            SECRET = ("token",)
        def start(self):
            at = (self.saved or {"at": 0})["at"]
            self.emit("from", at)
            while at < self.task_data["to"]:
                at += 1
                self.save({"at": at, "token": "s3cr3t"}, now=at == self.task_data.get("now"))
                self.emit("at", at)
                gevent.sleep(0.01)
            if self.task_data.get("fail"):
                raise self.Error("as asked")
            return at
        def stop(self, reason):
            self.emit("stopping", reason)

    class Bad(Task):
        class Config:
            NAME = "bad"
        def start(self):
            self.save("good")
            try:
                self.save(object())
            except BadData as error:
                self.emit("refused", str(error))
            self.save("x" * 70000)

    class Which(Task):
        class Config:
            NAME = "which"
        def start(self):
            return self.saved
"""


@pytest.fixture(scope="module")
def server():
    with start_server("valkey") as started:
        yield started


@pytest.fixture(scope="module")
def start(server, tmp_path_factory):
    """Starts a worker, and waits until it is there."""
    folder = tmp_path_factory.mktemp("save")
    write(folder / "tasks.py", TASKS)

    def worker(name="w1"):
        command = cli_tools.pytask("run", "tasks.py", "--redis", server.url, "--name", name)
        started = Started(command, folder, folder)
        with redis.Redis.from_url(server.url, decode_responses=True) as raw:
            until(lambda: raw.pubsub_numsub("pytask:hint")[0][1], lambda: started.output)
        return started

    return worker


@pytest.fixture
def raw(server):
    with redis.Redis.from_url(server.url, decode_responses=True) as made:
        made.flushall()
        yield made


@pytest.fixture
def one(start, raw):
    with start() as started:
        yield started


@pytest.fixture
def events(raw):
    pubsub = raw.pubsub(ignore_subscribe_messages=True)
    pubsub.psubscribe("task-*", "mark")
    for _ in range(2):
        pubsub.get_message(timeout=1)
    found = []

    def read(name):
        raw.publish("mark", mark := str(len(found)))  # a task emits all the time: read up to now
        while (message := pubsub.get_message(timeout=20)) is not None:
            if message["channel"] == "mark" and message["data"] == mark:
                break
            if message["channel"] != "mark" and not message["channel"].endswith("-control"):
                found.append(json.loads(message["data"]))
        return [event["data"] for event in found if event["event"] == name]

    yield read
    pubsub.close()


def push(raw, task_id, function, data=None, **fields):
    raw.hset(task_id, mapping={"function": function, "data": json.dumps(data or {}), **fields})
    raw.lpush("new-task", task_id)


def reaches(raw, task_id, state):
    until(lambda: raw.hget(task_id, "state") == state, lambda: raw.hgetall(task_id))
    return raw.hgetall(task_id)


def pytask(server, *words):
    return done(cli_tools.pytask(*words, "--redis", server.url))


def test_a_value_that_cannot_be_kept_raises_in_the_task(one, raw, events):
    push(raw, "a", "bad")
    found = reaches(raw, "a", "ERROR")
    assert "PT151" in found["error"]
    assert "65,536" in found["error"]
    (refused,) = events("refused")
    assert refused.startswith("[PT151] what save() got is not JSON")
    assert found["saved"] == '"good"', "the last good value"
    assert "elsewhere" in explanations()["PT151"]


def test_a_saved_value_that_is_no_json_is_an_error_with_its_fix(one, raw, server):
    push(raw, "a", "which", saved="{torn")
    error = reaches(raw, "a", "ERROR")["error"]
    assert error.startswith("[PT152] the field saved is not JSON")
    assert raw.hget("a", "saved") == "{torn"
    assert "pytask start --fresh" in error
    assert "pytask start --fresh" in explanations()["PT152"]
    assert pytask(server, "start", "--fresh", "a").returncode == 0
    found = reaches(raw, "a", "ENDED")
    assert "output" not in found
    raw.hset("b", mapping={"saved": '{"at": 5}'})
    push(raw, "b", "which")
    assert json.loads(reaches(raw, "b", "ENDED")["output"]) == {"at": 5}
    assert not raw.hexists("b", "saved")


@pytest.mark.parametrize("how", ["SIGTERM", "failure", "reload"])
def test_nothing_is_lost_by(start, raw, events, how):
    with start() as first:
        push(raw, "a", "counter", {"to": 40 if how == "failure" else 10**9, "fail": how == "failure"})
        until(lambda: len(events("at")) > 20, lambda: first.output)
        if how == "reload":
            raw.publish("task-a-control", "reload")
            until(lambda: len(events("from")) == 2, lambda: first.output)
        elif how == "failure":
            reaches(raw, "a", "ERROR")
            raw.publish("task-a-control", "start")
            until(lambda: len(events("from")) == 2, lambda: first.output)
        else:
            first.end()
    with start("w2") as second:
        if how == "SIGTERM":
            until(lambda: len(events("from")) == 2, lambda: second.output)
        origin, resumed = events("from")[:2]
        last = max(at for at in events("at") if at <= resumed) if resumed else 0
        assert (origin, last) == (0, resumed)
        counted = events("at")
        assert counted == sorted(counted), "each position once, in order"
        assert len(set(counted)) == len(counted)
    told = events("stopping")
    expected = {"SIGTERM": ["release"], "failure": [], "reload": ["reload"]}[how]
    assert told[: len(expected)] == expected


def test_show_prints_it_masked_with_its_age_and_start_fresh_forgets_it(one, raw, server):
    push(raw, "a", "counter", {"to": 10**9, "now": 3})
    until(lambda: raw.hexists("a", "saved"), lambda: one.output)
    assert json.loads(raw.hget("a", "saved"))["at"] >= 3, "now=True: long before the renewal"
    raw.publish("task-a-control", "stop")
    at = json.loads(reaches(raw, "a", "STOPPED")["saved"])["at"]
    shown = pytask(server, "show", "a").stdout
    (line,) = [line for line in shown.splitlines() if line.startswith("saved ")]
    assert f'{{"at":{at},"token":"********"}} (saved ' in line, line
    assert "s3cr3t" not in shown
    found = json.loads(pytask(server, "show", "a", "-o", "json").stdout)
    assert found["saved"]["at"] == at
    assert found["saved_at"] > 0
    assert "s3cr3t" in pytask(server, "show", "a", "--reveal").stdout
    with Client(server.url) as client:
        info = client.get("a")
        assert info.saved["at"] == at
        assert info.saved_at == pytest.approx(info.last_update, abs=1)
        assert client.start_again("a", wait=20).done
        refused = client.start_again("a", fresh=True)
        assert (refused.done, "stop it first" in str(refused.refused)) == (False, True)
    answer = pytask(server, "start", "--fresh", "a")
    assert answer.returncode != 0
    assert "is running" in answer.stderr
    raw.publish("task-a-control", "stop")
    until(lambda: raw.hget("a", "state") == "STOPPED", lambda: raw.hgetall("a"))
    assert pytask(server, "start", "--fresh", "a", "--wait", "20").returncode == 0
    assert int(json.loads(raw.hget("a", "saved") or '{"at": 0}')["at"]) < at


def test_a_killed_worker_loses_no_more_than_one_renewal(start, raw, events):
    with start() as first:
        push(raw, "a", "counter", {"to": 10**9})
        until(lambda: raw.hexists("a", "saved"), lambda: first.output)
        kept = json.loads(raw.hget("a", "saved"))["at"]
        first.end(signal.SIGKILL)
    assert json.loads(raw.hget("a", "saved"))["at"] >= kept
    assert max(events("at")) - kept < 5.5 / 0.01


@pytest.mark.slow
def test_of_many_kills_none_loses_more_than_one_renewal(lab):
    """The short form of `python -m tests.integration.saves`: the evidence is a file that the tasks write."""
    campaign = Campaign(lab, seed=3, pause=1.0)
    campaign.start(3, 30)
    for number in range(8):
        campaign.step(kill=number % 4 != 3)
    # On a slow machine few of the steered tasks run again between two kills.
    while saved.judge(lab.evidence, campaign.killed).after_other <= 10:
        campaign.step(kill=False)
    campaign.finish()
    found = campaign.judge()
    print(saved.report(found, len(campaign.killed), H))
    assert found.after_kill > 10
    assert found.after_other > 10
    saved.check(found, H + SLACK)


def test_it_works_in_memory():
    class Counts(Task):
        class Config:
            NAME = "counts"

        def start(self):
            number = (self.saved or 0) + 1
            self.save(number)
            if number < 2:
                raise self.Error("too few")
            return number

    memory = MemoryBackend()
    app = PyTask(memory)
    app.add_task(Counts)
    with app:
        memory.push("a", "counts", "{}")
        until(lambda: memory.hash("a").get("state") == "ERROR", "its failure")
        assert memory.hash("a")["saved"] == "1"
        memory.publish("task-a-control", "start")
        until(lambda: memory.hash("a").get("state") == "ENDED", lambda: memory.hash("a"))
    assert memory.hash("a")["output"] == "2"
    assert "saved" not in memory.hash("a")
