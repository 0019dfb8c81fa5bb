"""Asks the sentinels of a client for the primary, in turn and within hard limits.

The libraries ask each sentinel with the timeouts and retries of the user's client, often none and many: a
hanging one would use up the time of every connection attempt, and the second would never be asked.  Here each
walk begins with the sentinel that answered last, for all connections together.
"""

from __future__ import annotations

import copy
import importlib
import time
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

from pytask.logger import get_logger

log = get_logger(__name__)

LIMIT = 3.0  # seconds of one walk, unless a client sets its own
SHARE = 2  # hanging sentinels that a walk may ask within its time limit


class Order:
    """The sentinels of one manager in the order of queries, shared by all connections."""

    def __init__(self, manager: Any) -> None:
        self._sentinels = list(manager.sentinels)
        self._silent: set[int] = set()  # those that were reported

    def walk(self, limit: float) -> Iterator[Any]:
        """Each sentinel once, until the time of the walk (seconds) is used up."""
        until = time.monotonic() + limit
        for sentinel in list(self._sentinels):
            if time.monotonic() >= until:
                return
            yield sentinel

    def answered(self, sentinel: Any) -> None:
        """Keep a sentinel that knows the primary before the others."""
        self._silent.discard(id(sentinel))

    def failed(self, sentinel: Any, service_name: str, error: BaseException) -> None:
        """Let the next walk begin after this sentinel."""
        self._sentinels.remove(sentinel)
        self._sentinels.append(sentinel)
        if id(sentinel) not in self._silent and isinstance(error, Exception):
            self._silent.add(id(sentinel))
            log.warning(
                "[PT135] sentinel %s does not return the address of the primary %r (%s). The other sentinels"
                " are queried first from now on",
                _address(sentinel), service_name, _reason(error),
            )  # fmt: skip


_orders: WeakKeyDictionary[Any, Order] = WeakKeyDictionary()


class Sentinels:
    """Replaces the manager of the library in the pool of a clone; `limit`: seconds of a walk."""

    def __init__(self, manager: Any, limit: float | None = None) -> None:
        self._manager = manager
        self._limit = LIMIT if limit is None else limit
        self._order = _orders.setdefault(manager, Order(manager))

    def discover_master(self, service_name: str) -> Any:
        """The address of the primary from the first sentinel that knows it.  Raises the library's errors."""
        return self._first(service_name, "discover_master")

    def discover_slaves(self, service_name: str) -> Any:
        """The addresses of the replicas."""
        return self._first(service_name, "discover_slaves")

    def _first(self, service_name: str, verb: str) -> Any:
        met: dict[str, BaseException] = {}
        for sentinel in self._order.walk(self._limit):
            one, client = self._alone(sentinel)
            try:
                found = getattr(one, verb)(service_name)
            except BaseException as error:
                self._order.failed(sentinel, service_name, error)
                if not _of_library(error):
                    raise  # also if the caller timed out: the next walk begins after this sentinel
                met[_address(sentinel)] = error
            else:
                self._order.answered(sentinel)
                return found
            finally:
                client.connection_pool.disconnect()
        raise _none(service_name, met)

    def _alone(self, sentinel: Any) -> tuple[Any, Any]:
        """A manager of only this sentinel and its client, so the checks of the library apply."""
        one = copy.copy(self._manager)
        client = _bounded(sentinel, self._limit / SHARE)
        one.sentinels = [client]
        return one, client


class AwaitedSentinels(Sentinels):
    """The same for an asyncio client."""

    async def _first(self, service_name: str, verb: str) -> Any:
        met: dict[str, BaseException] = {}
        for sentinel in self._order.walk(self._limit):
            one, client = self._alone(sentinel)
            try:
                found = await getattr(one, verb)(service_name)
            except BaseException as error:
                self._order.failed(sentinel, service_name, error)
                if not _of_library(error):
                    raise
                met[_address(sentinel)] = error
            else:
                self._order.answered(sentinel)
                return found
            finally:
                await client.connection_pool.disconnect()
        raise _none(service_name, met)


def _bounded(sentinel: Any, limit: float) -> Any:
    """A client of a sentinel with its own pool, hard time limits and no retries."""
    pool = sentinel.connection_pool
    package = type(sentinel).__module__.partition(".")[0]
    library = f"{package}.asyncio" if ".asyncio" in type(pool).__module__ else package
    retry = importlib.import_module(f"{library}.retry")
    backoff = importlib.import_module(f"{package}.backoff")
    kwargs = {k: v for k, v in pool.connection_kwargs.items() if not k.startswith("maint_notifications")}
    for name in ("socket_timeout", "socket_connect_timeout"):
        given = kwargs.get(name)
        kwargs[name] = limit if given is None else min(given, limit)
    kwargs |= {
        "retry": retry.Retry(backoff.NoBackoff(), 0),
        "retry_on_timeout": False,
        "retry_on_error": [],
        "health_check_interval": 0,
    }
    return type(sentinel)(connection_pool=type(pool)(connection_class=pool.connection_class, **kwargs))


def _of_library(error: BaseException) -> bool:
    return any(cls.__name__ in ("RedisError", "ValkeyError") for cls in type(error).__mro__)


def _address(sentinel: Any) -> str:
    given = sentinel.connection_pool.connection_kwargs
    return f"{given.get('host')}:{given.get('port')}"


def _reason(error: BaseException) -> str:
    """The error text without the client settings that the library prepends."""
    return str(error).rpartition(" - ")[2] or type(error).__name__


def _none(service_name: str, met: dict[str, BaseException]) -> BaseException:
    """The last error; if it is that of the library, with the reasons of all sentinels."""
    if not met:
        return ConnectionError("no sentinel is known")
    last = list(met.values())[-1]
    if type(last).__name__ != "MasterNotFoundError":
        return last
    reasons = ", ".join(f"{address}: {_reason(error)}" for address, error in met.items())
    return type(last)(f"no sentinel returns the address of the primary {service_name!r}: {reasons}")
