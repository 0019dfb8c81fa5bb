"""TLS to Redis, with a certificate that the test makes."""

import contextlib

import gevent
import redis

from pytask import PyTask, Task, Timing
from tests.integration.conftest import wait_until
from tests.support.cli_tools import Started, done, pytask
from tests.support.servers import start_server
from tests.support.tls import tls_front

SECRET = "sesame-4711"


class Talks(Task):
    class Config:
        NAME = "talks"

    def start(self):
        self.redis.incr("count")
        while True:
            self.emit("tick")
            gevent.sleep(0.05)


def test_everything_goes_over_tls(tmp_path):
    with (
        start_server("valkey", "--save", "") as server,
        tls_front(server.port, tmp_path) as (port, authority),
    ):
        app = PyTask(f"rediss://127.0.0.1:{port}?ssl_ca_certs={authority}")
        app.add_task(Talks)
        client = redis.Redis(host=server.host, port=server.port, decode_responses=True)
        with app:
            client.hset("t", "function", "talks")
            client.lpush("new-task", "t")
            wait_until(lambda: app.worker.controller.listening and client.get("count") == "1", 20)
            first = client.hget("t", "last_update")
            wait_until(lambda: client.hget("t", "last_update") != first, 20)
            client.publish("task-t-control", "stop")
            wait_until(lambda: client.hget("t", "state") == "STOPPED", 20)


def test_a_certificate_of_nobody_we_know_is_refused_and_waited_for(tmp_path, caplog):
    with start_server("valkey", "--save", "") as server, tls_front(server.port, tmp_path) as (port, _):
        app = PyTask(f"rediss://127.0.0.1:{port}", timing=Timing().scaled(0.1))
        app.add_task(Talks)
        with app:
            wait_until(lambda: "certificate" in caplog.text.lower(), 20)


@contextlib.contextmanager
def front(folder, **options):
    """(server, its address over TLS, path of the authority's certificate); the server has a password."""
    with (
        start_server("valkey", password=SECRET) as server,
        tls_front(server.port, folder, **options) as (port, authority),
    ):
        yield server, f"127.0.0.1:{port}/0", authority


def runs_a_task(server, app):
    with app, redis.Redis.from_url(server.url, decode_responses=True) as client:
        client.hset("t", "function", "talks")
        client.lpush("new-task", "t")
        wait_until(lambda: client.get("count") == "1", 20)


TASKS = """
from pytask import Task
class Echo(Task):
    class Config:
        NAME = "echo"
    def start(self):
        return self.task_data
"""


@contextlib.contextmanager
def daemon(folder, url):
    """A process of its own: of a handshake that fails, the library leaves the socket to the collector."""
    (folder / "tasks.py").write_text(TASKS)
    with Started(pytask("run", "tasks.py", "--redis", url), folder, cwd=folder) as started:
        yield started
    assert SECRET not in started.output


def test_a_certificate_for_another_name_is_refused(tmp_path):
    with (
        front(tmp_path, name="other.example.org") as (_, address, authority),
        daemon(tmp_path, f"rediss://:{SECRET}@{address}?ssl_ca_certs={authority}") as started,
    ):
        started.says("certificate is not valid for '127.0.0.1'")


def test_a_server_that_asks_for_a_certificate_gets_ours(tmp_path):
    with front(tmp_path, of_clients=True) as (server, address, authority):
        url = f"rediss://:{SECRET}@{address}?ssl_ca_certs={authority}"
        with daemon(tmp_path, url) as started:
            started.says("no answer from Redis")
        ours = f"&ssl_certfile={tmp_path / 'client.pem'}&ssl_keyfile={tmp_path / 'client-key.pem'}"
        app = PyTask(url + ours)
        app.add_task(Talks)
        runs_a_task(server, app)


def test_a_password_is_never_shown_over_tls(tmp_path):
    """Neither where it is wrong, nor where the certificate is of nobody we know."""
    (tmp_path / "tasks.py").write_text(TASKS)
    with front(tmp_path) as (_, address, authority):
        wrong = SECRET[::-1]
        given = f"rediss://:{wrong}@{address}?ssl_ca_certs={authority}"
        patient = ("--time-scale", "5")  # a busy machine is no Redis that is away
        shown = done(pytask("run", "tasks.py", "--redis", given, *patient), tmp_path)
        assert shown.returncode == 78, shown.stderr
        assert address in shown.stderr
        assert wrong not in shown.stderr + shown.stdout
        with daemon(tmp_path, f"rediss://:{SECRET}@{address}") as started:
            started.says("certificate")
