"""Tasks of many small groups: what they cost Redis, and whether two of a group ever ran at the same time.

The witness is outside Redis: each task takes a lock of the operating system on a file of its group, and notes
where another one has it.  Other tasks are compared, with and without groups, by the processor time of Redis.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import redis

from benchmarks.place import ROOT, ready, server, wait, worker_process
from benchmarks.results import Row

GROUPS, EACH = 10_000, 10
SERIAL = "benchmarks/group_tasks.py"
WORKERS = 2
PATIENCE = 1800.0  # seconds
KINDS = ("plain", "push", "plain start", "start")


def measured(times: int, share: float) -> Iterator[Row]:
    """The rows."""
    groups = max(10, int(GROUPS * share))
    tasks = groups * EACH
    found = [dict(costs(groups)) for _ in range(times)]
    for plain, kind, name in (
        ("plain", "push", "HSET and LPUSH"),
        ("plain start", "start", "Client.start_many"),
    ):
        alone = statistics.median(one[plain] for one in found)
        yield Row(f"CPU of Redis a task, {tasks:,} without a group by {name}, us", f"{alone * 1e6:.1f}")
        ratio = statistics.median(one[kind] / one[plain] for one in found)
        yield Row(f"  of {groups:,} groups of limit 1, as a multiple", f"{ratio:.2f}", "<= 1.6")
    ran, overlaps = witnessed(groups)
    yield Row(f"  runs seen outside Redis, of {tasks:,}", f"{ran:,}", f"= {tasks:,}")
    yield Row("  of them beside another of their group", f"{overlaps}", "0")


def costs(groups: int) -> Iterator[tuple[str, float]]:
    """Seconds of Redis a task, for each way to start them; one worker, from the first push to the end."""
    for kind in KINDS:
        with server() as (url, client), worker_process(url):
            ready(client)
            client.hset("pytask:limits", "group:*", 1)
            before = seconds_of(client)
            started(client, url, kind, groups, "noop")
            ended(client, groups * EACH)
            yield kind, (seconds_of(client) - before) / (groups * EACH)


def witnessed(groups: int) -> tuple[int, int]:
    """How many tasks ran, and how many of them beside another of their group; two workers."""
    with tempfile.TemporaryDirectory() as folder, server() as (url, client), ExitStack() as stack:
        environment = os.environ | {"GROUP_LOCKS": folder}
        words = ["run", SERIAL, "--redis", url, "--log-level", "warning", "--processes", str(WORKERS)]
        worker = subprocess.Popen([sys.executable, "-m", "pytask", *words], cwd=ROOT, env=environment)
        stack.callback(worker.wait, 60)
        stack.callback(worker.terminate)
        wait(lambda: client.zcard("pytask:workers") == WORKERS)
        client.hset("pytask:limits", "group:*", 1)
        started(client, url, "push", groups // 2, "serial")
        started(client, url, "start", groups - groups // 2, "serial", first=groups // 2)
        ended(client, groups * EACH)
        assert not client.hlen("pytask:slotted"), "a slot is left over"
        assert not client.hlen("pytask:runners"), "a runner is left over"
        ran = [json.loads(line) for path in Path(folder).glob("ran-*") for line in path.open()]
        assert len({task for task, _ in ran}) == len(ran)
        return len(ran), sum(beside for _, beside in ran)


def started(client: redis.Redis, url: str, kind: str, groups: int, function: str, *, first: int = 0) -> None:
    """Start the tasks, those of a group far apart."""
    names = [(n, g) for n in range(EACH) for g in range(first, first + groups)]
    if kind in ("start", "plain start"):
        from pytask.client import Client, New

        with Client(url) as starter:
            group = "g{}".format if kind == "start" else lambda _: None
            starter.start_many(New(function, {"g": g}, group=group(g)) for _, g in names)
        return
    for at in range(0, len(names), 1000):
        pipe = client.pipeline(transaction=False)
        part = names[at : at + 1000]
        for n, g in part:
            fields = {"function": function, "data": f'{{"g":{g}}}'}
            pipe.hset(f"{kind}-{g}-{n}", mapping=fields | ({"group": f"g{g}"} if kind == "push" else {}))
        pipe.lpush("new-task", *(f"{kind}-{g}-{n}" for n, g in part))
        pipe.execute()


def ended(client: redis.Redis, count: int) -> None:
    """Wait until all have ended."""
    wait(lambda: client.zcard("pytask:index:ENDED") == count, timeout=PATIENCE, step=0.2)


def seconds_of(client: redis.Redis) -> float:
    """The processor time of Redis."""
    found = client.info("cpu")
    return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])
