"""One asyncio client in several event loops: each `asyncio.run` makes one of its own."""

import asyncio
import gc
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

import pytask.aio
from tests.support.servers import start_server

PATIENCE = 30.0


# What the loops left open, as their programs did not close the client.
@pytest.mark.filterwarnings("ignore:(unclosed|loop is closed):ResourceWarning")
def test_one_client_serves_one_event_loop_after_the_other_and_several_at_once():
    gc.collect()
    with start_server("valkey") as server, redis.Redis.from_url(server.url) as admin:
        made = pytask.aio.Client(server.url, timeout=5, connect_timeout=5)

        async def look():
            return (await made.count()).exact

        async def listen():
            events = await made.watch("t")
            admin.publish("task-t", '{"event":"seen","data":null}')
            return (await anext(events)).name

        async def leave():
            assert await look()
            await made.close()

        before = len(admin.client_list())
        for _ in range(3):
            assert asyncio.run(look())
            assert asyncio.run(listen()) == "seen"
        with ThreadPoolExecutor(3) as pool:
            assert all(pool.map(lambda _: asyncio.run(look()), range(6)))
        asyncio.run(leave())
        until = time.monotonic() + PATIENCE
        while len(admin.client_list()) > before:  # the connections of the loops that ended are let go of
            assert time.monotonic() < until, admin.client_list()
            time.sleep(0.02)
    gc.collect()
