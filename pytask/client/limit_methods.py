"""The calls of the clients that concern limits."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING

from pytask.client.lazy import limits
from pytask.client.limit_records import LimitInfo
from pytask.client.partitions import Partitions

if TYPE_CHECKING:
    from pytask.client.async_driver import AsyncDriver
    from pytask.client.sync_driver import SyncDriver


class Limits:
    """`client.limits`: how many runs a group or a function may have at a time, on all workers together.

    Each call names one of them: `group="account-17"`, `group="*"` (every group without a limit of its own) or
    `function="sync"`.  With several partitions each of them has the limit for itself.
    """

    def __init__(self, driver: SyncDriver, partitions: Partitions) -> None:
        self._driver = driver
        self._partitions = partitions

    def set(self, limit: int, *, group: str | None = None, function: str | None = None) -> None:
        """Set a limit, in place of that of the class.  May be repeated; runs that are over it go on.

        Args:
            limit: Runs at a time, a whole number of at most ten digits; 0 lets nothing start.
            group: The group.
            function: Or the function.

        Raises:
            BadData: No whole number, or a group that cannot be one.
        """
        kind, name = limits.named(group, function)
        self._driver.run(limits.set_limit(self._partitions, kind, name, limit))

    def remove(self, *, group: str | None = None, function: str | None = None) -> None:
        """Remove a limit: that of `group="*"`, or of the class, counts again.  May be repeated."""
        kind, name = limits.named(group, function)
        self._driver.run(limits.set_limit(self._partitions, kind, name, None))

    def get(self, *, group: str | None = None, function: str | None = None) -> LimitInfo:
        """Its limit, how many runs hold a slot and how many tasks wait, with some of their ids."""
        kind, name = limits.named(group, function)
        return self._driver.run(limits.get_limit(self._partitions, kind, name))

    def list(self, *, limit: int = 1000) -> builtins.list[LimitInfo]:
        """All that have a limit or for which tasks wait, most waiting ones first; at most `limit`."""
        return self._driver.run(limits.list_limits(self._partitions, limit))


class AsyncLimits:
    """The same calls as `Limits`, awaited."""

    def __init__(self, driver: AsyncDriver, partitions: Partitions) -> None:
        self._driver = driver
        self._partitions = partitions

    async def set(self, limit: int, *, group: str | None = None, function: str | None = None) -> None:
        """As `Limits.set`."""
        kind, name = limits.named(group, function)
        await self._driver.run(limits.set_limit(self._partitions, kind, name, limit))

    async def remove(self, *, group: str | None = None, function: str | None = None) -> None:
        """As `Limits.remove`."""
        kind, name = limits.named(group, function)
        await self._driver.run(limits.set_limit(self._partitions, kind, name, None))

    async def get(self, *, group: str | None = None, function: str | None = None) -> LimitInfo:
        """As `Limits.get`."""
        kind, name = limits.named(group, function)
        return await self._driver.run(limits.get_limit(self._partitions, kind, name))

    async def list(self, *, limit: int = 1000) -> builtins.list[LimitInfo]:
        """As `Limits.list`."""
        return await self._driver.run(limits.list_limits(self._partitions, limit))
