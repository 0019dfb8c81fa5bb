"""Whatever producers push, a real worker on a real server neither dies nor grows.

PYTASK_HOSTILE=10 draws ten times as much, and shrinks what fails.  PYTASK_HUGE_MB=512 makes the one
huge value that large.  A failure prints the pushes that led to it; the same seeds draw the same again.
"""

import contextlib
import json
import os
from pathlib import Path

import psutil
import pytest
import redis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.integration.conftest import PATIENCE, TAKEOVER, wait_until
from tests.support.hostile import pushes
from tests.support.servers import HOST

pytestmark = pytest.mark.slow

TIMES = float(os.environ.get("PYTASK_HOSTILE", "1"))
HUGE_MB = int(os.environ.get("PYTASK_HUGE_MB", "32"))
MB = 1 << 20
GROWTH = 8 * MB  # of a worker, over all that is pushed after the warm-up
WARM_UP, PUSHES = 4_000, 16_000
LONG = 60.0  # seconds for one batch, or one huge value, on a machine that does other things too
PHASES = [Phase.explicit, Phase.generate] + [Phase.shrink] * (TIMES > 1)


class Arena:
    """A server, a worker that also monitors, and a client that means harm.  A dead worker is replaced."""

    def __init__(self, server, workers):
        self.redis = redis.Redis(HOST, server.port)
        self._server, self._workers = server, workers
        self._numbers = iter(range(1_000_000_000))
        self.pushed = 0
        self.worker = None

    def start(self, *arguments):
        """A worker that takes tasks, hears control messages and sweeps."""
        self.worker = self._workers.start(self._server.url, "--monitor", *arguments)
        wait_until(
            lambda: self.worker.code is not None or self.redis.pubsub_channels("*pytask:ping:*"),
            why=lambda: self.worker.log,
        )
        self.good()

    def good(self, function="shot"):
        """The output of a task that means no harm, pushed behind all the others."""
        task_id = f"good-{next(self._numbers)}"
        with self.redis.pipeline() as pipe:
            pipe.hset(task_id, "function", function)
            pipe.lpush("new-task", task_id)
            pipe.execute()
        self.wait(lambda: self.redis.hget(task_id, "state") == b"ENDED", f"{task_id} to end")
        output = json.loads(self.redis.hget(task_id, "output"))
        self.redis.delete(task_id)
        return output

    def wait(self, holds, what):
        wait_until(
            lambda: self.worker.code is not None or holds(),
            LONG,
            lambda: (
                f"{what}; in the queue: {self.redis.lrange('new-task', -5, -1)}; {self.worker.log[-3000:]}"
            ),
        )
        assert self.worker.code is None, self.worker.log[-3000:]

    def drained(self):
        self.wait(lambda: self.redis.llen("new-task") == 0, "an empty queue")

    def attack(self, batch):
        """Push all of it; in the end a good task runs, and nothing is left of the rest."""
        if self.worker.code is not None:  # of an example before, when a failure is made smaller
            self.start()
        with self.redis.pipeline(transaction=False) as pipe:
            for push in batch:
                push.send(pipe)
            pipe.execute(raise_on_error=False)
        ids = [task_id for push in batch for task_id in push.copies]
        self.pushed += len(ids)
        self.good()
        self.drained()
        assert self.redis.llen("pytask:rejected") <= 1000
        assert "bug in pytask" not in self.worker.log
        self.redis.delete(*ids, b"unused")

    def measure(self):
        """(resident bytes, open files, living greenlets)."""
        greenlets = self.good("census")
        process = psutil.Process(self.worker.pid)
        return process.memory_info().rss, process.num_fds(), greenlets

    @contextlib.contextmanager
    def peak_below(self, most):
        """The worker's resident memory never grows by more than `most` bytes in this block."""
        before = psutil.Process(self.worker.pid).memory_info().rss
        self.worker_file("clear_refs").write_text("5")  # the peak counts from here
        yield
        lines = dict(line.split(":", 1) for line in self.worker_file("status").read_text().splitlines())
        grown = int(lines["VmHWM"].split()[0]) * 1024 - before
        print(f"peak: {grown / MB:.1f} MB above {before / MB:.1f} MB")
        assert grown < most, f"{grown / MB:.1f} MB"

    def worker_file(self, name):
        return Path("/proc") / str(self.worker.pid) / name


@pytest.fixture
def arena(server, workers):
    made = Arena(server, workers)
    yield made
    made.redis.close()


def fuzz(arena, number, least):
    """Batches drawn from seeds that count up from `number`, until `least` ids were pushed."""
    until = arena.pushed + least
    while arena.pushed < until:
        fuzz_once(arena, number)
        number += 1


def fuzz_once(arena, number):
    @seed(number)
    @settings(
        max_examples=5,
        deadline=None,
        database=None,
        phases=PHASES,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(pushes, min_size=30, max_size=30))
    def batches(batch):
        arena.attack(batch)

    batches()


def test_nothing_that_is_pushed_ends_a_worker_or_makes_it_grow(arena):
    arena.start()
    fuzz(arena, 1, WARM_UP)
    before = arena.measure()
    fuzz(arena, 1000, int(PUSHES * TIMES))
    # Made-up runs were taken for those of a worker that may live, and handed on when they showed no life.
    wait_until(
        lambda: arena.redis.hlen("pytask:runs") == 1 == arena.redis.zcard("pytask:leases"),  # the monitor
        2 * TAKEOVER + PATIENCE,
        lambda: arena.redis.hgetall("pytask:runs"),
    )
    arena.drained()
    after = arena.measure()
    print(f"{arena.pushed} pushes; (rss, files, greenlets) {before} -> {after}")
    assert after[0] - before[0] < GROWTH
    assert after[1] - before[1] <= 2
    assert after[2] - before[2] <= 2


linux = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are read from /proc")


@linux
def test_a_huge_value_is_refused_by_its_length_and_never_read(arena):
    arena.start("--max-data", 16 * MB)
    huge = bytes(HUGE_MB * MB)
    names = ["data", "function", "epoch", "crashes", "attempts", "run", "state", "control", "local"]
    with arena.peak_below(8 * MB):
        for name in names if HUGE_MB <= 64 else ["data"]:
            arena.redis.hset("huge", mapping={"function": "shot", "data": "{}"} | {name: huge})
            arena.redis.lpush("new-task", "huge")
            arena.redis.publish("task-huge-control", "stop")
            arena.drained()
            arena.wait(lambda: not arena.redis.hexists("pytask:runs", "huge"), "an end of it")
            if name == "data" and arena.redis.hget("huge", "state") == b"ERROR":
                error = arena.redis.hget("huge", "error")
                assert error == b"data has %d bytes, over the limit max_data=%d" % (len(huge), 16 * MB)
            arena.redis.delete("huge")
        arena.good()


@linux
def test_a_batch_of_large_data_comes_in_parts(arena):
    arena.start("--max-data", 4 * MB)
    ids = [f"large{number}" for number in range(60)]
    text = b'{"a":"%s"}' % (b"x" * (3 * MB))
    with arena.peak_below(40 * MB):  # of 180
        with arena.redis.pipeline(transaction=True) as pipe:
            for task_id in ids:
                pipe.hset(task_id, mapping={"function": "shot", "data": text})
            pipe.lpush("new-task", *ids)
            pipe.execute()
        arena.good()
        arena.wait(lambda: {arena.redis.hget(one, "state") for one in ids} == {b"ENDED"}, "an end of all")
        arena.drained()


@linux
def test_long_ids_are_seen_by_their_beginning(arena):
    arena.start()
    size = 4 * MB
    with arena.peak_below(8 * size):  # BLMOVE brings one at a time
        arena.redis.lpush("new-task", *(b"%02d" % number + b"x" * size for number in range(20)))
        arena.good()
        arena.drained()
    notes = [json.loads(note) for note in arena.redis.lrange("pytask:rejected", 0, -1)]
    assert {note["reason"] for note in notes} == {"id over 512 bytes"}
    assert {bytes.fromhex(note["id_hex"])[:3] for note in notes} == {b"%02dx" % n for n in range(20)}
    assert sum(map(len, arena.redis.lrange("pytask:rejected", 0, -1))) < 100_000
