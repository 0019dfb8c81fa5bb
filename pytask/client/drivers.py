"""Which driver executes the operations of a blocking client."""

from __future__ import annotations

from typing import Any

from pytask.client.partitions import Partitions
from pytask.client.sync_driver import SyncDriver


def in_memory(source: Any) -> bool:
    """Whether it is a `MemoryBackend`; commands that need none do not import it."""
    return hasattr(source, "store") and hasattr(source, "state")


def driver_of(source: Any, partitions: Partitions, timeout: float, connect_timeout: float) -> SyncDriver:
    """The driver for a source: a URL, a client, or the in-memory backend."""
    if in_memory(source):
        from pytask.client.memory_driver import MemoryDriver  # commands need none of it

        return MemoryDriver(source, partitions)
    return SyncDriver(source, partitions, timeout, connect_timeout)
