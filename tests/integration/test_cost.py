"""What a task costs in Redis commands, calls and bytes, at default settings: counted, never timed.

The counters are the server's own.  A machine that is busy makes batches of ends smaller, and lets more of
the worker's steady traffic (renewals, sweeps) pass meanwhile: nothing that depends on it is asserted.
"""

import os
import subprocess
import sys

import gevent
import pytest
import redis

from tests.integration.conftest import PATIENCE, ROOT, wait_until

TASKS = """
from pytask import Task

class Noop(Task):
    class Config:
        NAME = "noop"

    def start(self):
        return None
"""
BATCH = 256
COUNT = 16 * BATCH
ONCE = ("hstrlen", "persist")  # commands that every task costs once, and nothing else uses
IDLE = 0.05  # of the commands a task, for what does not come from tasks


class Worker:
    """`pytask run` as anybody starts it, and the server's count of what it sends."""

    def __init__(self, server, folder):
        self.client = redis.Redis.from_url(server.url, decode_responses=True)
        self.ended = set()
        self._ear = self.client.pubsub(ignore_subscribe_messages=True)
        self._ear.psubscribe("task-job-*")
        wait_until(lambda: self.client.pubsub_numpat() >= 1)
        self._listener = gevent.spawn(self._listen)
        program = folder / "tasks.py"
        program.write_text(TASKS)
        command = [sys.executable, "-m", "pytask", "run", str(program), "--redis", server.url]
        environ = os.environ | {"PYTHONPATH": str(ROOT)}
        self._start = lambda: subprocess.Popen(
            command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.process = None

    def start(self):
        self.process = self._start()

    def close(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait(PATIENCE)
        self._listener.kill()
        self._ear.close()
        self.client.close()

    def _listen(self):
        # What is heard costs the server no input, so nothing has to be asked while it counts.
        while True:
            message = self._ear.get_message(timeout=1.0)
            if message is not None and message["data"].startswith('{"event":"ended"'):
                self.ended.add(message["channel"].removeprefix("task-"))

    def push(self, *ids):
        pipe = self.client.pipeline(transaction=False)
        for task_id in ids:
            pipe.hset(task_id, mapping={"function": "noop", "data": '{"n": 1}'})
        pipe.execute()
        self.client.lpush("new-task", *ids)

    def counted(self):
        """Calls of each command since `reset`, and bytes received."""
        bytes_in = self.client.info("stats")["total_net_input_bytes"]
        stats = self.client.info("commandstats")
        calls = {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in stats.items()}
        return calls, bytes_in

    def reset(self):
        self.client.config_resetstat()


@pytest.fixture
def worker(server, tmp_path):
    made = Worker(server, tmp_path)
    yield made
    made.close()


@pytest.fixture
def drained(worker):
    """A queue that was full before the worker came, and the counts when it is empty."""
    ids = [f"job-{number:05}" for number in range(COUNT)]
    for at in range(0, COUNT, 1000):
        worker.push(*ids[at : at + 1000])
    worker.reset()
    worker.start()
    wait_until(lambda: len(worker.ended) == COUNT, 120)
    return worker.counted()


def test_what_a_drained_task_costs(drained):
    calls, bytes_in = drained
    # Each of these calls of a task is meant: think twice before you raise a number.
    assert {name: calls[name] for name in ONCE} == dict.fromkeys(ONCE, COUNT)
    for name, each in {"hmget": 2, "hset": 2, "hdel": 1, "publish": 2}.items():
        assert each * COUNT <= calls[name] <= (each + IDLE) * COUNT, (name, calls[name])
    for name in ("zrem", "zadd", "lrange", "lindex", "lrem", "exists", "del", "rpush", "get", "hget"):
        assert calls.get(name, 0) <= (0.2 if name == "lindex" else IDLE) * COUNT, (name, calls)
    # Claims come in full batches, and one look at the queue was enough: each claim brings the next ids.
    assert calls["ltrim"] == COUNT / BATCH
    assert calls["lindex"] <= 2 * BATCH
    # A task's key, run and kind, twice; its run id is 38 to 41 bytes, its id 9.
    assert bytes_in / COUNT < 160, bytes_in


def test_a_task_on_an_idle_worker_costs_a_wait_a_claim_and_a_commit(worker):
    worker.start()
    worker.push("job-first")
    wait_until(lambda: "job-first" in worker.ended)
    worker.reset()
    ids = [f"job-{number}" for number in range(40)]
    for task_id in ids:
        worker.push(task_id)
        wait_until(lambda: task_id in worker.ended)  # noqa: B023 - asked at once
    calls, _ = worker.counted()
    # Nothing was looked for: the wait brought the id, and the claim said that nothing is behind it.
    # (Each ten seconds there is a look at what is parked.)
    assert calls.get("lindex", 0) < len(ids)
    assert {name: calls[name] for name in (*ONCE, "ltrim")} == dict.fromkeys((*ONCE, "ltrim"), len(ids))
    assert calls["set"] == len(ids)  # the record of a claim; there is none for one in vain


def test_a_worker_that_waits_in_vain_writes_nothing(worker):
    """Behind each wait it sends a claim, which takes nothing then."""
    worker.start()
    worker.push("job-first")
    wait_until(lambda: "job-first" in worker.ended)
    worker.reset()
    wait_until(lambda: worker.counted()[0].get("blmove", 0) >= 3)
    calls, _ = worker.counted()
    assert calls.get("set", 0) == 0, calls  # the record of a claim
    assert calls["evalsha"] >= 3
