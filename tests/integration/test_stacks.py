"""Where the code of a running task is, asked of a real worker."""

import contextlib
import json

import gevent
import pytest
import redis

import pytask
from pytask import errors
from pytask.client import Stack
from tests.support import cli_tools
from tests.support.cli_tools import PATIENCE, Started, done, until, write
from tests.support.servers import start_server

pytestmark = pytest.mark.slow

TASKS = """
    import asyncio, os, threading, time
    import gevent
    from pytask import Task

    class Many(Task):
        class Config:
            NAME = "many"
        def start(self):
            gevent.spawn(self.reads)
            threading.Thread(target=self.counts, name="counter").start()
            self.writes()
        def reads(self):
            gevent.sleep(1000)
        def counts(self):
            time.sleep(1000)
        def writes(self):
            gevent.sleep(1000)

    class Crowd(Task):
        class Config:
            NAME = "crowd"
        def start(self):
            for _ in range(55):
                gevent.spawn(gevent.sleep, 1000)

    class Deep(Task):
        class Config:
            NAME = "deep"
        async def start(self):
            async with asyncio.TaskGroup() as group:
                group.create_task(self.reads(), name="reader")
        async def reads(self):
            await asyncio.sleep(1000)

    class Hog(Task):
        class Config:
            NAME = "hog"
        def start(self):
            while not os.path.exists("enough"):
                pass
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stacks")
    write(folder / "tasks.py", TASKS)
    command = cli_tools.pytask("run", "tasks.py")
    with (
        start_server("valkey") as server,
        Started([*command, "--redis", server.url], folder, folder) as worker,
        redis.Redis.from_url(server.url) as raw,
    ):
        until(lambda: raw.pubsub_numsub("pytask:hint")[0][1], lambda: worker.output)
        yield server.url, folder


@pytest.fixture
def client(site):
    with pytask.Client(site[0]) as made:
        yield made


def innermost_own(stack):
    return [one.function for one in stack.frames if one.file.endswith("tasks.py")][-1]


def test_greenlets_and_threads_that_of_start_first(client):
    task_id = client.start("many")
    client.wait(task_id, "RUNNING", PATIENCE)
    until(lambda: len(client.stacks(task_id, wait=PATIENCE)) == 3, "all have begun")
    found = client.stacks(task_id, wait=PATIENCE)
    assert innermost_own(found[0]) == "Many.writes"
    assert {innermost_own(one) for one in found} == {"Many.writes", "Many.reads", "Many.counts"}
    assert "thread counter" in [one.of for one in found]
    client.stop(task_id, wait=PATIENCE)


def test_coroutines_by_command_line(client, site):
    task_id = client.start("deep", id="deep-1")
    client.wait(task_id, "RUNNING", PATIENCE)
    until(lambda: len(client.stacks(task_id, wait=PATIENCE)) == 2, "both have begun")
    words = ("--wait", PATIENCE, "--redis", site[0])
    text = done(cli_tools.pytask("stacks", "deep", *words)).stdout
    assert "coroutine reader\n    Deep.reads at " in text
    assert "Deep.start at " in text
    told = json.loads(done(cli_tools.pytask("stacks", task_id, *words, "-o", "json")).stdout)
    assert (told["kind"], told["id"], len(told["stacks"])) == ("stacks", task_id, 2)
    client.stop(task_id, wait=PATIENCE)
    late = done(cli_tools.pytask("stacks", task_id, *words))
    assert (late.returncode, "no code of it is running" in late.stderr) == (1, True)


def test_more_than_are_told_are_not_dropped_in_silence(client, site):
    task_id = client.start("crowd")
    client.wait(task_id, "RUNNING", PATIENCE)
    until(lambda: client.stacks(task_id, wait=PATIENCE).more, "all have begun")
    words = ("stacks", task_id, "--wait", PATIENCE, "--redis", site[0])
    assert done(cli_tools.pytask(*words)).stdout.endswith(
        "\nmore stacks are not shown: these are the first 50\n"
    )
    told = json.loads(done(cli_tools.pytask(*words, "-o", "json")).stdout)
    assert (len(told["stacks"]), told["more"]) == (50, True)
    client.stop(task_id, wait=PATIENCE)


def test_a_blocked_event_loop_does_not_answer(client, site):
    events = client.watch("hog-1", seconds=PATIENCE)
    client.start("hog", id="hog-1")
    assert any(one.name == "running" for one in events)

    def silent():  # it may answer once, before `start()` begins
        with contextlib.suppress(errors.TimedOut):
            return not client.stacks("hog-1", wait=1)
        return True

    until(silent, "it does not answer")
    (site[1] / "enough").touch()
    client.stop("hog-1", wait=PATIENCE)


def test_a_worker_that_does_not_know_the_run_yet_is_asked_again(client, site):
    """A claim makes the task RUNNING before its worker has the reply."""
    told = {"run": "s:1", "stacks": [{"of": "greenlet x", "frames": []}], "more": False}
    with redis.Redis.from_url(site[0], decode_responses=True) as raw, raw.pubsub() as worker:
        raw.hset("claimed", mapping={"function": "elsewhere", "state": "RUNNING", "run": "s:1"})
        worker.subscribe("task-claimed-control")

        def answers():
            words = (one["data"] for one in worker.listen() if one["type"] == "message")
            assert (next(words), next(words)) == ("stacks", "stacks")
            raw.publish("task-claimed", json.dumps({"event": "stacks", "data": told}))

        answering = gevent.spawn(answers)
        assert client.stacks("claimed", wait=PATIENCE) == [Stack(of="greenlet x", frames=())]
        answering.get(timeout=PATIENCE)
        raw.delete("claimed")
