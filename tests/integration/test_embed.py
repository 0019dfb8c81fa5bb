"""docs/recipes/embed.md: its programs run as they stand, its cells as a notebook runs them."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import psutil
import pytest
import redis

from tests.support.cli_tools import ROOT, Started, environment, pytask, until
from tests.support.servers import HOST, free_port, start_server

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "recipes" / "embed.md").read_text("utf-8")
BLOCKS = dict(
    re.findall(r"^```python\n# ([\w. ]+?)(?: --[^\n]*)?\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
)


@pytest.fixture(scope="module")
def server():
    with start_server("valkey") as running:
        yield running


@pytest.fixture
def store(server):
    with redis.Redis(HOST, server.port, decode_responses=True) as client:
        client.flushall()
        yield client


@pytest.fixture
def folder(tmp_path):
    for name, text in BLOCKS.items():
        if name.endswith(".py"):
            (tmp_path / name).write_text(text)
    return tmp_path


@contextmanager
def program(server, store, folder, *command, leave=signal.SIGTERM, **env):
    """It listens; at the end it has left on a signal, and handed back what ran."""
    places = {"REDIS_URL": server.url, "PYTHONPATH": f"{ROOT}:{folder}", **env}
    with Started([sys.executable, *command], folder, folder, **places) as running:
        until(lambda: listeners(store), lambda: running.output)
        yield running
        store.hset("long", mapping={"function": "countdown", "data": '{"from": 1000, "pause": 0.05}'})
        store.lpush("new-task", "long")
        until(lambda: store.hget("long", "state") == "RUNNING", lambda: running.output)
        children = psutil.Process(running.process.pid).children(recursive=True)
        # uvicorn lets the signal have its way once it has put everything in order.
        if leave == signal.SIGINT:
            os.killpg(running.process.pid, leave)  # as the terminal sends it for Ctrl-C
            assert running.process.wait(60) in (0, 130, -leave), running.output
        else:
            assert running.end(leave) in (0, -leave), running.output
        assert store.hget("long", "state") == "WAIT"
        assert "Traceback" not in running.output
        assert not [child for child in children if child.is_running()]


def listeners(store):
    return store.pubsub_numsub("pytask:hint")[0][1]


def test_a_script_with_a_worker_in_it(server, store, folder):
    with program(server, store, folder, "script.py") as running:
        running.says("worker started")
        store.hset("a", mapping={"function": "countdown", "data": '{"from": 2, "pause": 0}'})
        store.lpush("new-task", "a")
        until(lambda: store.hget("a", "output") == '"lift-off"', lambda: running.output)


def ask(line, method, path, data=None):
    line.request(method, path, json.dumps(data), {"Content-Type": "application/json"})
    answer = line.getresponse()
    return answer.status, json.loads(answer.read())


def counts_down(port):
    line = http.client.HTTPConnection(HOST, port, timeout=30)
    status, made = ask(line, "POST", "/tasks/countdown", {"from": 3, "pause": 0.01})
    assert status == 201
    shown = until(lambda: ended(ask(line, "GET", f"/tasks/{made['id']}")[1]), "it ends")
    assert shown == {"id": made["id"], "state": "ENDED", "output": "lift-off"}
    return line, f"/tasks/{made['id']}"


def ended(shown):
    return shown if shown["state"] == "ENDED" else None


def test_flask_and_a_worker_in_one_process(server, store, folder):
    port = free_port()
    with program(server, store, folder, "both.py", PORT=str(port)) as running:
        until(lambda: reachable(port), lambda: running.output)
        line, path = counts_down(port)
        assert ask(line, "GET", "/tasks/nobody")[0] == 404

        def quick():
            times = []
            for _ in range(25):
                began = time.monotonic()
                assert ask(line, "GET", path)[0] == 200
                times.append(time.monotonic() - began)
            return sorted(times)[12] < 0.032  # each would wait 40 ms for nothing

        until(quick, "most of 25 requests on one connection in less than 32 ms each")
        line.close()


def reachable(port):
    line = http.client.HTTPConnection(HOST, port, timeout=30)
    try:
        line.connect()
    except OSError:
        return False
    finally:
        line.close()
    return True


@pytest.mark.parametrize("leave", [signal.SIGTERM, signal.SIGINT], ids=["sigterm", "ctrl-c"])
def test_fastapi_and_a_worker_that_it_brings_along(server, store, folder, leave):
    with (folder / "tasks.py").open("a") as tasks:
        tasks.write(
            "\n    def stop(self):\n        time.sleep(1)  # a second signal meanwhile ends all at once\n"
        )
    port = free_port()
    command = ["-m", "uvicorn", "site_with_worker:app", "--port", str(port)]
    with program(server, store, folder, *command, leave=leave) as running:
        until(lambda: reachable(port), lambda: running.output)
        counts_down(port)[0].close()


NOTEBOOK = """
import ast, asyncio, inspect, sys
url = sys.argv[1]
async def notebook():
    space = {"url": url}
    for cell in sys.argv[2:]:
        code = compile(cell, "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, space)
        if inspect.isawaitable(result):
            await result
asyncio.run(notebook())
assert not {"gevent"} & set(sys.modules)
"""


def test_the_cells_of_a_notebook(server, store, folder):
    """As IPython runs them: in a running event loop, with `await` at the top, in a process of their own."""
    cells = [BLOCKS["cell 1"], BLOCKS["cell 2"]]
    command = pytask("run", "tasks.py", "--redis", server.url)
    with Started(command, folder, folder) as worker:
        until(lambda: listeners(store), lambda: worker.output)
        shown = subprocess.run(
            [sys.executable, "-c", NOTEBOOK, server.url, *cells],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (shown.returncode, shown.stderr) == (0, "")
        first, *counted, last = shown.stdout.splitlines()
        assert (first, last) == ("lift-off", "STOPPED")
        assert int(counted[-1]) <= 998
