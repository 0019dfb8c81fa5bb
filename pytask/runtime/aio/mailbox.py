"""Calls that one native thread hands to another, in order, with one wake-up for many."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any


class Mailbox:
    """Any thread puts calls in; one thread takes them out.  It has no lock: a lock of gevent cannot be shared
    between native threads, and appending to a deque is atomic.
    """

    __slots__ = ("_calls", "_wake", "_woken")

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake  # may be called by any thread
        self._woken = False
        self._calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()

    def __len__(self) -> int:
        return len(self._calls)

    def put(self, fn: Callable[..., object], *args: Any) -> None:
        """Let the other thread call `fn(*args)`."""
        self._calls.append((fn, args))
        # After the append, as `take` clears it before it looks: no call is left without a wake-up.
        if not self._woken:
            self._woken = True
            self._wake()

    def take(self, most: int, failed: Callable[[Callable[..., object], Exception], None]) -> bool:
        """Make up to `most` calls; returns whether more wait.  An exception goes to `failed`."""
        self._woken = False
        calls = self._calls
        while calls and most:
            most -= 1
            fn, args = calls.popleft()
            try:
                fn(*args)
            except Exception as error:  # noqa: BLE001 - one call must not keep the others from being made
                failed(fn, error)
        return bool(calls)
