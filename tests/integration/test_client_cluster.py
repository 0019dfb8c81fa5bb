"""Both faces of the client and the command line on a real cluster, also when a partition goes elsewhere."""

import asyncio
import json
import os
import signal

import pytest
import redis
import redis.asyncio
from click.testing import CliRunner

import pytask
import pytask.aio
from pytask import errors
from pytask.cli.main import main
from pytask.client import Gap
from pytask.domain import lifecycle as life
from pytask.domain.partition import SLOTS, crc16, hash_tag, namespace_of, partition_of
from tests.contract.client.faces import Awaited
from tests.integration.conftest import PATIENCE, wait_until
from tests.support.cli_tools import ECHO, SLEEPER, Started, until, write
from tests.support.cli_tools import pytask as command
from tests.support.cluster import start_cluster
from tests.support.servers import HOST, free_port

pytestmark = pytest.mark.slow

NAMESPACE, PARTITIONS = "{pt}:", 3
OPTIONS = {
    "namespace": NAMESPACE,
    "partitions": PARTITIONS,
    "timeout": PATIENCE,  # the machine may be busy with other tests
    "connect_timeout": PATIENCE,
}


@pytest.fixture(scope="module")
def cluster():
    with start_cluster(masters=3, replicas=1) as made:
        yield made


@pytest.fixture(params=["blocking", "asyncio"])
def client(request, cluster):
    node = cluster.nodes[0]
    if request.param == "blocking":
        with pytask.Client(redis.RedisCluster(HOST, node.port), **OPTIONS) as made:
            yield made
        return
    loop = asyncio.new_event_loop()
    made = Awaited(loop, pytask.aio.Client(redis.asyncio.RedisCluster(HOST, node.port), **OPTIONS))
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


def test_a_client_of_a_url(cluster):
    with pytask.Client(url_of(cluster, "+cluster"), **OPTIONS) as blocking:
        task_id = blocking.start("f")

    async def seen():
        async with pytask.aio.Client(url_of(cluster, "+cluster"), **OPTIONS) as made:
            return (await made.get(task_id)).function, await made.remove(task_id)

    assert asyncio.run(seen()) == ("f", True)
    with pytest.raises(errors.Unavailable):
        pytask.Client(f"redis+cluster://{HOST}:{free_port()}", **OPTIONS)


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
    cluster.wait_whole()  # the role of each may have changed in a test before
    before = cluster.owner(slot_of(0))
    replica = cluster.replicas_of(before)[0]
    # Not at once, as TAKEOVER would: only after the replica has all that was written above.
    assert cluster.ask(replica, "CLUSTER", "FAILOVER") == "OK"
    wait_until(lambda: cluster.owner(slot_of(0)) is replica, PATIENCE)
    with redis.Redis(HOST, before.port) as old:
        wait_until(lambda: old.info("replication")["role"] == "slave", PATIENCE)
    assert client.stop(task_id).done
    assert client.get(task_id).state is life.STOPPED
    received = next(events)
    assert isinstance(received, Gap) or received.name == "stopped"
    events.close()
    client.stop_many([task.id for task in client.list()])
    for task in client.list():
        client.remove(task.id)


# -- the command line ---------------------------------------------------------------------------------------

TALKER = """
    import logging

    class Talker(Task):
        class Config:
            NAME = "talker"
        def start(self):
            logging.getLogger("app").info("echoes")
            self.progress(1, 1)
"""


@pytest.fixture(scope="module")
def worker(cluster, tmp_path_factory):
    """`pytask run` on the cluster, by its URL alone."""
    folder = tmp_path_factory.mktemp("worker")
    write(folder / "tasks.py", SLEEPER + ECHO + TALKER)
    words = ["--redis", url_of(cluster, "+cluster"), "--namespace", NAMESPACE, "--partitions", PARTITIONS]
    with Started(
        command("run", "tasks.py", *words, "--name", "w1", "--task-logs", 9), folder, folder
    ) as daemon:
        yield daemon
        assert daemon.end(signal.SIGTERM) == 0


def url_of(cluster, kind=""):
    return f"redis{kind}://{HOST}:{cluster.nodes[0].port}/0"


@pytest.fixture(params=["redis+cluster://", "redis://"])
def cli(request, cluster, no_settings, monkeypatch):
    """The command line, told that it is a cluster, or finding out."""
    monkeypatch.setenv("PYTASK_REDIS_URL", url_of(cluster, "+cluster" if "cluster" in request.param else ""))
    monkeypatch.setenv("PYTASK_NAMESPACE", NAMESPACE)
    monkeypatch.setenv("PYTASK_PARTITIONS", str(PARTITIONS))

    def call(*words):
        shown = CliRunner().invoke(main, [*words, "-o", "json"])
        assert shown.exit_code == 0, (words, shown.stderr)
        return json.loads(shown.stdout)

    return call


def test_the_verbs_on_a_cluster(worker, cli):
    ids = [f"job-{n}" for n in range(9)]  # of all partitions
    assert {partition_of(task_id, PARTITIONS) for task_id in ids} == {0, 1, 2}
    until(lambda: len(cli("workers")["items"]) == PARTITIONS, lambda: worker.output)
    made = [cli("new", "sleeper", f"n={n}", "--id", task_id)["id"] for n, task_id in enumerate(ids)]
    assert made == ids
    for task_id in ids:
        assert cli("wait", task_id, "--for", "running", "--timeout", "30")["worker"] == "w1"
    assert {row["id"] for row in cli("ls", "-n", "sleeper", "-s", "running")["items"]} == set(ids)
    until(lambda: cli("status")["monitor_seconds"] is not None, lambda: worker.output)
    until(lambda: cli("status")["tasks"]["RUNNING"] == 12, lambda: worker.output)  # with three monitors
    status = cli("status")
    assert (status["tasks"]["RUNNING"], status["workers"], status["round_trip_ms"] > 0) == (12, 1, True)
    assert ": claimed by w1; its worker on " in cli("why", "job-5")["story"]
    runs = {task_id: cli("show", task_id)["run"] for task_id in ids}
    assert all(row["done"] for row in cli("reload", *ids, "--wait", "30")["items"])
    assert all(cli("show", task_id)["run"] != runs[task_id] for task_id in ids)
    rows = cli("stop", "--name", "sleeper", "-y", "--wait", "30")["items"]
    assert {(row["id"], row["state"]) for row in rows} == {(task_id, "STOPPED") for task_id in ids}
    assert all(row["done"] for row in cli("start", *ids, "--wait", "30")["items"])
    cli("stop", *ids, "--wait", "30")
    assert {row["outcome"] for row in cli("rm", "--name", "sleeper", "-y")["items"]} == {"deleted"}
    known = {row["name"] for row in cli("functions")["items"] if row["workers"]}
    assert known == {"echo", "sleeper", "talker", "pytask/monitor"}
    assert cli("new", "echo", "a=1", "--wait", "30")["output"] == {"a": 1}
    for task_id in ids:
        cli("new", "talker", "--id", task_id, "--wait", "30")
        assert cli("show", task_id)["progress"]["done"] == 1
        lines = CliRunner().invoke(main, ["logs", task_id, "-f", "-o", "json"]).stdout.splitlines()
        assert [json.loads(line)["text"] for line in lines] == ["echoes", "1/1 (100 %)"]
    cli("rm", *ids)


def patterns(cluster):
    """Pattern subscriptions at all nodes."""
    number = 0
    for node in cluster.nodes:
        with redis.Redis(HOST, node.port) as client:
            number += client.pubsub_numpat()
    return number


def test_watch_requeue_and_doctor_on_a_cluster(worker, cluster, cli, tmp_path):
    named = {name: value for name, value in os.environ.items() if name.startswith("PYTASK_")}
    before, ids = patterns(cluster), ["seen-0", "seen-1", "seen-2"]
    with Started(command("watch", "--count", "6", "-o", "jsonl"), tmp_path, **named) as watcher:
        until(lambda: patterns(cluster) > before, lambda: watcher.output)
        for task_id in ids:
            cli("new", "echo", "--id", task_id, "--wait", "30")
        until(lambda: watcher.process.poll() is not None, lambda: watcher.output)
        assert watcher.process.returncode == 0, watcher.output
    received = [json.loads(line)["id"] for line in watcher.output.splitlines()]
    assert sorted(received) == sorted(2 * ids)
    assert all(row["done"] for row in cli("requeue", *ids)["items"])
    for task_id in ids:
        cli("wait", task_id, "--timeout", "30")
    cli("rm", *ids)
    shown = CliRunner().invoke(main, ["doctor", "-o", "json"])
    found = {row["code"] for row in json.loads(shown.stdout)["items"]}
    assert found <= {"PT073", "PT076"}, (
        shown.stdout
    )  # of the servers here: no min-replicas, no append-only file


def test_an_address_that_is_no_cluster_or_has_no_hash_tag(cluster):
    plain, whole = url_of(cluster), url_of(cluster, "+cluster")
    nowhere = f"redis+cluster://{HOST}:{free_port()}"
    for words, code, said in (
        (["status", "--redis", nowhere, "--namespace", NAMESPACE], 69, "PT051"),
        (["status", "--redis", whole], 78, "hash-tagged namespace"),
        (["status", "--redis", plain], 1, "use redis+cluster:// and a hash-tagged namespace"),
    ):
        shown = CliRunner().invoke(main, words)
        assert (shown.exit_code, shown.stdout) == (code, ""), shown.output
        assert said in shown.stderr
    shown = CliRunner().invoke(main, ["show", "a", "--explain", "--redis", whole, "--namespace", NAMESPACE])
    program = f"redis-cli -c -h {HOST} -p {whole.rpartition(':')[2].partition('/')[0]}"
    assert shown.stdout.splitlines()[0] == f"{program} HGETALL '{{pt}}:a'"
    assert all(line.startswith(f"{program} ") for line in shown.stdout.splitlines())
