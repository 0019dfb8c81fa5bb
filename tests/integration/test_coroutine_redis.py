"""`self.redis` in coroutines: few connections for many, no leftover replies, waits, and unknown outcomes."""

import asyncio

import gevent
import pytest
import redis

from pytask.adapters.redis.coroutine_client import CoroutineClients
from pytask.domain.errors import NotInLoop, OutcomeUnknown
from pytask.domain.ports import Borrower
from tests.support.proxy import Proxy
from tests.support.servers import HOST, start_server

LIMIT = 4


@pytest.fixture(scope="module")
def server():
    with start_server("valkey") as made:
        yield made


@pytest.fixture
def direct(server):
    with redis.Redis(HOST, server.port, decode_responses=True) as made:
        made.flushall()
        yield made


@pytest.fixture
def proxy(server):
    with Proxy(server.port) as made:
        yield made


def run(port, main, patience=30.0):
    """`main(client, borrower)` in a loop of its own, on clients like that of a program."""
    source = redis.Redis(HOST, port, decode_responses=True, socket_timeout=2, client_name="of-tasks")
    clients, borrower = CoroutineClients(source, LIMIT), Borrower("t1", patience, 5.0)

    async def go():
        client = clients.client(lambda: borrower)
        try:
            return await main(client, borrower)
        finally:
            await clients.free(borrower)
            assert not borrower.held
            await client.connection_pool.disconnect()

    return asyncio.run(go())


def ours(direct):
    return [one for one in direct.client_list() if one["name"] == "of-tasks"]


def test_many_coroutines_share_a_few_connections(server, direct):
    async def main(client, _):
        await asyncio.gather(*(client.incr("n") for _ in range(300)))
        seen = len(ours(direct))
        async with client.pipeline() as pipe:
            found = await pipe.set("a", 1).incr("a").execute()
        script = client.register_script("return ARGV[1]")
        return seen, found, await client.get("n"), await script(args=["x"])

    seen, found, total, scripted = run(server.port, main)
    assert seen <= LIMIT
    assert (found, total, scripted) == ([True, 2], "300", "x")


def test_calls_that_block_take_no_turn_from_others(server, direct):
    async def main(client, _):
        async with asyncio.TaskGroup() as group:
            blocked = [group.create_task(client.blpop([f"q{n}"], 20)) for n in range(3 * LIMIT)]
            await asyncio.wait_for(client.set("k", "v"), 10)
            for n in range(3 * LIMIT):
                await client.rpush(f"q{n}", n)
        return [one.result() for one in blocked], len(ours(direct))

    found, left = run(server.port, main)
    assert found == [(f"q{n}", str(n)) for n in range(3 * LIMIT)]
    assert left <= LIMIT


def test_a_subscription_has_a_connection_that_ends_with_the_run(server, direct):
    async def main(client, borrower):
        listener = client.pubsub()
        await listener.subscribe("news")
        await client.publish("news", "1")
        async for message in listener.listen():
            if message["type"] == "message":
                return message["data"], len(borrower.held)
        return None

    assert run(server.port, main) == ("1", 1)
    with gevent.Timeout(10):
        while ours(direct):
            gevent.sleep(0.01)


def test_a_hundred_cancels_leave_no_reply_to_others(server, direct):
    async def main(client, _):
        for n in range(100):
            calls = [asyncio.ensure_future(client.echo(f"{n}-{i}")) for i in range(3)]
            calls.append(asyncio.ensure_future(client.blpop("never", 20)))
            for _ in range(n % 7):
                await asyncio.sleep(0)
            for one in calls:
                one.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            assert await client.echo(f"after {n}") == f"after {n}"
        return len(client.connection_pool._in_use_connections)

    assert run(server.port, main) == 0


def test_a_call_waits_for_a_lost_server(proxy, direct):
    async def main(client, _):
        await client.set("a", 1)
        proxy.refuse()
        proxy.cut()
        calls = [asyncio.ensure_future(one) for one in (client.get("a"), client.incr("n"))]
        done, _ = await asyncio.wait(calls, timeout=0.3)
        assert not done
        proxy.pass_()
        return await asyncio.gather(*calls)

    assert run(proxy.port, main) == ["1", 1]


def test_it_waits_no_longer_than_the_class_says(proxy):
    async def main(client, _):
        proxy.refuse()
        proxy.cut()
        with pytest.raises(redis.ConnectionError):
            await client.get("a")

    run(proxy.port, main, patience=0.2)


def test_a_write_whose_reply_was_lost_is_told_and_not_repeated(proxy, direct):
    async def main(client, _):
        await client.set("n", 0)
        proxy.cut_after_request(containing="INCR")
        with pytest.raises(OutcomeUnknown) as caught:
            await client.incr("n")
        assert isinstance(caught.value, redis.ConnectionError)
        proxy.cut_after_request(containing="INCR")
        with pytest.raises(OutcomeUnknown):
            async with client.pipeline() as pipe:
                await pipe.get("n").incr("n").execute()
        proxy.cut_after_request(containing="GET")
        return await client.get("n")

    assert run(proxy.port, main) == "2"


def test_a_cluster_says_what_to_do_instead():
    cluster = type("RedisCluster", (), {"__module__": "redis.cluster"})

    async def main():
        CoroutineClients(cluster(), LIMIT).client(lambda: None)

    with pytest.raises(NotInLoop, match=r"with RedisCluster. Fix: .*in_greenlet"):
        asyncio.run(main())
