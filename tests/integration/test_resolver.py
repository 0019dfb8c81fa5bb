"""A worker's connections do not wait for the native threads that its tasks keep busy."""

import json
import subprocess
import sys
from pathlib import Path

import redis

from tests.integration.conftest import wait_until
from tests.servers import start_server

ROOT = Path(__file__).parents[2]
TARGET = """
import os, socket
import gevent
from pytask import Task

class Busy(Task):
    class Config:
        NAME = "busy"

    def start(self):
        pool = gevent.get_hub().threadpool
        ours, theirs = os.pipe()
        calls = [pool.spawn(os.read, ours, 1) for _ in range(pool.maxsize)]
        gevent.sleep(0.1)
        # By name, which the default resolver would look up in that same pool.
        socket.create_connection(("localhost", self.task_data["port"]), timeout=20).close()
        resolver = type(gevent.get_hub().resolver).__module__
        busy = [not call.ready() for call in calls]
        os.close(theirs)  # lets them go
        return {"resolver": resolver, "still busy": busy}
"""


def test_full_native_threads_do_not_hold_up_a_connection(tmp_path):

    target = tmp_path / "busy.py"
    target.write_text(TARGET)
    with start_server("valkey", "--save", "") as server:
        client = redis.Redis(port=server.port, decode_responses=True)
        client.hset("b", mapping={"function": "busy", "data": json.dumps({"port": server.port})})
        client.lpush("new-task", "b")
        command = [sys.executable, "-m", "pytask", "run", str(target), "--redis", server.url]
        worker = subprocess.Popen(command, cwd=ROOT)
        try:
            wait_until(lambda: client.hget("b", "state") in ("ENDED", "ERROR"), 40)
            output = json.loads(client.hget("b", "output") or "{}")
        finally:
            worker.terminate()
            worker.wait(30)
    assert output == {"resolver": "gevent.resolver.ares", "still busy": [True] * 10}
