"""Which driver executes the operations of a client for asyncio."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, TypeVar

from pytask.client.async_driver import AsyncDriver
from pytask.client.drivers import driver_of as blocking_driver_of
from pytask.client.drivers import in_memory
from pytask.client.operations import Op
from pytask.client.partitions import Partitions
from pytask.client.sync_driver import SyncDriver

T = TypeVar("T")


class AsyncMemoryDriver(AsyncDriver):
    """Executes operations on a `MemoryBackend`; what waits holds up the loop, like a blocking client."""

    def __init__(self, driver: SyncDriver) -> None:
        self._memory = driver

    async def steps(self, op: Op[T], result: list[T]) -> AsyncGenerator[Any, None]:
        """See `AsyncDriver`."""
        steps = self._memory.steps(op)
        try:
            while True:
                yield next(steps)
        except StopIteration as done:
            result.append(done.value)
        finally:
            steps.close()

    async def close(self) -> None:
        """Nothing to drop."""


def driver_of(source: Any, partitions: Partitions, timeout: float, connect_timeout: float) -> AsyncDriver:
    """The driver for a source: a URL, an asyncio client, or the in-memory backend."""
    if in_memory(source):
        return AsyncMemoryDriver(blocking_driver_of(source, partitions, timeout, connect_timeout))
    return AsyncDriver(source, partitions, timeout, connect_timeout)
