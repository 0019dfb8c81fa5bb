"""How cost grows: with what is queued, with what runs, with workers, and with the size of the data.

Costs are CPU time, microseconds a task, of the workers and of the server apart: unlike a rate they say the
same on a machine that is busy with other things.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import redis

from benchmarks.contest import Marks, pytask_command, running
from benchmarks.place import ROOT, rss, server, wait
from benchmarks.results import Row

QUEUED = (1_000, 10_000, 100_000)
RUNNING = (1_000, 10_000, 100_000)
WORKERS = (1, 2, 4, 8, 16)
SIZES = {100: 5_000, 1_000: 5_000, 10_000: 3_000, 100_000: 600, 1_000_000: 80}  # bytes: tasks
ROUND = 5.0  # seconds in which each run is renewed once


class Point(NamedTuple):
    """What a task costs at one place of a curve: microseconds of the workers and of the server; tasks/s."""

    x: int
    worker: float
    server: float
    rate: float = 0.0


def drained(count: int, workers: int = 1, size: int = 7) -> Point:
    """Workers that wait get `count` tasks at once."""
    with server() as (url, client), several(url, workers) as (marks, pids):
        wait(lambda: client.zcard("pytask:leases") >= workers)
        write_hashes(client, "noop", count, '{"n":"' + "x" * (size - 8) + '"}' if size > 8 else '{"n":1}')
        time.sleep(0.5)
        before = spent(client, pids)
        push_ids(client, count)
        wait(lambda: client.zcard("pytask:index:ENDED") == count, 300)
        own, theirs = (b - a for a, b in zip(before, spent(client, pids), strict=True))
        return Point(count, own / count * 1e6, theirs / count * 1e6, marks.rate())


def rested(count: int) -> dict[str, float]:
    """Tasks that run and do nothing: what starting each took, and what a renewal of each takes."""
    with server() as (url, client), several(url, 1, "--max-tasks", str(count + 10)) as (_, pids):
        wait(lambda: client.zcard("pytask:leases") >= 1)
        write_hashes(client, "sleeper", count, '{"n":1}')
        memory, before = rss(pids[0]), spent(client, pids)
        push_ids(client, count)
        wait(lambda: client.zcard("pytask:leases") == count + 1, 300)
        start = [(b - a) / count * 1e6 for a, b in zip(before, spent(client, pids), strict=True)]
        time.sleep(3 * ROUND)
        before, began = spent(client, pids), time.perf_counter()
        time.sleep(2 * ROUND)
        renewals = count * (time.perf_counter() - began) / ROUND
        renew = [(b - a) / renewals * 1e6 for a, b in zip(before, spent(client, pids), strict=True)]
        kilobytes = (rss(pids[0]) - memory) / count / 1000
        return {"x": count, "start": start, "renew": renew, "memory": kilobytes}


@contextlib.contextmanager
def several(url: str, workers: int, *options: str) -> Iterator[tuple[Marks, list[int]]]:
    """So many workers, and their pids."""
    with running(pytask_command(url, *options), dict(os.environ), ROOT, workers) as (marks, processes):
        yield marks, [process.pid for process in processes]


def spent(client: redis.Redis, pids: list[int]) -> tuple[float, float]:
    """CPU seconds of the workers and of the server so far; nanoseconds of resolution for the former."""
    threads = (path for pid in pids for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))
    info = client.info("cpu")
    own = sum(int(path.read_text().split()[0]) for path in threads) / 1e9
    return own, info["used_cpu_user"] + info["used_cpu_sys"]


def write_hashes(client: redis.Redis, function: str, count: int, data: str) -> None:
    """Everything but the ids in the queue."""
    step = max(1, min(1000, 1_000_000 // len(data)))
    for at in range(0, count, step):
        pipe = client.pipeline(transaction=False)
        for i in range(at, min(at + step, count)):
            pipe.hset(f"job-{i}", mapping={"function": function, "data": data})
        pipe.execute()


def push_ids(client: redis.Redis, count: int) -> None:
    """All of them, a thousand a call."""
    for at in range(0, count, 1000):
        client.lpush("new-task", *(f"job-{i}" for i in range(at, min(at + 1000, count))))


# -- the curves ---------------------------------------------------------------------------------------


def curves(share: float) -> dict[str, list]:
    """All of them, by name; `share` cuts the numbers of a short form."""
    top = max(1_000, int(100_000 * share))
    found: dict[str, list] = {"queued": [], "workers": [], "data": [], "running": []}
    for count in (each for each in QUEUED if each <= top):
        found["queued"].append(printed("queued", drained(count)))
    for workers in WORKERS:
        found["workers"].append(printed("workers", drained(int(20_000 * share), workers)._replace(x=workers)))
    for size, count in SIZES.items():
        found["data"].append(printed("data", drained(max(20, int(count * share)), 1, size)._replace(x=size)))
    for count in (each for each in RUNNING if each <= top):
        found["running"].append(printed("running", rested(count)))
    return found


def printed(name: str, point: Any) -> Any:
    """Show where we are."""
    print(f"  {name}: {point}", flush=True)
    return point


def grown(found: dict[str, list]) -> Iterator[Row]:
    """Rows: what the last point of each curve costs in terms of the first (of 10,000 for the queue)."""
    for name, unit in (("queued", "queued"), ("workers", "workers"), ("data", "bytes of data")):
        points = [Point(*each) for each in found[name]]
        first, last = points[0], points[-1]
        yield Row(
            f"{last.x:,} {unit}: worker, us a task ({first.x:,}: {first.worker:.0f})", f"{last.worker:.0f}"
        )
        yield Row(
            f"{last.x:,} {unit}: Redis, us a task ({first.x:,}: {first.server:.0f})", f"{last.server:.0f}"
        )
    first, last = found["running"][0], found["running"][-1]
    for index, who in enumerate(("worker", "Redis")):
        for what in ("start", "renew"):
            name = f"{last['x']:,} running: {who}, us a {what} ({first['x']:,}: {first[what][index]:.1f})"
            yield Row(name, f"{last[what][index]:.1f}")


# -- several processes --------------------------------------------------------------------------------


def processes(rounds: int, count: int) -> dict[int, list[Point]]:
    """1, 2 and 4 worker processes, in turns."""
    found: dict[int, list[Point]] = {1: [], 2: [], 4: []}
    for _ in range(rounds):
        for workers, seen in found.items():
            seen.append(printed("processes", drained(count, workers)._replace(x=workers)))
    return found


def shared(found: dict[int, list[Point]], cores: int) -> Iterator[Row]:
    """The rows: rates, and what contention costs, as CPU time of worker and server for a task."""
    costs = {n: statistics.median(each.worker + each.server for each in seen) for n, seen in found.items()}
    for workers, seen in found.items():
        rate = statistics.median(each.rate for each in seen)
        yield Row(f"drain by {workers} worker processes ({cores} cores in all), tasks/s", f"{rate:,.0f}")
        if workers > 1:
            extra = max(0.0, (costs[workers] / costs[1] - 1) * 100)
            yield Row(f"  contention of {workers}: more CPU a task, %", f"{extra:.0f}", "<= 15")
