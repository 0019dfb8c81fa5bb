"""Deployments with different db numbers of one Redis: pub/sub has no db numbers."""

import json

import gevent
import pytest
import redis
import valkey
from click.testing import CliRunner

from pytask import PyTask, Task, Timing
from pytask.adapters.redis.acl import rules
from pytask.cli.main import main
from pytask.domain.errors import SharedChannels
from tests.integration.conftest import PATIENCE, wait_until
from tests.support.cli_tools import SLEEPER, Started, pytask, until, write
from tests.support.proxy import Proxy
from tests.support.servers import HOST, start_server

pytestmark = pytest.mark.slow


class Long(Task):
    class Config:
        NAME = "long"

    def start(self):
        gevent.sleep(1e9)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    socket = tmp_path_factory.mktemp("s") / "s"
    with start_server("valkey", unixsocket=socket, appendonly=True) as server:
        server.socket = socket
        yield server


@pytest.fixture
def dbs(place):
    """Clients of two db numbers, and of the whole server nothing is left from before."""
    with (
        redis.Redis(HOST, place.port, db=0, decode_responses=True) as zero,
        redis.Redis(HOST, place.port, db=1, decode_responses=True) as one,
    ):
        zero.flushall()
        wait_until(lambda: not zero.pubsub_channels("*pytask:*"), why="those of the last test have left")
        yield zero, one


def app_of(source, **settings):
    app = PyTask(source, timing=Timing().scaled(0.1), embargo=False, **settings)
    app.add_task(Long)
    return app


def push(client, task_id, namespace=""):
    client.hset(namespace + task_id, mapping={"function": "long", "data": "{}"})
    client.lpush(f"{namespace}new-task", task_id)


def runs(client, name):
    wait_until(lambda: client.hget(name, "state") == "RUNNING", why=lambda: client.hgetall(name))


def heard_beside(place, *channels):
    """A subscription by hand, as another worker has it."""
    pool = redis.ConnectionPool(host=HOST, port=place.port, db=1)
    ear = redis.Redis(connection_pool=pool).pubsub()  # the client closes no pool that it did not make
    ear.subscribe(*channels)
    for _ in channels:
        assert ear.get_message(timeout=PATIENCE)["type"] == "subscribe"
    return ear


def diagnosis(place, number=0):
    words = ["doctor", "-o", "json", "--redis", f"redis://{HOST}:{place.port}/{number}"]
    shown = CliRunner().invoke(main, words, env={"PYTASK_TIMEOUT": "8"})
    return {item["code"]: item for item in json.loads(shown.stdout)["items"]}


def test_a_second_db_number_is_refused_until_it_has_a_namespace(place, dbs):
    zero, one = dbs
    push(zero, "a")
    push(one, "a")
    with app_of(zero), app_of(f"redis://{HOST}:{place.port}/0"):  # of one db number there may be many
        runs(zero, "a")
        second = app_of(one)
        with pytest.raises(SharedChannels, match=r"PT138.* db 0 .* db 1 .*namespace ''.*--namespace NAME:"):
            second.start()
        assert second.worker is None
        assert one.hgetall("a") == {"function": "long", "data": "{}"}
        assert one.lrange("new-task", 0, -1) == ["a"]
        push(one, "a", "b:")
        second.configure(namespace="b:")
        with second:
            runs(one, "b:a")
            assert one.publish("b:task-a-control", "stop") == 1
            wait_until(lambda: one.hget("b:a", "state") == "STOPPED")
            assert zero.hget("a", "state") == "RUNNING"
            assert zero.publish("task-a-control", "stop") == 2
            wait_until(lambda: zero.hget("a", "state") == "STOPPED")


@pytest.mark.parametrize("how", ["url", "socket", "valkey"])
def test_the_db_number_is_seen_however_it_is_given(place, dbs, how):
    source = {
        "url": f"redis://{HOST}:{place.port}/3",
        "socket": f"unix://{place.socket}?db=3",
        "valkey": valkey.Valkey(HOST, place.port, db=3),
    }[how]
    with app_of(dbs[0]), pytest.raises(SharedChannels, match=r" db 0 .* db 3 "):
        app_of(source).start()
    wait_until(lambda: not dbs[0].pubsub_channels("pytask:db:*"), why="it has left")
    with app_of(source), pytest.raises(SharedChannels, match=r" db 3 .* db 0 "):
        app_of(dbs[0]).start()


def test_of_two_that_start_at_once_never_both_do(place, dbs):
    def started(client):
        app = app_of(client)
        try:
            app.start()
        except SharedChannels:
            return None
        return app

    for _ in range(10):
        both = [gevent.spawn(started, client) for client in dbs]
        gevent.joinall(both, timeout=PATIENCE, raise_error=True)
        apps = [one.value for one in both if one.value is not None]
        assert len(apps) < 2
        for app in apps:
            app.stop()
        wait_until(lambda: not dbs[0].pubsub_channels("pytask:db:*"))


def test_a_worker_that_runs_goes_on_beside_a_newcomer_and_both_hear_of_it(place, dbs, caplog):
    zero, _ = dbs
    push(zero, "a")
    with app_of(zero) as app:
        runs(zero, "a")
        controller = app.worker.controller
        wait_until(lambda: controller.listening)
        assert "PT138" not in diagnosis(place)
        ear = heard_beside(place, "pytask:db:1")  # while the feed was cut, say
        (feed,) = [client["id"] for client in zero.client_list() if client["name"] == "pytask-feed"]
        zero.client_kill_filter(_id=feed)
        wait_until(lambda: "[PT138] Workers with db 1" in caplog.text and controller.listening)
        assert zero.hget("a", "state") == "RUNNING"
        found = diagnosis(place)["PT138"]
        assert found["serious"]
        assert "workers with db 1 of this Redis" in found["what"]
        assert "--namespace NAME:" in found["fix"]
        assert "workers with db 0 of this Redis" in diagnosis(place, 1)["PT138"]["what"]
        ear.close()
        wait_until(lambda: "PT138" not in diagnosis(place))
        assert app.worker.failed is None
    assert caplog.text.count("[PT138]") == 1


def test_the_doctor_counts_workers_of_an_older_release_elsewhere(place, dbs):
    zero, _ = dbs
    with app_of(zero):
        wait_until(lambda: zero.zcard("pytask:workers") == 1)
        ear = heard_beside(place, "pytask:ping:old", "pytask:hint")  # as it subscribed: without a db number
        assert "1 worker of an older release" in diagnosis(place)["PT138"]["what"]
        zero.zadd("pytask:workers", {"old": zero.time()[0]})  # it shows itself: it is of this db number
        zero.hset("pytask:workers:info", "old", '{"session":"old","name":"old"}')
        assert "PT138" not in diagnosis(place)
        ear.close()


def test_where_redis_was_away_at_the_start_it_is_checked_as_soon_as_it_is_there(place, dbs, tmp_path):
    write(tmp_path / "tasks.py", SLEEPER)
    ear = heard_beside(place, "pytask:db:1")
    with Proxy(place.port) as proxy:
        proxy.refuse()
        words = ["run", "tasks.py", "--redis", proxy.url, "--time-scale", "0.1"]
        with Started(pytask(*words), tmp_path, tmp_path) as worker:
            worker.says("waits for Redis")
            proxy.pass_()
            until(lambda: worker.process.poll() is not None, lambda: worker.output)
            assert worker.process.returncode == 78
            assert "pytask: [PT138] " in worker.output
            assert "bug" not in worker.output
    ear.close()


def test_a_worker_that_may_not_ask_starts_and_says_so(place, dbs, caplog):
    words = [*rules("worker"), "-pubsub"]
    dbs[0].execute_command("ACL", "SETUSER", "some", "reset", "on", ">secret", *words)
    with app_of(dbs[1]), app_of(redis.Redis(HOST, place.port, username="some", password="secret")) as app:
        wait_until(lambda: app.worker.controller.listening)
    assert caplog.text.count("[PT139]") == 1
