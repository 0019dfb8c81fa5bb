"""The address of the primary moves to another server, and the old one lives on."""

import gevent
import pytest
import redis

from pytask import PyTask, Task, Timing
from tests.integration.conftest import wait_until
from tests.support.proxy import Proxy
from tests.support.servers import HOST, start_server

pytestmark = pytest.mark.slow

begun = []


class Echo(Task):
    class Config:
        NAME = "echo"

    def start(self):
        return self.task_data


class Long(Task):
    class Config:
        NAME = "long"

    def start(self):
        begun.append(self.epoch)
        gevent.sleep(1e9)


def kept_at(client):
    """The connections of the worker that never rest: who waits there hears nothing of the new primary."""
    return {one["name"] for one in client.client_list()} & {"pytask-feed", "pytask-wait"}


@pytest.mark.parametrize("min_replicas", [1, 0], ids=["it refuses writes", "it takes writes"])
def test_no_connection_stays_at_the_old_primary(min_replicas):
    begun.clear()
    with (
        start_server("valkey") as first,
        start_server("valkey", "--replicaof", f"{HOST} {first.port}") as second,
        Proxy(first.port) as address,
        redis.Redis(HOST, first.port, decode_responses=True) as old,
        redis.Redis(HOST, second.port, decode_responses=True) as new,
    ):
        app = PyTask(address.url, timing=Timing().scaled(0.1), embargo=False)
        app.add_task(Echo, Long)
        with app:
            controller = app.worker.controller
            old.hset("a", mapping={"function": "long", "data": "{}"})
            old.lpush("new-task", "a")
            wait_until(lambda: begun and controller.listening)
            wait_until(lambda: new.hget("a", "state") == "RUNNING", why="the replica has it")
            new.replicaof("NO", "ONE")
            address.lead_to(second.port)
            old.config_set("min-replicas-to-write", min_replicas)
            wait_until(lambda: not kept_at(old) and len(kept_at(new)) == 2 and controller.listening)
            renewed = new.hget("a", "last_update")
            wait_until(lambda: new.hget("a", "last_update") != renewed)
            new.hset("b", mapping={"function": "echo", "data": "{}"})
            new.lpush("new-task", "b")
            wait_until(lambda: new.hget("b", "state") == "ENDED")
            assert new.publish("task-a-control", "stop") == 1
            wait_until(lambda: new.hget("a", "state") == "STOPPED")
        assert len(begun) == 1
