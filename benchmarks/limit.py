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
from pytask.adapters.redis import scripts  # noqa: E402
from pytask.adapters.redis.lua import ScriptCall  # noqa: E402
from pytask.adapters.redis.scripts import ChangeKind  # noqa: E402
from pytask.domain.lifecycle import ENDED  # noqa: E402
from pytask.domain.timing import CLAIM_BATCH, COMMIT_BATCH  # noqa: E402

EVENT = b'{"event":"ended","data":{"output":null}}'
LINE = "RUNNING ENDED end w -"  # of the history, kept by tasks to which more happened than this
SESSION = "0" * 32
CLAIM_LINE, KEPT = " RUNNING claim w -", 16
RUNNING_EVENT = '{"event":"running","data":{"worker":"w","run":"', '","epoch":', "}}"


class Loop:
    """Claim, spawn, commit."""

    def __init__(self, url: str, places: int = 1 << 24, seconds: float = 0.0) -> None:
        self.places, self.seconds = places, seconds
        self.claims, self.ends = (redis.Redis.from_url(url, protocol=2) for _ in range(2))
        for script in (scripts.claim, scripts.commit):
            self.claims.script_load(script.source[0])
        self.server = self.claims.info("replication")["master_replid"]
        self.keys = Keys("")
        self.ended: list[tuple[str, str]] = []
        self.wake, self.room = Event(), Event()
        self.running = self.started = self.committed = 0

    def drain(self) -> int:
        """Run everything in the queue; returns how many."""
        committer = gevent.spawn(self.commit_all)
        while True:
            while self.running >= self.places:
                self.room.clear()
                self.room.wait()
            if not self.claim_batch(min(CLAIM_BATCH, self.places - self.running)):
                break
        while self.committed < self.started:
            gevent.sleep(0.001)
        committer.kill()
        return self.committed

    def claim_batch(self, most: int) -> bool:
        """Claim up to so many and start a greenlet for each; whether more wait."""
        call = scripts.claim(
            runs=self.keys.runs,
            leases=self.keys.leases,
            source=self.keys.queue,
            queue=self.keys.queue,
            timers=self.keys.timers,
            paused=self.keys.paused,
            paused_functions=self.keys.paused_functions,
            own=self.keys.own,
            indexes=self.keys.indexes,
            hashes=[],
            worker="w",
            max_data=1 << 24,
            max_saved=1 << 16,
            places=1,
            channel=self.keys.channel,
            server=self.server,
            space=0,
            look=1,
            session=SESSION,
            base=self.started,
            take=most,
            quiet=False,
            line=CLAIM_LINE,
            kept=KEPT,
            event=RUNNING_EVENT,
            rules=(),
            functions=["noop"],
            new_runs=[],
        )
        words, _, named, _ = self.claims.execute_command(*call.command())
        ids = named.decode().split("\n") if named else []
        for number, task_id in enumerate(ids, self.started + 1):
            gevent.spawn(self.task, task_id, f"{SESSION}:{number}")
        self.started += len(ids)
        self.running += len(ids)
        return len(words.split()) > 6 * len(ids)  # six words a task, then the length of the next id

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
                self.ends.execute_command(*self.commit_call(batch).command())
                self.committed += len(batch)

    def commit_call(self, batch: list[tuple[str, str]]) -> ScriptCall:
        """The ends of these."""
        return scripts.commit(
            runs=self.keys.runs,
            leases=self.keys.leases,
            queue=self.keys.queue,
            timers=self.keys.timers,
            paused=self.keys.paused,
            own=self.keys.own,
            indexes=self.keys.indexes,
            hashes=[task_id for task_id, _ in batch],
            channel=self.keys.channel,
            space=0,
            kept=KEPT,
            kinds=[ChangeKind(EVENT, ENDED, "done", line=LINE)],
            fields=[],
            change_runs=[run for _, run in batch],
            change_kinds=[1] * len(batch),
        )


if __name__ == "__main__":
    began = time.perf_counter()
    cpu = time.process_time()
    url, *waiting = sys.argv[1:]
    done = Loop(url, *(number(word) for number, word in zip((int, float), waiting, strict=False))).drain()
    print(done, time.perf_counter() - began, time.process_time() - cpu)
