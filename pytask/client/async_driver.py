"""The asyncio driver: executes operations with an asyncio client compatible with redis-py."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import socket
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any, TypeVar

from pytask.adapters.redis import clients, cloned_options, option_checks, support
from pytask.adapters.redis.address import plain
from pytask.adapters.redis.fast_commands import is_reply
from pytask.adapters.redis.sentinels import AwaitedSentinels
from pytask.adapters.redis.slot_client import REDIRECTS, Address, Topology, redirected
from pytask.client.driver import MOST_MESSAGES, Driver, messages_in, translated
from pytask.client.operations import Give, Listen, Op, Words
from pytask.client.partitions import Partitions
from pytask.domain.errors import Unavailable, UnsupportedClient
from pytask.domain.partition import SLOTS, crc16, hash_tag

T = TypeVar("T")
OF_A_NODE = {
    "username", "password", "credential_provider", "encoding_errors", "driver_info", "lib_name",
    "lib_version", "socket_keepalive", "socket_keepalive_options", "socket_read_size",
}  # fmt: skip


def open_client(source: Any) -> Any:
    """`source` itself if it is an asyncio client, or a new client for a URL."""
    if isinstance(source, str):
        redis = importlib.import_module("redis.asyncio")
        url, clustered = plain(source)
        try:
            option_checks.check_url(url)
            made = (redis.RedisCluster if clustered else redis.Redis).from_url(url)
        except ValueError:
            return clients.open_client(source)  # raises, without the password
        except TypeError as error:
            raise option_checks.bad_option(source, error) from None
        if not clustered:
            option_checks.check_made(made, source)
        return made
    support.package_of(source)
    if not asyncio.iscoroutinefunction(source.execute_command):
        raise UnsupportedClient(
            "pytask.aio.Client needs an asyncio client, such as redis.asyncio.Redis(...), or a URL;"
            " pytask.Client takes the others"
        )
    return source


def own_client(client: Any, *, timeout: float, connect_timeout: float, address: Address | None = None) -> Any:
    """A clone with its own pool: bytes, RESP2, hard time limits, no retries by the library.

    For a cluster client: a client of the node at `address`.
    """
    package = support.package_of(client)
    library = importlib.import_module(f"{package}.asyncio")
    retry = importlib.import_module(f"{package}.asyncio.retry")
    backoff = importlib.import_module(f"{package}.backoff")
    pool = None if address is not None else client.connection_pool
    given = client.connection_kwargs if pool is None else cloned_options.of_pool(pool)
    kwargs = cloned_options.for_daemon(given)
    if address is not None:
        kwargs = {k: v for k, v in kwargs.items() if k in OF_A_NODE or k.startswith("ssl_")}
        kwargs |= {"host": address[0], "port": address[1]}
    kwargs |= {
        "decode_responses": False,
        "encoding": "utf-8",
        "protocol": 2,
        "socket_timeout": timeout,
        "socket_connect_timeout": min(timeout, connect_timeout),
        "retry": retry.Retry(backoff.NoBackoff(), 0),
        "retry_on_timeout": False,
        "retry_on_error": [],
        "health_check_interval": 0,
        "client_name": "pytask-client",
    }
    if pool is None:
        own = library.ConnectionPool(connection_class=given["connection_class"], **kwargs)
    elif hasattr(pool, "sentinel_manager"):
        kwargs["connection_class"] = pool.connection_class
        manager = AwaitedSentinels(pool.sentinel_manager, kwargs["socket_connect_timeout"])
        own = type(pool)(pool.service_name, manager, **kwargs)
    else:
        own = library.ConnectionPool(connection_class=pool.connection_class, **kwargs)
    plain = library.Redis if package == "redis" else library.Valkey
    return plain(connection_pool=own)


class Subscription:
    """A subscription on its own connection, usable once the server has confirmed all channels."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._early: list[tuple[bytes, bytes]] = []
        self._pubsub = client.pubsub()

    async def open(self, step: Listen, timeout: float) -> None:
        """Subscribe, and wait for the confirmation."""
        if step.channels:
            await self._pubsub.subscribe(*step.channels)
        if step.patterns:
            await self._pubsub.psubscribe(*step.patterns)
        left, until = len(step.channels) + len(step.patterns), time.monotonic() + timeout
        while left > 0:
            message = await self._pubsub.get_message(timeout=max(0.0, until - time.monotonic()))
            if message is None:
                if time.monotonic() >= until:
                    raise Unavailable(f"the subscription was not confirmed within {timeout:g} s")
            elif message["type"] in ("subscribe", "psubscribe"):
                left -= 1
            else:
                self._early += messages_in(message)

    async def receive(self, timeout: float) -> list[tuple[bytes, bytes]]:
        """The messages received within `timeout` seconds."""
        found, self._early = self._early, []
        message = await self._pubsub.get_message(timeout=0 if found else timeout)
        while message is not None:
            found += messages_in(message)
            if len(found) >= MOST_MESSAGES:
                break
            message = await self._pubsub.get_message(timeout=0)
        return found

    async def ping(self) -> None:
        """Ping the server."""
        await self._pubsub.ping()

    async def close(self) -> None:
        """Drop the connection."""
        with contextlib.suppress(Exception):  # whatever error it had, it is not used again
            await self._pubsub.aclose()
        await self._client.connection_pool.disconnect()


class Slot:
    """The part of a client that the driver needs, for one slot of a cluster; it follows the slot.

    The asyncio counterpart of `pytask.adapters.redis.slot_client.SlotClient`; one call at a time.
    """

    def __init__(self, slot: int, topology: Topology, connect: Callable[[Address], Any]) -> None:
        self._slot = slot
        self._topology = topology
        self._connect = connect
        self.client: Any = None
        self._address: Address = ("", 0)
        self._lock = asyncio.Lock()

    async def together(self, commands: list[Words]) -> list[Any]:
        """The replies, including errors.  Redirected commands were not executed, and are sent again."""
        async with self._lock:
            try:
                replies = await together(await self.node(), commands)
                for at, words in enumerate(commands):
                    replies[at] = await self._followed(words, replies[at])
            except Exception:
                await self.disconnect()  # the slot may have moved to another node
                raise
            return replies

    async def node(self) -> Any:
        """A client for the slot's node."""
        if self.client is None:
            await self._go_to(await self._located())
        return self.client

    async def address(self) -> Address:
        """Find the current node of the slot."""
        async with self._lock:
            return await self._located()

    async def disconnect(self) -> None:
        """Drop the connection; the next call searches the slot's node again."""
        client, self.client = self.client, None
        if client is not None:
            await client.connection_pool.disconnect()

    async def _followed(self, words: Words, reply: Any) -> Any:
        for _ in range(REDIRECTS):
            moved, target = redirected(reply) if isinstance(reply, Exception) else (False, None)
            if target is None:
                break
            address = self._topology.address(*target, self._address)
            if moved:
                await self._go_to(address)
                (reply,) = await together(self.client, [words])
            else:
                asking = self._connect(address)
                reply = (await together(asking, [("ASKING",), words]))[1]
                await asking.connection_pool.disconnect()
        return reply

    async def _located(self) -> Address:
        failure: Exception = ConnectionError("no node of the cluster is known")
        for address in list(self._topology.nodes):
            client = self._connect(address)
            try:
                ranges = await client.execute_command("CLUSTER", "SLOTS")
            except Exception as error:  # noqa: BLE001 - raised below if no other node answers
                failure = error
                continue
            finally:
                await client.connection_pool.disconnect()
            owner = self._topology.learn(ranges, self._slot, address)
            if owner is not None:
                return owner
            failure = ConnectionError(f"CLUSTERDOWN no node serves slot {self._slot}")
        raise failure

    async def _go_to(self, address: Address) -> None:
        await self.disconnect()
        self._address = address
        self.client = self._connect(address)


async def together(client: Any, commands: list[Words]) -> list[Any]:
    """The replies of commands sent together, including errors of the server."""
    if len(commands) == 1:
        try:
            return [await client.execute_command(*commands[0])]
        except Exception as error:
            if is_reply(error):
                return [error]
            raise
    pipe = client.pipeline(transaction=False)
    for words in commands:
        pipe.execute_command(*words)
    return list(await pipe.execute(raise_on_error=False))


class Connections:
    """The connections of one event loop: asyncio's sockets work only in the loop that created them."""

    def __init__(self, slots: list[Slot]) -> None:
        self.client: Any = None
        self.slots = slots

    async def close(self) -> None:
        """Drop them."""
        client, self.client = self.client, None
        if client is not None:
            await client.connection_pool.disconnect()
        for slot in self.slots:
            await slot.disconnect()

    def abandon(self) -> None:
        """Close the sockets directly: their loop has ended and cannot await anything."""
        for client in (self.client, *(slot.client for slot in self.slots)):
            for connection in _connections_of(client):
                writer: Any = getattr(connection, "_writer", None)
                with contextlib.suppress(AttributeError, OSError):  # closed, or never opened
                    writer.transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


def _connections_of(client: Any) -> list[Any]:
    pool = getattr(client, "connection_pool", None)
    names = ("_available_connections", "_in_use_connections")
    return [one for name in names for one in getattr(pool, name, ())]


class AsyncDriver(Driver):
    """Executes operations in any event loop."""

    def __init__(self, source: Any, partitions: Partitions, timeout: float, connect_timeout: float) -> None:
        self._source = open_client(source)
        support.check_client(self._source, partitions.namespace)
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._loops: dict[asyncio.AbstractEventLoop, Connections] = {}
        self._topology: Topology | None = None
        self._numbers: list[int] = []  # of the slots
        if support.is_cluster(self._source):
            self._topology = clients.topology_of(self._source)
            self._numbers = [crc16(hash_tag(keys.namespace).encode()) % SLOTS for keys in partitions.keys]

    @property
    def _here(self) -> Connections:
        """The connections of the running loop; those of loops that have ended are dropped."""
        loop = asyncio.get_running_loop()
        found = self._loops.get(loop)
        if found is None:
            for other in [one for one in list(self._loops) if one.is_closed()]:
                if left := self._loops.pop(other, None):  # otherwise another thread was faster
                    left.abandon()
            topology = self._topology
            slots = [] if topology is None else [Slot(n, topology, self._own) for n in self._numbers]
            found = self._loops[loop] = Connections(slots)
        return found

    async def run(self, op: Op[T]) -> T:
        """The result of an operation."""
        result: list[T] = []
        async for _ in self.steps(op, result):
            pass
        return result[0]

    async def steps(self, op: Op[T], result: list[T]) -> AsyncGenerator[Any, None]:
        """The values that an operation yields; its result is appended to the list."""
        opened: list[Subscription] = []
        try:
            step = next(op)
            while True:
                if isinstance(step, Give):
                    yield step.value
                    step = op.send(None)
                    continue
                try:
                    answer = self.do(step, opened)
                    if inspect.isawaitable(answer):
                        answer = await answer
                except Exception as error:  # noqa: BLE001 - translated there
                    step = op.throw(translated(error))
                else:
                    step = op.send(answer)
        except StopIteration as done:
            result.append(done.value)
        finally:
            op.close()
            for subscription in opened:
                await subscription.close()

    async def close(self) -> None:
        """Drop the connections of this loop; new ones are opened on demand."""
        await self._here.close()

    async def listen(self, step: Listen, opened: list[Any]) -> Subscription:
        """A subscription at the server of the step's partition."""
        subscription = Subscription(await self._listener(step.partition))
        opened.append(subscription)
        await subscription.open(step, self._timeout)
        return subscription

    async def pause(self, seconds: float) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)

    async def send(self, commands: list[tuple[int, Words]]) -> list[Any]:
        """The replies in order."""
        here = self._here
        if not here.slots:
            if here.client is None:
                here.client = self._own()
            return await together(here.client, [words for _, words in commands])
        replies: list[Any] = [None] * len(commands)
        for partition in dict.fromkeys(partition for partition, _ in commands):
            mine = [at for at, (other, _) in enumerate(commands) if other == partition]
            found = await here.slots[partition].together([commands[at][1] for at in mine])
            for at, reply in zip(mine, found, strict=True):
                replies[at] = reply
        return replies

    async def _listener(self, partition: int) -> Any:
        """A client for a subscription; in a cluster, for the current node of the slot."""
        slots = self._here.slots
        return self._own(await slots[partition].address() if slots else None)

    def _own(self, address: Address | None = None) -> Any:
        return own_client(
            self._source, timeout=self._timeout, connect_timeout=self._connect_timeout, address=address
        )
