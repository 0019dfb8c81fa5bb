"""The bare loop that we are measured against must do the same work, or the ratio means nothing."""

import subprocess
import sys
from pathlib import Path

import redis

from benchmarks.place import fill
from tests.servers import start_server

ROOT = Path(__file__).parents[2]


def test_the_bare_loop_runs_every_task_to_its_end():
    with start_server("valkey", "--save", "") as server:
        client = redis.Redis(port=server.port, decode_responses=True)
        fill(client, "noop", 700)
        subprocess.run([sys.executable, "-m", "benchmarks.limit", server.url], cwd=ROOT, check=True)
        assert client.zcard("pytask:index:ENDED") == 700
        assert client.hget("job-699", "state") == "ENDED"
        assert client.llen("new-task") == client.hlen("pytask:runs") == client.zcard("pytask:leases") == 0
        client.close()
