"""A Redis Cluster: refused without a hash tag; with one it works, as a cluster of one node shows."""

import json

import gevent
import pytest
import redis
from redis.cluster import LoadBalancingStrategy, RedisCluster
from valkey.cluster import ValkeyCluster

from pytask import Monitor, PyTask, Task, Timing
from pytask.domain.errors import UnsupportedClient
from tests.integration.conftest import wait_until
from tests.support.servers import start_server

TAG = "{pt}:"


class Waits(Task):
    class Config:
        NAME = "waits"

    def start(self):
        gevent.sleep(self.task_data["seconds"])
        return self.redis.incr(f"{TAG}count")


class Awaits(Task):
    class Config:
        NAME = "awaits"

    async def start(self):
        return [type(self.redis).__name__, await self.redis.incr(f"{TAG}awaited")]


CLIENTS = {
    "redis": lambda node: RedisCluster(host=node.host, port=node.port, password=node.password),
    "redis, by its URL, RESP3, text": lambda node: RedisCluster.from_url(
        node.url, protocol=3, decode_responses=True
    ),
    "redis, reading from replicas": lambda node: RedisCluster(
        host=node.host,
        port=node.port,
        password=node.password,
        load_balancing_strategy=LoadBalancingStrategy.ROUND_ROBIN,
        socket_timeout=5,
    ),
    "valkey": lambda node: ValkeyCluster(host=node.host, port=node.port, password=node.password),
}


def text(value):
    return value.decode() if isinstance(value, bytes) else value


@pytest.fixture(params=["redis"])
def cluster(request):
    with start_server("valkey", "--cluster-enabled", "yes", password="s3cret") as node:
        admin = redis.Redis(host=node.host, port=node.port, password=node.password)
        admin.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        wait_until(lambda: admin.cluster("INFO")["cluster_state"] == "ok", 30)
        client = CLIENTS[request.param](node)
        yield client
        client.close()


def test_a_cluster_needs_a_hash_tag(cluster):
    with pytest.raises(UnsupportedClient, match="hash-tagged namespace"):
        PyTask(cluster)


@pytest.mark.parametrize("cluster", CLIENTS, indirect=True)
def test_tasks_run_and_are_steered_in_one_slot_of_a_cluster(cluster):
    app = PyTask(cluster, namespace=TAG, timing=Timing().scaled(0.1))
    app.add_task(Waits, Awaits, Monitor)
    app.pre_start_task("pytask/monitor")

    def state(task_id):
        return text(cluster.hget(f"{TAG}{task_id}", "state"))

    def push(task_id, seconds, function="waits"):
        cluster.hset(f"{TAG}{task_id}", mapping={"function": function, "data": f'{{"seconds": {seconds}}}'})
        cluster.lpush(f"{TAG}new-task", task_id)

    with app:
        push("short", 0)
        push("long", 600)
        push("awaited-by", 0, "awaits")
        wait_until(lambda: state("awaited-by") == "ENDED")
        wait_until(lambda: state("short") == "ENDED" and state("long") == "RUNNING")
        wait_until(lambda: app.worker.controller.listening)
        cluster.execute_command("PUBLISH", f"{TAG}task-long-control", "stop", target_nodes=cluster.RANDOM)
        wait_until(lambda: state("long") == "STOPPED")
    assert text(cluster.hget(f"{TAG}short", "output")) == "1"
    name, number = json.loads(cluster.hget(f"{TAG}awaited-by", "output"))
    assert (name, number) == (type(cluster).__name__, 1)
    assert cluster.hlen(f"{TAG}pytask:runs") == 0
