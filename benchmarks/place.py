"""What every measurement needs: a server, a worker, tasks in the queue, and ways to look at them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import redis

from tests.support.servers import start_server

ROOT = Path(__file__).parent.parent
TASKS = "benchmarks/tasks.py"
CACHE = Path.home() / ".cache" / "pytask-bench"  # environments, results


@contextlib.contextmanager
def server() -> Iterator[tuple[str, redis.Redis]]:
    """A fresh server and a client."""
    with start_server("valkey", "--save", "") as running_server:
        client = redis.Redis.from_url(running_server.url)
        try:
            yield running_server.url, client
        finally:
            client.close()


@contextlib.contextmanager
def worker_process(
    url: str, *options: str, env: dict[str, str] | None = None, target: str = TASKS
) -> Iterator[int]:
    """`pytask run` with defaults; its pid."""
    command = [sys.executable, "-m", "pytask", "run", target, "--redis", url, "--log-level", "warning"]
    process = subprocess.Popen([*command, *options], cwd=ROOT, env=os.environ | (env or {}))
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(60)


def push(client: redis.Redis, task_id: str, function: str, data: str = '{"n": 1}') -> None:
    pipe = client.pipeline(transaction=False)
    pipe.hset(task_id, mapping={"function": function, "data": data})
    pipe.lpush("new-task", task_id)
    pipe.execute()


def fill(client: redis.Redis, function: str, count: int, data: str = '{"n": 1}') -> None:
    """Push `count` tasks, the queue only when all hashes are there."""
    for at in range(0, count, 1000):
        pipe = client.pipeline(transaction=False)
        for i in range(at, min(at + 1000, count)):
            pipe.hset(f"job-{i}", mapping={"function": function, "data": data})
        pipe.execute()
    for at in range(0, count, 1000):
        client.lpush("new-task", *(f"job-{i}" for i in range(at, min(at + 1000, count))))


def wait(holds: Callable[[], bool], timeout: float = 120, step: float = 0.05) -> None:
    until = time.monotonic() + timeout
    while not holds():
        if time.monotonic() > until:
            raise SystemExit("benchmark: waited too long")
        time.sleep(step)


def ready(client: redis.Redis) -> None:
    """Wait for a worker's monitor: all is set up."""
    wait(lambda: client.zcard("pytask:leases") >= 1)


def rss(pid: int) -> int:
    """Resident memory, bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu(pid: int) -> float:
    """CPU seconds used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
