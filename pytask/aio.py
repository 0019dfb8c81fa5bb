"""The client for asyncio: `pytask.aio.Client`, the same calls as `pytask.Client`, awaited."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

from pytask.adapters import client as clients
from pytask.adapters.address import DEFAULT_URL
from pytask.client import follow, look, pages, produce, steer
from pytask.client.blocking import HEAR_MOST, heard, is_reply, translated
from pytask.client.places import CONNECT_TIMEOUT, MAX_DATA, TIMEOUT, Places, places_of
from pytask.client.produce import Function
from pytask.client.records import Count, Event, FunctionInfo, Gap, Outcome, Page, TaskInfo, Worker
from pytask.client.wire import Give, Hear, Hush, Listen, Now, Op, Pause, Ping, Send, Words
from pytask.domain.errors import ConfigError, Unavailable, UnsupportedClient
from pytask.domain.messages import Command

T = TypeVar("T")
Ids = list[str]
Outcomes = list[Outcome]
Workers = list[Worker]
Functions = list[FunctionInfo]


def open_client(source: Any) -> Any:
    """`source` itself if it is an asyncio client, or a new client for a URL."""
    if isinstance(source, str):
        redis = importlib.import_module("redis.asyncio")
        url = re.sub(r"^valkey(s?)://", r"redis\1://", source)
        try:
            return redis.Redis.from_url(url)
        except ValueError:
            return clients.open_client(source)  # raises, without the password
    clients.package_of(source)
    if not asyncio.iscoroutinefunction(source.execute_command):
        raise UnsupportedClient(
            "pytask.aio.Client needs an asyncio client, such as redis.asyncio.Redis(...), or a URL;"
            " pytask.Client takes the others"
        )
    return source


def own_client(client: Any, *, timeout: float, connect_timeout: float, name: str) -> Any:
    """A clone with a pool of its own: bytes, RESP2, hard time limits, no retries of the library's own."""
    package = clients.package_of(client)
    library = importlib.import_module(f"{package}.asyncio")
    retry = importlib.import_module(f"{package}.asyncio.retry")
    backoff = importlib.import_module(f"{package}.backoff")
    pool = client.connection_pool
    kwargs = {k: v for k, v in pool.connection_kwargs.items() if not k.startswith("maint_notifications")}
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
        "client_name": name,
    }
    if hasattr(pool, "sentinel_manager"):
        kwargs.pop("connection_pool", None)
        kwargs["connection_class"] = pool.connection_class
        own = type(pool)(pool.service_name, pool.sentinel_manager, **kwargs)
    else:
        own = library.ConnectionPool(connection_class=pool.connection_class, **kwargs)
    plain = library.Redis if package == "redis" else library.Valkey
    return plain(connection_pool=own)


class Subscription:
    """A subscription on a connection of its own, once the server has confirmed all of it."""

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
                self._early += heard(message)

    async def hear(self, timeout: float) -> list[tuple[bytes, bytes]]:
        """What arrived within `timeout` seconds."""
        found, self._early = self._early, []
        message = await self._pubsub.get_message(timeout=0 if found else timeout)
        while message is not None:
            found += heard(message)
            if len(found) >= HEAR_MOST:
                break
            message = await self._pubsub.get_message(timeout=0)
        return found

    async def ping(self) -> None:
        """Ask for a sign of life."""
        await self._pubsub.ping()

    async def close(self) -> None:
        """Drop the connection."""
        with contextlib.suppress(Exception):  # whatever it met before, it is not used again
            await self._pubsub.aclose()
        await self._client.connection_pool.disconnect()


class Shell:
    """Does what operations ask for."""

    def __init__(self, source: Any, namespace: str, timeout: float, connect_timeout: float) -> None:
        self._source = open_client(source)
        clients.check_client(self._source, namespace)
        if clients.is_cluster(self._source):
            raise ConfigError("pytask.aio.Client does not know clusters yet: use pytask.Client in a thread")
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._client: Any = None
        self.clustered = False

    def bind(self, places: Places) -> None:
        """Learn what the keys of each partition begin with."""

    async def run(self, op: Op[T]) -> T:
        """The result of an operation."""
        result: list[T] = []
        async for _ in self.steps(op, result):
            pass
        return result[0]

    async def steps(self, op: Op[T], result: list[T]) -> AsyncGenerator[Any, None]:
        """The values that an operation gives; its result is added to the list."""
        opened: list[Subscription] = []
        try:
            step = next(op)
            while True:
                if isinstance(step, Give):
                    yield step.value
                    step = op.send(None)
                    continue
                try:
                    answer = await self._do(step, opened)
                except Exception as error:  # noqa: BLE001 - sorted out there
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
        """Drop all connections; they are made anew when they are needed."""
        client, self._client = self._client, None
        if client is not None:
            await client.connection_pool.disconnect()

    async def _do(self, step: Any, opened: list[Subscription]) -> Any:  # noqa: PLR0911 - one a kind of step
        match step:
            case Send(commands):
                return await self._together([words for _, words in commands])
            case Hear(handle, timeout):
                return await handle.hear(timeout)
            case Listen():
                opened.append(Subscription(self._own()))
                await opened[-1].open(step, self._timeout)
                return opened[-1]
            case Ping(handle):
                return await handle.ping()
            case Hush(handle):
                opened.remove(handle)
                return await handle.close()
            case Pause(seconds):
                return await asyncio.sleep(seconds)
            case Now():
                return time.monotonic()
        raise TypeError(f"no such step: {step!r}")

    async def _together(self, commands: list[Words]) -> list[Any]:
        if self._client is None:
            self._client = self._own()
        if len(commands) == 1:
            try:
                return [await self._client.execute_command(*commands[0])]
            except Exception as error:
                if is_reply(error):
                    return [error]
                raise
        pipe = self._client.pipeline(transaction=False)
        for words in commands:
            pipe.execute_command(*words)
        return list(await pipe.execute(raise_on_error=False))

    def _own(self) -> Any:
        return own_client(
            self._source, timeout=self._timeout, connect_timeout=self._connect_timeout, name="pytask-client"
        )


class Client:
    """Starts, steers and watches tasks, for asyncio.  Each call is the one of `pytask.Client`.

    `source` is a URL or an asyncio client (`redis.asyncio`, Sentinel too), whose settings are taken over on
    connections of our own.
    """

    def __init__(  # noqa: PLR0913 - what there is to choose
        self,
        source: Any = DEFAULT_URL,
        *,
        namespace: str = "",
        partitions: int = 1,
        timeout: float = TIMEOUT,
        connect_timeout: float = CONNECT_TIMEOUT,
        max_data: int = MAX_DATA,
        keep_stopped: int | None = None,
    ) -> None:
        """Connects at the first call.

        `timeout` and `connect_timeout` are in seconds, for one call; `max_data` in bytes.  `keep_stopped`:
        seconds that the hash of a task is kept that `stop` ends before it ran (None for ever), as in the
        workers' settings.
        """
        places_of(namespace, partitions)
        self._shell = Shell(source, namespace, timeout, connect_timeout)
        self._places = places_of(
            namespace,
            partitions,
            max_data=max_data,
            keep_stopped=keep_stopped,
        )
        self._shell.bind(self._places)

    # -- starting -------------------------------------------------------------------------------------

    async def start(
        self,
        function: Function,
        data: Any = None,
        *,
        id: str | None = None,  # noqa: A002 - the field's own name, here and below
    ) -> str:
        """As `pytask.Client.start`."""
        return await self._shell.run(produce.start(self._places, function, data, id))

    async def start_many(self, tasks: Iterable[Any]) -> Ids:
        """As `pytask.Client.start_many`."""
        return await self._shell.run(produce.start_many(self._places, tasks))

    async def update_data(self, id: str, data: Any, function: Function | None = None) -> None:  # noqa: A002
        """As `pytask.Client.update_data`."""
        await self._shell.run(produce.update_data(self._places, id, data, function))

    # -- steering -------------------------------------------------------------------------------------

    async def stop(self, id: str, *, wait: float = 0) -> Outcome:  # noqa: A002
        """As `pytask.Client.stop`."""
        return await self._steer(Command.STOP, id, wait)

    async def start_again(self, id: str, data: Any = None, *, wait: float = 0) -> Outcome:  # noqa: A002
        """As `pytask.Client.start_again`."""
        return await self._steer(Command.START, id, wait, data)

    requeue = start_again

    async def reload(self, id: str, data: Any = None, *, wait: float = 0) -> Outcome:  # noqa: A002
        """As `pytask.Client.reload`."""
        return await self._steer(Command.RELOAD, id, wait, data)

    async def stop_many(self, ids: Iterable[str]) -> Outcomes:
        """As `pytask.Client.stop_many`."""
        return await self._shell.run(steer.steer_many(self._places, Command.STOP, [*ids]))

    async def start_again_many(self, ids: Iterable[str]) -> Outcomes:
        """As `pytask.Client.start_again_many`."""
        return await self._shell.run(steer.steer_many(self._places, Command.START, [*ids]))

    async def reload_many(self, ids: Iterable[str]) -> Outcomes:
        """As `pytask.Client.reload_many`."""
        return await self._shell.run(steer.steer_many(self._places, Command.RELOAD, [*ids]))

    async def remove(self, id: str) -> bool:  # noqa: A002
        """As `pytask.Client.remove`."""
        return await self._shell.run(steer.remove(self._places, id))

    # -- looking --------------------------------------------------------------------------------------

    async def get(self, id: str) -> TaskInfo:  # noqa: A002
        """As `pytask.Client.get`."""
        return await self._shell.run(look.get(self._places, id))

    async def list(
        self,
        *,
        state: str | Iterable[str] | None = None,
        function: str | None = None,
        worker: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """As `pytask.Client.list`."""
        return await self._shell.run(
            pages.page(
                self._places, state=state, function=function, worker=worker, limit=limit, cursor=cursor
            )
        )

    async def count(self) -> Count:
        """As `pytask.Client.count`."""
        return await self._shell.run(look.count(self._places))

    async def workers(self) -> Workers:
        """As `pytask.Client.workers`."""
        return await self._shell.run(look.workers(self._places))

    async def functions(self) -> Functions:
        """As `pytask.Client.functions`."""
        return await self._shell.run(look.functions(self._places))

    async def find(self, beginning: str, *, limit: int = 5, steps: int = 20) -> tuple[Ids, bool]:
        """As `pytask.Client.find`."""
        return await self._shell.run(follow.find(self._places, beginning, limit, steps))

    # -- following ------------------------------------------------------------------------------------

    async def watch(self, id: str | None = None) -> AsyncIterator[Event | Gap]:  # noqa: A002
        """As `pytask.Client.watch`: `async for event in await client.watch():`."""
        steps = self._shell.steps(follow.watch(self._places, id), [])
        await anext(steps)
        return steps

    async def wait(
        self,
        id: str,  # noqa: A002
        for_state: str | Iterable[str] | None = None,
        timeout: float = 60.0,
    ) -> TaskInfo:
        """As `pytask.Client.wait`."""
        return await self._shell.run(follow.wait(self._places, id, for_state, timeout))

    # -- life -----------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Drop the connections; the next call makes new ones."""
        await self._shell.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _steer(self, command: Command, task_id: str, wait: float, data: Any = None) -> Outcome:
        return await self._shell.run(steer.steer(self._places, command, task_id, wait, data))
