"""Where the time of a task goes: microseconds of Redis by script and by command, of Python by module.

Redis: the slow log with a threshold of 0 holds each call with its time (scripts are distinguished by their
digest); INFO commandstats has the commands inside the scripts; LATENCY HISTOGRAM the spread of the calls.
Python: py-spy samples the worker from outside; a module's share of the samples is its share of the CPU time.
"""

from __future__ import annotations

import collections
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import redis

from benchmarks.contest import limit_loop, pytask_command, running
from benchmarks.growth import push_ids, spent, write_hashes
from benchmarks.place import ROOT, server, wait
from benchmarks.results import Row
from pytask.adapters.redis import scripts
from pytask.adapters.redis.lua import declared

OUTSIDE = "no Python frame: event loop, kernel"
SAMPLES = 1000  # a second


def profile(count: int, cache: Path | None) -> list[Row]:
    """One drain with the slow log on, and one that is sampled, if there is a `cache` for the sampler."""
    rows = redis_rows(count)
    return rows + python_rows(count, sampler(cache)) if cache else rows


def redis_rows(count: int) -> list[Row]:
    """Microseconds of the server a task."""
    with server() as (url, client), running(pytask_command(url), dict(os.environ), ROOT) as (_, workers):
        wait(lambda: client.zcard("pytask:leases") >= 1)
        write_hashes(client, "noop", count, '{"n":1}')
        client.config_set("slowlog-max-len", 1_000_000)
        client.config_set("slowlog-log-slower-than", 0)
        client.config_resetstat()
        client.slowlog_reset()
        before = spent(client, [workers[0].pid])[1]
        push_ids(client, count)
        wait(lambda: client.zcard("pytask:index:ENDED") == count)
        whole = spent(client, [workers[0].pid])[1] - before
        client.config_set("slowlog-log-slower-than", -1)
        rows = [Row("Redis, CPU, us a task (slow log on)", f"{whole / count * 1e6:.1f}")]
        rows.append(Row("  us a task by the clock, which other work on the machine inflates:", ""))
        rows += [
            Row(f"  {name}", f"{us / count:.2f}")
            for name, us in calls(client).most_common()
            if us > 0.05 * count
        ]
        return rows + inside(client, count) + spread(client)


def calls(client: redis.Redis) -> collections.Counter[str]:
    """Microseconds by script, from the slow log (which also has the commands inside: not counted here)."""
    names = {client.script_load(script.source[0]): script.name for script in declared(scripts)}
    seen: collections.Counter[str] = collections.Counter()
    for entry in client.slowlog_get(1_000_000):
        words = entry["command"].decode(errors="replace").split(" ", 2)
        if words[0].upper() == "EVALSHA":
            seen[f"{names.get(words[1], words[1])}.lua"] += entry["duration"]
    return seen


def inside(client: redis.Redis, count: int) -> list[Row]:
    """Commands, those inside the scripts among them: microseconds and calls a task."""
    found = client.info("commandstats")
    own = {name.removeprefix("cmdstat_"): each for name, each in found.items()}
    dear = sorted(own, key=lambda name: -own[name]["usec"])
    return [
        Row(
            f"  command {name}", f"{own[name]['usec'] / count:.2f} us, {own[name]['calls'] / count:.2f} calls"
        )
        for name in dear
        if own[name]["usec"] > 0.1 * count and name not in {"slowlog|get", "evalsha"}
    ]


def spread(client: redis.Redis) -> list[Row]:
    """LATENCY HISTOGRAM of the scripts: how long one call holds the server."""
    answer = client.execute_command("LATENCY", "HISTOGRAM", "evalsha")
    if not answer:
        return []
    pairs = answer[b"evalsha"] if isinstance(answer, dict) else answer[1]
    fields = pairs if isinstance(pairs, dict) else dict(zip(pairs[::2], pairs[1::2], strict=True))
    buckets = fields[b"histogram_usec"]
    flat = (
        list(buckets.items())
        if isinstance(buckets, dict)
        else list(zip(buckets[::2], buckets[1::2], strict=True))
    )
    return [Row("  longest script call, us, at most", f"{max(bound for bound, _ in flat):,}")]


def python_rows(count: int, spy: Path) -> list[Row]:
    """Microseconds of the worker's CPU a task, by the module whose line was being run."""
    with (
        server() as (url, client),
        running(pytask_command(url), dict(os.environ), ROOT) as (_, workers),
        tempfile.TemporaryDirectory() as folder,
    ):
        wait(lambda: client.zcard("pytask:leases") >= 1)
        write_hashes(client, "noop", count, '{"n":1}')
        pid, stacks = workers[0].pid, Path(folder) / "stacks"
        words = [
            "record",
            "--pid",
            pid,
            "--format",
            "raw",
            "--rate",
            SAMPLES,
            "--output",
            stacks,
            "--nonblocking",
        ]
        watch = subprocess.Popen(
            [str(spy), *map(str, words)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        time.sleep(1.5)
        before = spent(client, [pid])[0]
        push_ids(client, count)
        wait(lambda: client.zcard("pytask:index:ENDED") == count)
        whole = (spent(client, [pid])[0] - before) / count * 1e6
        watch.send_signal(2)
        watch.wait(30)
        leaves = by_module(stacks.read_text())
    total = sum(leaves.values())
    rows = [
        Row("Python, CPU, us a task", f"{whole:.1f}"),
        Row("  (the limit loop)", f"{limit_loop(count)[1] / count * 1e6:.1f}"),
    ]
    return rows + [
        Row(f"  {name}", f"{samples / total * whole:.1f}")
        for name, samples in leaves.most_common(16)
        if samples > 0.01 * total
    ]


def by_module(stacks: str) -> collections.Counter[str]:
    """Samples by the innermost frame's module."""
    seen: collections.Counter[str] = collections.Counter()
    for line in stacks.splitlines():
        frames, _, samples = line.rpartition(" ")
        leaf = frames.rpartition(";")[2]
        path = leaf.partition("(")[2].rpartition(":")[0]
        seen["/".join(path.split("/")[-3:]) or OUTSIDE] += int(samples)
    return seen


def sampler(cache: Path) -> Path:
    """Py-spy, in an environment of its own."""
    home = cache / "spy"
    if not (home / "bin/py-spy").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        subprocess.run([str(home / "bin/python"), "-m", "pip", "install", "--quiet", "py-spy"], check=True)
    return home / "bin/py-spy"
