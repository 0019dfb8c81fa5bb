"""The client beside real workers, in any kind of process, and while connections are cut."""

import asyncio
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import redis

import pytask
import pytask.aio
from pytask import errors
from pytask.client import Gap
from pytask.domain import lifecycle as life
from tests.integration.conftest import PATIENCE, Crew, wait_until
from tests.support.cli_tools import quickest
from tests.support.proxy import Proxy
from tests.support.servers import HOST, start_server

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PATIENT = {"timeout": 5, "connect_timeout": 5}  # the machine may be busy with other tests


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """One server and one worker for all tests of this file."""
    recent_workers = Crew(tmp_path_factory.mktemp("recent_workers"))
    with start_server("valkey") as server:
        worker = recent_workers.start(server.url, name="larch")
        with pytask.Client(server.url, **PATIENT) as client:
            wait_until(lambda: worker.code is not None or client.workers(), why="the worker shows itself")
            assert worker.code is None, worker.log
            listens = redis.Redis(HOST, server.port)
            wait_until(lambda: listens.pubsub_numsub("pytask:hint")[0][1], why="the worker listens")
            yield server, client
        recent_workers.close()
        print(recent_workers.logs())


@pytest.fixture
def client(site):
    return site[1]


@pytest.fixture
def client_at():
    """Makes clients and closes them: otherwise their sockets cause warnings in other tests."""
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
    assert stopped.listeners in (0, 1)  # none: it is resubscribing, and then reads the request
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


def test_one_client_serves_many_threads(client):
    found = []

    def work():
        for _ in range(20):
            task_id = client.start("shot")
            found.append(client.wait(task_id, timeout=PATIENCE).output == task_id)

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * PATIENCE)
    assert found == [True] * 100


def test_watching_outlives_a_cut_and_tells_of_the_gap(client, proxy, client_at):
    task_id = client.start("tick")
    client.wait(task_id, "RUNNING", PATIENCE)
    events = client_at(proxy.url, **PATIENT).watch(task_id)
    proxy.refuse()
    proxy.cut()
    client.stop(task_id, wait=PATIENCE)  # nobody hears that over there
    threading.Timer(0.5, proxy.pass_).start()
    gap = next(event for event in events if isinstance(event, Gap))  # its first event may come before
    assert gap.task.state is life.STOPPED
    assert 0 < gap.seconds < PATIENCE
    client.start_again(task_id)
    assert next(events).name == "queued"
    assert next(events).name == "running"
    events.close()
    client.stop(task_id, wait=PATIENCE)


def test_a_deaf_connection_is_noticed(client, proxy, monkeypatch, client_at):
    """Half-open: the socket stands, and nothing comes."""
    monkeypatch.setattr("pytask.client.watch.PING_EVERY", 0.5)
    monkeypatch.setattr("pytask.client.watch.DEAF", 0.5)
    events = client_at(proxy.url, **PATIENT).watch()
    before = proxy.connections()

    def meanwhile():
        try:
            wait_until(lambda: proxy.connections() > before, why="it is noticed: another one is made")
        finally:
            proxy.pass_()

    proxy.blackhole()
    beside = threading.Thread(target=meanwhile)
    beside.start()
    assert isinstance(next(events), Gap)
    beside.join()
    monkeypatch.undo()  # a busy machine is no deaf connection
    task_id = client.start("shot")
    assert next(event for event in events if event.id == task_id).name == "running"
    events.close()


def looks(server):
    """How often a whole hash was read so far; no worker does that."""
    with redis.Redis(HOST, server.port) as raw:
        return raw.info("commandstats").get("cmdstat_hgetall", {"calls": 0})["calls"]


def test_waiting_outlives_a_cut(site, client, proxy, client_at):
    task_id = client.start("tick")
    client.wait(task_id, "RUNNING", PATIENCE)
    through = client_at(proxy.url, **PATIENT)
    before = looks(site[0])

    def meanwhile():
        # With its second look it waits: it subscribed, and its first was answered.
        wait_until(lambda: looks(site[0]) >= before + 2, why="it waits")
        proxy.refuse()
        proxy.cut()
        client.stop(task_id, wait=PATIENCE)
        proxy.pass_()

    beside = threading.Thread(target=meanwhile)
    beside.start()
    assert through.wait(task_id, timeout=PATIENCE).state is life.STOPPED
    beside.join()


def test_a_call_with_a_lost_answer_says_so_and_may_be_repeated(client, proxy, client_at):
    through = client_at(proxy.url, **PATIENT)
    assert through.count() is not None
    proxy.cut_after_request()
    with pytest.raises(errors.Unavailable, match="PT051"):
        through.start("shot", id="just-once")
    assert through.start("shot", id="just-once") == "just-once"
    assert client.wait("just-once", timeout=PATIENCE).attempts == 1


def test_what_cannot_be_reached_answers_within_a_second(client_at):
    def both(url):
        with pytest.raises(errors.Unavailable):
            client_at(url).count()
        with pytest.raises(errors.Unavailable):
            asyncio.run(pytask.aio.Client(url).count())

    for url in (f"redis://{HOST}:1", "redis://localhost:1", "unix:///nowhere/at.all"):
        assert quickest(lambda url=url: both(url)) < 1.0


def test_a_host_that_never_answers_is_given_up_soon(proxy, client_at):
    """Connected, and silent: the time of a call holds."""
    proxy.blackhole()
    began = time.monotonic()
    with pytest.raises(errors.Unavailable):
        client_at(proxy.url, timeout=0.5).count()
    assert time.monotonic() - began < PATIENCE


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
