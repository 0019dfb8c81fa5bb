"""The bounded buffer of changes that wait for a commit."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from pytask.domain.record import Change

SHED = 8  # a fraction 1/8 of the events is dropped at a time, so that each scan frees room for many


class Backlog:
    """Changes, oldest first.  Only events are limited; there are never more ends than runs.

    The limits are a number of events and their size in bytes, as one event may be as large as `max_data`.
    """

    def __init__(self, *, max_events: int, max_bytes: int) -> None:
        self._changes: deque[Change] = deque()
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._events = 0
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._changes)

    def __iter__(self) -> Iterator[Change]:
        return iter(self._changes)

    @property
    def full(self) -> bool:
        """Whether there is no room for another event."""
        return self._events >= self._max_events or self._bytes >= self._max_bytes

    def has(self, times: int, coming: int) -> bool:
        """Whether it has so many times what there is room for, with `coming` events that are on their way."""
        return self._events + coming >= times * self._max_events or self._bytes >= times * self._max_bytes

    def append(self, change: Change) -> None:
        """Add a change, regardless of the limits."""
        self._changes.append(change)
        if change.trigger is None:
            self._events += 1
            self._bytes += len(change.event)

    def popleft(self) -> Change:
        """Remove and return the oldest change."""
        change = self._changes.popleft()
        if change.trigger is None:
            self._events -= 1
            self._bytes -= len(change.event)
        return change

    def shed(self) -> int:
        """Drop the oldest events until there is room; returns their number.  Ends keep their positions."""
        changes, self._changes = self._changes, deque()
        events, size = self._events, self._bytes
        self._events = self._bytes = 0
        few, small = self._max_events * (SHED - 1) // SHED, self._max_bytes * (SHED - 1) // SHED
        dropped = 0
        for change in changes:
            if change.trigger is None and (events > few or size > small):
                events -= 1
                size -= len(change.event)
                dropped += 1
            else:
                self.append(change)
        return dropped
