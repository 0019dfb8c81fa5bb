"""A worker's connections do not wait for the native threads that its tasks keep busy."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from tests.integration.conftest import wait_until
from tests.support.servers import HOST, start_server

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
            worker.wait(60)
    assert output == {"resolver": "pytask.runtime.process.resolver", "still busy": [True] * 10}


NAME = "redis.test"
NAMESPACE = ("unshare", "--mount", "--propagation", "private")


def in_a_namespace_with(resolv_conf, *command):
    """A command for which that file is /etc/resolv.conf; it may be rewritten meanwhile."""
    bind = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
    return [*NAMESPACE, "sh", "-c", bind, str(resolv_conf), *map(str, command)]


@pytest.mark.skipif(os.geteuid() != 0, reason="a mount namespace and port 53 are root's")
def test_name_servers_that_change_are_asked(tmp_path):
    """They were not there at boot, as on a machine whose network comes up late."""
    target = tmp_path / "busy.py"
    target.write_text(TARGET)
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text("nameserver 127.99.0.1\n")  # nobody listens there
    with start_server("valkey", "--save", "") as server:
        command = [sys.executable, "-m", "pytask", "run", target, "--redis", f"redis://{NAME}:{server.port}"]
        log = tmp_path / "log"
        program = ROOT / "tests" / "support" / "dns.py"
        dns = subprocess.Popen([sys.executable, program, "127.99.0.2", NAME, HOST])
        with log.open("wb") as output:
            worker = subprocess.Popen(in_a_namespace_with(resolv_conf, *command), cwd=ROOT, stderr=output)
        client = redis.Redis(port=server.port, decode_responses=True)
        try:
            wait_until(lambda: f"waits for Redis {NAME}" in log.read_text(), 40)
            resolv_conf.write_text("nameserver 127.99.0.2\n")
            wait_until(lambda: client.hlen("pytask:workers:info") == 1, 40, log.read_text)
        finally:
            worker.terminate()
            worker.wait(60)
            dns.kill()
            dns.wait()
