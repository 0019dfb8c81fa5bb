"""The Redis client of a worker's coroutines: that of the library, with the rules of `task_client`.

They share a few connections, each without leftover state.  A call waits while Redis is unreachable, and only
what is safe to repeat is sent again: a write whose reply was lost is an `OutcomeUnknown`.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
from collections.abc import Awaitable, Callable
from contextvars import Context
from functools import cache, partial
from typing import TYPE_CHECKING, Any, cast

from pytask.adapters.redis import command_effects, coroutine_cluster, support
from pytask.adapters.redis.coroutine_calls import (
    Commands,
    again_while_safe,
    cancels,
    check_cancel,
    is_reset,
    options,
    reply_limit,
)
from pytask.adapters.redis.sentinels import AwaitedSentinels
from pytask.adapters.redis.task_client import Current
from pytask.adapters.redis.task_connection import REFUSED, REPLIES, is_away, names_of, unknown
from pytask.domain.errors import NotInLoop
from pytask.domain.ports import Borrower

if TYPE_CHECKING:
    Base = Any
else:
    Base = object


class LentPool(Base):  # type: ignore[misc]
    """A pool of the library that knows which run has which connection, and keeps a few idle ones."""

    current: Current
    limit: int  # connections that plain commands share

    async def get_connection(self, *_: Any, **__: Any) -> Any:
        """A connected connection."""
        for one in filter(is_reset, list(self._available_connections)):
            await one.disconnect(nowait=True)
        connection = await super().get_connection(*_words(cast("Any", type(self))))
        borrower = self.current()
        connection.borrower = borrower
        if borrower is not None:
            borrower.held.add(connection)
        return connection

    async def release(self, connection: Any) -> None:
        """Take a connection back; drop it if there are enough."""
        if getattr(connection, "kept", False):
            return  # by a pipeline, of which the call is not over
        borrower, connection.borrower = getattr(connection, "borrower", None), None
        if borrower is not None:
            borrower.held.discard(connection)
        if connection not in self._in_use_connections:
            return  # its run is over
        await super().release(connection)
        if len(self._available_connections) > self.limit:
            await self._available_connections.pop(0).disconnect(nowait=True)

    async def drop(self, connection: Any) -> None:
        """A run is over and has not returned it."""
        self._in_use_connections.discard(connection)
        await connection.disconnect(nowait=True)


@cache
def _words(cls: Any) -> tuple[str, ...]:
    """What `get_connection` of the library must be called with: the name of a command, in old releases."""
    base = next(one for one in cls.__mro__ if one.__name__.endswith("ConnectionPool") and one is not cls)
    command = inspect.signature(base.get_connection).parameters.get("command_name")
    return ("_",) if command is not None and command.default is inspect.Parameter.empty else ()


class PatientClient(Base):  # type: ignore[misc]
    """A client of the library that waits for a lost server."""

    package: str
    shares: asyncio.Semaphore
    current: Current

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """As in the library."""
        before = cancels()

        async def do(connection: Any) -> Any:
            if not command_effects.waits(args):
                return await self._send_command_parse_response(connection, args[0], *args, **options)
            await connection.send_command(*args)
            check_cancel(before)
            return await self.parse_response(connection, args[0], **options)

        return await self.patiently([args], do)

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Any:  # noqa: FBT002 - as in the library
        """As in the library."""
        made = super().pipeline(transaction, shard_hint)
        made.__class__ = _pipeline_class(cast("Any", type(made)))
        made.patient = self
        return made

    async def drop(self, connection: Any) -> None:
        """A run is over and has not returned it."""
        await self.connection_pool.drop(connection)

    async def shut(self) -> None:
        """The loop ends."""
        await self.connection_pool.disconnect()

    async def patiently(self, commands: Commands, do: Callable[[Any], Awaitable[Any]]) -> Any:
        """The value of `do(connection)`, which sends these commands; again while that is safe."""
        borrower = self.current()
        return await again_while_safe(
            lambda: self._once(commands, do), commands, borrower, self.shares, is_away
        )

    async def _once(self, commands: Commands, do: Callable[[Any], Awaitable[Any]]) -> Any:
        pool = self.connection_pool
        connection = await pool.get_connection()  # an error here means that nothing was sent
        before = connection.socket_timeout
        connection.kept, connection.socket_timeout = (
            True,
            reply_limit(before, commands, self.package, self.current()),
        )
        try:
            return await do(connection)
        except BaseException as error:
            names = names_of(error)
            if names & REPLIES and not names & REFUSED:
                raise
            await connection.disconnect(nowait=True)  # also after a cancel: a reply may be on its way
            if not isinstance(error, Exception):
                raise
            raise self._lost(error, commands) from error
        finally:
            connection.kept, connection.socket_timeout = False, before
            await pool.release(connection)

    def _lost(self, error: Exception, commands: Commands) -> Exception:
        """The error to raise: the library's if repeating does no harm, otherwise that of pytask."""
        library = importlib.import_module(self.package)
        names = names_of(error)
        if hasattr(
            self.connection_pool, "sentinel_manager"
        ):  # its connections make another error of a refusal
            names |= names_of(error.__context__)
        if len(commands) == 1 and names & REFUSED:
            refused: Exception = library.ConnectionError(
                f"refused by a server that is not the primary: {error}"
            )
            return refused
        if not is_away(error) or command_effects.only_reads(commands, self.package):
            return error
        return unknown(error, commands, type(error))


@cache
def _pipeline_class(base: Any) -> Any:
    return type(f"Patient{base.__name__}", (PatientPipeline, base), {})


class PatientPipeline(Base):  # type: ignore[misc]
    """A pipeline of the library that waits for a lost server."""

    patient: PatientClient
    command_stack: list[Any]
    connection: Any

    async def execute(self, raise_on_error: bool = True) -> Any:  # noqa: FBT002 - the signature of the library
        """As in the library."""
        commands = [tuple(args) for args, _ in self.command_stack]
        if (
            self.connection is not None or not commands
        ):  # of WATCH: it has a connection, and cannot be repeated
            return await super().execute(raise_on_error)
        stack = list(self.command_stack)

        async def do(connection: Any) -> Any:
            self.command_stack, self.connection = list(stack), connection
            try:
                return await super(PatientPipeline, self).execute(raise_on_error)
            finally:
                self.connection = None

        return await self.patient.patiently(commands, do)


class CoroutineClients:
    """The client that the coroutines of a worker share: a pool of connections of one asyncio loop."""

    def __init__(self, client: Any, limit: int) -> None:
        self._client = client
        self._limit = limit
        self._own: dict[int, Any] = {}  # by loop: one, except in tests
        self._keepers: set[asyncio.Task[None]] = set()

    def client(self, current: Current) -> Any:
        """The client; called in the thread of the loop."""
        loop = asyncio.get_running_loop()
        if id(loop) not in self._own:
            own = self._own[id(loop)] = self._make(current)
            self._keepers.add(loop.create_task(_keep(own), context=Context()))  # of no run
        return self._own[id(loop)]

    async def free(self, borrower: Borrower) -> None:
        """Close the connections that an ended run did not return; called in the thread of the loop."""
        while borrower.held:
            connection = borrower.held.pop()
            for own in self._own.values():
                await own.drop(connection)

    def _make(self, current: Current) -> Any:
        package, pool = support.package_of(self._client), getattr(self._client, "connection_pool", None)
        if support.is_cluster(self._client):
            return coroutine_cluster.make(self._client, self._limit, current)
        kind = _kind(package, pool)
        if kind is None:
            name = cast("Any", pool).connection_class.__name__
            raise NotInLoop(
                f"self.redis is not available in a coroutine with connections of the class {name}. Fix: call"
                " a method that uses it by `await self.in_greenlet(self.method)`"
            )
        library = importlib.import_module(f"{package}.asyncio")
        ways = {"current": staticmethod(current), "limit": self._limit, "package": package}
        base = library.Redis if package == "redis" else library.Valkey
        made = type(base.__name__, (PatientClient, base), ways)(
            connection_pool=_lent_pool(package, pool, ways)(
                connection_class=kind, **options(package, pool, kind) | {"max_connections": 2**31}
            )
        )
        made.shares = asyncio.Semaphore(self._limit)
        return made


async def _keep(client: Any) -> None:
    """Close the connections when the loop ends, which cancels what is left."""
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        await client.shut()


def _lent_pool(package: str, pool: Any, ways: dict[str, Any]) -> Callable[..., Any]:
    """Makes a pool like that of the program's client, to which the options are given."""
    if not hasattr(pool, "sentinel_manager"):
        base = importlib.import_module(f"{package}.asyncio").ConnectionPool
        return cast("Callable[..., Any]", type("LentPool", (LentPool, base), ways))
    base = importlib.import_module(f"{package}.asyncio.sentinel").SentinelConnectionPool
    made = type("LentPool", (LentPool, base), ways)
    sentinels = AwaitedSentinels(_manager(package, pool.sentinel_manager))
    return partial(made, pool.service_name, sentinels, is_master=pool.is_master)


def _manager(package: str, given: Any) -> Any:
    """The sentinels that the program's client asks, for asyncio."""
    library = importlib.import_module(f"{package}.asyncio")
    plain = library.Redis if package == "redis" else library.Valkey
    made = importlib.import_module(f"{package}.asyncio.sentinel").Sentinel([])
    made.min_other_sentinels = given.min_other_sentinels
    for pool in (one.connection_pool for one in given.sentinels):
        kind = _kind(package, pool)
        own = library.ConnectionPool(connection_class=kind, **options(package, pool, kind))
        made.sentinels.append(plain(connection_pool=own))
    return made


def _kind(package: str, pool: Any) -> Any:
    """The class of connections for asyncio that is named like that of a pool; None if there is none."""
    sentinel = ".sentinel" if hasattr(pool, "sentinel_manager") else ".connection"
    module = importlib.import_module(f"{package}.asyncio{sentinel}")
    return getattr(module, pool.connection_class.__name__, None)
