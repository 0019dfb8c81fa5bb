"""The measured call of a library, which waits, and the creation of the object for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from benchmarks.libraries.peers import HOST

Call = Callable[[float, str], Any]
"""Wait this many seconds in the library; returns its reply, or None without a reply."""

MISSING = "missing"
"""The reply if the message did not arrive."""


@attrs.frozen
class Peers:
    """The addresses of the servers."""

    ports: dict[str, int]
    folder: Path

    def __getitem__(self, name: str) -> int:
        return self.ports[name]

    def url(self, seconds: float, word: str, under: str = "") -> str:
        """The delayed reply of the HTTP server."""
        return f"http://{HOST}:{self['http']}{under}/{wait(seconds, word)}"


@attrs.frozen(kw_only=True)
class Case:
    """One row of the table.

    `made` says when `make` is called: "import" (of the module of the tasks), "first use" (by the first task),
    "shared" (by the first task, inside `with pytask.shared():`).  `shared`: all tasks use the same object.
    `work`: it computes and does not wait.  `coroutine`: the calls are awaited, in tasks with `async def`; the
    first of them calls `make`, inside `with pytask.shared():`.
    """

    name: str
    packages: tuple[str, ...]
    peer: str
    against: str
    make: Callable[[Peers], Call]
    do: str
    made: str = "import"
    shared: bool = False
    work: bool = False
    coroutine: bool = False


SERVERS = {
    "": "-",
    "http": "HTTP/1.1",
    "tcp": "lines over TCP",
    "silent": "no server (a port that never answers)",
    "redis": "Valkey 9.1",
    "postgres": "PostgreSQL 18",
    "mysql": "mysql-mimic",
    "mongo": "a small OP_MSG server",
    "amqp": "a small AMQP server",
    "mqtt": "a small MQTT server",
    "stomp": "a small STOMP server",
    "ldap": "a small LDAP server",
    "smtp": "a small SMTP server",
    "pop3": "a small POP3 server",
    "imap": "a small IMAP server",
    "ftp": "a small FTP server",
    "irc": "a small IRC server",
    "memcached": "a small memcached",
    "dns": "a small DNS server",
    "ssh": "asyncssh",
    "grpc": "grpcio",
    "zmq": "a ROUTER",
    "websocket": "websockets",
    "nats": "NATS 2.15",
    "rabbit": "RabbitMQ 3.10",
    "discord": "a small Discord (HTTP, gateway)",
}
CASES: dict[str, Case] = {}


def case(
    name: str, packages: str = "", *, peer: str = "", **more: Any
) -> Callable[[Callable[[Peers], Call]], Callable[[Peers], Call]]:
    """Add a row: `packages` are names of distributions, "" for the standard library."""

    def add(make: Callable[[Peers], Call]) -> Callable[[Peers], Call]:
        against = more.pop("against", SERVERS[peer])
        made = Case(
            name=name, packages=tuple(packages.split()), peer=peer, against=against, make=make, **more
        )
        CASES[name] = made
        return make

    return add


def again(name: str, of: str, **changes: Any) -> None:
    """Add a row that differs from another one."""
    CASES[name] = attrs.evolve(CASES[of], name=name, **changes)


def wait(seconds: float, word: str) -> str:
    """The requests that the servers know."""
    return f"wait-{seconds:g}-{word}"


BLOCKING = "`self.blocking`"
NOTHING = ""
IMPORT = "make it at import"
SHARED = "make it in `pytask.shared()`"
