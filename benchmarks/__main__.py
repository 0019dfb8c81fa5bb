"""Measure what the project promises, side by side in one run, and print a table.

    python -m benchmarks [--tasks 20000] [--running 10000] [--rounds 3]
    python -m benchmarks cluster [the same]

Each measurement has a fresh server; a worker is `pytask run` with default settings, events and leases on.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import redis

from tests.servers import start_server

ROOT = Path(__file__).parent.parent
TASKS = "benchmarks/tasks.py"


def main() -> None:
    """Run all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--running", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rows = [*drain(options.tasks, options.rounds), *running(options.running), *latency()]
    width = max(len(name) for name, *_ in rows)
    print(f"\n{'measure':<{width}}  {'seen':>12}  bar")
    for name, seen, bar in rows:
        print(f"{name:<{width}}  {seen:>12}  {bar}")


# -- drain --------------------------------------------------------------------------------------------


def drain(count: int, rounds: int) -> Iterator[tuple[str, str, str]]:
    """No-op tasks a second by a worker and by the bare loop, in turns: both meet the same noise."""
    worker, limit = [], []
    for _ in range(rounds):
        with server() as (url, client):
            fill(client, "noop", count)
            began = time.perf_counter()
            subprocess.run([sys.executable, "-m", "benchmarks.limit", url], cwd=ROOT, check=True)
            print(f"limit: whole process {time.perf_counter() - began:.2f} s")
            limit.append(drained(client, count))
        with server() as (url, client):
            fill(client, "noop", count)
            with worker_process(url):
                wait(lambda: client.zcard("pytask:index:ENDED") == count)
            worker.append(drained(client, count))
    best, bare = statistics.median(worker), statistics.median(limit)
    yield f"drain of {count} no-op tasks, a second", f"{best:,.0f}", ">= 8,000, or 0.25 of the bare loop"
    yield "the bare loop with the same commands, a second", f"{bare:,.0f}", ""
    yield "ratio", f"{best / bare:.2f}", ">= 0.25"


def drained(client: redis.Redis, count: int) -> float:
    """Tasks a second by Redis's own clock: from the first claim to the last end."""
    first = min(int(client.hget(f"job-{i}", "epoch")) for i in range(300)) / 1000
    last = client.zrange("pytask:index:ENDED", -1, -1, withscores=True)[0][1]
    rate = count / (last - first)
    print(f"  {rate:,.0f} tasks/s")
    return rate


# -- many at once -------------------------------------------------------------------------------------


def running(count: int) -> Iterator[tuple[str, str, str]]:
    """Tasks that run at once in one worker: start, memory, rest."""
    with server() as (url, client), worker_process(url) as pid:
        wait(lambda: client.zcard("pytask:leases") == 1)  # its monitor: all set up
        time.sleep(1)
        before = rss(pid)
        fill(client, "sleeper", count)
        wait(lambda: client.llen("new-task") == 0 and client.zcard("pytask:leases") == count + 1)
        epochs = sorted(int(client.hget(f"job-{i}", "epoch")) for i in range(count))
        began = epochs[0] / 1000
        yield f"{count} tasks started, seconds", f"{epochs[-1] / 1000 - began:.2f}", "< 5"
        time.sleep(12)  # two rounds of renewals
        ticks, start = cpu(pid), time.perf_counter()
        time.sleep(15)
        share = (cpu(pid) - ticks) / (time.perf_counter() - start)
        yield "resident memory a task, kB", f"{(rss(pid) - before) / count / 1000:.1f}", "< 25"
        yield "a core at rest, %", f"{share * 100:.1f}", "< 5"


# -- latency ------------------------------------------------------------------------------------------


def latency(rate: int = 100, seconds: int = 10) -> Iterator[tuple[str, str, str]]:
    """Enqueue to start: from just before the push to the arrival of the `running` event."""
    with server() as (url, client), worker_process(url):
        wait(lambda: client.zcard("pytask:leases") == 1)
        pushed: dict[str, float] = {}
        seen: list[float] = []
        pubsub = client.pubsub(ignore_subscribe_messages=True)
        pubsub.psubscribe("task-job-*")
        pubsub.get_message(timeout=1)

        def listen() -> None:
            while len(seen) < rate * seconds:
                message = pubsub.get_message(timeout=5)
                if message is None:
                    return
                if b'"running"' in message["data"]:
                    seen.append(time.perf_counter() - pushed[message["channel"].decode()])

        listener = threading.Thread(target=listen)
        listener.start()
        begin = time.perf_counter()
        for i in range(rate * seconds):
            time.sleep(max(0.0, begin + i / rate - time.perf_counter()))
            pushed[f"task-job-{i}"] = time.perf_counter()
            push(client, f"job-{i}", "noop")
        listener.join()
        cuts = statistics.quantiles(seen, n=100)
        yield f"enqueue to start at {rate}/s, p50, ms", f"{cuts[49] * 1000:.2f}", "< 2"
        yield f"enqueue to start at {rate}/s, p99, ms", f"{cuts[98] * 1000:.2f}", ""
        yield "starts seen", f"{len(seen)}", f"{rate * seconds}"


# -- what they share ----------------------------------------------------------------------------------


@contextlib.contextmanager
def server() -> Iterator[tuple[str, redis.Redis]]:
    """A fresh server and a client."""
    with start_server("valkey", "--save", "") as running_server:
        yield running_server.url, redis.Redis.from_url(running_server.url)


@contextlib.contextmanager
def worker_process(url: str) -> Iterator[int]:
    """`pytask run` with defaults; its pid."""
    command = [sys.executable, "-m", "pytask", "run", TASKS, "--redis", url, "--log-level", "warning"]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(60)


def push(client: redis.Redis, task_id: str, function: str) -> None:
    pipe = client.pipeline(transaction=False)
    pipe.hset(task_id, mapping={"function": function, "data": '{"n": 1}'})
    pipe.lpush("new-task", task_id)
    pipe.execute()


def fill(client: redis.Redis, function: str, count: int) -> None:
    """Push `count` tasks, the queue only when all hashes are there."""
    for at in range(0, count, 1000):
        pipe = client.pipeline(transaction=False)
        for i in range(at, min(at + 1000, count)):
            pipe.hset(f"job-{i}", mapping={"function": function, "data": '{"n": 1}'})
        pipe.execute()
    for at in range(0, count, 1000):
        client.lpush("new-task", *(f"job-{i}" for i in range(at, min(at + 1000, count))))


def wait(holds, timeout: float = 120) -> None:
    until = time.monotonic() + timeout
    while not holds():
        if time.monotonic() > until:
            raise SystemExit("benchmark: waited too long")
        time.sleep(0.05)


def rss(pid: int) -> int:
    """Resident memory, bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu(pid: int) -> float:
    """CPU seconds used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    if sys.argv[1:2] == ["cluster"]:
        from benchmarks import cluster

        sys.argv.pop(1)
        cluster.main()
    else:
        main()
