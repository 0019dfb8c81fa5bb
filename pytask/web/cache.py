"""What was read a moment ago: many viewers of one thing cost one read."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from pytask.domain.errors import Unavailable

T = TypeVar("T")

MOST = 512  # things


class _Slot:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.until = 0.0
        self.value: Any = None
        self.error: Unavailable | None = None


class Cache:
    """Values by key, each read by one viewer while the others wait for it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._slots: OrderedDict[Hashable, _Slot] = OrderedDict()

    def get(self, key: Hashable, seconds: float, read: Callable[[], T]) -> T:
        """The value, at most `seconds` old.

        Of what `read` raises only `Unavailable` is kept: while Redis does not answer, those who wait for the
        same value share one attempt, or each would wait for all others.
        """
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            self._slots.move_to_end(key)
            while len(self._slots) > MOST:
                self._slots.popitem(last=False)
        with slot.lock:
            if self._clock() >= slot.until:
                slot.value, slot.error = None, None
                try:
                    slot.value = read()
                except Unavailable as error:
                    slot.error = error
                slot.until = self._clock() + seconds
            if slot.error is not None:
                raise slot.error.with_traceback(None)
            value: T = slot.value
            return value

    def clear(self) -> None:
        """Forget everything: somebody has changed something and wants to see it."""
        with self._lock:
            self._slots.clear()
