"""`self.redis` in coroutines: few connections for many, no leftover replies, waits, and unknown outcomes."""

import asyncio
import contextlib
import itertools
from functools import partial

import gevent
import pytest
import redis
import redis.asyncio
from redis.sentinel import Sentinel

from pytask.adapters.redis.coroutine_client import CoroutineClients
from pytask.domain.errors import OutcomeUnknown
from pytask.domain.ports import Borrower
from tests.integration.conftest import PATIENCE, wait_until
from tests.support.proxy import Proxy
from tests.support.servers import HOST, MASTER_NAME, Trio, free_port, start_server

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
    return run_with(source, main, patience)


def run_with(source, main, patience=30.0):
    clients, borrower = CoroutineClients(source, LIMIT), Borrower("t1", patience, 5.0)

    async def go():
        client = clients.client(lambda: borrower)
        try:
            return await main(client, borrower)
        finally:
            await clients.free(borrower)
            assert not borrower.held

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
    async def main(client, borrower):
        await hundred_cancels(client, borrower)
        return len(client.connection_pool._in_use_connections)

    assert run(server.port, main) == 0


async def hundred_cancels(client, _):
    def echo(word):
        return client.eval("return ARGV[1]", 1, "key", word)

    for n in range(100):
        calls = [asyncio.ensure_future(echo(f"{n}-{i}")) for i in range(3)]
        calls.append(asyncio.ensure_future(client.blpop("never", 20)))
        for _ in range(n % 7):
            await asyncio.sleep(0)
        for one in calls:
            one.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert await echo(f"after {n}") == f"after {n}"


def test_a_call_waits_for_a_lost_server(proxy, direct):
    async def main(client, _):
        await client.set("a", 1)
        proxy.refuse()
        proxy.cut()
        for _ in range(3):
            await asyncio.sleep(0)  # the loop sees it
        calls = [asyncio.ensure_future(one) for one in (client.incr("n"), client.get("a"))]
        done, _ = await asyncio.wait(calls, timeout=0.3)
        assert not done
        proxy.pass_()
        return await asyncio.gather(*calls)

    assert run(proxy.port, main) == [1, "1"]


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


@pytest.fixture(scope="module")
def trio():
    """A primary with replicas, which its sentinels leave alone until they are told otherwise."""
    with Trio() as made:
        for one in made.sentinels:
            with redis.Redis(HOST, one.port) as admin:
                wait_until(
                    partial(knows_all, admin), 2 * PATIENCE, "sentinels know each other and the replicas"
                )
                admin.execute_command("SENTINEL", "SET", MASTER_NAME, "down-after-milliseconds", 60_000)
        for one in made.replicas:
            with redis.Redis(HOST, one.port, decode_responses=True) as replica:
                wait_until(partial(in_step, replica), 2 * PATIENCE, "the replica has the data")
        yield made


def knows_all(admin):
    state = admin.sentinel_master(MASTER_NAME)
    return (state["num-slaves"], state["num-other-sentinels"]) == (2, 2)


def in_step(replica):
    return replica.info("replication")["master_link_status"] == "up"


def primary_of(trio):
    with redis.Redis(HOST, trio.sentinels[0].port) as admin:
        return int(admin.sentinel_get_master_addr_by_name(MASTER_NAME)[1])


def through(trio, **options):
    """The client of a program, by a manager whose first sentinel is none."""
    silent = free_port()
    sentinels = Sentinel(
        [(HOST, one) for one in [silent, *(s.port for s in trio.sentinels)]], socket_timeout=2
    )
    return sentinels.master_for(
        MASTER_NAME, decode_responses=True, socket_timeout=2, client_name="of-tasks", **options
    )


def test_with_sentinel_it_is_a_client_of_the_primary(trio):
    async def main(client, _):
        assert isinstance(client, redis.asyncio.Redis)
        await asyncio.gather(*(client.incr("n") for _ in range(100)))
        with redis.Redis(HOST, primary_of(trio), decode_responses=True) as direct:
            assert len(ours(direct)) <= LIMIT
            return direct.get("n")

    assert run_with(through(trio), main) == "100"


def test_calls_follow_the_primary_that_sentinel_chose(trio):
    """A planned failover under load: no write is done twice, none is lost once the client follows."""

    async def main(client, _):
        sent, done, over = itertools.count(), [], asyncio.Event()

        async def write():
            while not over.is_set():
                token = str(next(sent))
                with contextlib.suppress(OutcomeUnknown):
                    await client.rpush("written", token)
                    done.append(token)

        async def followed():
            return (await client.config_get("port"))["port"] == str(primary_of(trio)) != before

        before = str(primary_of(trio))
        writers = [asyncio.create_task(write()) for _ in range(8)]
        await reached(lambda: len(done) > 50)
        with redis.Redis(HOST, trio.sentinels[0].port) as admin:
            admin.execute_command("SENTINEL", "FAILOVER", MASTER_NAME)
        async with asyncio.timeout(3 * PATIENCE):
            while not await followed():  # noqa: ASYNC110 - of Redis
                await asyncio.sleep(0.05)
        earlier = len(done)
        await reached(lambda: len(done) > earlier + 50 + len(writers))
        over.set()
        await asyncio.gather(*writers)
        return done[earlier + len(writers) :], await client.lrange("written", 0, -1)

    later, found = run_with(through(trio), main, patience=60.0)
    assert len(found) == len(set(found))
    assert set(later) <= set(found)


async def reached(met):
    async with asyncio.timeout(3 * PATIENCE):
        while not met():  # noqa: ASYNC110 - of Redis
            await asyncio.sleep(0.01)


def test_a_hundred_cancels_over_sentinel_leave_no_reply_to_others(trio):
    run_with(through(trio), hundred_cancels)
