"""Small servers that reply after a requested delay.

Every request contains `wait-SECONDS-WORD`: the reply is WORD, after that time.
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
    """The seconds and the word of a request; 0 and "" without them."""
    found = ASKED.search(text)
    return (float(found[1]), found[2]) if found else (0.0, "")


def answered(text: str) -> str:
    """The word of a request, after its delay."""
    seconds, word = asked(text)
    time.sleep(seconds)
    return word


def later(text: str, answer: Callable[[str], object]) -> None:
    """Call `answer(word)` after the delay, without blocking."""
    seconds, word = asked(text)
    timer = threading.Timer(seconds, answer, [word])
    timer.daemon = True
    timer.start()


class Server(socketserver.ThreadingTCPServer):
    """Uses one thread per connection."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: object, address: object) -> None:
        """Ignore errors of disconnected clients, which are part of the measurement."""


def serve(handler: type[socketserver.BaseRequestHandler]) -> int:
    """Serve in threads; returns the port."""
    server = Server((HOST, 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


class Packets(socketserver.BaseRequestHandler):
    """A connection that is read in given lengths, and written by several threads."""

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
            pass  # it has disconnected
