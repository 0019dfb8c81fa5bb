"""What waits for a commit, in order, and what becomes of it when that is too much."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from pytask.domain.record import Change

SHED = 8  # one in so many of the events goes at a time: each look at them all frees room for many


class Backlog:
    """Changes, the oldest first.  Bounded in events; of ends there are never more than runs.

    Room is counted in events and in their bytes, as one may have as many as `max_data`.
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
        """No room for another event."""
        return self._events >= self._max_events or self._bytes >= self._max_bytes

    def append(self, change: Change) -> None:
        """Put in one more, whether there is room or not."""
        self._changes.append(change)
        if change.trigger is None:
            self._events += 1
            self._bytes += len(change.event)

    def popleft(self) -> Change:
        """Take the oldest."""
        change = self._changes.popleft()
        if change.trigger is None:
            self._events -= 1
            self._bytes -= len(change.event)
        return change

    def shed(self) -> int:
        """Drop the oldest events until there is room again; how many.  Ends stay, in their places."""
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
