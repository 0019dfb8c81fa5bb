"""The server of `pytask web`: gevent's, with a time limit for browsers that read nothing."""

from __future__ import annotations

import gc
import ipaddress
import signal
import socket
from collections.abc import Callable
from typing import Any

import gevent
import gevent.event
from gevent.pool import Pool
from gevent.pywsgi import WSGIHandler, WSGIServer

from pytask.domain.errors import ConfigError, OpenToTheWorld
from pytask.logger import get_logger
from pytask.web.access import Access

log = get_logger(__name__)

STUCK = 30.0  # seconds in which a browser must take something, or send its next request
MOST = 1000  # connections
CLOSING = 1.0  # seconds for requests that are being answered, at the end
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1", "[::1]")


class Handler(WSGIHandler):
    """Answers the requests of one connection."""

    def handle_error(self, t: Any, v: Any, tb: Any) -> None:
        """A browser that has read nothing for too long is dropped without a traceback."""
        if isinstance(v, TimeoutError):
            self.close_connection = True
            return
        super().handle_error(t, v, tb)

    def handle_one_response(self) -> None:
        """Answer, then let others have their turn.

        What is shared is answered without waiting for anything, so a browser that sends many requests at once
        would be the only one that is served.
        """
        super().handle_one_response()
        gevent.sleep(0)


class Server(WSGIServer):
    """Sends each part at once, and drops who takes none."""

    handler_class = Handler

    def handle(self, sock: Any, address: Any) -> None:
        """Serve one connection."""
        sock.settimeout(STUCK)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            # Without it, a page in several parts waits 40 ms for the browser's acknowledgement.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().handle(sock, address)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_open(host: str, access: Access | None) -> None:
    """Raise `OpenToTheWorld` if others would reach the page without a login."""
    if access is None and not is_loopback(host):
        raise OpenToTheWorld(
            f"{host} is reached from other machines, and nobody would have to log in: give --auth FILE,"
            " or --auth-header NAME behind a proxy that logs in; or leave --host away, and reach the page"
            " through an SSH tunnel"
        )


def known_hosts(host: str, names: tuple[str, ...], access: Access | None) -> tuple[str, ...]:
    """The names under which the page answers; none: under all, as it has a login."""
    if not names and access is not None:
        return ()
    own = LOOPBACK_NAMES if is_loopback(host) else ()
    return tuple(dict.fromkeys(name.lower() for name in (*names, host, *own)))


def serve(app: Callable[..., Any], host: str, port: int, told: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C; `told` gets the address once it listens.

    Raises:
        ConfigError: The address cannot be used.
    """
    # What is there now stays: looking through it for garbage would stop the page for some 50 ms.
    gc.collect()
    gc.freeze()
    errors: Any = _Errors()
    server = Server((host, port), app, spawn=Pool(MOST), log=None, error_log=errors)
    try:
        server.start()
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host} port {port}: {error.strerror}. Choose another one with --port"
        ) from None
    shown = f"[{host}]" if ":" in host else host
    told(f"http://{shown}:{server.server_port}/")
    over = gevent.event.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, over.set)
    over.wait()
    server.stop(timeout=CLOSING)


class _Errors:
    """Where gevent writes what went wrong with a request."""

    def write(self, text: str) -> None:
        """A line, or a part of one."""
        text = text.strip()
        if len(text) > 2000:
            text = f"{text[:500]} [...] {text[-1500:]}"  # it begins with the name of a traceback
        if text:
            log.warning("the page: %s", text)

    def flush(self) -> None:
        """Nothing is kept back."""
