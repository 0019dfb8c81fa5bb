"""The first sentinel hangs: it takes connections, and never answers."""

import asyncio
import contextlib
import socket

import pytest
import redis
import valkey.sentinel
from redis.asyncio.sentinel import Sentinel as AwaitedSentinel
from redis.sentinel import Sentinel

from pytask import Client, PyTask, Task, Timing
from pytask.aio import Client as AwaitedClient
from tests.integration.conftest import wait_until
from tests.support.servers import HOST, MASTER_NAME, start_sentinel, start_server

pytestmark = pytest.mark.slow


class Echo(Task):
    class Config:
        NAME = "echo"

    def start(self):
        self.redis.set("seen", self.id)  # by a connection of task code
        return self.task_data


@pytest.fixture(scope="module")
def deployment():
    """(server, addresses of a listener that never answers and of two sentinels, the first of these)."""
    with (
        socket.create_server((HOST, 0)) as hung,
        start_server("valkey") as server,
        start_sentinel(server) as first,
        start_sentinel(server) as second,
    ):
        for one in (first, second):
            with redis.Redis(HOST, one.port) as admin:  # however slow the machine is: no failover
                admin.execute_command("SENTINEL", "SET", MASTER_NAME, "down-after-milliseconds", 60_000)
        yield server, [hung.getsockname(), (HOST, first.port), (HOST, second.port)], first


@pytest.mark.parametrize("kind", [Sentinel, valkey.sentinel.Sentinel])
def test_a_worker_starts_and_comes_back_with_a_log_line(deployment, kind, caplog):
    server, addresses, first = deployment
    app = PyTask(kind(addresses).master_for(MASTER_NAME), timing=Timing().scaled(0.3))
    app.add_task(Echo)
    with redis.Redis(HOST, server.port, decode_responses=True) as direct:
        direct.flushall()

        def runs(task_id):
            direct.hset(task_id, mapping={"function": "echo", "data": "{}"})
            direct.lpush("new-task", task_id)
            wait_until(lambda: direct.hget(task_id, "state") == "ENDED")
            assert direct.get("seen") == task_id

        with app:
            runs("a")
            assert f"[PT135] sentinel {HOST}:{addresses[0][1]} does not return" in caplog.text
            wait_until(lambda: app.worker.controller.listening)
            with frozen(first):
                before = app.worker.controller.reconnects
                direct.client_kill_filter(_type="normal", skipme=True)
                direct.client_kill_filter(_type="pubsub")
                runs("b")
                wait_until(
                    lambda: app.worker.controller.reconnects > before and app.worker.controller.listening
                )


@contextlib.contextmanager
def frozen(server):
    server.freeze()
    try:
        yield
    finally:
        server.thaw()


def test_the_clients_of_programs_find_the_primary(deployment):
    _, addresses, _ = deployment
    client = Client(Sentinel(addresses).master_for(MASTER_NAME))
    client.start("echo", id="c")
    assert client.get("c").state == "WAIT"
    assert asyncio.run(awaited_state(addresses)) == "WAIT"
    client.close()


async def awaited_state(addresses):
    client = AwaitedClient(AwaitedSentinel(addresses).master_for(MASTER_NAME))
    try:
        return (await client.get("c")).state
    finally:
        await client.close()
