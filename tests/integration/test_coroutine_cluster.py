"""`self.redis` in coroutines on a Redis Cluster: few connections, waits, no write twice, no old reply."""

import asyncio
import contextlib
import importlib
import itertools
from functools import partial

import gevent
import pytest
import redis
import redis.asyncio
import valkey
import valkey.cluster
from redis.cluster import RedisCluster

from pytask.domain.errors import NotInLoop, OutcomeUnknown
from pytask.domain.partition import SLOTS, crc16
from tests.integration.conftest import PATIENCE
from tests.integration.test_cluster_faults import move_by_keys
from tests.integration.test_coroutine_redis import LIMIT, hundred_cancels, reached, run_with
from tests.support.cluster import start_cluster
from tests.support.proxy import Proxy
from tests.support.servers import HOST

pytestmark = pytest.mark.slow

OPTIONS = {"decode_responses": True, "socket_timeout": 2, "client_name": "of-tasks"}


@pytest.fixture(scope="module")
def cluster():
    with start_cluster(masters=3, replicas=1) as made:
        yield made


@pytest.fixture
def source(cluster):
    """The client of a program."""
    with RedisCluster(HOST, cluster.nodes[0].port, **OPTIONS) as made:
        made.flushall()
        yield made


def ours(cluster):
    """The connections of tasks, by node."""
    found = []
    for node in cluster.nodes:
        with redis.Redis(HOST, node.port, decode_responses=True) as client:
            found.append(sum(one["name"] == "of-tasks" for one in client.client_list()))
    return found


def use(client):
    """Plain calls, of one node and of all, a pipeline and a script."""

    async def go():
        await asyncio.gather(*(client.incr(f"n{one % 10}") for one in range(300)))
        async with client.pipeline() as pipe:
            for one in range(10):
                pipe.get(f"n{one}")
            found = await pipe.execute()
        script = client.register_script("return redis.call('get', KEYS[1]) .. ARGV[1]")
        return found, await script(keys=["n1"], args=["x"]), await client.dbsize(target_nodes="primaries")

    return go()


def test_it_is_a_cluster_client_with_few_connections(cluster, source):
    before = ours(cluster)

    async def main(client, _):
        assert isinstance(client, redis.asyncio.RedisCluster)
        found = await use(client)
        return found, [now - then for now, then in zip(ours(cluster), before, strict=True)]

    found, seen = run_with(source, main)
    assert found == (["30"] * 10, "30x", 10)
    assert max(seen) <= LIMIT + 1  # one asks for the nodes


def test_a_client_of_valkey_has_one_of_its_own(cluster, source):
    async def main(client, _):
        assert isinstance(client, valkey.asyncio.ValkeyCluster)
        return await use(client)

    with valkey.ValkeyCluster(HOST, cluster.nodes[0].port, **OPTIONS) as made:
        assert run_with(made, main) == (["30"] * 10, "30x", 10)


def test_calls_that_block_take_no_turn_from_others(cluster, source):
    async def main(client, _):
        async with asyncio.TaskGroup() as group:
            blocked = [group.create_task(client.blpop([f"q{n}"], 20)) for n in range(3 * LIMIT)]
            await asyncio.wait_for(client.set("k", "v"), 10)
            for n in range(3 * LIMIT):
                await client.rpush(f"q{n}", n)
        await client.get("k")
        kept = [len(node._free) for node in client.nodes_manager.nodes_cache.values()]
        return [one.result() for one in blocked], max(kept)

    found, kept = run_with(source, main)
    assert found == [(f"q{n}", str(n)) for n in range(3 * LIMIT)]
    assert kept <= LIMIT


def test_a_hundred_cancels_leave_no_reply_to_others(source):
    async def main(client, borrower):
        await hundred_cancels(client, borrower)
        nodes = client.nodes_manager.nodes_cache.values()
        return sum(len(node._connections) - len(node._free) for node in nodes)

    assert run_with(source, main) == 0


def test_a_cancel_while_the_nodes_are_asked_disturbs_no_other(source):
    async def main(client, _):
        for _ in range(20):
            await client.aclose()  # asks again
            calls = [asyncio.ensure_future(client.incr("n")) for _ in range(3)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            calls[0].cancel()
            found = await asyncio.gather(*calls, return_exceptions=True)
            assert not [one for one in found[1:] if isinstance(one, BaseException)]

    run_with(source, main)


@pytest.mark.skipif(not hasattr(redis.asyncio.RedisCluster, "pubsub"), reason="an old release of redis-py")
def test_a_subscription_ends_with_the_run(cluster, source):
    before = ours(cluster)

    async def main(client, borrower):
        listener = client.pubsub()
        await listener.subscribe("news")
        await client.execute_command("PUBLISH", "news", "1")
        async with asyncio.timeout(PATIENCE):
            async for message in listener.listen():
                if message["type"] == "message":
                    return message["data"], borrower.held == {listener}
        return None

    assert run_with(source, main) == ("1", True)
    with gevent.Timeout(PATIENCE):
        while sum(ours(cluster)) > sum(before):
            gevent.sleep(0.01)


def test_a_transaction_says_what_to_do_instead(source):
    async def main(client, _):
        client.pipeline(transaction=True)

    with pytest.raises(NotInLoop, match="Fix: use a script"):
        run_with(source, main)


@pytest.fixture(params=["redis", "valkey"])
def links(cluster, request):
    """A proxy for each node, and the client of a program that goes through them."""
    library = importlib.import_module(request.param)
    kind = library.cluster.RedisCluster if library is redis else library.cluster.ValkeyCluster
    with contextlib.ExitStack() as stack:
        found = {node.port: stack.enter_context(Proxy(node.port)) for node in cluster.nodes}
        through = {port: proxy.port for port, proxy in found.items()}
        made = kind(
            startup_nodes=[library.cluster.ClusterNode(HOST, cluster.nodes[0].port)],
            address_remap=lambda address: (address[0], through.get(address[1], address[1])),
            retry=library.retry.Retry(library.backoff.NoBackoff(), 0),
            **OPTIONS,
        )
        with made:
            yield found, made


def test_a_write_whose_reply_was_lost_is_told_and_not_repeated(cluster, links):
    proxies, source = links
    source.delete("n")
    proxy = proxies[cluster.owner(crc16(b"n") % SLOTS).port]

    async def main(client, _):
        await client.set("n", 0)
        proxy.cut_after_request(containing="INCR")
        with pytest.raises(OutcomeUnknown) as caught:
            await client.incr("n")
        assert isinstance(caught.value, (redis.RedisError, valkey.ValkeyError))
        for strict in (True, False):
            proxy.cut_after_request(containing="INCR")
            pipe = client.pipeline().get("n").incr("n")
            with pytest.raises(OutcomeUnknown):
                await pipe.execute(raise_on_error=strict)
        proxy.cut_after_request(containing="GET")
        return await client.get("n")

    assert run_with(source, main) == "3"


def test_calls_wait_for_lost_nodes(links):
    proxies, source = links
    source.mset_nonatomic({"a": 1, "n": 0})

    async def main(client, _):
        await asyncio.gather(*(client.get(f"k{one}") for one in range(50)))  # all nodes are known
        for proxy in proxies.values():
            proxy.refuse()
            proxy.cut()
        for _ in range(3):
            await asyncio.sleep(0)  # the loop sees it
        pipe = client.pipeline().get("a").incr("n")
        calls = [asyncio.ensure_future(one) for one in (client.get("a"), client.incr("n"), pipe.execute())]
        done, _ = await asyncio.wait(calls, timeout=0.5)
        assert not done
        for proxy in proxies.values():
            proxy.pass_()
        return await asyncio.gather(*calls), await client.get("n")

    (text, _number, (again, _)), total = run_with(source, main)
    assert (text, again, total) == ("1", "1", "2")


def test_it_waits_no_longer_than_the_class_says(links):
    proxies, source = links

    async def main(client, _):
        for proxy in proxies.values():
            proxy.refuse()
            proxy.cut()
        with pytest.raises(Exception, match=r"cannot be connected|Connect call failed"):
            await client.get("a")

    run_with(source, main, patience=0.2)


async def writing(client, key, met, unknown=()):
    """Eight write different words until `met()`; those that were acknowledged, and the list."""
    words, done, over = itertools.count(), [], asyncio.Event()

    async def write():
        while not over.is_set():
            word = str(next(words))
            try:
                await client.rpush(key, word)
            except unknown:
                continue
            done.append(word)

    writers = [asyncio.create_task(write()) for _ in range(8)]
    await reached(lambda: len(done) > 50)
    await met()
    earlier = len(done)
    await reached(lambda: len(done) > earlier + 50 + len(writers))
    over.set()
    await asyncio.gather(*writers)
    return done, await client.lrange(key, 0, -1)


def test_calls_follow_a_slot_that_moves_key_by_key(cluster, source):
    slot = crc16(b"x") % SLOTS
    source.mset({f"{{x}}{one}": one for one in range(200)})
    home = cluster.owner(slot)
    other = next(
        node for node in cluster.nodes if node is not home and cluster.rows(node) and is_primary(node)
    )

    async def main(client, _):
        move = partial(asyncio.to_thread, move_by_keys, cluster, slot, home, other)
        done, found = await writing(client, "{x}words", move)
        reads = await asyncio.gather(*(client.get(f"{{x}}{one}") for one in range(200)))
        return done, found, reads

    done, found, reads = run_with(source, main)
    assert sorted(found) == sorted(done)
    assert reads == [str(one) for one in range(200)]


def is_primary(node):
    with redis.Redis(HOST, node.port) as client:
        return client.role()[0] in (b"master", "master")


def test_calls_follow_a_replica_that_was_promoted(cluster, source):
    """The primary is killed: no write is done twice, and after its failover all go on."""
    home = cluster.owner(crc16(b"y") % SLOTS)
    other = next(node for node in cluster.nodes if node is not home)

    async def main(client, _):
        async def killed():
            home.kill()
            await reached(lambda: new_owner() not in (None, home))

        return await writing(client, "y", killed, OutcomeUnknown)

    def new_owner():
        for row in cluster.rows(other):
            if row.master and not row.failing and row.port != home.port:
                for first, last in row.slots:
                    if first <= crc16(b"y") % SLOTS <= last:
                        return cluster.by_port(row.port)
        return None

    done, found = run_with(source, main, patience=60.0)
    assert len(found) == len(set(found))
    assert set(done[-50:]) <= set(found)
