"""A server with the API of Discord, as far as a bot needs it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import TYPE_CHECKING, Any

from benchmarks.libraries.peers import HOST, asked
from benchmarks.libraries.peers.full import keep, run

if TYPE_CHECKING:
    from aiohttp import web

BEAT = 500  # milliseconds between two heartbeats of a bot
USER = {"id": "1", "username": "bot", "discriminator": "0", "avatar": None, "global_name": None, "bot": True}
APPLICATION = {
    "id": "1", "name": "bot", "icon": None, "description": "", "bot_public": True, "verify_key": "",
    "bot_require_code_grant": False, "summary": "", "flags": 0, "team": None, "owner": USER,
}  # fmt: skip


def discord() -> int:
    """HTTP and gateway: a posted message comes back as an event, after its delay, with its word."""
    return int(run(Discord().listen()))


class Discord:
    """A bot that sends no heartbeat is disconnected, as there."""

    def __init__(self) -> None:
        self.gateways: set[web.WebSocketResponse] = set()
        self.url = ""

    async def listen(self) -> int:
        from aiohttp import web

        app = web.Application()
        for path in ("/gateway", "/gateway/"):
            app.router.add_get(path, self.gateway)
        app.router.add_get("/users/@me", self.me)
        app.router.add_get("/oauth2/applications/@me", self.application)
        app.router.add_post("/channels/{channel}/messages", self.post)
        made = web.AppRunner(app)
        await made.setup()
        await web.TCPSite(made, HOST, 0).start()
        keep(made)
        port: int = made.addresses[0][1]
        self.url = f"ws://{HOST}:{port}/gateway"
        return port

    async def me(self, _: web.Request) -> web.Response:
        return reply(USER)

    async def application(self, _: web.Request) -> web.Response:
        return reply(APPLICATION)

    async def post(self, request: web.Request) -> web.Response:
        channel, text = request.match_info["channel"], (await request.json())["content"]
        keep(asyncio.ensure_future(self.tell(channel, *asked(text))))
        return reply(message(channel, text))

    async def tell(self, channel: str, seconds: float, word: str) -> None:
        await asyncio.sleep(seconds)
        for line in list(self.gateways):
            with contextlib.suppress(ConnectionError):
                await event(line, "MESSAGE_CREATE", message(channel, word))

    async def gateway(self, request: web.Request) -> web.WebSocketResponse:
        from aiohttp import WSMsgType, web

        line = web.WebSocketResponse()
        await line.prepare(request)
        await line.send_json({"op": 10, "d": {"heartbeat_interval": BEAT}})
        with contextlib.suppress(asyncio.TimeoutError):
            while (frame := await line.receive(timeout=BEAT / 1000 * 6)).type == WSMsgType.TEXT:
                await self.answer(line, json.loads(frame.data)["op"])
        self.gateways.discard(line)
        await line.close(code=4009)
        return line

    async def answer(self, line: web.WebSocketResponse, op: int) -> None:
        if op == 1:
            await line.send_json({"op": 11})
        elif op == 2:
            ready = {"v": 10, "user": USER, "guilds": [], "session_id": "s"}
            ready |= {"application": {"id": "1", "flags": 0}, "resume_gateway_url": self.url}
            await event(line, "READY", ready)
            self.gateways.add(line)


async def event(line: web.WebSocketResponse, name: str, data: dict[str, Any]) -> None:
    await line.send_json({"op": 0, "t": name, "s": time.monotonic_ns() // 1000, "d": data})


def message(channel: str, content: str) -> dict[str, Any]:
    return {
        "id": str(time.time_ns()), "channel_id": channel, "author": USER, "content": content, "tts": False,
        "timestamp": "2026-01-01T00:00:00+00:00", "edited_timestamp": None, "mention_everyone": False,
        "mentions": [], "mention_roles": [], "attachments": [], "embeds": [], "pinned": False, "type": 0,
    }  # fmt: skip


def reply(data: dict[str, Any]) -> web.Response:
    from aiohttp import web

    kind = {"Content-Type": "application/json"}  # without a charset, as there
    return web.Response(body=json.dumps(data).encode(), headers=kind)
