"""Small servers that answer as late as they are asked to.

Every request has `wait-SECONDS-WORD` in it somewhere: the answer is WORD, after that time.
"""

from __future__ import annotations

import re
import socket
import socketserver
import threading
import time
from collections.abc import Callable

HOST = "127.0.0.1"
ASKED = re.compile(r"wait-([\d.]+)-(\w+)")


def asked(text: str) -> tuple[float, str]:
    """The seconds and the word of a request; no time and "" if it asks for none."""
    found = ASKED.search(text)
    return (float(found[1]), found[2]) if found else (0.0, "")


def answered(text: str) -> str:
    """The word of a request, when its time is over."""
    seconds, word = asked(text)
    time.sleep(seconds)
    return word


def later(text: str, answer: Callable[[str], object]) -> None:
    """Call `answer(word)` when the time is over, without waiting for it."""
    seconds, word = asked(text)
    timer = threading.Timer(seconds, answer, [word])
    timer.daemon = True
    timer.start()


class Server(socketserver.ThreadingTCPServer):
    """A thread for each connection."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: object, address: object) -> None:
        """A client that went away is what is measured."""


def serve(handler: type[socketserver.BaseRequestHandler]) -> int:
    """Serve in threads; the port."""
    server = Server((HOST, 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


class Packets(socketserver.BaseRequestHandler):
    """A connection from which numbers of bytes are read, and to which several threads may write."""

    def setup(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.request.makefile("rb")
        self.lock = threading.Lock()

    def read(self, size: int) -> bytes:
        data = self.file.read(size)
        if len(data) < size:
            raise ConnectionError("closed")
        return data

    def send(self, data: bytes) -> None:
        try:
            with self.lock:
                self.request.sendall(data)
        except OSError:
            pass  # it went away meanwhile
