"""Servers of other projects, each in a process of its own: NATS, RabbitMQ."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.libraries.peers import HOST, asked
from benchmarks.libraries.peers.full import keep, run

RABBIT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # of Debian; the one in PATH would change the user
PATIENCE = 60.0  # seconds until a server listens


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _start(*command: object, **env: str) -> None:
    """A program that ends with this process."""
    process = subprocess.Popen(
        [str(word) for word in command], env=os.environ | env, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip

    def end() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    atexit.register(end)


async def _connected(connect: Callable[[], Any]) -> Any:
    """What `await connect()` returns, once the server listens."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return await connect()
        except Exception:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.1)


def nats() -> int:
    """A NATS server, and a responder on the subject `wait`."""
    import nats
    from nats.aio.msg import Msg

    port = _free_port()
    _start(Path(sys.executable).with_name("nats-server"), "-a", HOST, "-p", port)

    async def answer(message: Msg) -> None:
        seconds, word = asked(message.data.decode())
        await asyncio.sleep(seconds)
        await message.respond(word.encode())

    async def listen() -> None:
        client = await _connected(lambda: nats.connect(f"nats://{HOST}:{port}", allow_reconnect=False))
        keep(client)

        async def later(message: Msg) -> None:
            keep(asyncio.ensure_future(answer(message)))

        await client.subscribe("wait", cb=later)
        await client.flush()

    run(listen())
    return port


def rabbit() -> int:
    """A RabbitMQ, and a responder on the queue `wait`; 0 if there is none on this machine."""
    import aio_pika
    from aio_pika.abc import AbstractIncomingMessage

    if not RABBIT.exists():
        return 0
    port, names, nodes = _free_port(), _free_port(), _free_port()
    folder = tempfile.mkdtemp(prefix="pytask-rabbit-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    Path(folder, "plugins").write_text("[].")
    Path(folder, "home.conf").write_text(f"listeners.tcp.1 = {HOST}:{port}\n")
    _start("epmd", "-port", names, "-address", HOST)
    _start(
        RABBIT, RABBITMQ_NODENAME="bench@localhost", RABBITMQ_DIST_PORT=str(nodes), ERL_EPMD_PORT=str(names),
        RABBITMQ_CONFIG_FILE=f"{folder}/home", RABBITMQ_MNESIA_BASE=folder, RABBITMQ_LOG_BASE=folder,
        RABBITMQ_ENABLED_PLUGINS_FILE=f"{folder}/plugins", HOME=folder,
        RABBITMQ_PID_FILE=f"{folder}/pid", RABBITMQ_GENERATED_CONFIG_DIR=folder,
    )  # fmt: skip

    async def listen() -> None:
        line = await _connected(lambda: aio_pika.connect(f"amqp://{HOST}:{port}"))
        channel = await line.channel()
        queue = await channel.declare_queue("wait")

        async def answer(message: AbstractIncomingMessage) -> None:
            seconds, word = asked(message.body.decode())
            await asyncio.sleep(seconds)
            reply = aio_pika.Message(word.encode(), correlation_id=message.correlation_id)
            await channel.default_exchange.publish(reply, message.reply_to or "")

        await queue.consume(answer, no_ack=True)
        keep(line)

    run(listen())
    return port
