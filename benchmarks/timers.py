"""Delayed tasks: how late they start among many others, and how quickly many that are due together drain."""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Iterator

import redis

from benchmarks.contest import pytask_command, running
from benchmarks.enqueueing import at
from benchmarks.place import ROOT, ready, server, wait
from benchmarks.results import Row

WAITING = 100_000
SECONDS, RATE = 20.0, 50  # of tasks that come due
TOGETHER = 10_000
HOUR = 3600.0
STEP = 0.002  # seconds between two looks at what has ended


def measured(times: int, share: float) -> Iterator[Row]:
    """The rows."""
    late = lateness(int(WAITING * share), SECONDS * share)
    waiting = f"{int(WAITING * share):,}"
    yield Row(f"delayed task, how late it starts, {waiting} others wait, p50, ms", f"{at(late, 0.5):.2f}")
    yield Row("  p99, ms", f"{at(late, 0.99):.2f}", "<= 50")
    pairs = list(drains(times, int(TOGETHER * share)))
    plain, due = (statistics.median(each) for each in zip(*pairs, strict=True))
    yield Row("drain of tasks that are pushed, tasks/s", f"{plain:,.0f}")
    yield Row("  that are due together", f"{due:,.0f}")
    yield Row("  as a share of those", f"{statistics.median(b / a for a, b in pairs):.2f}", ">= 0.8")


def lateness(waiting: int, seconds: float) -> list[float]:
    """Seconds from its time to the `start()` of each task, sorted; one worker, and `waiting` other timers."""
    with server() as (url, client), running(pytask_command(url), os.environ | {}, ROOT) as (marks, workers):
        ready(client)
        delay(client, "other", [time.time() + HOUR + number / 1000 for number in range(waiting)])
        wait(lambda: client.zcard("pytask:timers") == waiting)
        count = int(seconds * RATE)
        start = time.time() + 2
        delay(client, "due", [start + seconds * random.random() for _ in range(count)])
        marks.wait(count, workers, counts=False)
        return sorted(lag for _, lag in marks.records())


def drains(times: int, count: int) -> Iterator[tuple[float, float]]:
    """The rates of tasks that are pushed, and of as many that are due together, in turns; one worker."""
    with server() as (url, client), running(pytask_command(url), os.environ | {}, ROOT):
        ready(client)
        for number in range(times + 1):
            found = []
            for kind in ("push", "due"):
                client.delete("pytask:index:ENDED")
                began = time.time() + 1.5
                name = f"{kind}-{number}"
                if kind == "push":
                    write(client, name, [None] * count)
                    began = time.time()
                    push_all(client, name, count)
                else:
                    delay(client, name, [began + 1.5] * count, sent=False)
                    began += 1.5
                    wait(lambda: client.zcard("pytask:timers") == count, step=STEP)
                wait(lambda: client.zcard("pytask:index:ENDED") == count, step=STEP)
                found.append(count / (time.time() - began))
            if number:  # the first is for warming up
                yield found[0], found[1]


def delay(client: redis.Redis, name: str, times: list[float], *, sent: bool = True) -> None:
    """Tasks with these times, as any client writes them; with `sent` each marks how late it starts."""
    write(client, name, times, sent=sent)
    push_all(client, name, len(times))


def write(client: redis.Redis, name: str, times: list[float | None], *, sent: bool = False) -> None:
    """Their hashes."""
    for start in range(0, len(times), 1000):
        pipe = client.pipeline(transaction=False)
        for number, when in enumerate(times[start : start + 1000], start):
            fields = {"function": "noop", "data": f'{{"sent":{when}}}' if sent else '{"n":1}'}
            if when is not None:
                fields["not_before"] = f"{when:.6f}"
            pipe.hset(f"{name}-{number}", mapping=fields)
        pipe.execute()


def push_all(client: redis.Redis, name: str, count: int) -> None:
    """Their ids, a thousand a call."""
    for start in range(0, count, 1000):
        client.lpush("new-task", *(f"{name}-{number}" for number in range(start, min(start + 1000, count))))
