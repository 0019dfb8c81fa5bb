"""The client of task code on a real server: kills, restarts, blocking calls, and how many connections."""

import logging
import random
import time
from math import inf

import gevent
import pytest
import redis
import valkey
from gevent.event import Event

from pytask import PyTask, Task
from pytask.adapters.redis import task_client, task_connection
from pytask.adapters.redis.task_client import TaskClients
from pytask.domain.errors import OutcomeUnknown
from pytask.domain.ports import Borrower
from tests.integration.conftest import HOST, wait_until
from tests.support.proxy import Proxy
from tests.support.servers import start_server

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
        greenlet.asked = False
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
        client.incr(f"poller:{number}")
        return client.get(f"poller:{number}")

    pollers = [tasks.spawn(poll, number) for number in range(300)]
    wait_until(lambda: any(one.ready() for one in pollers))
    during = len(connections(server))
    assert [one.get() for one in pollers] == ["1"] * 300
    assert 0 < during <= LIMIT
    assert 0 < len(connections(server)) <= LIMIT


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
            except OutcomeUnknown:  # it was on its way at the very moment
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


# -- what may be done again, and what may not ---------------------------------------------------------

SHORT = 0.2  # seconds that the client allows for a reply


@pytest.fixture(params=[redis, valkey])
def cut_off(request, server):
    """A way to the server that can be cut, and the client of the tasks that go that way."""
    library = request.param
    client = library.Redis if library is redis else library.Valkey
    with Proxy(server.port) as proxy:
        source = client(HOST, proxy.port, client_name="tasks", decode_responses=True, socket_timeout=SHORT)
        made = Tasks(source)
        yield proxy, made, library
        gevent.killall(made.all)
        made.clients.close()
        source.close()


def test_no_reply_reaches_another_task_after_a_hundred_kills(cut_off):
    proxy, tasks, _ = cut_off
    proxy.delay(0, 0.005)  # what a killed task asked for arrives when another one has the connection
    wrong = []

    def ask(client, number):
        while True:
            found = [client.echo(f"{number}:{n}") for n in range(3)]
            with client.pipeline(transaction=random.random() < 0.5) as pipe:
                pipe.echo(f"{number}:3").set(f"key:{number}", number).get(f"key:{number}")
                found += pipe.execute()
            right = [*(f"{number}:{n}" for n in range(4)), True, str(number)]
            gevent.getcurrent().asked = True
            if found != right:
                wrong.append((number, found))

    living = [tasks.spawn(ask, number) for number in range(30)]
    for number in range(100):
        gevent.sleep(random.uniform(0, 0.003))
        at = random.randrange(len(living))
        living[at].kill()
        living[at] = tasks.spawn(ask, 1000 + number)
    wait_until(lambda: all(one.asked for one in living))
    assert wrong == []
    assert [one.exception for one in living] == [None] * 30


WRITES = {
    "plain": lambda client: client.incr("count"),
    "pipeline": lambda client: client.pipeline(transaction=False).incr("count").get("count").execute(),
    "transaction": lambda client: client.pipeline().incr("count").get("count").execute(),
    "script": lambda client: client.eval("return redis.call('INCR', KEYS[1])", 1, "count"),
}


def test_a_write_whose_reply_was_lost_says_so_and_is_done_once(cut_off, server):
    proxy, tasks, library = cut_off
    for number, write in enumerate(WRITES.values(), 1):
        proxy.cut_after_request(containing="INCR")
        with pytest.raises(OutcomeUnknown, match=r"\[PT145\].* it may or may not have been executed") as info:
            tasks.do(write)
        assert isinstance(info.value, library.ConnectionError)
        assert int(redis.Redis(HOST, server.port).get("count")) == number


READS = {
    "plain": lambda client: client.get("key"),
    "pipeline": lambda client: client.pipeline(transaction=False).get("key").execute()[0],
    "transaction": lambda client: client.pipeline().get("key").execute()[0],
    "in small letters": lambda client: client.execute_command("get", "key"),
}


def test_a_read_whose_reply_was_lost_is_done_again(cut_off):
    proxy, tasks, _ = cut_off
    tasks.do(lambda client: client.set("key", "value"))
    for read in READS.values():
        proxy.cut_after_request(containing="key")
        assert tasks.do(read) == "value"


def test_a_write_that_was_not_sent_waits_or_fails_at_once_as_the_task_wants(cut_off):
    proxy, tasks, library = cut_off
    proxy.refuse()
    began = time.monotonic()
    with pytest.raises(library.ConnectionError) as info:
        tasks.do(lambda client: client.incr("count"), patience=0)
    assert not isinstance(info.value, OutcomeUnknown)
    waiting = [tasks.spawn(lambda client: client.incr("count")) for _ in range(20)]
    gevent.sleep(3 * SHORT)
    assert not any(one.ready() for one in waiting)
    proxy.pass_()
    assert sorted(one.get() for one in waiting) == list(range(1, 21))
    assert time.monotonic() - began > 3 * SHORT


def test_a_long_wait_is_reported_once(cut_off, caplog, monkeypatch):
    monkeypatch.setattr(task_connection, "NOTICE", SHORT)
    monkeypatch.setattr(logging.getLogger("pytask"), "propagate", True)
    proxy, tasks, _ = cut_off
    proxy.refuse()
    waiting = tasks.spawn(lambda client: client.incr("count"))
    wait_until(lambda: "[PT147] task t: self.redis has been waiting" in caplog.text)
    gevent.sleep(3 * SHORT)
    proxy.pass_()
    assert waiting.get() == 1
    assert caplog.text.count("PT147") == 1


def test_the_reply_to_a_write_is_waited_for_and_that_to_a_read_is_asked_for_again(server):
    with redis.Redis(HOST, server.port, socket_timeout=SHORT, socket_connect_timeout=SHORT) as source:
        tasks = Tasks(source)
        tasks.do(lambda client: client.get("count"))
        server.freeze()
        try:
            both = [
                tasks.spawn(lambda client: client.incr("count")),
                tasks.spawn(lambda client: client.get("k")),
            ]
            gevent.sleep(3 * SHORT)
            assert not any(one.ready() for one in both)
        finally:
            server.thaw()
        assert [one.get() for one in both] == [1, None]
        tasks.clients.close()


# -- what waits at the server ---------------------------------------------------------------------------

LONG = 3 * SHORT
BLOCKING = {
    "blpop": lambda client, wait: client.blpop("nothing", timeout=wait),
    "brpoplpush": lambda client, wait: client.brpoplpush("nothing", "other", timeout=wait),
    "blmove": lambda client, wait: client.blmove("nothing", "other", wait),
    "bzpopmin": lambda client, wait: client.bzpopmin("nothing", timeout=wait),
    "xread": lambda client, wait: client.xread({"nothing": "$"}, block=int(wait * 1000)),
    "wait": lambda client, wait: client.wait(1, int(wait * 1000)),
    "pipeline": lambda client, wait: (
        client.pipeline(transaction=False).blpop("nothing", timeout=wait).execute()[0]
    ),
}


def test_a_blocking_call_waits_as_long_as_it_says(cut_off, server):
    _, tasks, _ = cut_off

    def waited(client, call):
        began = time.monotonic()
        return call(client, LONG) or time.monotonic() - began

    popper = tasks.spawn(lambda client: client.blpop("inbox"), patience=0)
    calls = [tasks.spawn(waited, call, patience=0) for call in BLOCKING.values()]
    assert all(one.get() > LONG * 0.99 for one in calls)
    redis.Redis(HOST, server.port).rpush("inbox", "letter")
    assert popper.get() == ("inbox", "letter")


def test_a_pop_whose_reply_was_lost_is_not_repeated_and_a_look_at_a_stream_is(cut_off, server):
    proxy, tasks, _ = cut_off
    pop = tasks.spawn(lambda client: client.blpop("inbox"))
    look = tasks.spawn(lambda client: client.xread({"stream": "0"}, block=0))
    wait_until(lambda: [one["cmd"] for one in connections(server)].count("blpop") == 1)
    wait_until(lambda: [one["cmd"] for one in connections(server)].count("xread") == 1)
    proxy.cut()
    with pytest.raises(OutcomeUnknown, match="BLPOP"):
        pop.get()
    redis.Redis(HOST, server.port).xadd("stream", {"a": "1"})
    assert look.get()


def test_a_subscription_stays_through_silence_and_a_cut(cut_off, server):
    proxy, tasks, _ = cut_off
    received = []

    def listen(client):
        with client.pubsub(ignore_subscribe_messages=True) as pubsub:
            pubsub.subscribe("news")
            for message in pubsub.listen():
                if message["data"] == "end":
                    return
                received.append(message["data"])

    listener = tasks.spawn(listen)
    outside = redis.Redis(HOST, server.port)
    wait_until(lambda: outside.pubsub_numsub("news") == [(b"news", 1)])
    gevent.sleep(LONG)
    outside.publish("news", "first")
    wait_until(lambda: received == ["first"])
    proxy.cut()
    wait_until(lambda: (outside.publish("news", "end"), listener.ready())[1])
    listener.get()


def test_what_blocks_takes_no_place_of_the_others_and_ends_with_its_run(tasks, server):
    poppers = [tasks.spawn(lambda client: client.blpop("inbox")) for _ in range(3 * LIMIT)]
    wait_until(lambda: sum(one["cmd"] == "blpop" for one in connections(server)) == 3 * LIMIT)
    assert tasks.do(lambda client: client.set("key", "value"))
    gevent.killall(poppers)
    wait_until(lambda: len(connections(server)) <= LIMIT)


def test_what_a_run_did_not_give_back_is_closed_with_it(tasks, server):
    kept = []

    def keep(client):
        pubsub = client.pubsub()
        pubsub.subscribe("news")
        pipe = client.pipeline()
        pipe.watch("key")
        kept.extend([pubsub, pipe, client.client()])

    tasks.do(keep)
    wait_until(lambda: not connections(server))
    assert tasks.do(lambda client: client.set("key", 1))
    kept.clear()  # what is given back now was given to nobody else
    assert tasks.do(lambda client: client.get("key")) == "1"
    assert len(connections(server)) == 1


# -- places ---------------------------------------------------------------------------------------------


@pytest.fixture
def single(server):
    """Tasks that share one connection."""
    with redis.Redis(HOST, server.port, client_name="tasks", decode_responses=True) as source:
        made = Tasks(source, limit=1)
        yield made
        gevent.killall(made.all)
        made.clients.close()


def test_transactions_that_watch_take_no_place(single):
    def count(client):
        for _ in range(10):
            client.transaction(add, "count")

    def add(pipe):
        value = int(pipe.get("count") or 0)
        pipe.multi()
        pipe.set("count", value + 1)

    gevent.joinall([single.spawn(count) for _ in range(5)], raise_error=True)
    assert single.do(lambda client: client.get("count")) == "50"


def test_one_that_is_held_without_a_command_makes_room(single, monkeypatch):
    monkeypatch.setattr(task_client, "HELD", 0.1)

    def hold(client):
        with client.client() as own:
            assert own.ping()
            held.set()
            gevent.sleep(60)

    held = Event()
    single.spawn(hold)
    held.wait()
    assert single.do(lambda client: client.ping())


def test_places_go_to_those_who_wait_longest(single):
    order = []

    def ask(client, number):
        client.ping()
        order.append(number)

    gevent.joinall([single.spawn(ask, number) for number in range(20)], raise_error=True)
    assert order == list(range(20))


def test_one_that_is_killed_while_it_waits_leaves_its_place(single, server):
    outside = redis.Redis(HOST, server.port)
    outside.ping()
    outside.client_pause(300)
    waiting = [single.spawn(lambda client: client.ping()) for _ in range(10)]
    gevent.sleep(0.05)
    gevent.killall(waiting[::2])
    assert all(one.get() for one in waiting[1::2])
    assert single.pool()._shared == 0
    assert len(connections(server)) <= 1


def test_a_database_that_one_task_selects_is_not_that_of_others(single):
    single.do(lambda client: client.execute_command("SELECT", 3))
    single.do(lambda client: client.set("key", "value"))
    assert single.do(lambda client: client.execute_command("CLIENT", "LIST")).count("db=3") == 0


def test_callbacks_of_one_task_are_not_those_of_others(single):
    single.do(lambda client: client.set_response_callback("PING", lambda _: "mine"))
    assert single.do(lambda client: client.ping()) is True


def test_a_native_thread_has_connections_of_its_own(single):
    def ask(client):
        return gevent.get_hub().threadpool.apply(lambda: client.echo("hello"))

    assert single.do(ask) == "hello"
    assert single.pool()._shared == 0


# -- a worker -------------------------------------------------------------------------------------------


class Count(Task):
    """Counts in Redis until it is stopped; the result is in `done`."""

    done, unknown, end = 0, 0, False

    class Config:
        NAME = "count"

    def start(self):
        while not Count.end:
            try:
                self.redis.incr("count")
                Count.done += 1
            except OutcomeUnknown:  # it was on its way at the very moment
                Count.unknown += 1
            gevent.sleep(0.01)


class Pop(Task):
    """Waits for one letter."""

    class Config:
        NAME = "pop"

    def start(self):
        while True:
            try:
                return self.redis.blpop("inbox")[1].decode()
            except OutcomeUnknown:
                pass  # a letter that was lost is not what this test is about


def test_a_restart_of_redis_is_no_error_of_a_task():
    with start_server(SERVER, appendonly=True) as server:
        app = PyTask(f"{server.url}?socket_timeout={SHORT}&client_name=tasks", redis_connections=LIMIT)
        app.add_task(Count, Pop)
        for number in range(50):
            app.pre_start_task("pop" if number < 5 else "count", None)
        app.start()
        try:
            wait_until(lambda: Count.done > 200)
            assert len(connections(server)) <= LIMIT + 5
            server.stop()
            before = Count.done
            gevent.sleep(1)
            server.start()
            wait_until(lambda: Count.done > before + 200)
            outside = redis.Redis(HOST, server.port)
            assert outside.zcard("pytask:index:ERROR") == 0
            outside.rpush("inbox", *range(5))
            Count.end = True
            wait_until(lambda: outside.zcard("pytask:index:ENDED") == 50)
            assert Count.done <= int(outside.get("count")) <= Count.done + Count.unknown
        finally:
            app.stop()
