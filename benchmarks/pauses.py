"""How soon a paused task goes on after its resume, while 10,000 are paused.

python -m benchmarks pauses
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence

import redis

from benchmarks.place import fill, ready, server, wait, worker_process
from benchmarks.results import Row
from pytask import Client

TASKS = 10_000
RESUMED = 300  # of them, one after the other
LIMIT = 100.0  # ms, p99


def measured(share: float) -> Iterator[Row]:
    """The rows."""
    tasks = max(200, int(TASKS * share))
    resumed = max(50, int(RESUMED * share))
    yield from _rows(f"{tasks:,} paused runs: resume until the gate opens", running(tasks, resumed))
    yield from _rows(f"{tasks:,} paused tasks wait: resume until the run begins", waiting(tasks, resumed))


def _rows(what: str, seconds: Sequence[float]) -> Iterator[Row]:
    found = sorted(seconds)
    p50, p99 = (1000 * found[min(len(found) - 1, int(len(found) * part))] for part in (0.5, 0.99))
    yield Row(f"{what}, ms, p50 of {len(found)}", f"{p50:.1f}")
    yield Row("  p99", f"{p99:.1f}", f"<= {LIMIT:g}")


def running(tasks: int, resumed: int) -> list[float]:
    """Runs that stand at their gate."""
    with (
        server() as (url, raw),
        worker_process(url, "--max-tasks", str(tasks + 100)),
        Client(url) as client,
    ):
        ready(raw)
        fill(raw, "gated", tasks)
        wait(lambda: raw.hlen("pytask:runs") > tasks)
        ids = [f"job-{number}" for number in range(tasks)]
        client.pause_many(ids)
        wait(lambda: not any(_controls(raw, ids)))
        return [_resumed(raw, client, task_id, "passed") for task_id in ids[:: max(1, tasks // resumed)]]


def waiting(tasks: int, resumed: int) -> list[float]:
    """Tasks in the paused set."""
    with server() as (url, raw), Client(url) as client:
        fill(raw, "sleeper", tasks)
        ids = [f"job-{number}" for number in range(tasks)]
        client.pause_many(ids)
        with worker_process(url, "--max-tasks", str(tasks + 100)):
            ready(raw)
            return [_resumed(raw, client, task_id, "running") for task_id in ids[:: max(1, tasks // resumed)]]


def _controls(raw: redis.Redis, ids: Sequence[str]) -> Iterator[bytes | None]:
    for at in range(0, len(ids), 1000):
        pipe = raw.pipeline(transaction=False)
        for task_id in ids[at : at + 1000]:
            pipe.hget(task_id, "control")
        yield from pipe.execute()


def _resumed(raw: redis.Redis, client: Client, task_id: str, event: str) -> float:
    """Seconds from the call until the event."""
    with raw.pubsub(ignore_subscribe_messages=True) as heard:
        heard.subscribe(f"task-{task_id}")
        heard.get_message(timeout=1)
        began = time.perf_counter()
        client.start_again(task_id)
        wait(lambda: _is(heard.get_message(timeout=1), event), step=0)
        return time.perf_counter() - began


def _is(message: dict[str, bytes] | None, event: str) -> bool:
    return message is not None and json.loads(message["data"])["event"] == event
