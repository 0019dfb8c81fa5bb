"""Measure what grows with the number of running tasks, and what a worker costs that has none.

    python -m benchmarks.scale [many|control|sweep|emits|idle|io ...]

Each part is a function that yields (measure, seen, bar).  A worker is `pytask run` with default settings;
where more than 10,000 tasks run at once it gets the places for them.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import redis

from benchmarks.contest import run_limit
from benchmarks.place import ROOT, cpu, fill, push, rss, server, wait

TASKS = "benchmarks/scale_tasks.py"
ROUND = 5.0  # seconds: each run is renewed once
Row = tuple[str, str, str]


# -- 100,000 at once, and their renewals --------------------------------------------------------------


def many(count: int = 100_000, rounds: int = 4) -> Iterator[Row]:
    """Tasks that run at once in one process: start, memory, rest; then what a round of renewals costs."""
    with server() as (url, client), worker(url, "--max-tasks", str(count + 10)) as pid:
        settled(client, 1)
        time.sleep(1)
        before = rss(pid)
        fill(client, "sleeper", count)
        wait(lambda: client.zcard("pytask:leases") == count + 1, step=0.2)
        yield f"{count:,} tasks started, s", f"{spread(client, count):.1f}", "<= 15"
        time.sleep(3 * ROUND)
        client.config_set("slowlog-log-slower-than", 1000)
        client.slowlog_reset()
        client.config_resetstat()
        mine, theirs, began = cpu(pid), redis_cpu(client), time.perf_counter()
        time.sleep(rounds * ROUND)
        took = time.perf_counter() - began
        mine, theirs = cpu(pid) - mine, redis_cpu(client) - theirs
        yield "memory of a task, kB", f"{(rss(pid) - before) / count / 1000:.1f}", "<= 14"
        yield "a core at rest, %", f"{mine / took * 100:.1f}", "<= 5"
        yield "a round of renewals, worker CPU, s", f"{mine / took * ROUND:.2f}", "<= 0.1"
        yield "a round of renewals, Redis CPU, s", f"{theirs / took * ROUND:.2f}", "<= 0.5"
        yield "longest command of Redis, ms", f"{slowest(client):.1f}", "<= 5"
        found = ask(client, "stall", {"seconds": rounds * ROUND})
        yield "event loop, longest stall, ms", f"{found['worst'] * 1000:.1f}", "<= 5"
        yield "event loop, p99.9 of stalls, ms", f"{found['p999'] * 1000:.1f}", ""
        began = time.perf_counter()
        os.kill(pid, signal.SIGTERM)
        wait(lambda: client.zcard("pytask:leases") == 0, step=0.1)
        yield (
            f"SIGTERM with {count:,} running: all returned to the queue, s",
            f"{time.perf_counter() - began:.1f}",
            "<= 25",
        )


# -- control ------------------------------------------------------------------------------------------


def control(count: int = 10_000, samples: int = 1000) -> Iterator[Row]:
    """From PUBLISH stop to the `stopped` event, one at a time; then everything at once."""
    with server() as (url, client), worker(url, "--max-tasks", str(count + 10)):
        settled(client, 1)
        fill(client, "sleeper", count)
        wait(lambda: client.zcard("pytask:leases") == count + 1)
        time.sleep(ROUND)
        seen = sorted(stop_times(client, samples))
        name = f"PUBLISH stop to `stopped`, {count:,} running"
        yield f"{name}, p50, ms", f"{seen[samples // 2] * 1000:.2f}", "<= 2"
        yield f"{name}, p99, ms", f"{seen[-samples // 100] * 1000:.2f}", "<= 10"
        fill(client, "sleeper", samples)
        wait(lambda: client.zcard("pytask:leases") == count + 1)
        time.sleep(ROUND)
        began = time.perf_counter()
        for at in range(0, count, 1000):
            pipe = client.pipeline(transaction=False)
            for i in range(at, at + 1000):
                pipe.publish(f"task-job-{i}-control", "stop")
            pipe.execute()
        wait(lambda: client.zcard("pytask:index:STOPPED") == count, step=0.01)
        yield f"stop all {count:,}, s", f"{time.perf_counter() - began:.2f}", "<= 3"


def stop_times(client: redis.Redis, samples: int) -> list[float]:
    """Seconds from just before the PUBLISH to the arrival of the event."""
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    pubsub.psubscribe("task-job-*")
    pubsub.get_message(timeout=1)
    found = []
    for i in range(samples):
        began = time.perf_counter()
        client.publish(f"task-job-{i}-control", "stop")
        while (message := pubsub.get_message(timeout=10)) is None or b"stopped" not in message["data"]:
            if time.perf_counter() - began > 10:
                raise SystemExit(f"benchmark: job-{i} was not stopped")
        found.append(time.perf_counter() - began)
        time.sleep(0.003)
    pubsub.close()
    return found


# -- the monitor's sweep ------------------------------------------------------------------------------


def sweep(count: int = 1_000_000, dead: int = 10_000, sweeps: int = 50) -> Iterator[Row]:
    """A monitor's sweep over a million runs: none dead, and with 10,000 dead (T goes by on a moved clock)."""
    with server() as (url, client):
        running(client, count, dead)
        with worker(url, "--no-monitor", "--max-tasks", "1"):
            wait(lambda: client.zcard("pytask:workers") == 1)
            listen = client.pubsub(ignore_subscribe_messages=True)
            listen.subscribe("task-sweeps")
            renewed(client, 0, count)
            push(client, "sweeps", "sweeps", json.dumps({"quiet": sweeps}))
            while (message := listen.get_message(timeout=30)) is None or b"swept" not in message["data"]:
                pass
            client.zadd("pytask:leases", {f"run-{i}": 1 for i in range(dead)})
            client.set("the-dead", 1)
            found = finished(client, "sweeps", 60)
            queued = client.llen("new-task") + client.zcard("pytask:leases") - (count - dead)
        quiet = statistics.median(found["quiet"]) * 1000
        yield f"monitor's sweep, {count:,} running, none dead, ms", f"{quiet:.2f}", "<= 2"
        yield f"monitor's sweep, {dead:,} dead requeued, s", f"{found['dead']:.2f}", "<= 1"
        yield "... back in the queue, or taken again", f"{queued:,}", f"{dead:,}"


def running(client: redis.Redis, count: int, dead: int) -> None:
    """What a million runs leave in Redis: the hashes of those that will be dead, and the registry of all."""
    step = 10_000
    for at in range(0, count, step):
        ids = [f"run-{i}" for i in range(at, at + step)]
        client.hset("pytask:runs", mapping={task_id: f"{at:032}:{i}" for i, task_id in enumerate(ids)})
    now = int(time.time() * 1000)
    for at in range(0, dead, 1000):
        pipe = client.pipeline(transaction=False)
        for i in range(at, at + 1000):
            run = f"{i // step * step:032}:{i % step}"
            fields = {"function": "sleeper", "data": "{}", "state": "RUNNING", "run": run, "epoch": now}
            pipe.hset(f"run-{i}", mapping=fields)
        pipe.execute()


def renewed(client: redis.Redis, first: int, count: int) -> None:
    """Leases as if just renewed; a little ahead, so that they stay good for longer than the benchmark."""
    score = int((time.time() + 4.5) * 1e6)
    pipe = client.pipeline(transaction=False)
    for at in range(first, first + count, 10_000):
        pipe.zadd("pytask:leases", {f"run-{i}": score for i in range(at, at + 10_000)})
    pipe.execute()


# -- events -------------------------------------------------------------------------------------------


def emits(rate: int = 10_000, seconds: int = 10) -> Iterator[Row]:
    """Events from one worker: batched, and no wait for the task; then with a Redis that stands still."""
    with server() as (url, client), worker(url) as pid:
        settled(client, 1)
        with counted(client, "task-emit") as events:
            client.config_resetstat()
            mine, theirs = cpu(pid), redis_cpu(client)
            found = ask(client, "emitter", {"rate": rate, "seconds": seconds}, "emit")
            wait(lambda: len(events) >= rate * seconds + 2)
        calls = client.info("commandstats")["cmdstat_evalsha"]["calls"]
        mine, theirs = cpu(pid) - mine, redis_cpu(client) - theirs
        yield (
            f"{rate:,} emits a second: seen, a second",
            f"{rate * seconds / found['took']:,.0f}",
            f"{rate:,}",
        )
        yield "events a call to Redis", f"{rate * seconds / calls:.0f}", "batched"
        yield "longest emit(), ms", f"{found['longest'] * 1000:.2f}", "no wait for Redis"
        yield (
            "CPU of the worker / of Redis, %",
            f"{mine / seconds * 100:.0f} / {theirs / seconds * 100:.0f}",
            "",
        )
    yield from frozen(rate)


def frozen(rate: int, seconds: int = 10) -> Iterator[Row]:
    """Redis holds all writes for a while: what becomes of the memory, and of the task's code."""
    for policy in ("wait", "drop"):
        with server() as (url, client), worker(url, env={"WHEN_FULL": policy}) as pid:
            settled(client, 1)
            with counted(client, "task-emit") as events:
                push(client, "emit", "emitter", json.dumps({"rate": rate, "seconds": seconds}))
                wait(lambda: len(events) > 1000)
                before = rss(pid)
                client.execute_command("CLIENT", "PAUSE", 5000, "WRITE")
                time.sleep(4.5)
                grown = rss(pid) - before
                found = finished(client, "emit", 60)
                time.sleep(0.5)
            name = f"writes held for 5 s, {policy}"
            yield f"{name}: memory grown, MB", f"{grown / 1e6:.1f}", "bounded"
            yield f"{name}: longest emit(), ms", f"{found['longest'] * 1000:.1f}", ""
            yield f"{name}: events seen of {rate * seconds:,}", f"{len(events) - 2:,}", ""


# -- at rest ------------------------------------------------------------------------------------------


def idle(starts: int = 5, seconds: float = 60, python: str = sys.executable) -> Iterator[Row]:
    """A worker without tasks: from its start to the first claim, memory, CPU."""
    took = []
    for _ in range(starts):
        with server() as (url, client):
            push(client, "first", "sleeper")
            began = time.time()
            with worker(url, python=python):
                wait(lambda: client.hget("first", "epoch") is not None, step=0.005)
                took.append(int(client.hget("first", "epoch")) / 1000 - began)
    yield "start to first claim, s", f"{statistics.median(took):.2f}", "<= 0.6"
    with server() as (url, client), worker(url, python=python) as pid, bare(python) as other:
        settled(client, 1)
        time.sleep(5)
        used, began = (cpu(pid), cpu(other)), time.perf_counter()
        time.sleep(seconds)
        took = time.perf_counter() - began
        ours, theirs = ((cpu(one) - before) / took for one, before in zip((pid, other), used, strict=True))
        yield "an idle worker, memory, MB", f"{rss(pid) / 1e6:.1f}", "<= 40"
        yield "… a process with gevent and redis-py, MB", f"{rss(other) / 1e6:.1f}", ""
        yield "an idle worker, % of a core", f"{ours * 100:.2f}", "<= 0.3"
        yield "… that process, four sleeps a second, at the same time, %", f"{theirs * 100:.2f}", ""


@contextlib.contextmanager
def bare(python: str) -> Iterator[int]:
    """A process that loads what a worker needs and does nothing but sleep; its pid."""
    code = (
        "from gevent import monkey; monkey.patch_all(); import gevent, redis\nwhile True: gevent.sleep(0.25)"
    )
    process = subprocess.Popen([python, "-c", code])
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


# -- waiting for others -------------------------------------------------------------------------------


def io(count: int = 5000, places: int = 1000, tries: int = 3) -> Iterator[Row]:
    """Tasks of 100 ms, 1,000 at once: how near to the time that the waiting alone takes."""

    def share() -> float:
        first = min(int(client.hget(f"job-{i}", "epoch")) for i in range(300)) / 1000
        last = client.zrange("pytask:index:ENDED", -1, -1, withscores=True)[0][1]
        return 0.1 * count / places / (last - first) * 100

    ours, limit = [], []
    for _ in range(tries):
        with server() as (url, client):
            fill(client, "io", count)
            with worker(url, "--max-tasks", str(places)):
                wait(lambda: client.zcard("pytask:index:ENDED") == count)
            ours.append(share())
        with server() as (url, client):
            fill(client, "noop", count)  # the only function that the loop knows
            run_limit(url, count, str(places), "0.1")
            limit.append(share())
    yield f"{count:,} tasks of 100 ms, {places:,} at once, % of the ideal", f"{max(ours):.0f}", ">= 90"
    yield "… the limit loop, in turns", f"{max(limit):.0f}", ""


def as_installed(cache: Path) -> str:
    """A Python with what `pip install pytaskd` brings: redis-py loads more where it finds more."""
    home = cache / "pytask"
    if not (home / "bin/python").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
    # Again each time, or it would be the code of an earlier run that is measured.
    subprocess.run([str(home / "bin/python"), "-m", "pip", "install", "--quiet", str(ROOT)], check=True)
    return str(home / "bin/python")


PARTS = {"many": many, "control": control, "sweep": sweep, "emits": emits, "idle": idle, "io": io}


# -- what they share ----------------------------------------------------------------------------------


@contextlib.contextmanager
def worker(
    url: str, *options: str, env: dict[str, str] | None = None, python: str = sys.executable
) -> Iterator[int]:
    """`pytask run`; its pid."""
    command = [python, "-m", "pytask", "run", TASKS, "--redis", url, "--log-level", "error"]
    process = subprocess.Popen([*command, *options], cwd=ROOT, env=os.environ | (env or {}))
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def settled(client: redis.Redis, leases: int) -> None:
    """Wait until `count` runs are registered, including the worker's monitor."""
    wait(lambda: client.zcard("pytask:leases") == leases)


def spread(client: redis.Redis, count: int) -> float:
    """Seconds from the first claim to the last, by the clock of Redis."""
    epochs: list[int] = []
    for at in range(0, count, 10_000):
        pipe = client.pipeline(transaction=False)
        for i in range(at, at + 10_000):
            pipe.hget(f"job-{i}", "epoch")
        epochs += map(int, pipe.execute())
    return (max(epochs) - min(epochs)) / 1000


def redis_cpu(client: redis.Redis) -> float:
    """CPU seconds that the server used so far, in its main thread."""
    info = client.info("cpu")
    return float(info["used_cpu_user_main_thread"] + info["used_cpu_sys_main_thread"])


def slowest(client: redis.Redis) -> float:
    """Milliseconds of the longest command; what is under 1 ms counts as 1."""
    return max([1000, *(entry["duration"] for entry in client.slowlog_get(1000))]) / 1000


def ask(client: redis.Redis, function: str, data: dict, task_id: str = "asked") -> dict:
    """Run one task to its end; its output."""
    push(client, task_id, function, json.dumps(data))
    return finished(client, task_id, data.get("seconds", 0) + 60)


def finished(client: redis.Redis, task_id: str, timeout: float) -> dict:
    """The output of a task that is awaited."""
    wait(lambda: client.hget(task_id, "state") in (b"ENDED", b"ERROR"), timeout)
    if client.hget(task_id, "state") == b"ERROR":
        raise SystemExit(f"benchmark: {client.hget(task_id, 'error').decode()}")
    return json.loads(client.hget(task_id, "output"))


@contextlib.contextmanager
def counted(client: redis.Redis, channel: str) -> Iterator[list[bytes]]:
    """The messages of a channel, as they come."""
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe(channel)
    pubsub.get_message(timeout=1)
    found: list[bytes] = []
    pubsub.subscribe(**{channel: lambda message: found.append(message["data"])})
    thread = pubsub.run_in_thread(sleep_time=0.1, daemon=True)
    try:
        yield found
    finally:
        thread.stop()
        thread.join(5)


def main() -> None:
    """The parts that are asked for, or all."""
    for name in sys.argv[1:] or PARTS:
        for measure, seen, bar in PARTS[name]():
            print(f"{measure:<60} {seen:>14}   {bar}", flush=True)


if __name__ == "__main__":
    main()
