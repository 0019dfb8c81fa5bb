"""The limit: a bare gevent loop that sends exactly the Redis commands that a pytask worker sends.

The same scripts with the same keys and arguments in the same batches, claims on one connection and ends
on another so that Redis and Python work at once, and a greenlet spawned for each task; no domain, no
services, no settings.  What a worker reaches is reported as a share of this.

    python -m benchmarks.limit URL [PLACES SECONDS]      so many at once, each of which waits so long
"""

from __future__ import annotations

import sys

from gevent import monkey

monkey.patch_all()

import time  # noqa: E402

import gevent  # noqa: E402
import redis  # noqa: E402
from gevent.event import Event  # noqa: E402

from pytask.adapters.keys import Keys  # noqa: E402
from pytask.adapters.store import load_script  # noqa: E402
from pytask.domain.lifecycle import ENDED, RESTING, RUNNING  # noqa: E402
from pytask.domain.messages import MAX_ID_BYTES  # noqa: E402
from pytask.domain.policy import CLAIM_BATCH, COMMIT_BATCH, QUARANTINE_FROM  # noqa: E402

EVENT = b'{"event":"ended","data":{"output":null}}'
LINE = "RUNNING ENDED end w -"  # of the history, kept by tasks to which more happened than this
HISTORY = (" RUNNING claim w -", 16)
HEAD, MIDDLE, TAIL = '{"event":"running","data":{"worker":"w","run":"', '","epoch":', "}}"


class Loop:
    """Claim, spawn, commit."""

    def __init__(self, url: str, places: int = 1 << 24, seconds: float = 0.0) -> None:
        self.places, self.seconds = places, seconds
        self.claims, self.ends = (redis.Redis.from_url(url, protocol=2) for _ in range(2))
        scripts = ("peek", "claim", "commit")
        self.peek, self.claim, self.commit = (self.claims.script_load(load_script(s)[0]) for s in scripts)
        self.server = self.claims.info("replication")["master_replid"]
        self.keys = Keys("")
        self.fixed = [self.keys.runs, self.keys.leases, self.keys.queue, *self.keys.indexes]
        self.ended: list[tuple[str, str]] = []
        self.wake, self.room = Event(), Event()
        self.running = self.started = self.committed = 0

    def drain(self) -> int:
        """Run everything in the queue; returns how many."""
        committer = gevent.spawn(self.commit_all)
        look = ("EVALSHA", self.peek, 1, self.keys.queue, CLAIM_BATCH, MAX_ID_BYTES)
        ids = self.claims.execute_command(*look)
        while ids:
            while self.running >= self.places:
                self.room.clear()
                self.room.wait()
            ids = self.claim_batch([raw.decode() for raw in ids[: self.places - self.running]])
        while self.committed < self.started:
            gevent.sleep(0.001)
        committer.kill()
        return self.committed

    def claim_batch(self, ids: list[str]) -> list[bytes]:
        """Claim these and start a greenlet for each; the ids behind them."""
        args: list = [RUNNING, "w", 1 << 24, 128, 1, self.keys.channel, HEAD, MIDDLE, TAIL, *RESTING]
        args += [QUARANTINE_FROM, self.server, 0, CLAIM_BATCH, MAX_ID_BYTES, 1, "noop"]
        runs = [f"{'0' * 32}:{self.started + number}" for number in range(len(ids))]
        names = [*self.fixed, *ids]
        words, told = self.claims.execute_command(
            "EVALSHA", self.claim, len(names), *names, *args, *runs, *HISTORY
        )
        self.started += len(ids)
        self.running += len(ids)
        for task in zip(ids, runs, strict=True):
            gevent.spawn(self.task, *task)
        behind = [int(length) for length in words.split()[6 * len(ids) :]]  # six words a task
        at = len(told) - sum(behind)
        found = []
        for length in behind:
            found.append(told[at : at + length])
            at += length
        return found

    def task(self, task_id: str, run: str) -> None:
        """What a no-op task comes to, or one that waits."""
        if self.seconds:
            gevent.sleep(self.seconds)
        self.ended.append((task_id, run))
        self.running -= 1
        self.wake.set()
        self.room.set()

    def commit_all(self) -> None:
        """Send the ends that wait, again and again."""
        while True:
            self.wake.wait()
            self.wake.clear()
            while self.ended:
                batch, self.ended[:] = self.ended[:COMMIT_BATCH], self.ended[COMMIT_BATCH:]
                args: list = [self.keys.channel, *RESTING, 0, 1, EVENT, ENDED, "done", 604800, LINE, 0]
                for _, run in batch:
                    args += (run, 1)
                names = [*self.fixed, *(task_id for task_id, _ in batch)]
                self.ends.execute_command("EVALSHA", self.commit, len(names), *names, *args, HISTORY[1])
                self.committed += len(batch)


if __name__ == "__main__":
    began = time.perf_counter()
    cpu = time.process_time()
    url, *waiting = sys.argv[1:]
    done = Loop(url, *(number(word) for number, word in zip((int, float), waiting, strict=False))).drain()
    print(done, time.perf_counter() - began, time.process_time() - cpu)
