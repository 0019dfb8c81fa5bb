"""The client beside real workers, in any kind of process, and while connections are cut."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

import pytask
import pytask.aio
from pytask.domain import lifecycle as life
from tests.integration.conftest import PATIENCE, Crew, wait_until
from tests.proxy import Proxy
from tests.servers import HOST, start_server

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PATIENT = {"timeout": 5, "connect_timeout": 5}  # the machine may be busy with other tests


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """One server and one worker for all tests of this file."""
    crew = Crew(tmp_path_factory.mktemp("crew"))
    with start_server("valkey") as server:
        worker = crew.start(server.url, name="larch")
        with pytask.Client(server.url, **PATIENT) as client:
            wait_until(lambda: worker.code is not None or client.workers(), why="the worker shows itself")
            assert worker.code is None, worker.log
            listens = redis.Redis(HOST, server.port)
            wait_until(lambda: listens.pubsub_numsub("pytask:hint")[0][1], why="the worker listens")
            yield server, client
        crew.close()
        print(crew.logs())


@pytest.fixture
def client(site):
    return site[1]


@pytest.fixture
def client_at():
    """Makes clients, and closes them: left to the collector, their sockets would complain in another test."""
    made = []

    def make(*args, **options):
        made.append(pytask.Client(*args, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def proxy(site):
    with Proxy(site[0].port) as made:
        yield made


def test_a_task_is_started_stopped_started_again_and_reloaded(client):
    task_id = client.start("tick", {"for": 1000})
    assert client.wait(task_id, "RUNNING", PATIENCE).worker == "larch"
    began = time.monotonic()
    stopped = client.stop(task_id, wait=PATIENCE)
    assert (stopped.done, stopped.state, stopped.requested) == (True, "STOPPED", True)
    assert stopped.heard in (0, 1)  # none: it subscribes anew at this moment, and reads the wish
    assert client.get(task_id).state is life.STOPPED
    assert client.start_again(task_id, {"for": 999}, wait=PATIENCE).done
    before = client.get(task_id)
    assert (before.state, before.data, before.attempts) == (life.RUNNING, {"for": 999}, 2)
    assert client.reload(task_id, {"for": 998}, wait=PATIENCE).done
    after = client.get(task_id)
    assert (after.state, after.data, after.last_run) == (life.RUNNING, {"for": 998}, before.run)
    assert client.stop(task_id, wait=PATIENCE).done
    assert client.remove(task_id)
    assert time.monotonic() - began < PATIENCE


def test_outputs_and_errors_come_back(client):
    assert client.wait(client.start("shot"), timeout=PATIENCE).state is life.ENDED
    shot = client.start("shot")
    assert client.wait(shot, timeout=PATIENCE).output == shot
    failed = client.wait(client.start("fail"), timeout=PATIENCE)
    assert (failed.state, failed.reason) == (life.ERROR, "as asked")


def test_a_stop_by_redis_cli_is_obeyed_after_a_start_by_the_client(site):
    """The worker hears of a start that the client carried out: the stop is newer."""
    server, client = site
    task_id = client.start("tick")
    client.wait(task_id, "RUNNING", PATIENCE)
    client.stop(task_id, wait=PATIENCE)
    time.sleep(1.0)  # two heartbeats: a start so long after it subscribed is one that the worker should hear
    client.start_again(task_id, wait=PATIENCE)
    with redis.Redis(HOST, server.port) as raw:
        wait_until(lambda: raw.publish(f"task-{task_id}-control", "stop"), why="somebody hears it")
    assert client.wait(task_id, "STOPPED", PATIENCE).state is life.STOPPED


def test_the_asyncio_client_steers_the_same_workers(site):
    async def go():
        async with pytask.aio.Client(site[0].url, **PATIENT) as client:
            ids = await client.start_many([("tick", None)] * 10)
            await asyncio.gather(*(client.wait(task_id, "RUNNING", PATIENCE) for task_id in ids))
            outcomes = await asyncio.gather(*(client.stop(task_id, wait=PATIENCE) for task_id in ids))
            assert all(outcome.done for outcome in outcomes)
            assert [worker.name for worker in await client.workers()] == ["larch"]
            assert {"tick", "shot"} <= {one.name for one in await client.functions()}

    asyncio.run(go())


PROGRAM = """
import asyncio, sys
import pytask, pytask.aio
url = sys.argv[1]
assert not {{"gevent", "redis"}} & set(sys.modules), "import pytask must load neither"
with pytask.Client(url, timeout=5, connect_timeout=5) as client:
    events = client.watch()
    task_id = client.start("shot")
    assert client.wait(task_id, timeout=30).output == task_id
    assert next(events).id
    client.stop(task_id), client.list(), client.count(), client.workers(), client.functions()

async def go():
    async with pytask.aio.Client(url, timeout=5, connect_timeout=5) as client:
        task_id = await client.start("shot")
        assert (await client.wait(task_id, timeout=30)).output == task_id
        await client.list(), await client.count()

asyncio.run(go())
print(sorted(name for name in sys.modules if name.partition(".")[0] == "gevent"){})
"""


def output_of(program, url):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, url],
        cwd=ROOT, capture_output=True, text=True, timeout=2 * PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_client_loads_no_gevent(site):
    assert output_of(PROGRAM.format(""), site[0].url) == "[]"


def test_the_client_works_in_a_patched_process(site):
    patched = "from gevent import monkey; monkey.patch_all()\n" + PROGRAM.format("[:1]")
    patched = patched.replace('{"gevent", "redis"}', '{"redis"}')
    assert output_of(patched, site[0].url) == "['gevent']"
