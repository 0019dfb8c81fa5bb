"""Both faces of the client on a real cluster, also when a partition goes to another node."""

import asyncio

import pytest
import redis
import redis.asyncio

import pytask
import pytask.aio
from pytask import errors
from pytask.client import Gap
from pytask.domain import lifecycle as life
from pytask.domain.partition import SLOTS, crc16, hash_tag, namespace_of, partition_of
from tests.cluster import start_cluster
from tests.contract.test_client import Awaited
from tests.integration.conftest import PATIENCE, wait_until
from tests.servers import HOST

pytestmark = pytest.mark.slow

NAMESPACE, PARTITIONS = "{pt}:", 3


@pytest.fixture(scope="module")
def cluster():
    with start_cluster(masters=3, replicas=1) as made:
        yield made


@pytest.fixture(params=["blocking", "asyncio"])
def client(request, cluster):
    options = {"namespace": NAMESPACE, "partitions": PARTITIONS, "connect_timeout": 3.0}
    node = cluster.nodes[0]
    if request.param == "blocking":
        with pytask.Client(redis.RedisCluster(HOST, node.port), **options) as made:
            yield made
        return
    loop = asyncio.new_event_loop()
    made = Awaited(loop, pytask.aio.Client(redis.asyncio.RedisCluster(HOST, node.port), **options))
    yield made
    made.close()
    loop.close()


def slot_of(partition):
    return crc16(hash_tag(namespace_of(NAMESPACE, partition, PARTITIONS)).encode()) % SLOTS


def test_a_client_of_a_cluster_needs_a_hash_tag(cluster):
    with pytest.raises(errors.UnsupportedClient, match="hash-tagged"):
        pytask.Client(redis.RedisCluster(HOST, cluster.nodes[0].port))
    with pytest.raises(errors.UnsupportedClient, match="hash-tagged"):
        pytask.aio.Client(redis.asyncio.RedisCluster(HOST, cluster.nodes[0].port))


def test_tasks_of_all_partitions(client):
    ids = client.start_many([("f", {"n": n}) for n in range(60)])
    assert {partition_of(task_id, PARTITIONS) for task_id in ids} == {0, 1, 2}
    assert client.count()["WAIT"] == 60
    shown, cursor = [], None
    while cursor is not None or not shown:
        page = client.list(limit=13, cursor=cursor)
        shown += [task.id for task in page]
        cursor = page.cursor
    assert sorted(shown) == sorted(ids)
    assert client.get(ids[7]).data == {"n": 7}
    events = [client.watch(task_id) for task_id in ids[:5]]
    assert all(outcome.done for outcome in client.stop_many(ids))
    assert [next(one).name for one in events] == ["stopped"] * 5
    for one in events:
        one.close()
    assert client.wait(ids[0], timeout=PATIENCE).state is life.STOPPED
    assert client.start_again(ids[0]).done
    assert client.find(ids[0]) == ([ids[0]], True)
    assert all(client.remove(task_id) for task_id in ids)
    assert client.count().total == 0
    assert client.workers() == []


def test_a_partition_that_goes_to_another_node_is_followed(cluster, client):
    task_id = next(i for i in client.start_many(["f"] * 20) if partition_of(i, PARTITIONS) == 0)
    events = client.watch(task_id)
    before = cluster.owner(slot_of(0))
    replica = cluster.replicas_of(before)[0]
    assert cluster.ask(replica, "CLUSTER", "FAILOVER", "TAKEOVER") == "OK"
    wait_until(lambda: cluster.owner(slot_of(0)) is replica, PATIENCE)
    with redis.Redis(HOST, before.port) as old:
        wait_until(lambda: old.info("replication")["role"] == "slave", PATIENCE)
    assert client.stop(task_id).done
    assert client.get(task_id).state is life.STOPPED
    heard = next(events)
    assert isinstance(heard, Gap) or heard.name == "stopped"
    events.close()
    client.stop_many([task.id for task in client.list()])
    for task in client.list():
        client.remove(task.id)
