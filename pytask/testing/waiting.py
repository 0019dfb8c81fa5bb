"""The in-memory backend for a worker that waits instead of looking again and again.

On virtual time a look every few milliseconds is all that would happen in an hour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, SupportsIndex

from gevent.event import Event as Flag

from pytask.adapters.memory.backend import MemoryBackend, MemoryFeed, MemoryQueue
from pytask.adapters.memory.state import MemoryState
from pytask.adapters.memory.store import MemoryStore
from pytask.domain.record import Notice


class Ids(list[bytes]):
    """A list that tells when something was put into it."""

    def __init__(self, told: Callable[[], None]) -> None:
        super().__init__()
        self._told = told

    def insert(self, at: SupportsIndex, value: bytes) -> None:
        """As of a list."""
        super().insert(at, value)
        self._told()

    def __setitem__(self, at: Any, value: Any) -> None:
        super().__setitem__(at, value)
        if self:
            self._told()

    def extend(self, values: Iterable[bytes]) -> None:
        """As of a list."""
        super().extend(values)
        self._told()


class WaitingQueue(MemoryQueue):
    """Waits for an id."""

    def __init__(self, state: MemoryState, store: MemoryStore, arrived: Flag) -> None:
        super().__init__(state, store)
        self._arrived = arrived

    def wait(self, timeout: float) -> list[bytes] | None:
        """The next id; an empty list after so many seconds."""
        if not self._state.queue:
            self._arrived.clear()
            self._arrived.wait(timeout)
        return super().wait(timeout) or []


class WaitingFeed(MemoryFeed):
    """Waits for a message."""

    def __init__(self, state: MemoryState, session: str) -> None:
        super().__init__(state, session)
        self._arrived = Flag()

    def _hear(self, channel: str, payload: bytes) -> None:
        super()._hear(channel, payload)
        if self._inbox:
            self._arrived.set()

    def read(self, timeout: float) -> list[Notice]:
        """What arrives within so many seconds, at most 256."""
        if not self._inbox:
            self._arrived.clear()
            self._arrived.wait(timeout)
        return super().read(timeout)


class WaitingBackend(MemoryBackend):
    """For one worker in this thread."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._arrived = Flag()
        self.state.queue = Ids(self._arrived.set)

    def queue(self) -> WaitingQueue:
        """Create the waiter for the queue."""
        return WaitingQueue(self.state, self.store(), self._arrived)

    def feed(self, session: str) -> WaitingFeed:
        """Create the feed of a session."""
        return WaitingFeed(self.state, session)
