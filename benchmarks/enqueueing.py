"""What it takes to put a task into the queue, and how soon it starts there; pytask and its peers in turns."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.contest import HERE, Marks, produce, pytask_command, running
from benchmarks.peers import Peer
from benchmarks.place import ROOT, fill, server, wait
from benchmarks.results import Row
from benchmarks.versus import OURS, say

LOADED = f"{OURS}, 10,000 running"
QUICKEST = {"BullMQ", "taskiq-redis (stream)", "taskiq-redis (list)", "SAQ", "arq"}
Rates = dict[str, list[float]]  # tasks a second in each round, by name
REFERENCE = {"taskiq-redis (stream)", "taskiq-redis (list)"}
CALLS, MANY = 2_000, 100_000
RATE, SECONDS = 100, 10
SETTLE = 1.0  # seconds: a worker that has just run its first task makes its last preparations

BULK = """
import sys, time
from pytask import Client
from pytask.client import New
client = Client(sys.argv[1])
client.start("noop", {"n": 1})
began = time.perf_counter()
client.start_many([New("noop", {"n": i}) for i in range(int(sys.argv[2]))])
print(time.perf_counter() - began)
"""


# -- how many a second --------------------------------------------------------------------------------


def calls(peers: Sequence[Peer], cache: Path, rounds: int, count: int = CALLS) -> Rates:
    """Tasks a second, enqueued by one call after the other, no worker about."""
    found: Rates = {}
    for _ in range(rounds):
        found.setdefault(OURS, []).append(own_calls(count))
        for peer in peers:
            found.setdefault(peer.name, []).append(peer_calls(peer, cache, "calls", count))
    for name, rates in found.items():
        say(name, statistics.median(rates))
    return found


def bulk(peers: Sequence[Peer], cache: Path, rounds: int, count: int = MANY) -> Rates:
    """Tasks a second, enqueued by the call for many; peers that have such a call: BullMQ and bee-queue."""
    found: Rates = {}
    for _ in range(rounds):
        found.setdefault(OURS, []).append(own_bulk(count))
        for peer in (each for each in peers if each.node):
            found.setdefault(peer.name, []).append(peer_calls(peer, cache, "fill", count // 2))
    return found


def own_environment(url: str) -> dict[str, str]:
    return os.environ | {"BENCH_REDIS": url, "PYTHONPATH": f"{HERE}{os.pathsep}{ROOT}"}


def own_producer(*words: object) -> list[str]:
    return [sys.executable, "pytask_noop.py", *map(str, words)]


def own_calls(count: int) -> float:
    """By `Client.start`."""
    with server() as (url, _):
        return count / float(produce(own_producer("calls", count), own_environment(url)))


def own_bulk(count: int) -> float:
    """By `Client.start_many`; making the list of what is to be started is part of it."""
    with server() as (url, _):
        command = [sys.executable, "-c", BULK, url, str(count)]
        return count / float(produce(command, own_environment(url)))


def peer_calls(peer: Peer, cache: Path, mode: str, count: int) -> float:
    """By a peer's producer."""
    with server() as (url, _):
        said = produce(peer.producing(cache, mode, count), peer.environment(cache, url, peer.pools[0]))
        return count / float(said)


def enqueued(one: Rates, many: Rates) -> Iterator[Row]:
    """The rows of these."""
    yield Row("enqueue by `start_many`, tasks/s", f"{statistics.median(many[OURS]):,.0f}", ">= 100,000")
    yield Row("enqueue one a call, tasks/s", f"{statistics.median(one[OURS]):,.0f}")
    rates = {
        name: statistics.median(seen)
        for name, seen in one.items()
        if name not in {OURS, "BullMQ", "bee-queue"}
    }
    if rates:
        best = max(rates, key=rates.get)
        ratio = statistics.median(a / b for a, b in zip(one[OURS], one[best], strict=True) if b)
        yield Row(f"  of the fastest Python peer ({best})", f"{ratio:.2f}", ">= 1.0")


# -- how soon -----------------------------------------------------------------------------------------


def own_latency(sleepers: int = 0, seconds: float = SECONDS) -> list[float]:
    """Seconds from just before `Client.start` to the task's `start()`, sorted; `sleepers` run beside them."""
    with server() as (url, client):
        options = ("--max-tasks", "20000") if sleepers else ()
        with running(pytask_command(url, *options), os.environ | {}, ROOT) as (marks, workers):
            if sleepers:
                fill(client, "sleeper", sleepers)
                wait(lambda: client.zcard("pytask:leases") >= sleepers)
                time.sleep(6)  # the renewals spread
            env = own_environment(url)
            produce(own_producer("fill", 1), env)
            marks.wait(1, workers)
            return lags(marks, workers, own_producer("steady", RATE, seconds), env, int(RATE * seconds))


def peer_latency(peer: Peer, cache: Path, pool: int, seconds: float = SECONDS) -> list[float]:
    """The same for a peer's call and its function."""
    with server() as (url, _):
        env = peer.environment(cache, url, pool)
        with running(peer.working(cache, url, pool), env, HERE) as (marks, workers):
            produce(peer.producing(cache, "fill", 1), env)
            marks.wait(1, workers)
            steady = peer.producing(cache, "steady", RATE, seconds)
            return lags(marks, workers, steady, env, int(RATE * seconds))


def lags(
    marks: Marks, workers: Sequence[subprocess.Popen], command: list[str], env: dict[str, str], count: int
) -> list[float]:
    """Of `count` tasks that are enqueued evenly."""
    time.sleep(SETTLE)
    known = len(marks.records())
    produce(command, env)
    marks.wait(known + count, workers, counts=False)
    return sorted(lag for _, lag in marks.records()[known:])


def at(seen: Sequence[float], share: float) -> float:
    """A quantile, milliseconds."""
    return seen[min(len(seen) - 1, int(len(seen) * share))] * 1000


def started(seen: dict[str, list[tuple[float, float]]]) -> Iterator[Row]:
    """The rows: medians of the rounds; `seen` has p50 and p99 of each round, by name."""
    for name, rounds in seen.items():
        middle, high = (statistics.median(each) for each in zip(*rounds, strict=True))
        own, loaded = name == OURS, name == LOADED
        label = "enqueue to start at 100/s" + ("" if own else f": {name}")
        yield Row(f"{label}, p50, ms", f"{middle:.2f}", "<= 0.9" if own else "")
        yield Row(f"{label}, p99, ms", f"{high:.2f}", "<= 2" if own else "<= 5" if loaded else "")
        if name in REFERENCE:
            pairs = list(zip(seen[OURS], rounds, strict=True))
            ratios = [statistics.median(a[i] / b[i] for a, b in pairs) for i in (0, 1)]
            yield Row("  pytask's p50 and p99 as a share of those", f"{ratios[0]:.2f} and {ratios[1]:.2f}")
