"""Agents: long conversations with a streaming API, thousands of them in one worker, that survive deploys.

Run each line in its own terminal:

    python examples/local_model.py                                # a small streaming API for this example
    MODEL=http://127.0.0.1:8001 pytask run examples/agents.py

Then start a thousand, and deploy (Ctrl-C, and run the worker again) while they talk:

    python examples/agents.py 1000
"""

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import attrs

from pytask import Client, Restart, Task

MODEL = urlsplit(os.environ.get("MODEL", "http://127.0.0.1:8001"))
QUIET = 60  # seconds without a word of the model


@attrs.frozen
class Order:
    """The task's data."""

    account: str
    turns: int = 10
    pause: float = 0.0  # seconds between two turns


class Agent(Task):
    class Config:
        NAME = "agent"
        DATA = Order
        GROUP = "account"
        GROUP_LIMIT = 50  # conversations of an account at a time, on all workers
        RESTART = Restart("failure", first=1, cap=60)  # the API has bad minutes

    async def start(self):
        talk = self.saved or []  # the answers so far: the run before this one has said them
        while len(talk) < self.task_data.turns:
            await self.gate()  # `pytask pause` takes effect between two turns
            answer = [word async for word in self.ask(len(talk))]
            talk.append(" ".join(answer))
            self.save(talk)  # goes with the next renewal, and with the end of this run
            self.progress(len(talk), self.task_data.turns)
            await self.emit("said", talk[-1])
            await self.sleep(self.task_data.pause)
        return {"last": talk[-1], "turns": len(talk)}

    async def ask(self, turn):
        """The words of an answer, as they come."""
        body = json.dumps({"conversation": self.id, "turn": turn}).encode()
        async with post(body) as reader:
            while line := await asyncio.wait_for(reader.readline(), QUIET):
                if line.startswith(b"data: "):
                    yield line[6:].decode().strip()


@asynccontextmanager
async def post(body):
    """What the API answers, after its head.  The connection is closed in any case: also by a stop."""
    reader, writer = await asyncio.open_connection(MODEL.hostname, MODEL.port)
    try:
        head = f"POST /chat HTTP/1.0\r\nHost: {MODEL.netloc}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        status = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), QUIET)
        if b" 200 " not in status.split(b"\r\n")[0]:
            raise Task.Error(f"the API says {status.split()[1].decode()}")
        yield reader
    finally:
        writer.close()


if __name__ == "__main__":
    with Client() as client:
        accounts = [f"a{number % 50}" for number in range(int(sys.argv[1]))]
        client.start_many(("agent", {"account": account}) for account in accounts)
