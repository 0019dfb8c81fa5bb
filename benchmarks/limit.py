"""The limit: a bare gevent loop that sends exactly the Redis commands that a pytask worker sends.

The same scripts with the same keys and arguments in the same batches, and a greenlet spawned for each
task; no domain, no services, no settings.  What a worker reaches is reported as a share of this.
"""

from __future__ import annotations

import sys

from gevent import monkey

monkey.patch_all()

import time  # noqa: E402

import gevent  # noqa: E402
import redis  # noqa: E402

from pytask.adapters.keys import Keys  # noqa: E402
from pytask.adapters.store import load_script  # noqa: E402
from pytask.domain.lifecycle import ENDED, RESTING, RUNNING  # noqa: E402
from pytask.domain.messages import MAX_ID_BYTES  # noqa: E402
from pytask.domain.policy import CLAIM_BATCH, COMMIT_BATCH, QUARANTINE_FROM  # noqa: E402

EVENT = b'{"event":"ended","data":{"output":null}}'
HEAD, MIDDLE, TAIL = '{"event":"running","data":{"worker":"w","run":"', '","epoch":', "}}"


def drain(url: str) -> int:
    """Run everything in the queue; returns how many."""
    client = redis.Redis.from_url(url, protocol=2)
    keys = Keys("")
    scripts = ("peek", "claim", "commit")
    peek, claim, commit = (client.script_load(load_script(name)[0]) for name in scripts)
    server = client.info("replication")["master_replid"]
    settled: list[tuple[str, str]] = []
    counter = 0

    def task(task_id: str, run: str) -> None:
        settled.append((task_id, run))

    ids = client.execute_command("EVALSHA", peek, 1, keys.queue, CLAIM_BATCH, MAX_ID_BYTES)
    while ids:
        args: list = [RUNNING, "w", 1 << 24, 128, 1, keys.channel, HEAD, MIDDLE, TAIL, *RESTING]
        args += [QUARANTINE_FROM, server, 0, CLAIM_BATCH, MAX_ID_BYTES, 1, "noop"]
        runs = []
        for task_id in ids:
            counter += 1
            runs.append((task_id, f"{'0' * 32}:{counter}"))
        args += [run for _, run in runs]
        names = [keys.runs, keys.leases, keys.queue, *keys.indexes, *(task_id for task_id, _ in runs)]
        words, told = client.execute_command("EVALSHA", claim, len(names), *names, *args)
        ahead = words.split()[6 * len(ids) :]  # six words a task
        at = len(told) - sum(map(int, ahead))
        ids = []
        for length in map(int, ahead):
            ids.append(told[at : at + length])
            at += length
        gevent.joinall([gevent.spawn(task, *run) for run in runs])
        while settled:
            batch, settled[:] = settled[:COMMIT_BATCH], settled[COMMIT_BATCH:]
            args = [keys.channel, *RESTING, 0, 1, EVENT, ENDED, "done", 604800, 0]
            for _, run in batch:
                args += (run, 1)
            names = [keys.runs, keys.leases, keys.queue, *keys.indexes, *(task_id for task_id, _ in batch)]
            client.execute_command("EVALSHA", commit, len(names), *names, *args)
    return counter


if __name__ == "__main__":
    began = time.perf_counter()
    cpu = time.process_time()
    done = drain(sys.argv[1])
    print(done, time.perf_counter() - began, time.process_time() - cpu)
