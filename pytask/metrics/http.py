"""Answers a scrape: one request on one connection, with or without gevent.

A page is asked for every few seconds by one or two scrapers, so this needs no web server: the request is read
up to its empty line, and the connection is closed behind the answer.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from pytask.domain.errors import MissingExtra
from pytask.domain.metrics import Family
from pytask.logger import get_logger
from pytask.metrics import page

log = get_logger(__name__)

SECONDS = 2.0  # of one request: a scraper that does not read delays the next one by no more
LONGEST = 16 * 1024  # bytes of a request
PATHS = ("/metrics", "/")
METHODS = (b"GET ", b"HEAD")
PEEK = 0.05  # seconds in which a caller shows that it speaks HTTP

Collect = Callable[[], Iterable[Family]]


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.  Raises `OSError`."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(16)
    except BaseException:
        listener.close()
        raise
    return listener


def url(listener: Any) -> str:
    """The address of the page."""
    host, port, *_ = listener.getsockname()
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/metrics"


def is_request(line: Any) -> bool:
    """Whether the caller of a health socket speaks HTTP; others send nothing, or end their side at once."""
    line.settimeout(PEEK)
    with suppress(OSError):
        if line.recv(4, socket.MSG_PEEK) in METHODS:
            return True
        line.recv(LONGEST)  # what is left unread when a connection is closed takes the answer with it
    return False


def answer(line: Any, collect: Collect) -> None:
    """Answer one request.  Errors of the connection are ignored: the scraper tries again."""
    with suppress(OSError):
        until = time.monotonic() + SECONDS
        head = _read(line, until)
        status, kind, body = _reply(head, collect)
        lines = (
            f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}",
            "Connection: close", "", "",
        )  # fmt: skip
        line.settimeout(max(0.01, until - time.monotonic()))
        line.sendall("\r\n".join(lines).encode() + (b"" if head.startswith(b"HEAD") else body))


def _read(line: Any, until: float) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head and len(head) < LONGEST:
        line.settimeout(max(0.01, until - time.monotonic()))
        fresh = line.recv(4096)
        if not fresh:
            break
        head += fresh
    return head


def _reply(head: bytes, collect: Collect) -> tuple[str, str, bytes]:
    first, *rest = head.decode("latin-1").split("\r\n")
    method, _, place = first.partition(" ")
    if method not in ("GET", "HEAD"):
        return _plain("405 Method Not Allowed", "only GET")
    if place.partition(" ")[0].partition("?")[0] not in PATHS:
        return _plain("404 Not Found", "the page is /metrics")
    named = (line.partition(":") for line in rest)
    accept = ",".join(value.strip() for name, _, value in named if name.strip().lower() == "accept")
    try:
        body, kind = page.write(collect(), accept)
    except MissingExtra as error:
        return _plain("501 Not Implemented", str(error))
    except Exception:
        log.exception("the page of metrics could not be made")
        return _plain("500 Internal Server Error", "see the log")
    return "200 OK", kind, body


def _plain(status: str, text: str) -> tuple[str, str, bytes]:
    return status, "text/plain; charset=utf-8", f"{text}\n".encode()
