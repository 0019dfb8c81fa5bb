"""What a line of a task's log and a `self.progress()` cost, and what it costs to have logs at all.

Everything is a difference: the same tasks on a worker with `--task-logs 1000` and on one without, which also
formats each line for its own log (thrown away here).
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator

import redis

from benchmarks.growth import push_ids, spent, write_hashes
from benchmarks.place import ROOT, TASKS, server, wait
from benchmarks.results import Row

TASKS_AT_ONCE, TIMES, PAUSE = (
    200,
    300,
    0.02,
)  # tasks, lines of each, seconds between two: 10,000 lines a second
RING = 1000
OFF, ON = (), ("--task-logs", str(RING))


@contextlib.contextmanager
def worker(url: str, client: redis.Redis, options: tuple[str, ...]) -> Iterator[int]:
    """A worker that waits; its pid."""
    command = [sys.executable, "-m", "pytask", "run", TASKS, "--redis", url, *options]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ.copy(), stderr=subprocess.DEVNULL)
    try:
        wait(lambda: client.zcard("pytask:leases") >= 1)
        yield process.pid
    finally:
        process.terminate()
        process.wait(60)


def used(function: str, count: int, data: dict, options: tuple[str, ...]) -> tuple[float, float, int]:
    """CPU seconds of the worker and of Redis for `count` tasks, and the lines that are kept then."""
    with server() as (url, client), worker(url, client, options) as pid:
        write_hashes(client, function, count, json.dumps(data))
        before = spent(client, [pid])
        push_ids(client, count)
        wait(lambda: client.zcard("pytask:index:ENDED") == count, 300)
        own, theirs = (b - a for a, b in zip(before, spent(client, [pid]), strict=True))
        pipe = client.pipeline(transaction=False)
        for number in range(count):
            pipe.llen(f"pytask:log:job-{number}")
        return own, theirs, sum(pipe.execute())


def chat(what: str, options: tuple[str, ...]) -> tuple[float, float, int]:
    """Many tasks that say something again and again."""
    return used("chatter", TASKS_AT_ONCE, {"what": what, "times": TIMES, "pause": PAUSE}, options)


def measured(rounds: int, drained: int) -> Iterator[Row]:
    """A line, a progress, and a drain, each beside the same without."""
    said = TASKS_AT_ONCE * TIMES
    cases = {
        "nothing": lambda: chat("nothing", OFF),
        "off": lambda: chat("log", OFF),
        "on": lambda: chat("log", ON),
        "progress": lambda: chat("progress", OFF),
        "drain": lambda: used("noop", drained, {"n": 1}, OFF),
        "drain, on": lambda: used("noop", drained, {"n": 1}, ON),
        "a line each": lambda: used("chatter", drained, {"what": "log", "times": 1}, OFF),
        "a line each, on": lambda: used("chatter", drained, {"what": "log", "times": 1}, ON),
    }
    seen: dict[str, list[tuple[float, float, int]]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            seen[name].append(case())
    own, theirs = ({n: statistics.median(one[i] for one in s) for n, s in seen.items()} for i in (0, 1))

    def both(name: str, beside: str, count: int) -> str:
        mine, other = (1e6 * (side[name] - side[beside]) / count for side in (own, theirs))
        return f"{mine:.1f} and {other:.2f}"

    pairs = (
        (f"a line kept, {said / TIMES / PAUSE:,.0f} a second", "on", "off", said),
        (f"a progress, {said / TIMES / PAUSE:,.0f} calls a second", "progress", "nothing", said),
        ("a no-op task, as logs are on and nothing is logged", "drain, on", "drain", drained),
        ("a task of one line, as it is kept", "a line each, on", "a line each", drained),
    )
    for measure, name, beside, count in pairs:
        yield Row(f"{measure}: CPU more of the worker and of Redis, us", both(name, beside, count))
    alone = (1e6 * side["drain"] / drained for side in (own, theirs))
    yield Row(
        "a no-op task, logs off: CPU of the worker and of Redis, us", " and ".join(f"{n:.1f}" for n in alone)
    )
    kept = min(found[2] for found in seen["on"])
    yield Row("lines kept of those logged, %", f"{100 * kept / said:.0f}")
