"""Pause and resume with real workers: what runs stands still at its gates, what waits is not started."""

import json
import signal
import sys
import time

import pytest
import redis

from pytask import Client
from tests.support import cli_tools
from tests.support.cli_tools import Started, done, until, write
from tests.support.servers import start_server

TASKS = """
    import gevent
    from pytask import Restart, Task, run_loop

    class Looper(Task):
        class Config:
            NAME = "looper"
        def on_pause(self):
            self.emit("told", "pause")
        def on_resume(self):
            self.emit("told", "resume")
        def start(self):
            self.count = 0
            run_loop(self.tick, 0.02)
        def tick(self):
            self.count += 1
            self.redis.incr("ticks:" + self.id)
            if self.task_data.get("end") == self.count:
                raise SystemExit

    class Gates(Task):
        class Config:
            NAME = "gates"
        def start(self):
            while True:
                self.gate()
                self.redis.incr("ticks:" + self.id)
                gevent.sleep(0.02)

    class Busy(Task):
        class Config:
            NAME = "busy"
        def start(self):
            self.emit("here")
            gevent.sleep(1000)

    class Graceful(Task):
        class Config:
            NAME = "graceful"
        def start(self):
            self.over = False
            while not self.over:
                self.gate()
                self.redis.incr("ticks:" + self.id)
                gevent.sleep(0.02)
            return "over"
        def stop(self):
            self.over = True

    class Hurried(Task):
        class Config:
            NAME = "hurried"
            TIMEOUT = 1.5
        def start(self):
            self.emit("here")
            run_loop(self.gate, 0.02)

    class Hooks(Task):
        class Config:
            NAME = "hooks"
        def on_pause(self):
            raise OSError("no hook")
        def start(self):
            run_loop(lambda: None, 0.02)
"""
WORKER = """
    import sys
    from gevent import monkey
    monkey.patch_all()
    import attrs
    from pytask import Monitor, PyTask, Timing
    import tasks

    classes = [cls for cls in vars(tasks).values() if isinstance(cls, type) and hasattr(cls, "Config")]
    timing = attrs.evolve(Timing().scaled(0.1), shutdown=20)
    app = PyTask(sys.argv[1], name=sys.argv[2], timing=timing)
    app.add_task(Monitor, *(cls for cls in classes if cls.__module__ == "tasks"))
    app.pre_start_task("pytask/monitor")
    app.run()
"""


class Site:
    def __init__(self, folder, server, raw):
        self.folder, self.server, self.raw = folder, server, raw
        self.workers = []

    def worker(self, name="w1"):
        one = Started([sys.executable, "worker.py", self.server.url, name], self.folder, self.folder)
        self.workers.append(one)
        listening = len(self.workers)
        until(lambda: self.raw.pubsub_numsub("pytask:hint")[0][1] >= listening, lambda: one.output)
        return one

    def push(self, task_id, function, **data):
        self.raw.hset(task_id, mapping={"function": function, "data": json.dumps(data)})
        self.raw.lpush("new-task", task_id)

    def ticks(self, task_id):
        return int(self.raw.get(f"ticks:{task_id}") or 0)

    def running(self, task_id, function, **data):
        self.push(task_id, function, **data)
        until(lambda: self.raw.hget(task_id, "state") == "RUNNING", lambda: self.raw.hgetall(task_id))
        if function not in ("busy", "hurried", "hooks"):
            until(lambda: self.ticks(task_id), lambda: self.raw.hgetall(task_id))

    def say(self, task_id, word):
        self.raw.publish(f"task-{task_id}-control", word)

    def holds(self, task_id, **wanted):
        def found():
            fields = self.raw.hgetall(task_id)
            return all(
                (fields.get(name) if value else not fields.get(name)) for name, value in wanted.items()
            )

        until(found, lambda: self.raw.hgetall(task_id))

    def paused(self, task_id):
        """Until its run waits at a gate."""
        self.holds(task_id, paused=True, control=False)

    def stands_still(self, task_id):
        before = self.ticks(task_id)
        time.sleep(0.3)
        return self.ticks(task_id) == before

    def state(self, task_id, state):
        until(lambda: self.raw.hget(task_id, "state") == state, lambda: self.raw.hgetall(task_id))

    def cli(self, *words):
        return done(cli_tools.pytask(*words, "--redis", self.server.url))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("pause")
    write(made / "tasks.py", TASKS)
    write(made / "worker.py", WORKER)
    return made


@pytest.fixture(scope="module")
def server():
    with start_server("valkey") as running:
        yield running


@pytest.fixture
def site(folder, server):
    with redis.Redis.from_url(server.url, decode_responses=True) as raw:
        raw.flushall()
        made = Site(folder, server, raw)
        yield made
        for one in made.workers:
            one.end(signal.SIGKILL)


@pytest.fixture
def events(site):
    pubsub = site.raw.pubsub(ignore_subscribe_messages=True)
    pubsub.psubscribe("task-*")
    pubsub.get_message(timeout=1)
    found = []

    def heard(name):
        def look():
            while (message := pubsub.get_message(timeout=0.05)) is not None:
                if message["data"].startswith("{"):
                    found.append(json.loads(message["data"]))
            return [one for one in found if one["event"] == name]

        return until(look, lambda: found)

    yield heard
    pubsub.close()


@pytest.mark.parametrize("function", ["looper", "gates"])
def test_a_run_stands_still_at_its_gates_and_goes_on_with_what_it_had(site, function):
    site.worker()
    site.running("a", function)
    run = site.raw.hget("a", "run")
    site.say("a", "pause")
    site.paused("a")
    assert site.stands_still("a")
    count = site.ticks("a")
    site.say("a", "start")
    site.holds("a", paused=False, control=False)
    until(lambda: site.ticks("a") > count, "it goes on")
    assert site.raw.hget("a", "run") == run, "the same run: nothing was interrupted"


def test_the_task_is_told_and_watchers_are_too(site, events):
    one = site.worker()
    site.running("a", "looper")
    site.say("a", "pause")
    assert events("paused")[0]["data"] is None
    site.say("a", "start")
    assert events("resumed")[0]["data"] is None
    until(lambda: len(events("told")) == 2, lambda: one.output)
    assert [told["data"] for told in events("told")] == ["pause", "resume"]


def test_an_exception_of_a_hook_ends_nothing(site):
    one = site.worker()
    site.running("a", "hooks")
    site.say("a", "pause")
    site.paused("a")
    until(lambda: "on_pause() raised an exception; it is ignored" in one.output, lambda: one.output)
    assert site.raw.hget("a", "state") == "RUNNING"


def test_a_lost_message_is_made_good_by_the_renewal(site):
    site.worker()
    site.running("a", "looper")
    # What a client does where no worker has heard of it.
    site.raw.hset("a", mapping={"paused": time.time(), "control": "pause"})
    site.paused("a")
    assert site.stands_still("a")
    site.raw.hdel("a", "paused")
    site.raw.hset("a", "control", "start")
    site.holds("a", control=False)
    count = site.ticks("a")
    until(lambda: site.ticks("a") > count, "it goes on")


@pytest.mark.parametrize("how", ["killed", "deployed"])
def test_no_run_begins_while_it_is_paused(site, how):
    """A worker is killed, or replaced by a deploy: the task waits in the set, until it is resumed."""
    first = site.worker("w1")
    site.running("a", "looper")
    site.say("a", "pause")
    site.paused("a")
    second = site.worker("w2")
    first.end(signal.SIGKILL if how == "killed" else signal.SIGTERM)
    site.state("a", "WAIT")
    assert site.raw.sismember("pytask:paused", "a")
    assert site.raw.llen("new-task") == 0
    assert site.stands_still("a")
    assert site.raw.hget("a", "state") == "WAIT", second.output
    site.say("a", "start")
    site.state("a", "RUNNING")
    count = site.ticks("a")
    until(lambda: site.ticks("a") > count, lambda: second.output)
    assert site.raw.hget("a", "worker") == "w2"
    assert not site.raw.exists("pytask:paused")


def test_a_stop_ends_a_paused_run_at_once_and_takes_the_pause_away(site):
    site.worker()
    site.running("a", "graceful")
    site.say("a", "pause")
    site.paused("a")
    before, count = time.monotonic(), site.ticks("a")
    site.say("a", "stop")
    site.state("a", "STOPPED")
    assert time.monotonic() - before < 5
    assert site.ticks("a") == count, "no further round, although it was asked to end"
    assert not site.raw.hget("a", "paused")
    assert not site.raw.exists("pytask:paused")


def test_a_timeout_does_not_count_the_time_of_a_pause(site, events):
    site.worker()
    site.running("a", "hurried")
    site.say("a", "pause")
    site.paused("a")
    time.sleep(2.5)
    assert site.raw.hget("a", "state") == "RUNNING"
    site.say("a", "start")
    site.state("a", "ERROR")
    assert site.raw.hget("a", "error").startswith("timed out after 1.5 s")


def test_a_reload_of_a_paused_run_waits_with_the_new_data(site):
    site.worker()
    site.running("a", "gates")
    site.say("a", "pause")
    site.paused("a")
    site.raw.hset("a", "data", '{"end": 1}')
    site.say("a", "reload")
    site.state("a", "WAIT")
    assert site.raw.sismember("pytask:paused", "a")
    site.say("a", "start")
    site.state("a", "RUNNING")
    assert site.raw.hget("a", "data") == '{"end": 1}'


def test_a_refused_reload_does_not_lose_a_pause_that_it_replaced(site):
    site.worker()
    site.running("a", "looper")
    # Both are written before the worker hears of either.
    site.raw.hset("a", mapping={"paused": time.time(), "control": "reload", "data": "{oops"})
    site.raw.sadd("pytask:paused", "a")
    site.holds("a", reload_refused=True)
    until(lambda: site.stands_still("a"), lambda: site.raw.hgetall("a"))
    site.say("a", "start")
    count = site.ticks("a")
    until(lambda: site.ticks("a") > count, lambda: site.raw.hgetall("a"))


def test_a_paused_function_is_not_started_and_what_runs_goes_on(site):
    one = site.worker()
    site.running("r", "looper")
    with Client(site.server.url) as client:
        assert client.pause_functions(["looper"]) == ["looper"]
        for number in range(30):
            site.push(f"t{number}", "looper")
        site.running("other", "gates")
        until(lambda: site.raw.llen("pytask:parked:looper") == 30, lambda: one.output)
        assert "unknown function" not in one.output
        assert not site.stands_still("r")
        said = site.cli("why", "t3").stdout
        assert "function looper is paused" in said, said
        assert client.resume_functions(["looper"]) == ["looper"]
        began = time.monotonic()
        until(
            lambda: all(site.raw.hget(f"t{n}", "state") == "RUNNING" for n in range(30)), lambda: one.output
        )
        assert time.monotonic() - began < 5
    assert site.raw.llen("pytask:parked:looper") == 0
