"""Libraries for asyncio, awaited in tasks with `async def`."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytask
from benchmarks.libraries.cases import SHARED, Call, Peers, case, wait
from benchmarks.libraries.peers import HOST

REPLIES = "amq.rabbitmq.reply-to"  # a queue that every RabbitMQ has for the replies to one consumer
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


@case(
    "nats-py in `async def`, a connection for all", "nats-py", peer="nats", coroutine=True, shared=True,
    do="connect, and a first request, in `pytask.shared()`",
)  # fmt: skip
def nats_request(at: Peers) -> Call:
    import nats

    opened = asyncio.Lock()
    client = nats.NATS()

    async def ready() -> None:
        async with opened:
            if not client.is_connected:
                with pytask.shared():
                    await client.connect(f"nats://{HOST}:{at['nats']}")
                    await client.request("wait", b"")  # creates the task that takes replies

    async def call(seconds: float, word: str) -> str:
        await ready()
        return (await client.request("wait", wait(seconds, word).encode(), timeout=60)).data.decode()

    return call


@case(
    "aio-pika in `async def`, a channel for all", "aio-pika", peer="rabbit", coroutine=True, shared=True,
    do="connect, and consume, in `pytask.shared()`",
)  # fmt: skip
def aio_pika_channel(at: Peers) -> Call:
    import aio_pika

    opened = asyncio.Lock()
    channels: list[aio_pika.abc.AbstractChannel] = []
    waiting: dict[str, asyncio.Future[str]] = {}

    def arrived(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        if (future := waiting.get(message.correlation_id or "")) and not future.done():
            future.set_result(message.body.decode())

    async def channel() -> aio_pika.abc.AbstractChannel:
        async with opened:
            if not channels:
                with pytask.shared():
                    line = await aio_pika.connect_robust(f"amqp://{HOST}:{at['rabbit']}")
                    made = await line.channel()
                    await (await made.get_queue(REPLIES, ensure=False)).consume(arrived, no_ack=True)
                    channels.append(made)
        return channels[0]

    async def call(seconds: float, word: str) -> str:
        waiting[word] = asyncio.get_running_loop().create_future()
        try:
            message = aio_pika.Message(wait(seconds, word).encode(), reply_to=REPLIES, correlation_id=word)
            await (await channel()).default_exchange.publish(message, "wait")
            return await waiting[word]
        finally:
            del waiting[word]

    return call


@case(
    "aio-pika in `async def`, a channel a call", "aio-pika", peer="rabbit", coroutine=True, shared=True,
    do="a channel for all: a cancel while one opens or closes breaks the connection, also without pytask",
)  # fmt: skip
def aio_pika_channels(at: Peers) -> Call:
    import aio_pika

    opened = asyncio.Lock()
    lines: list[aio_pika.abc.AbstractRobustConnection] = []

    async def line() -> aio_pika.abc.AbstractRobustConnection:
        async with opened:
            if not lines:
                with pytask.shared():
                    lines.append(await aio_pika.connect_robust(f"amqp://{HOST}:{at['rabbit']}"))
        return lines[0]

    async def call(seconds: float, word: str) -> str:
        async with (await line()).channel() as channel:
            replies = await channel.declare_queue(exclusive=True)
            message = aio_pika.Message(wait(seconds, word).encode(), reply_to=replies.name)
            await channel.default_exchange.publish(message, "wait")
            async with replies.iterator(no_ack=True) as messages:
                return (await anext(messages)).body.decode()

    return call


@case("discord.py in `async def`, a client for all", "discord.py", peer="discord", **AWAITED)
def discord_client(at: Peers) -> Call:
    """It posts a message, and waits for what comes by the gateway."""
    import discord
    from discord.gateway import DiscordWebSocket
    from discord.http import Route
    from yarl import URL

    Route.BASE = f"http://{HOST}:{at['discord']}"
    DiscordWebSocket.DEFAULT_GATEWAY = URL(f"ws://{HOST}:{at['discord']}/gateway")
    client = discord.Client(intents=discord.Intents.default())
    opened = asyncio.Lock()

    async def ready() -> None:
        async with opened:
            if not client.is_ready():
                with pytask.shared():
                    await client.login("t")
                    lasting.append(asyncio.create_task(client.connect()))
                await client.wait_until_ready()

    lasting: list[asyncio.Task[None]] = []
    channels = itertools.count(1)  # Discord limits the messages of each

    async def call(seconds: float, word: str) -> str:
        await ready()
        channel = client.get_partial_messageable(next(channels))
        seen, _ = await asyncio.gather(
            client.wait_for("message", check=lambda message: message.content == word),
            channel.send(wait(seconds, word)),
        )
        return str(seen.content)

    return call
