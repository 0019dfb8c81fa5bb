"""How many files the tasks of a worker may open, and that its own connections do not depend on them."""

import subprocess
import sys

from tests.support.cli_tools import ROOT
from tests.support.servers import start_server

PROGRAM = """
from gevent import monkey
monkey.patch_all()
import gevent, os, resource, sys
import redis
from pytask import files
from pytask.adapters.redis.clients import own_client

resource.setrlimit(resource.RLIMIT_NOFILE, (300, 600))
files.raise_limit(10_000)
print("soft", files.limit())
theirs = redis.Redis(port=int(sys.argv[1]), socket_connect_timeout=1, retry=None)
ours = own_client(theirs, timeout=3, name="ours")
gevent.sleep(0.01)  # the event loop has what it needs
held = []
while True:
    try:
        held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        break
try:
    theirs.ping()
except redis.ConnectionError as error:
    print("theirs", "Too many open files" in str(error))
print("ours", ours.ping(), files.limit())
"""


def test_a_worker_reaches_redis_when_its_tasks_have_opened_all_they_may():
    with start_server("valkey") as server:
        said = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(server.port)],
            check=True,
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
    assert said.stdout.splitlines() == ["soft 536", "theirs True", "ours True 536"], said
