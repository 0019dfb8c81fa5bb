"""What was read a moment ago: many viewers of one thing cost one read."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")

MOST = 512  # things


class _Slot:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.until = 0.0
        self.value: Any = None


class Cache:
    """Values by key, each read by one viewer while the others wait for it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._slots: OrderedDict[Hashable, _Slot] = OrderedDict()

    def get(self, key: Hashable, seconds: float, read: Callable[[], T]) -> T:
        """The value, at most `seconds` old; what `read` raises is not kept."""
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            self._slots.move_to_end(key)
            while len(self._slots) > MOST:
                self._slots.popitem(last=False)
        with slot.lock:
            if self._clock() >= slot.until:
                slot.value = read()
                slot.until = self._clock() + seconds
            value: T = slot.value
            return value

    def clear(self) -> None:
        """Forget everything: somebody has changed something and wants to see it."""
        with self._lock:
            self._slots.clear()
