"""Waiting for the queue, and hearing control messages."""

import threading
import time

import fakeredis
import pytest
import redis

from pytask.adapters.redis.backend import BackendOptions, RedisBackend
from pytask.domain.errors import ConfigError, Unavailable
from pytask.domain.firing import Firing, Start
from pytask.domain.messages import Command
from pytask.domain.record import Notice, Verdict
from tests.contract.benches import SOON, MemoryBench, make_bench
from tests.support.proxy import Proxy
from tests.support.servers import HOST


@pytest.fixture
def feed(bench):
    opened = bench.backend.feed("session")
    opened.open()
    yield opened
    opened.close()


def received(feed, number):
    """The first `number` notices; fails where they do not come."""
    found = []
    until = time.monotonic() + SOON
    while len(found) < number and time.monotonic() < until:
        found += feed.read(0.05)
    return found


@pytest.mark.wire
def test_control_messages_name_the_task_and_the_command(bench, feed):
    for task_id, word in (("a", "stop"), ("b-control", "reload"), ("ü:1", "start")):
        bench.publish(f"task-{task_id}-control", word)
    bench.store.ping("session")
    assert received(feed, 4) == [
        Notice("control", "a", Command.STOP),
        Notice("control", "b-control", Command.RELOAD),
        Notice("control", "ü:1", Command.START),
        Notice("ping"),
    ]


@pytest.mark.wire
def test_many_messages_come_in_order_with_those_of_other_channels_between(bench, feed):
    sent = []
    for number in range(600):
        bench.publish(f"task-{number}-control", "stop")
        sent.append(Notice("control", str(number), Command.STOP))
        if number % 50 == 49:
            bench.store.ping("session")
            sent.append(Notice("ping"))
    assert received(feed, len(sent)) == sent


@pytest.mark.wire
def test_a_start_that_its_sender_carries_out_is_reported_in_its_place(bench, feed):
    for word in ("stop", "started", "stop"):
        bench.publish("task-a-control", word)
    assert received(feed, 3) == [
        Notice("control", "a", Command.STOP),
        Notice("started", "a"),
        Notice("control", "a", Command.STOP),
    ]


@pytest.mark.wire
@pytest.mark.parametrize("payload", ["", "STOP", "stop ", '{"event":"stop"}', b"\xff"])
def test_other_payloads_are_dropped(bench, feed, payload):
    bench.publish("task-a-control", payload)
    bench.store.ping("session")
    assert received(feed, 1) == [Notice("ping")]


def test_events_of_tasks_are_not_received(bench, feed):
    bench.publish("task-a", "stop")
    bench.publish("a-control", "stop")
    bench.running("b")
    bench.store.ping("session")
    assert received(feed, 1) == [Notice("ping")]


@pytest.mark.wire
def test_hints_and_parking_are_received(bench, feed):
    bench.store.hint("g")
    bench.push("a", function="h")
    bench.store.park("a", "h", b'{"event":"parked","data":null}')
    assert received(feed, 2) == [Notice("parked", "g"), Notice("parked", "h")]


@pytest.mark.wire
def test_a_feed_hears_only_its_own_pings(bench, feed):
    other = bench.backend.feed("other")
    other.open()
    bench.store.ping("other")
    bench.store.ping("session")
    assert received(feed, 1) == received(other, 1) == [Notice("ping")]
    other.close()


def test_a_silent_feed_reads_nothing(feed):
    assert feed.read(0.01) == []


@pytest.mark.wire
def test_a_feed_must_be_open(bench):
    feed = bench.backend.feed("session")
    with pytest.raises(Unavailable):
        feed.read(0)
    feed.open()
    feed.open()  # anew, on a connection of its own
    bench.store.ping("session")
    assert received(feed, 1) == [Notice("ping")]
    feed.close()
    with pytest.raises(Unavailable):
        feed.read(0)
    feed.close()


@pytest.mark.wire
def test_many_messages_are_read_in_batches(bench, feed):
    for number in range(300):
        bench.publish(f"task-{number}-control", "stop")
    found = []
    until = time.monotonic() + SOON
    while len(found) < 300 and time.monotonic() < until:
        batch = feed.read(0.05)
        assert len(batch) <= 256
        found += batch
    assert [notice.task_id for notice in found] == [str(number) for number in range(300)]


def test_a_feed_says_whether_more_has_arrived(bench, feed):
    for number in range(257):
        bench.publish(f"task-{number}-control", "stop")
    found = []
    until = time.monotonic() + SOON
    while len(found) < 256 and time.monotonic() < until:
        found += feed.read(0.05)
    assert feed.behind is (len(found) == 256)
    found += feed.read(0.05)
    assert (len(found), feed.behind) == (257, False)


def clients(real, name):
    """The ids of the connections of that name; a namespace has no part in it."""
    return {client["id"] for client in real.client.client_list() if client["name"] == name}


def test_every_kept_connection_is_opened_again_where_another_server_answers(real, real_queue):
    """The server is the same here: what counts is that no kept connection is used again."""
    feed = real.backend.feed("session")
    feed.open()
    real.store.ping("session")
    assert received(feed, 1) == [Notice("ping")]
    assert real_queue.wait(0.01) == []
    kept = {name: clients(real, f"pytask-{name}") for name in ("store", "wait", "feed")}
    for one in (real.store, real_queue, feed):
        one.reconnect()
    real.store.ping("session")
    assert real_queue.wait(0.01) == []
    with pytest.raises(Unavailable, match="another server"):
        feed.read(0.01)
    feed.open()
    assert feed.read(0.01) == []
    for name, before in kept.items():
        assert before
        assert not before & clients(real, f"pytask-{name}")
    feed.close()


def test_a_feed_shows_its_db_number_as_soon_as_it_is_open(real):
    """To whoever asks on another connection: that is why of two that start at once one sees the other."""
    namespace, decoy = "a[b]*:", "abc:"  # the one, taken for a pattern, would mean the other
    with Proxy(real.server.port) as slow:
        slow.delay(0.05, 0.05)  # what the feed sends arrives long after what others send
        opened = [
            RedisBackend(redis.Redis(HOST, slow.port, db=number), BackendOptions(namespace=space)).feed("s")
            for number, space in ((7, decoy), (3, namespace), (11, namespace))
        ]
        store = RedisBackend(redis.Redis(HOST, real.server.port), BackendOptions(namespace=namespace)).store()
        for feed, seen in zip(opened, ([], [3], [3, 11]), strict=True):
            feed.open()
            assert store.databases() == seen
        for one in (*opened, store):
            one.close()


@pytest.mark.parametrize("kind", ["fakeredis", "memory"])
def test_where_no_db_number_is_shown_none_is_looked_for(kind, servers):
    bench = make_bench(kind, servers)
    assert bench.backend.feed("session").database is None
    assert bench.store.databases() == []
    bench.close()


@pytest.mark.wire
def test_waiting_finds_what_is_queued_and_leaves_it(bench, queue):
    assert not queue.wait(0.02)
    bench.lpush("a")
    bench.lpush("b")
    assert queue.wait(1) in ([b"a"], None)  # None: the caller polls
    assert bench.queue() == ["b", "a"]


def test_waiting_ends_when_something_is_pushed(real, real_queue):
    pushing = threading.Timer(0.1, real.lpush, ["a"])
    pushing.start()
    began = time.monotonic()
    assert real_queue.wait(SOON) == [b"a"]
    assert time.monotonic() - began < SOON / 2
    pushing.join()
    assert real.queue() == ["a"]
    assert real_queue.wait(SOON) == [b"a"]


def test_waiting_in_vain(real_queue):
    began = time.monotonic()
    assert real_queue.wait(0.1) == []
    assert 0.09 < time.monotonic() - began < SOON


@pytest.mark.wire
def test_waiting_where_the_server_cannot_block(bench, queue):
    """It is known by two answers in a row, each of which comes long before the time is over."""
    memory = isinstance(bench, MemoryBench)
    at_once = memory or isinstance(bench.client, fakeredis.FakeRedis)
    found = [queue.wait(SOON if at_once else 0.05) for _ in range(3)]
    assert found == ([None if memory else [], None, None] if at_once else [[], [], []])


@pytest.mark.wire
def test_the_backend_is_checked_and_described(bench):
    bench.backend.check()
    assert bench.backend.describe()


@pytest.mark.wire
def test_task_code_gets_a_client_of_its_own_or_hears_why_not(bench):
    if not bench.backend.cooperative:
        with pytest.raises(ConfigError, match="fakeredis"):
            bench.backend.user_client(lambda: None)
        bench.backend.close()
        return
    client = bench.backend.user_client(lambda: None)
    decodes = bench.client.connection_pool.connection_kwargs.get("decode_responses", False)
    mine = bench.keys.task("mine")
    client.set(mine, "1")
    assert client.get(mine) == ("1" if decodes else b"1")
    bench.backend.close()


@pytest.mark.wire
def test_workers_hear_of_a_start_by_a_schedule_before_what_is_newer(bench, feed):
    """Or else a stop, which is newer than the start that Redis has recorded, would count as an old one."""
    at = bench.now() // 1000 - 1000
    bench.set_schedule("nightly", at, function="f", every="60")
    start = Start("nightly", at)
    found = Firing(name="nightly", score=at, starts=(start,), next=at + 10**6, recheck=at + 5000)
    assert bench.store.schedules.fire([found]) == [Verdict.OK]
    assert received(feed, 1) == [Notice("started", "nightly")]
