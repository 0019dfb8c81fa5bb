"""A full worker leaves ids in the queue; monitors can be queued like any task, several at once."""

import gevent
import pytest
import redis

from pytask import Monitor, PyTask, Task, Timing
from pytask.adapters.redis.backend import RedisBackend
from tests.integration.conftest import wait_until
from tests.support.servers import start_server


class Long(Task):
    class Config:
        NAME = "long"

    def start(self):
        while True:
            gevent.sleep(3600)


@pytest.fixture
def client():
    with start_server("valkey", "--save", "") as server:
        client = redis.Redis(port=server.port, decode_responses=True)
        client.url = server.url
        yield client
        client.close()


def push(client, function, *ids):
    for task_id in ids:
        client.hset(task_id, "function", function)
        client.lpush("new-task", task_id)


def test_a_full_worker_leaves_ids_in_the_queue_and_takes_them_in_order(client):
    app = PyTask(client.url, max_tasks=3)
    app.add_task(Long, Monitor)
    app.pre_start_task("pytask/monitor")  # takes none of the three places

    def running():
        return {task_id for task_id in client.hkeys("pytask:runs") if len(task_id) < 5}

    with app:
        push(client, "long", "a", "b", "c", "d", "e")
        wait_until(lambda: running() == {"a", "b", "c"}, 20)
        wait_until(lambda: app.worker.controller.listening, 20)
        assert client.lrange("new-task", 0, -1) == ["e", "d"]
        client.publish("task-b-control", "stop")
        wait_until(lambda: running() == {"a", "c", "d"}, 20)
        assert client.lrange("new-task", 0, -1) == ["e"]
    # Handed back, they are taken next; the one that never ran stays where it was.
    assert client.lrange("new-task", 0, 0) == ["e"]
    assert set(client.lrange("new-task", 1, -1)) == {"a", "c", "d"}


def test_monitors_from_the_queue_several_at_once(client):
    app = PyTask(client.url, timing=Timing().scaled(0.1))
    app.add_task(Long, Monitor)
    with app:
        push(client, "pytask/monitor", "m1", "m2")
        wait_until(lambda: set(client.zrange("pytask:monitors", 0, -1)) == {"m1", "m2"}, 20)
        # A run of a worker that is gone: no renewal will ever come.
        client.hset("x", mapping={"function": "long", "state": "RUNNING", "run": "gone:1", "epoch": 5})
        client.hset("pytask:runs", "x", "gone:1")
        client.zadd("pytask:leases", {"x": 1_000_000})
        watch = client.pubsub(ignore_subscribe_messages=True)
        watch.subscribe("task-x")
        wait_until(lambda: client.hget("x", "run") not in (None, "gone:1"), 40)
        events = []
        while (message := watch.get_message(timeout=0.5)) is not None or not events:
            if message:
                events.append(message["data"])
        assert sum('"requeued"' in event for event in events) == 1
        watch.close()


def test_a_wait_that_is_closed_from_outside_ends_at_once_and_quietly(client):
    for pause in (0, 0.001, 0.01, 0.1):
        queue = RedisBackend(client.url).queue()
        waiting = gevent.spawn(queue.wait, 60)
        gevent.sleep(pause)

        def ended(queue=queue, waiting=waiting):
            queue.close()  # repeated, as by the worker: the first may come before the connection
            return waiting.ready()

        wait_until(ended, 20)
        assert waiting.get() == []
