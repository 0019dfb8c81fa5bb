"""Coroutines beside greenlets, in turns: what one costs while it waits, to stop, to hand over, and to end.

python -m benchmarks aio
"""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Iterator

import redis

from benchmarks.growth import push_ids, spent, write_hashes
from benchmarks.place import ready, rss, server, wait, worker_process
from benchmarks.results import Row

TASKS = 50_000
NOOPS = 20_000
KINDS = ("aio-", "")  # before the names of the tasks


def measured(times: int, share: float) -> Iterator[Row]:
    """The rows."""
    tasks, noops = int(TASKS * share), int(NOOPS * share)
    held = {kind: kept(f"{kind}sleeper", tasks) for kind in KINDS}
    own, theirs = held["aio-"], held[""]
    yield Row(f"memory of one of {tasks:,} coroutine tasks, kB", f"{own['kB']:.2f}", "<= 2.5")
    yield Row("  of a greenlet task", f"{theirs['kB']:.2f}")
    yield Row("CPU of the worker to start one, us", f"{own['start']:.0f}")
    yield Row("  a greenlet task", f"{theirs['start']:.0f}")
    yield Row(f"stop all {tasks:,}, until the last is STOPPED, s", f"{own['stop']:.2f}", "<= 3")
    yield Row("  greenlet tasks", f"{theirs['stop']:.2f}")
    yield Row(
        "  CPU of the worker to stop one, coroutine / greenlet, us",
        f"{own['stop CPU']:.0f} / {theirs['stop CPU']:.0f}",
    )
    handed = {kind: handed_over(f"{kind}sleeper", tasks) for kind in KINDS}
    yield Row(f"SIGTERM with {tasks:,}: until the process has ended, s", f"{handed['aio-']:.1f}", "<= 25")
    yield Row("  greenlet tasks", f"{handed['']:.1f}")
    rates: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    for _ in range(times):
        for kind in KINDS:
            rates[kind].append(drained(f"{kind}noop", noops))
    rate, cost = zip(*((_median(rates[kind], 0), _median(rates[kind], 1)) for kind in KINDS), strict=True)
    yield Row(
        f"drain of {noops:,} no-ops, coroutines / greenlets, tasks/s", f"{rate[0]:,.0f} / {rate[1]:,.0f}"
    )
    yield Row("  the ratio", f"{rate[0] / rate[1]:.2f}", ">= 0.5")
    yield Row("  CPU of the worker, us a task", f"{cost[0]:.0f} / {cost[1]:.0f}")


def _median(seen: list[tuple[float, float]], at: int) -> float:
    return statistics.median(one[at] for one in seen)


def _running(client: redis.Redis, count: int) -> None:
    wait(lambda: client.hlen("pytask:runs") >= count, 300)


def kept(function: str, count: int) -> dict[str, float]:
    """Tasks that wait, and then are stopped all together."""
    with (
        server() as (url, raw),
        worker_process(url, "--max-tasks", str(count + 10), "--no-monitor") as pid,
    ):
        wait(lambda: raw.pubsub_numsub("pytask:hint")[0][1] > 0)
        warm(raw, function)
        write_hashes(raw, function, count, '{"n":1}')
        memory, (cpu, _) = rss(pid), spent(raw, [pid])
        push_ids(raw, count)
        _running(raw, count)
        time.sleep(3)  # the collector, and the committer's buffers
        found = {
            "kB": (rss(pid) - memory) / count / 1000,
            "start": (spent(raw, [pid])[0] - cpu) / count * 1e6,
        }
        ids = [key.decode() for key in raw.hkeys("pytask:runs")]
        began, (cpu, _) = time.monotonic(), spent(raw, [pid])
        with raw.pipeline(transaction=False) as pipe:
            for task_id in ids:
                pipe.publish(f"task-{task_id}-control", "stop")
            pipe.execute()
        wait(lambda: raw.hlen("pytask:runs") == 0, 120)
        found["stop"] = time.monotonic() - began
        found["stop CPU"] = (spent(raw, [pid])[0] - cpu) / count * 1e6
        return found


def warm(raw: redis.Redis, function: str) -> None:
    """One task of the kind, stopped again: the thread, the loop and their modules are there."""
    raw.hset("warm", mapping={"function": function, "data": "{}"})
    raw.lpush("new-task", "warm")
    _running(raw, 1)
    raw.publish("task-warm-control", "stop")
    wait(lambda: raw.hlen("pytask:runs") == 0)


def handed_over(function: str, count: int) -> float:
    """Seconds from SIGTERM until the process has ended, and all tasks wait."""
    with server() as (url, raw):
        with worker_process(url, "--max-tasks", str(count + 10), "--no-monitor") as pid:
            wait(lambda: raw.pubsub_numsub("pytask:hint")[0][1] > 0)
            write_hashes(raw, function, count, '{"n":1}')
            push_ids(raw, count)
            _running(raw, count)
            began = time.monotonic()
            os.kill(pid, signal.SIGTERM)
        seconds = time.monotonic() - began
        if raw.llen("new-task") != count:
            raise SystemExit(f"benchmark: {raw.llen('new-task')} of {count} tasks were handed back")
        return seconds


def drained(function: str, count: int) -> tuple[float, float]:
    """Tasks a second, and microseconds of the worker's CPU a task."""
    with server() as (url, raw), worker_process(url) as pid:
        ready(raw)
        write_hashes(raw, function, count, '{"n":1}')
        time.sleep(0.5)
        (cpu, _), began = spent(raw, [pid]), time.monotonic()
        push_ids(raw, count)
        wait(lambda: raw.zcard("pytask:index:ENDED") == count, 300, step=0.005)
        seconds = time.monotonic() - began
        return count / seconds, (spent(raw, [pid])[0] - cpu) / count * 1e6
