"""Libraries that wait in C code, which gevent cannot patch: while one waits, all tasks wait."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache

from pytask.logger import get_logger

log = get_logger(__name__)

THREAD = "move its calls to a native thread: self.blocking(f, *args)"

REMEDIES: dict[str, str] = {
    "psycopg2": "psycopg2.extensions.set_wait_callback(f) before the first connection, or use psycopg 3",
    "MySQLdb": f"use PyMySQL, or {THREAD}",
    "mariadb": f"use PyMySQL, or {THREAD}",
    "pycurl": f"use requests or httpx, or {THREAD}",
    "curl_cffi": 'make each session with Session(thread="gevent")',
    "grpc": "call grpc.experimental.gevent.init_gevent() before the first channel",
    "confluent_kafka": "call poll(0) with gevent.sleep(0.1) in between, or use kafka-python",
    "watchfiles": f"use watchdog, or {THREAD}",
    "duckdb": THREAD,
    "zmq": "import zmq.green as zmq",
    "pymssql": f"pymssql.set_wait_callback(f) before the first connection, or {THREAD}",
}
"""The fix by import name; each library was observed to block the loop."""


def _psycopg2() -> bool:
    extensions = sys.modules.get("psycopg2.extensions")
    return extensions is not None and extensions.get_wait_callback() is not None


REMEDIED: dict[str, Callable[[], bool]] = {
    "psycopg2": _psycopg2,
    "grpc": lambda: "grpc.experimental.gevent" in sys.modules,
    "zmq": lambda: "zmq.green" in sys.modules,
}
"""Whether the program has applied the fix, as far as it can be detected."""


def remedy(library: str) -> str:
    """The fix if that library blocks the loop; "" for an unknown library."""
    return REMEDIES.get(library, "")


def imported() -> list[str]:
    """The known libraries that this process has imported without the fix."""
    return [name for name in REMEDIES if name in sys.modules and not REMEDIED.get(name, bool)()]


@cache  # once per process, even with several workers
def warn_of_blockers() -> None:
    """Log each of them."""
    for name in imported():
        log.warning(
            "[PT046] %s is imported: while one of its calls waits, all tasks of this process wait. Fix: %s",
            name, REMEDIES[name],
        )  # fmt: skip
