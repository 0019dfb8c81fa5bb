"""A Sentinel-managed master, whose connections mix up replies when a greenlet is killed in mid-command."""

import random
from types import SimpleNamespace

import gevent
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from pytask import PyTask, Task, Timing
from pytask.adapters.redis import clients
from tests.integration.conftest import Lab, wait_until
from tests.support.proxy import HOST, Proxy
from tests.support.servers import MASTER_NAME, start_sentinel

pytestmark = pytest.mark.slow

KILLS = 300
NO_RETRY = Retry(NoBackoff(), 0)


@pytest.fixture(scope="module")
def slow_master(running_server):
    """A Sentinel that knows the master by a link of 2 ms."""
    with Proxy(running_server.port) as proxy:
        link = SimpleNamespace(host=HOST, port=proxy.port, password=None)
        with start_sentinel(link) as sentinel:
            with redis.Redis(HOST, sentinel.port) as admin:  # however slow the machine is: no failover
                admin.execute_command("SENTINEL", "SET", MASTER_NAME, "down-after-milliseconds", 60_000)
            proxy.delay(0.001, 0.001)
            yield Sentinel([(HOST, sentinel.port)], socket_timeout=5)


def kill_in_mid_command(server, client, enough=KILLS):
    """How many of 300 answers after a kill were another command's; ends early at `enough` of them."""
    with redis.Redis(HOST, server.port) as direct:
        direct.mset({"a": "A", "b": "B"})

    def work():
        while True:
            client.get("a")

    wrong = 0
    for _ in range(KILLS):
        victim = gevent.spawn(work)
        gevent.sleep(random.uniform(0.001, 0.008))
        victim.kill()
        if wrong == enough:
            break
        try:
            wrong += client.get("b") != b"B"
        except redis.ResponseError:  # a GET of a text has none: it answers a word of the handshake
            wrong += 1
        except (redis.ConnectionError, redis.TimeoutError):
            client.connection_pool.disconnect()
    return wrong


def test_greenlets_killed_in_mid_command_leave_no_wrong_reply(server, slow_master):
    ours = clients.clone(slow_master.master_for(MASTER_NAME))
    wrong = kill_in_mid_command(server, ours)
    clients.disconnect(ours)
    assert wrong == 0


def test_the_client_as_shipped_does_mix_them_up(server, slow_master):
    """Or the test above would prove nothing."""
    shipped = slow_master.master_for(MASTER_NAME, socket_timeout=0.2, retry=NO_RETRY)
    if not kill_in_mid_command(server, shipped, enough=1):
        pytest.skip("redis-py has mended its Sentinel connections: clone() may drop its guard")


def test_tasks_run_over_a_sentinel_and_are_killed_in_mid_command(server, workers, slow_master):
    class Hammer(Task):
        """Reads with its own client, and is stopped again and again in the middle of it."""

        class Config:
            NAME = "hammer"

        def start(self):
            while True:
                assert self.redis.get("b") == b"B"
                self.emit("read")

    class Reader(Task):
        class Config:
            NAME = "reader"

        def start(self):
            return [self.redis.get("b").decode() for _ in range(5)]

    class Awaits(Task):
        class Config:
            NAME = "awaits"

        async def start(self):
            return [(await self.redis.get("b")).decode() for _ in range(5)]

    app = PyTask(slow_master.master_for(MASTER_NAME), timing=Timing().scaled(0.1))
    app.add_task(Hammer, Reader, Awaits)
    with Lab(server, workers) as lab, app:
        lab.redis.set("b", "B")
        wait_until(lab.listeners)  # a word of control before that is heard by nobody
        ids = lab.push_many(10, "hammer")
        for task_id in ids:
            lab.events.wait(task_id, "read")
        for _ in range(5):
            for task_id in ids:
                lab.control(task_id, "reload")
            gevent.sleep(0.1)
        readers = lab.push_many(10, "reader") + lab.push_many(5, "awaits")
        lab.wait_state(readers, "ENDED")
        assert {lab.field(i, "output") for i in readers} == {'["B","B","B","B","B"]'}
        for task_id in ids:
            lab.control(task_id, "stop")
        lab.wait_state(ids, "STOPPED")
        wait_until(lambda: all(lab.events.names(i).count("reloaded") >= 1 for i in ids))
        assert "error" not in {name for i in ids for name in lab.events.names(i)}
