"""Libraries for asyncio, awaited in tasks with `async def`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytask
from benchmarks.libraries.cases import SHARED, Call, Peers, case, wait
from benchmarks.libraries.peers import HOST

AWAITED = {"coroutine": True, "shared": True, "do": SHARED}


@case("aiohttp in `async def`, a session for all", "aiohttp", peer="http", **AWAITED)
def aiohttp_session(at: Peers) -> Call:
    import aiohttp

    session = aiohttp.ClientSession()

    async def call(seconds: float, word: str) -> str:
        async with session.get(at.url(seconds, word)) as answer:
            return await answer.text()

    return call


@case("httpx in `async def`, a client for all", "httpx", peer="http", **AWAITED)
def httpx_client(at: Peers) -> Call:
    import httpx

    client = httpx.AsyncClient(timeout=60)

    async def call(seconds: float, word: str) -> str:
        return (await client.get(at.url(seconds, word))).text

    return call


@case(
    "httpx in `async def`, a streamed answer",
    "httpx",
    peer="http",
    coroutine=True,
    do="`async with` around it",
)
def httpx_stream(at: Peers) -> Call:
    import httpx

    async def call(seconds: float, word: str) -> str:
        async with (
            httpx.AsyncClient(timeout=60) as client,
            client.stream("GET", at.url(seconds, word)) as answer,
        ):
            return "".join([part async for part in answer.aiter_text()])

    return call


@case(
    "websockets in `async def`, a connection a task", "websockets", peer="websocket", coroutine=True,
    do="`async with connect(...)`",
)  # fmt: skip
def websockets_connect(at: Peers) -> Call:
    from websockets.asyncio.client import connect

    async def call(seconds: float, word: str) -> Any:
        async with connect(f"ws://{HOST}:{at['websocket']}") as line:
            await line.send(wait(seconds, word))
            return await line.recv()

    return call


@case("asyncpg in `async def`, a pool for all", "asyncpg", peer="postgres", **AWAITED)
def asyncpg_pool(at: Peers) -> Call:
    import asyncpg

    pool = asyncpg.create_pool(
        f"postgresql://postgres@{HOST}:{at['postgres']}/postgres", min_size=1, max_size=30
    )
    opened = asyncio.Lock()

    async def call(seconds: float, word: str) -> Any:
        async with opened:
            with pytask.shared():
                await pool  # the first time it connects
        return await pool.fetchval("select $1::text from pg_sleep($2)", word, seconds)

    return call


@case("redis-py in `async def`, a client for all", "redis", peer="redis", coroutine=True, shared=True, do="")
def redis_client(at: Peers) -> Call:
    import redis.asyncio

    client = redis.asyncio.Redis(host=HOST, port=at["redis"], decode_responses=True, socket_timeout=None)

    async def call(seconds: float, word: str) -> str:
        found = await client.blpop([f"never-{word}"], seconds)
        assert found is None
        return str(await client.echo(word))

    return call


@case("PyMongo in `async def`, a client for all", "pymongo", peer="mongo", **AWAITED)
def pymongo_client(at: Peers) -> Call:
    from pymongo import AsyncMongoClient
    from pymongo.server_api import ServerApi

    client = AsyncMongoClient(HOST, at["mongo"], server_api=ServerApi("1"))

    async def call(seconds: float, word: str) -> Any:
        with pytask.shared():
            await client.aconnect()
        return (await client.admin.command("ping", comment=wait(seconds, word)))["word"]

    return call


@case("python-telegram-bot in `async def`, a bot for all", "python-telegram-bot", peer="http", **AWAITED)
def telegram_bot(at: Peers) -> Call:
    import telegram
    from telegram.request import HTTPXRequest

    request = HTTPXRequest(connection_pool_size=30, read_timeout=60)
    bot = telegram.Bot("1:t", base_url=f"http://{HOST}:{at['http']}/json/bot", request=request)

    async def call(seconds: float, word: str) -> Any:
        return (await bot.send_message(1, wait(seconds, word))).text

    return call


@case("aiogram in `async def`, a bot for all", "aiogram", peer="http", **AWAITED)
def aiogram_bot(at: Peers) -> Call:
    from aiogram import Bot
    from aiogram.client.session.aiohttp import AiohttpSession
    from aiogram.client.telegram import TelegramAPIServer

    base = f"http://{HOST}:{at['http']}/json"
    api = TelegramAPIServer(base=base + "/bot{token}/{method}", file=base)
    bot = Bot("1:t", session=AiohttpSession(api=api, limit=30, timeout=60))

    async def call(seconds: float, word: str) -> Any:
        with pytask.shared():
            await bot.session.create_session()  # aiogram does so at the first call
        return (await bot.send_message(1, wait(seconds, word))).text

    return call
