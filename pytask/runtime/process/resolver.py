"""Name look-ups by the system's own functions, in native threads that nothing else can fill.

gevent's default resolver uses the ten native threads of the tasks: ten blocking calls there would hold up a
new connection to Redis.  Its c-ares resolver reads resolv.conf once: a worker whose name servers changed,
or were not there at boot, would never connect again.  The system's functions notice such a change, and
answer as every other program on the machine does (nsswitch.conf, hosts, search domains).
"""

from __future__ import annotations

import _socket
import os
from typing import Any

import gevent
from gevent.resolver import thread
from gevent.threadpool import ThreadPool

from pytask.runtime.tree import current_run

LOOKUPS = 4  # at once; while a name server hangs, further ones wait, and give up with their callers
IDLE = 5  # seconds until a thread without work ends


class Resolver(thread.Resolver):
    """Look-ups of tasks and of the worker itself have threads of their own."""

    def __init__(self, hub: Any = None) -> None:
        super().__init__(hub)
        hub = gevent.get_hub() if hub is None else hub
        self.worker_pool = ThreadPool(LOOKUPS, hub=hub, idle_task_timeout=IDLE)
        self.task_pool = ThreadPool(LOOKUPS, hub=hub, idle_task_timeout=IDLE)

    @property
    def pool(self) -> ThreadPool:
        """The threads for the greenlet that asks."""
        return self.worker_pool if current_run() is None else self.task_pool

    @pool.setter
    def pool(self, _shared: object) -> None:
        """The base class would use the threads of the hub."""

    def getaddrinfo(  # noqa: PLR0913, PLR0917 - as socket.getaddrinfo
        self,
        host: Any,
        port: Any,
        family: int = 0,
        type: int = 0,  # noqa: A002
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        """As `socket.getaddrinfo`; an address in numbers is looked up nowhere, and waits for no thread."""
        try:
            return _socket.getaddrinfo(host, port, family, type, proto, flags | _socket.AI_NUMERICHOST)
        except _socket.gaierror:
            return super().getaddrinfo(host, port, family, type, proto, flags)


def use_own_resolver() -> None:
    """Use it in this process, unless $GEVENT_RESOLVER or a look-up has chosen another one."""
    if "GEVENT_RESOLVER" not in os.environ and gevent.get_hub()._resolver is None:  # type: ignore[attr-defined]  # noqa: SLF001
        gevent.config.resolver = Resolver
