"""Makes calls to the store on behalf of greenlets that may be killed.

A greenlet that is killed during a command leaves the reply in the connection for the next command.
Therefore the socket belongs to one greenlet that is never killed; others pass it a call and wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar, cast

from gevent.event import AsyncResult
from gevent.event import Event as Flag

from pytask.domain.ports import Store

T = TypeVar("T")


class StoreProxy:
    """One store, used for one call at a time."""

    def __init__(self, *, store: Store) -> None:
        self._store = store
        self._calls: deque[tuple[Callable[[Store], Any], AsyncResult[Any]]] = deque()
        self._wake = Flag()
        self._ended = False

    def call(self, fn: Callable[[Store], T]) -> T:
        """Call `fn(store)` in the proxy's greenlet; returns or raises what it does."""
        result: AsyncResult[Any] = AsyncResult()
        self._calls.append((fn, result))
        self._wake.set()
        return cast("T", result.get())

    def run(self) -> None:
        """Serve calls until stopped."""
        while not self._ended:
            self._wake.wait()
            self._wake.clear()
            self.serve()

    def serve(self) -> None:
        """Execute the waiting calls."""
        while self._calls:
            fn, result = self._calls.popleft()
            try:
                result.set(fn(self._store))
            except Exception as error:  # noqa: BLE001 - it is raised again where the call was made
                result.set_exception(error)

    def end(self) -> None:
        """Stop after the current call."""
        self._ended = True
        self._wake.set()
