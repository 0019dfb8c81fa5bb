"""Resolves host names with the system's functions, in dedicated native threads.

gevent's default resolver shares ten native threads with the tasks: ten blocking calls would delay a new
connection to Redis.  Its c-ares resolver reads resolv.conf only once: a worker whose name servers changed, or
were missing at boot, would never connect again.  The system's functions detect such a change, and resolve
names like every other program on the machine (nsswitch.conf, hosts, search domains).
"""

from __future__ import annotations

import _socket
import os
from typing import Any

import gevent
from gevent.resolver import thread
from gevent.threadpool import ThreadPool

from pytask.runtime.tree import current_run

LOOKUPS = 4  # concurrent look-ups; while a name server hangs, further ones wait until their timeout
IDLE = 5  # seconds until an idle thread ends


class Resolver(thread.Resolver):
    """Separate threads for the look-ups of tasks and of the worker itself."""

    def __init__(self, hub: Any = None) -> None:
        super().__init__(hub)
        hub = gevent.get_hub() if hub is None else hub
        self.worker_pool = ThreadPool(LOOKUPS, hub=hub, idle_task_timeout=IDLE)
        self.task_pool = ThreadPool(LOOKUPS, hub=hub, idle_task_timeout=IDLE)

    @property
    def pool(self) -> ThreadPool:
        """The threads for the calling greenlet."""
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
        """As `socket.getaddrinfo`; numeric addresses need no look-up and no thread."""
        try:
            return _socket.getaddrinfo(host, port, family, type, proto, flags | _socket.AI_NUMERICHOST)
        except _socket.gaierror:
            return super().getaddrinfo(host, port, family, type, proto, flags)


def use_own_resolver() -> None:
    """Use it in this process, unless $GEVENT_RESOLVER or an earlier look-up has selected another."""
    if "GEVENT_RESOLVER" not in os.environ and gevent.get_hub()._resolver is None:  # type: ignore[attr-defined]  # noqa: SLF001
        gevent.config.resolver = Resolver
