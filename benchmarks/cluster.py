"""One worker on a real Redis Cluster of three masters: 1 partition against 4, and what a task costs a node.

    python -m benchmarks cluster [--tasks 20000] [--running 10000] [--rounds 3]

All nodes and the worker share this machine's cores, so the CPU a task takes says more than the rate.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
from redis.cluster import RedisCluster

from benchmarks.place import cpu, rss, wait
from pytask import namespace_of, partition_of
from tests.support.cluster import Cluster, start_cluster

ROOT = Path(__file__).parent.parent
TARGET = "benchmarks/cluster_app.py"
TAG = "{pytask}:"
MANY = 4


@attrs.frozen(kw_only=True)
class Costs:
    """What happened in a stretch of time: seconds, and bytes that the nodes received and sent."""

    wall: float
    worker: float
    nodes: float
    received: int
    sent: int


def main() -> None:
    """Run all and print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks cluster", description=__doc__)
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--running", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rows = [*drains(options.tasks, options.rounds), *at_rest(options.running)]
    width = max(len(name) for name, *_ in rows)
    print(f"\n{'measure':<{width}}  {'seen':>12}  bar")
    for name, seen, bar in rows:
        print(f"{name:<{width}}  {seen:>12}  {bar}")


# -- drain --------------------------------------------------------------------------------------------


def drains(count: int, rounds: int) -> Iterator[tuple[str, str, str]]:
    """No-op tasks a second with 1 partition and with 4, in turns: both meet the same noise."""
    seen: dict[int, list[Costs]] = {1: [], MANY: []}
    for _ in range(rounds):
        for partitions in (1, MANY):
            costs = drain(count, partitions)
            seen[partitions].append(costs)
            print(
                f"  {partitions} partitions: {count / costs.wall:,.0f} tasks/s, CPU us a task: worker"
                f" {1e6 * costs.worker / count:.0f}, nodes {1e6 * costs.nodes / count:.0f}"
            )
    rates = {partitions: [count / costs.wall for costs in all_] for partitions, all_ in seen.items()}
    for partitions, all_ in seen.items():
        name = f"{partitions} partition{'s' if partitions > 1 else ''}"
        yield f"{name}: no-op tasks a second", f"{statistics.median(rates[partitions]):,.0f}", ""
        for what in ("worker", "nodes"):
            each = [1e6 * getattr(costs, what) / count for costs in all_]
            yield f"{name}: CPU of the {what}, us a task", f"{statistics.median(each):.0f}", ""
        for what in ("received", "sent"):
            each = [getattr(costs, what) / count for costs in all_]
            yield f"{name}: bytes {what} by nodes, a task", f"{statistics.median(each):,.0f}", ""
    ratio = statistics.median(rates[MANY]) / statistics.median(rates[1])
    yield f"ratio of {MANY} partitions to 1", f"{ratio:.2f}", ">= 1"


def drain(count: int, partitions: int) -> Costs:
    """All hashes first, then a worker that waits, then the ids."""
    with start_cluster(replicas=0) as cluster, client_of(cluster) as client:
        queues = fill(client, "noop", count, partitions)
        with worker(cluster, client, partitions) as pid:
            with metered(cluster, pid) as stretch:
                push(client, queues)
                wait(lambda: ended(client, partitions) == count)
            (costs,) = stretch
        # The nodes' own clocks, which are one clock here, and not our looking every 50 ms.
        last = max(
            found[0][1]
            for p in range(partitions)
            if (found := client.zrange(f"{space(p, partitions)}pytask:index:ENDED", -1, -1, withscores=True))
        )
        first = min(
            int(client.hget(f"{name}{ids[0]}", "epoch")) for name, ids in queues.items() if ids
        ) / 1000  # fmt: skip
        return attrs.evolve(costs, wall=last - first)


# -- at rest ------------------------------------------------------------------------------------------


def at_rest(count: int, seconds: int = 20) -> Iterator[tuple[str, str, str]]:
    """What running tasks take of their node: renewals, memory, connections."""
    with (
        start_cluster(replicas=0) as cluster,
        client_of(cluster) as client,
        worker(cluster, client, 1) as pid,
    ):
        time.sleep(6)
        with metered(cluster, pid) as stretch:
            time.sleep(seconds)
        (idle,) = stretch
        memory, own = used(client), rss(pid)
        push(client, fill(client, "sleeper", count, 1))
        wait(lambda: client.hlen(f"{TAG}pytask:runs") == count + 1)
        time.sleep(12)  # two rounds of renewals
        with metered(cluster, pid) as stretch:
            time.sleep(seconds)
        (busy,) = stretch
        renewals = count * seconds / 5
        yield (
            f"{count} running: node CPU, us a renewal",
            f"{1e6 * (busy.nodes - idle.nodes) / renewals:.2f}",
            "",
        )
        worker_us = 1e6 * (busy.worker - idle.worker) / renewals
        yield f"{count} running: worker CPU, us a renewal", f"{worker_us:.2f}", ""
        for what in ("received", "sent"):
            each = (getattr(busy, what) - getattr(idle, what)) / renewals
            yield f"{count} running: bytes {what} by the node, a renewal", f"{each:.0f}", ""
        yield f"{count} running: node memory, bytes a task", f"{(used(client) - memory) / count:.0f}", ""
        yield f"{count} running: worker memory, bytes a task", f"{(rss(pid) - own) / count:.0f}", ""
        yield "connections of a worker, a partition", f"{len(connections(client))}", ""
        yield "an idle worker: CPU of all nodes, us a second", f"{1e6 * idle.nodes / seconds:.0f}", ""


# -- what they share ----------------------------------------------------------------------------------


def space(partition: int, partitions: int) -> str:
    """The namespace of a partition."""
    return namespace_of(TAG, partition, partitions)


@contextlib.contextmanager
def client_of(cluster: Cluster) -> Iterator[RedisCluster]:
    """A client that knows all nodes."""
    client = RedisCluster(cluster.nodes[0].host, cluster.nodes[0].port, decode_responses=True)
    try:
        yield client
    finally:
        client.close()


@contextlib.contextmanager
def worker(cluster: Cluster, client: RedisCluster, partitions: int) -> Iterator[int]:
    """`pytask run` with defaults, ready: every partition's monitor runs."""
    environment = os.environ | {"BENCH_NODE": cluster.nodes[0].url, "BENCH_PARTITIONS": str(partitions)}
    command = [sys.executable, "-m", "pytask", "run", TARGET, "--log-level", "warning"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        wait(lambda: all(client.hlen(f"{space(p, partitions)}pytask:runs") for p in range(partitions)))
        time.sleep(1)
        yield process.pid
    finally:
        process.terminate()
        process.wait(60)


@contextlib.contextmanager
def metered(cluster: Cluster, pid: int) -> Iterator[list[Costs]]:
    """After the block the list holds what it took."""
    found: list[Costs] = []

    def look() -> tuple[float, ...]:
        text = [cluster.ask(node, "INFO", "stats") for node in cluster.nodes]
        traffic = [
            sum(int(each.split(f"{name}:")[1].split()[0]) for each in text)
            for name in ("total_net_input_bytes", "total_net_output_bytes")
        ]
        return (time.perf_counter(), cpu(pid), sum(cpu(node.pid) for node in cluster.nodes), *traffic)

    before = look()
    yield found
    wall, own, nodes, received, sent = (b - a for a, b in zip(before, look(), strict=True))
    found.append(Costs(wall=wall, worker=own, nodes=nodes, received=int(received), sent=int(sent)))


def fill(client: RedisCluster, function: str, count: int, partitions: int) -> dict[str, list[str]]:
    """The hashes of `count` tasks; the ids by the namespace of their partition."""
    queues: dict[str, list[str]] = {space(p, partitions): [] for p in range(partitions)}
    for at in range(0, count, 1000):
        pipe = client.pipeline()
        for i in range(at, min(at + 1000, count)):
            name = space(partition_of(f"job-{i}", partitions), partitions)
            queues[name].append(f"job-{i}")
            pipe.hset(f"{name}job-{i}", mapping={"function": function, "data": '{"n": 1}'})
        pipe.execute()
    return queues


def push(client: RedisCluster, queues: dict[str, list[str]]) -> None:
    """The ids, to all queues in turns."""
    for at in range(0, max(map(len, queues.values())), 1000):
        for name, ids in queues.items():
            if ids[at : at + 1000]:
                client.lpush(f"{name}new-task", *ids[at : at + 1000])


def ended(client: RedisCluster, partitions: int) -> int:
    """How many tasks have ended."""
    return sum(client.zcard(f"{space(p, partitions)}pytask:index:ENDED") for p in range(partitions))


def used(client: RedisCluster) -> int:
    """Memory of all nodes, bytes."""
    return sum(info["used_memory"] for info in client.info("memory", target_nodes="all").values())


def connections(client: RedisCluster) -> list[str]:
    """The names of the daemon's connections."""
    found = []
    for node in client.get_nodes():
        names = [each["name"] for each in client.get_redis_connection(node).client_list()]
        found += [name for name in names if name.startswith("pytask")]
    return found
