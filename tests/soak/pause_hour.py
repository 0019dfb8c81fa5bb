"""A pause in real time: a real server, a real worker, and its leases looked at every second.

python -m tests.soak.pause_hour --seconds 3600 --tasks 100
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import redis

from pytask import Client
from tests.support.servers import start_server

TASKS = """
from pytask import Task, run_loop

class Ticking(Task):
    class Config:
        NAME = "ticking"
    def start(self):
        run_loop(lambda: self.redis.incr("ticks"), 1)
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--tasks", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, start_server("valkey") as server:
        Path(folder, "ticking.py").write_text(TASKS)
        words = [sys.executable, "-m", "pytask", "run", "ticking.py", "--redis", server.url]
        here = {"PYTHONPATH": str(Path(__file__).parents[2])}
        worker = subprocess.Popen(words, cwd=folder, env=os.environ | here)
        try:
            watch(server.url, options)
        finally:
            worker.send_signal(signal.SIGTERM)
            worker.wait(60)


def watch(url, options):
    ids = [f"t{number}" for number in range(options.tasks)]
    with redis.Redis.from_url(url, decode_responses=True) as raw, Client(url) as client:
        for task_id in ids:
            client.start("ticking", {}, id=task_id)
        reach(lambda: all(raw.hget(task_id, "run") for task_id in ids))
        runs = [raw.hget(task_id, "run") for task_id in ids]
        client.pause_many(ids)
        reach(lambda: not any(raw.hget(task_id, "control") for task_id in ids))
        ticks, until, oldest = raw.get("ticks"), time.monotonic() + options.seconds, 0.0
        while time.monotonic() < until:
            time.sleep(1)
            seconds, micros = raw.time()
            leases = raw.zmscore("pytask:leases", ids)
            oldest = max(oldest, seconds + micros / 1e6 - min(leases) / 1e6)
        assert raw.get("ticks") == ticks, "a round began while it was paused"
        assert [raw.hget(task_id, "run") for task_id in ids] == runs, "a run was lost"
        client.start_again_many(ids)
        reach(lambda: raw.get("ticks") != ticks)
        assert [raw.hget(task_id, "run") for task_id in ids] == runs
    print(f"{options.tasks} tasks were paused for {options.seconds:g} s; the oldest lease: {oldest:.1f} s")


def reach(holds, seconds=60):
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.1)


if __name__ == "__main__":
    main()
