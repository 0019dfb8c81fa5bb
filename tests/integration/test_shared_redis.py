"""The client of task code on a real server: kills, restarts, blocking calls, and how many connections."""

import random
import threading
import time
from math import inf

import gevent
import pytest
import redis
import valkey
from gevent.event import Event

from pytask.adapters.shared import TaskClients
from pytask.domain.errors import OutcomeUnknown
from pytask.domain.ports import Borrower
from tests.integration.conftest import HOST, wait_until
from tests.servers import start_server

SERVER = "redis62"
LIMIT = 8


class Tasks:
    """Runs of a worker: each greenlet that is spawned here is one."""

    def __init__(self, source, limit=LIMIT):
        self.source = source
        self.clients = TaskClients(source, limit)
        self.all = []

    def spawn(self, work, *args, patience=inf):
        greenlet = gevent.Greenlet(self._run, work, *args)
        greenlet.borrower = Borrower("t", patience, 60.0)
        greenlet.start()
        self.all.append(greenlet)
        return greenlet

    def _run(self, work, *args):
        try:
            return work(self.clients.client(self.current), *args)
        finally:
            self.clients.free(gevent.getcurrent().borrower)

    def do(self, work, *args, **how):
        return self.spawn(work, *args, **how).get()

    @staticmethod
    def current():
        return getattr(gevent.getcurrent(), "borrower", None)

    def pool(self):
        return self.do(lambda client: client.connection_pool)


@pytest.fixture(params=[redis.Redis, valkey.Valkey])
def tasks(request, server):
    with request.param(HOST, server.port, client_name="tasks", decode_responses=True) as source:
        made = Tasks(source)
        yield made
        gevent.killall(made.all)
        made.clients.close()


def connections(server):
    with redis.Redis(HOST, server.port) as client:
        return [one for one in client.client_list() if one["name"] == "tasks"]


def test_three_hundred_pollers_share_few_connections(tasks, server):
    def poll(client, number):
        for _ in range(5):
            assert client.incr(f"poller:{number}") > 0
            assert client.get(f"poller:{number}")
            gevent.sleep(0)
        return client.get(f"poller:{number}")

    pollers = [tasks.spawn(poll, number) for number in range(300)]
    most = 0
    while not all(one.ready() for one in pollers):
        most = max(most, len(connections(server)))
    assert [one.get() for one in pollers] == ["5"] * 300
    assert 0 < most <= LIMIT


def test_no_reply_reaches_another_task_after_a_hundred_kills(tasks):
    wrong = []

    def ask(client, number):
        while True:
            found = [client.echo(f"{number}:{n}") for n in range(3)]
            with client.pipeline(transaction=random.random() < 0.5) as pipe:
                pipe.echo(f"{number}:3").set(f"key:{number}", number).get(f"key:{number}")
                found += pipe.execute()
            right = [*(f"{number}:{n}" for n in range(4)), True, str(number)]
            if found != right:
                wrong.append((number, found))

    living = [tasks.spawn(ask, number) for number in range(30)]
    for number in range(100):
        gevent.sleep(random.uniform(0, 0.003))
        at = random.randrange(len(living))
        living[at].kill()
        living[at] = tasks.spawn(ask, 1000 + number)
    gevent.sleep(0.05)
    assert wrong == []
    assert [one.exception for one in living] == [None] * 30


@pytest.fixture
def lasting():
    """A server that keeps its data, and the client of its tasks."""
    with start_server(SERVER, appendonly=True) as server:
        made = Tasks(redis.Redis(HOST, server.port, decode_responses=True))
        yield server, made
        gevent.killall(made.all)


def test_a_restart_is_waited_for_and_no_write_is_done_twice(lasting):
    server, tasks = lasting
    done, lost, end = [0], [0], Event()

    def count(client):
        while not end.is_set():
            try:
                client.incr("count")
                done[0] += 1
            except OutcomeUnknown as error:  # it was on its way at the very moment
                assert isinstance(error, redis.ConnectionError)
                lost[0] += 1
            gevent.sleep(0.001)

    counters = [tasks.spawn(count) for _ in range(50)]
    wait_until(lambda: done[0] > 200)
    server.stop()
    stopped = done[0]
    gevent.sleep(0.5)
    server.start()
    wait_until(lambda: done[0] > stopped + 200)
    end.set()
    gevent.joinall(counters, raise_error=True)
    counted = int(tasks.do(lambda client: client.get("count")))
    assert done[0] <= counted <= done[0] + lost[0]
