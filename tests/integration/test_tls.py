"""TLS to Redis, with a certificate that the test makes."""

import gevent
import redis

from pytask import PyTask, Task, Timing
from tests.integration.conftest import wait_until
from tests.servers import start_server
from tests.tls import tls_front


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
        app = PyTask(f"rediss://127.0.0.1:{port}?ssl_ca_certs={authority}", timing=Timing().scaled(0.1))
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
