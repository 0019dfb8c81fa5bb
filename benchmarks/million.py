"""A million running tasks in one Redis: what it costs to renew their leases.

    python -m benchmarks million

Ten workers hold 100,000 runs each.  They are simulated: a process each, with the lease book and the store of
a real worker and the calls of its heartbeat, in chunks and with its pauses; no task code runs.  The runs are
written as a claim leaves them.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack

import redis

from benchmarks.place import ROOT, cpu, server
from benchmarks.results import Row
from pytask.adapters.redis.backend import RedisBackend
from pytask.domain.leases import Lease
from pytask.domain.lifecycle import RUNNING
from pytask.domain.record import RunRef
from pytask.domain.timing import Timing

RUNS, WORKERS = 1_000_000, 10
ROUNDS = 6  # in which each run is renewed once; a multiple of three, as each third one writes `last_update`
STEP = 2000
DATA = '{"feed": "https://feeds.example/news"}'


def measured(share: float) -> Iterator[Row]:
    """The rows."""
    each = max(100, int(RUNS * share) // WORKERS)
    runs = each * WORKERS
    with server() as (url, client), ExitStack() as stack:
        before = memory(client)
        fill(client, each)
        yield Row(
            f"{runs:,} running tasks: memory of Redis, bytes a task",
            f"{(memory(client) - before) / runs:.0f}",
        )
        workers = [stack.enter_context(worker(url, number, each)) for number in range(WORKERS)]
        for process in workers:
            said(process, "renewed")  # once: from here on they are spread over the round
        client.config_resetstat()
        period = Timing().heartbeat
        used, own, began = seconds_of(client), sum(cpu(one.pid) for one in workers), time.monotonic()
        time.sleep(ROUNDS * period)
        took = time.monotonic() - began
        used, own = seconds_of(client) - used, sum(cpu(one.pid) for one in workers) - own
        renewals = int(client.info("commandstats")["cmdstat_evalsha"]["calls"]) * 250
        late = client.zcount("pytask:leases", "-inf", oldest(client, 2 * period))
        yield Row("  renewed by 10 workers: a core of Redis, %", f"{100 * used / took:.0f}", "<= 70")
        yield Row("  leases older than two periods", f"{late:,}", "<= 0")
        yield Row("  Redis CPU a renewal, us", f"{1e6 * used / renewals:.2f}")
        yield Row("  CPU of a worker with a tenth of them, % of a core", f"{100 * own / took / WORKERS:.1f}")
        longest = max(entry["duration"] for entry in client.slowlog_get(128)) if client.slowlog_len() else 0
        yield Row("  longest command of Redis, ms", f"{longest / 1000:.1f}")


def fill(client: redis.Redis, each: int) -> None:
    """The runs of all workers."""
    client.config_set("slowlog-log-slower-than", 2000)
    seconds, micros = client.time()
    for number in range(WORKERS):
        for at in range(0, each, STEP):
            pipe = client.pipeline(transaction=False)
            refs = runs_of(number, at, min(at + STEP, each))
            for ref in refs:
                fields = {
                    "function": "feed", "data": DATA, "state": RUNNING, "run": ref.run, "attempts": 1,
                    "worker": f"worker-{number}", "epoch": seconds * 1000,
                    "last_update": f"{seconds}.{micros:06}",
                }  # fmt: skip
                pipe.hset(ref.id, mapping=fields)
            pipe.hset("pytask:runs", mapping={ref.id: ref.run for ref in refs})
            pipe.zadd("pytask:leases", {ref.id: seconds * 1_000_000 for ref in refs})
            pipe.execute()
    client.slowlog_reset()


def runs_of(number: int, first: int, last: int) -> list[RunRef]:
    """Some runs of a worker."""
    return [RunRef(f"feed-{number}-{at}", f"{number:020x}:{at}") for at in range(first, last)]


def worker(url: str, number: int, each: int) -> subprocess.Popen[str]:
    """A process that renews `each` runs."""
    words = [sys.executable, "-m", "benchmarks.million", url, str(number), str(each)]
    return Ended(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)


class Ended(subprocess.Popen[str]):
    """A process that is ended with its context."""

    def __exit__(self, *_: object) -> None:
        self.terminate()
        self.wait(60)


def said(process: subprocess.Popen[str], word: str) -> None:
    """Wait until a process prints this."""
    assert process.stdout is not None
    assert process.stdout.readline().strip() == word


def renew(url: str, number: int, each: int) -> None:
    """As the heartbeat of a worker does: the oldest first, a chunk a call, a pause between them."""
    store, lease = RedisBackend(redis.Redis.from_url(url)).store(), Lease(Timing())
    period = lease.timing.heartbeat
    now = time.monotonic()
    for at in range(0, each, 1000):  # as if it had claimed them over one period
        for ref in runs_of(number, at, min(at + 1000, each)):
            lease.living.add(ref, now - period * (1 - at / each))
    first, told = now, False
    while True:
        now = time.monotonic()
        if refs := lease.due(now):
            answers = store.renew(refs)
            assert not answers, answers
            lease.acknowledged(refs, now)
            time.sleep(lease.timing.tick / 500)
        else:
            time.sleep(lease.timing.tick)
        if not told and now - first > period + 1:
            print("renewed", flush=True)
            told = True


def memory(client: redis.Redis) -> int:
    """Bytes that Redis has in use."""
    return int(client.info("memory")["used_memory"])


def seconds_of(client: redis.Redis) -> float:
    """The processor time of Redis."""
    found = client.info("cpu")
    return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])


def oldest(client: redis.Redis, age: float) -> int:
    """The score of a lease that was renewed `age` seconds ago."""
    seconds, micros = client.time()
    return int((seconds - age) * 1_000_000 + micros)


if __name__ == "__main__":
    renew(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
