"""Servers that libraries provide: gRPC, ZeroMQ, WebSocket, SSH, MySQL."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.libraries.peers import HOST, answered, asked

_loops: list[asyncio.AbstractEventLoop] = []
_kept: set[object] = set()


def keep(made: object) -> None:
    """Hold a server; or a task of the loop, until it is done."""
    _kept.add(made)
    if isinstance(made, asyncio.Future):
        made.add_done_callback(_kept.discard)


def grpc() -> int:
    """The method /wait/Wait, of plain bytes."""
    import grpc

    def wait(request: bytes, context: object) -> bytes:
        return answered(request.decode()).encode()

    server = grpc.server(ThreadPoolExecutor(64))
    methods = {"Wait": grpc.unary_unary_rpc_method_handler(wait)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("wait", methods),))
    port = server.add_insecure_port(f"{HOST}:0")
    server.start()
    keep(server)
    return port


def zmq() -> int:
    """A ROUTER that replies to each request after its delay."""
    import zmq

    router = zmq.Context.instance().socket(zmq.ROUTER)
    port = router.bind_to_random_port(f"tcp://{HOST}")
    due: list[tuple[float, list[bytes]]] = []

    def turn() -> None:
        if router.poll(10):
            *head, text = router.recv_multipart()
            seconds, word = asked(text.decode())
            due.append((time.monotonic() + seconds, [*head, word.encode()]))
        for one in [one for one in due if one[0] <= time.monotonic()]:
            due.remove(one)
            router.send_multipart(one[1])

    def turns() -> None:
        while True:
            turn()

    threading.Thread(target=turns, daemon=True).start()
    return port


def websocket() -> int:
    from websockets.sync.server import ServerConnection, serve

    def answer(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(answered(message))

    server = serve(answer, HOST, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.socket.getsockname()[1]


def run(made: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine, in a loop that continues in a thread."""
    if not _loops:
        _loops.append(asyncio.new_event_loop())
        threading.Thread(target=_loops[0].run_forever, daemon=True).start()
    return asyncio.run_coroutine_threadsafe(made, _loops[0]).result()


def ssh() -> int:
    """Commands that print their word; any password is accepted."""
    import asyncssh

    class Server(asyncssh.SSHServer):
        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return True

    async def command(process: asyncssh.SSHServerProcess) -> None:
        seconds, word = asked(process.command or "")
        await asyncio.sleep(seconds)
        process.stdout.write(word)
        process.exit(0)

    async def listen() -> int:
        key = asyncssh.generate_private_key("ssh-ed25519")
        server = await asyncssh.create_server(
            Server, HOST, 0, server_host_keys=[key], process_factory=command
        )
        keep(server)
        return server.get_port()

    return run(listen())


def mysql() -> int:
    """A statement with a delay returns its word."""
    from mysql_mimic import MysqlServer, Session

    class Late(Session):
        async def query(self, expression: object, sql: str, attrs: object) -> tuple[list[Any], list[str]]:
            seconds, word = asked(sql)
            await asyncio.sleep(seconds)
            return [(word,)], ["word"]

    async def listen() -> int:
        server = MysqlServer(session_factory=Late)
        await server.start_server(host=HOST, port=0)
        keep(server)
        return server._server.sockets[0].getsockname()[1]

    return run(listen())
