"""A TCP proxy that loses, holds and cuts what passes through it.

It runs as a process of its own (`python -m tests.support.proxy PORT`), so that neither monkey-patching nor a
blocked event loop in the tests touches it. It takes one JSON object a line on stdin and answers each on
stdout: when a method of `Proxy` returns, its effect has begun.
"""

import asyncio
import contextlib
import json
import os
import random
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

HOST = "127.0.0.1"
ROOT = Path(__file__).resolve().parents[2]
CHUNK = 65536


class Proxy:
    """A loopback port that leads to `target_port`; it passes everything until told otherwise."""

    def __init__(self, target_port):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.proxy", str(target_port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            start_new_session=True,
        )
        self._lock = threading.Lock()  # one command at a time
        self.port = self._answer()["port"]
        self.url = f"redis://{HOST}:{self.port}/0"

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.close()

    def close(self):
        """End the proxy and every connection through it."""
        self._process.stdin.close()  # its signal to leave
        self._process.stdout.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def pass_(self):
        """Let everything through again; what a `blackhole` held is delivered."""
        self._tell("pass")

    def blackhole(self):
        """Accept and hold: not a byte moves either way, and every socket stays open."""
        self._tell("blackhole")

    def drop_replies(self):
        """Requests arrive, their replies never do. A connection that lost one is cut when the mode ends."""
        self._tell("drop_replies")

    def delay(self, minimum, maximum):
        """Hold each chunk, either way, for a random time within these seconds."""
        self._tell("delay", minimum=minimum, maximum=maximum)

    def refuse(self):
        """Refuse new connections; those that stand go on (see `cut`)."""
        self._tell("refuse")

    def cut(self):
        """Reset all connections now; the mode stays."""
        self._tell("cut")

    def cut_after_request(self, count=1, containing=""):
        """Lose the replies of the next `count` requests: once the server has answered, cut the connection.

        Only requests with the text `containing` count; a client's handshake is made of requests, too.
        """
        self._tell("cut_after_request", count=count, containing=containing)

    def limit(self, size):
        """Cut each connection at a request, or an answer, of more than `size` bytes; 0 ends that.

        It does not read the protocol: what passes one way, with nothing the other way in between, is one.
        """
        self._tell("limit", size=size)

    def lead_to(self, target_port):
        """New connections go to another port; those that stand stay where they are."""
        self._tell("lead_to", target_port=target_port)

    def connections(self):
        """How many connections stand."""
        return self._tell("connections")["connections"]

    def _tell(self, command, **arguments):
        with self._lock:
            self._process.stdin.write(json.dumps({"command": command, **arguments}).encode() + b"\n")
            self._process.stdin.flush()
            return self._answer()

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the proxy ended; its stderr says why")
        return json.loads(line)


class Connection:
    """One client's connection and its counterpart to the target."""

    def __init__(self, client, target):
        self.client = client  # (reader, writer)
        self.target = target
        self.lost_reply = False  # the client's stream has a hole: it must not read on
        self.cut_on_reply = False
        self.asked = self.answered = 0  # bytes since something passed the other way

    def cut(self):
        """Reset the client at once; close towards the target, which has what it was sent."""
        raw = self.client[1].get_extra_info("socket")
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.client[1].transport.abort()
        self.target[1].close()


class Relay:
    """The proxy's own process: the mode, and a pump for each direction of each connection."""

    def __init__(self, target_port):
        self.target_port = target_port
        self.connections = set()
        self.moving = asyncio.Event()  # cleared in a blackhole
        self.moving.set()
        self.mode = "pass"
        self.delay_range = (0, 0)
        self.requests_to_cut = 0
        self.cut_containing = b""
        self.most = 0
        self.port = 0
        self.listener = None
        # Bound for good though not listening, so that no one takes the port while we refuse.
        self.reserved = bound_socket(0)
        self.port = self.reserved.getsockname()[1]

    async def listen(self):
        if self.listener is None:
            self.listener = await asyncio.start_server(self.serve, sock=bound_socket(self.port))

    async def set_mode(self, mode):
        self.mode = mode
        if mode == "blackhole":
            self.moving.clear()
        else:
            self.moving.set()
        if mode == "refuse" and self.listener:
            self.listener.close()
            self.listener = None
        elif mode != "refuse":
            await self.listen()
        if mode not in ("drop_replies", "blackhole"):
            await self.cut([connection for connection in self.connections if connection.lost_reply])

    async def cut(self, connections):
        for connection in list(connections):
            connection.cut()
        await asyncio.sleep(0)  # the loop closes the sockets in its next round: before we say that it is done

    async def serve(self, *client):
        try:
            target = await asyncio.open_connection(HOST, self.target_port)
        except OSError:
            client[1].close()
            return
        connection = Connection(client, target)
        self.connections.add(connection)
        pumps = [
            asyncio.create_task(self.requests(connection)),
            asyncio.create_task(self.replies(connection)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.connections.discard(connection)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            client[1].close()
            target[1].close()

    async def requests(self, connection):
        while chunk := await self.receive(connection.client[0]):
            if self.requests_to_cut and self.cut_containing in chunk:
                self.requests_to_cut -= 1
                connection.cut_on_reply = True
            connection.asked, connection.answered = connection.asked + len(chunk), 0
            if self.most and connection.asked > self.most:
                connection.cut()
                return
            connection.target[1].write(chunk)
            await connection.target[1].drain()

    async def replies(self, connection):
        while chunk := await self.receive(connection.target[0]):
            connection.asked = 0
            if connection.cut_on_reply:
                connection.cut()
                return
            if self.mode == "drop_replies":
                connection.lost_reply = True
                continue
            connection.asked, connection.answered = 0, connection.answered + len(chunk)
            if self.most and connection.answered > self.most:
                connection.cut()
                return
            connection.client[1].write(chunk)
            await connection.client[1].drain()

    async def receive(self, reader):
        """The next chunk, held as the mode asks; empty at the end of the stream."""
        try:
            chunk = await reader.read(CHUNK)
        except OSError:
            chunk = b""
        if self.mode == "delay":
            await asyncio.sleep(random.uniform(*self.delay_range))
        await self.moving.wait()
        return chunk

    async def obey(self, command, **arguments):
        match command:
            case "pass" | "blackhole" | "drop_replies" | "refuse":
                await self.set_mode(command)
            case "delay":
                self.delay_range = (arguments["minimum"], arguments["maximum"])
                await self.set_mode("delay")
            case "cut":
                await self.cut(self.connections)
            case "cut_after_request":
                self.requests_to_cut = arguments["count"]
                self.cut_containing = arguments["containing"].encode()
            case "limit":
                self.most = arguments["size"]
            case "lead_to":
                self.target_port = arguments["target_port"]
            case "connections":
                return {"connections": len(self.connections)}
            case _:
                raise ValueError(command)
        return {"done": command}


def bound_socket(port):
    result = socket.socket()
    result.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    result.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    result.bind((HOST, port))
    return result


async def main(target_port):
    relay = Relay(target_port)
    await relay.listen()
    commands = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    print(json.dumps({"port": relay.port}), flush=True)
    while line := await commands.readline():
        answer = await relay.obey(**json.loads(line))
        print(json.dumps(answer), flush=True)
    await relay.cut(relay.connections)
    os._exit(0)  # at once: asyncio would first cancel every pump, and complain of each


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
