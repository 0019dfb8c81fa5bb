"""The client for asyncio: `pytask.aio.Client`, the same calls as `pytask.Client`, awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pytask.client.async_driver import AsyncDriver
from pytask.client.async_drivers import driver_of
from pytask.client.control_methods import AsyncControlMethods
from pytask.client.lazy import enqueue, listing, logs, queries, samples, watch
from pytask.client.limit_methods import AsyncLimits
from pytask.client.options import ClientOptions
from pytask.client.records import Count, Event, FunctionInfo, Gap, LogLine, New, Outcome, Page, Worker
from pytask.client.schedules import AsyncSchedules
from pytask.client.task_records import TaskInfo
from pytask.domain.samples import Sample

if TYPE_CHECKING:
    from pytask.client.enqueue import Function

Ids = list[str]
Outcomes = list[Outcome]
Workers = list[Worker]
Functions = list[FunctionInfo]


class Client(AsyncControlMethods, ClientOptions[AsyncDriver]):
    """Starts, controls and watches tasks, for asyncio.  Each call is that of `pytask.Client`, awaited.

    Args:
        source: A URL, or an asyncio client (`redis.asyncio`, Sentinel and Cluster too), whose settings are
            used on separate connections; in tests a `MemoryBackend`.  Default: $PYTASK_REDIS_URL, else
            $REDIS_URL, else redis://127.0.0.1:6379/0.
        namespace: The prefix of keys and channels; that of the workers.
        partitions: The number of partitions; that of the workers.
        timeout: Seconds that one call to Redis may take; default 3.
        connect_timeout: Seconds that connecting may take; default 0.8.
        max_data: Bytes of one task's data; default 16 MiB, as for workers.
        keep_stopped: As in `pytask.Client`.
        name: As in `pytask.Client`.

    Raises:
        ConfigError: An address, namespace or number of partitions that is invalid.
        UnsupportedClient: A client that is not asyncio's, or a version that pytask cannot use.
    """

    _make_driver = staticmethod(driver_of)

    # -- starting -------------------------------------------------------------------------------------

    async def start(  # noqa: PLR0913 - what a start may say
        self,
        function: Function,
        data: Any = None,
        *,
        id: str | None = None,  # noqa: A002 - the field's own name, here and below
        delay: float | None = None,
        at: float | datetime | None = None,
        restart: str | None = None,
        group: str | None = None,
        traceparent: str | None = None,
    ) -> str:
        """As `pytask.Client.start`."""
        task = New(function, data, id, delay, at, restart, group, traceparent)
        return await self._driver.run(enqueue.start(self._partitions, task))

    async def start_many(self, tasks: Iterable[Any]) -> Ids:
        """As `pytask.Client.start_many`."""
        return await self._driver.run(enqueue.start_many(self._partitions, tasks))

    async def update_data(self, id: str, data: Any, function: Function | None = None) -> None:  # noqa: A002
        """As `pytask.Client.update_data`."""
        await self._driver.run(enqueue.update_data(self._partitions, id, data, function))

    @property
    def schedules(self) -> AsyncSchedules:
        """The calls that make, read and change schedules."""
        return AsyncSchedules(self._driver, self._partitions)

    @property
    def limits(self) -> AsyncLimits:
        """The calls that set and read limits."""
        return AsyncLimits(self._driver, self._partitions)

    # -- looking --------------------------------------------------------------------------------------

    async def get(self, id: str) -> TaskInfo:  # noqa: A002
        """As `pytask.Client.get`."""
        return await self._driver.run(queries.get(self._partitions, id))

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
        return await self._driver.run(
            listing.page(
                self._partitions, state=state, function=function, worker=worker, limit=limit, cursor=cursor
            )
        )

    async def count(self) -> Count:
        """As `pytask.Client.count`."""
        return await self._driver.run(queries.count(self._partitions))

    async def workers(self) -> Workers:
        """As `pytask.Client.workers`."""
        return await self._driver.run(queries.workers(self._partitions))

    async def functions(self) -> Functions:
        """As `pytask.Client.functions`."""
        return await self._driver.run(queries.functions(self._partitions))

    async def samples(self, ring: str = "hour") -> tuple[Sample, ...]:
        """As `pytask.Client.samples`."""
        return await self._driver.run(samples.samples(self._partitions, ring))

    async def metrics(self, accept: str = "") -> tuple[bytes, str]:
        """As `pytask.Client.metrics`."""
        return await self._driver.run(self._metrics.page(self._partitions, accept))

    async def find(self, beginning: str, *, limit: int = 5, steps: int = 20) -> tuple[Ids, bool]:
        """As `pytask.Client.find`."""
        return await self._driver.run(watch.find(self._partitions, beginning, limit, steps))

    # -- watching -------------------------------------------------------------------------------------

    async def watch(
        self,
        id: str | None = None,  # noqa: A002
        *,
        seconds: float | None = None,
    ) -> AsyncIterator[Event | Gap]:
        """As `pytask.Client.watch`: `async for event in await client.watch():`."""
        steps = self._driver.steps(watch.watch(self._partitions, id, seconds), [])
        await anext(steps)
        return steps

    async def wait(
        self,
        id: str,  # noqa: A002
        for_state: str | Iterable[str] | None = None,
        timeout: float = 60.0,
    ) -> TaskInfo:
        """As `pytask.Client.wait`."""
        return await self._driver.run(watch.wait(self._partitions, id, for_state, timeout))

    async def logs(
        self,
        id: str,  # noqa: A002
        *,
        limit: int | None = 100,
        follow: bool = False,
    ) -> AsyncIterator[LogLine]:
        """As `pytask.Client.logs`: `async for line in await client.logs(id):`."""
        steps = self._driver.steps(logs.read(self._partitions, id, limit, follow), [])
        await anext(steps)
        return steps

    # -- life -----------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Drop the connections; the next call makes new ones."""
        await self._driver.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
