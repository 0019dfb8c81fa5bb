"""What `self.save` costs Redis: commands that the server counted, with tasks that save and with others.

python -m benchmarks saves
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

import redis

from benchmarks.place import fill, ready, server, wait, worker_process
from benchmarks.results import Row

TASKS = 1000
PERIODS = 6  # renewals that are watched
HEARTBEAT = 5.0  # seconds, of the default timing


class Counted(NamedTuple):
    """What the server did meanwhile."""

    renewals: float  # of one task
    writes: float  # HSETs of the hash of one task
    calls: float  # of scripts, per second
    cpu: float  # seconds of Redis, per task and renewal


def measured(share: float) -> Iterator[Row]:
    """The rows."""
    tasks = max(20, int(TASKS * share))
    idle, busy = counted("sleeper", tasks, "{}"), counted("saver", tasks, '{"pause": 1.0}')
    yield Row(f"{tasks:,} tasks save once a second: writes of a task per renewal", f"{each(busy):.2f}")
    yield Row("  of as many that do not save", f"{each(idle):.2f}")
    yield Row("  more writes per task and renewal", f"{each(busy) - each(idle):.2f}", "<= 1")
    yield Row("  script calls per second, with and without saves", f"{busy.calls:.1f}, {idle.calls:.1f}")
    yield Row(
        "  Redis per task and renewal, us, with and without", f"{1e6 * busy.cpu:.1f}, {1e6 * idle.cpu:.1f}"
    )


def each(found: Counted) -> float:
    """Writes per task and renewal."""
    return found.writes / found.renewals


def counted(function: str, tasks: int, data: str) -> Counted:
    """What the server counts while so many tasks of one worker run."""
    with server() as (url, client), worker_process(url):
        ready(client)
        fill(client, function, tasks, data)
        wait(lambda: client.hlen("pytask:runs") > tasks)
        time.sleep(HEARTBEAT)
        before = stats(client)
        time.sleep(PERIODS * HEARTBEAT)
        after = stats(client)
    took = after["at"] - before["at"]
    renewals = took / HEARTBEAT
    return Counted(
        renewals=renewals,
        writes=(after["hset"] - before["hset"]) / tasks,
        calls=(after["evalsha"] - before["evalsha"]) / took,
        cpu=(after["cpu"] - before["cpu"]) / tasks / renewals,
    )


def stats(client: redis.Redis) -> dict[str, float]:
    """Calls so far, and processor time."""
    commands = client.info("commandstats")
    found = {name: commands.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("hset", "evalsha")}
    used = client.info("cpu")
    return found | {"cpu": used["used_cpu_user"] + used["used_cpu_sys"], "at": time.monotonic()}
