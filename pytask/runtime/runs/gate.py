"""What the greenlets of a paused run wait at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from gevent import GreenletExit, getcurrent, killall
from gevent.event import Event as Flag


class Waiter(Protocol):
    """A coroutine at the gate."""

    def go_on(self) -> None:
        """The run was resumed."""

    def end(self) -> None:
        """The run is being stopped."""


class Gate:
    """The gate of one run, made with its first pause; it is closed while the run is paused."""

    __slots__ = ("_greenlets", "_left", "_on_reached", "_open", "_others", "hook")

    def __init__(self, on_reached: Callable[[], None]) -> None:
        self._on_reached = on_reached
        self._open = Flag()
        self._open.set()
        self._left = False
        self._greenlets: set[Any] = set()  # that wait
        self._others: set[Waiter] = set()  # the coroutines that wait
        self.hook: Any = None  # the greenlet of the last `on_pause()` or `on_resume()`

    @property
    def waiting(self) -> bool:
        """Whether a greenlet or a coroutine waits."""
        return bool(self._greenlets or self._others)

    @property
    def closed(self) -> bool:
        """Whether the run is paused."""
        return not self._open.is_set()

    def close(self) -> None:
        """Pause: greenlets wait from now on."""
        self._open.clear()

    def open(self) -> None:
        """Resume."""
        self._open.set()
        self._dismiss(lambda one: one.go_on())

    def pass_through(self) -> None:
        """Wait while it is closed.  If the run is being stopped, the greenlet ends: nothing goes on."""
        while not self._open.is_set():
            if self._left:
                raise GreenletExit
            me = getcurrent()
            self._greenlets.add(me)
            try:
                self._on_reached()
                self._open.wait()
            finally:
                self._greenlets.discard(me)

    def leave(self) -> None:
        """The run is being stopped, and `stop()` was called: end the greenlets that wait, or come."""
        if self.closed:
            self._left = True
            killall(list(self._greenlets), block=False)
            self._dismiss(lambda one: one.end())

    # -- coroutines, which wait in a thread of their own ----------------------------------------------

    def join(self, waiter: Waiter) -> None:
        """A coroutine waits, or would: tell it what to do, at once or later."""
        if not self.closed:
            waiter.go_on()
        elif self._left:
            waiter.end()
        else:
            self._others.add(waiter)
            self._on_reached()

    def part(self, waiter: Waiter) -> None:
        """It waits no longer."""
        self._others.discard(waiter)

    def _dismiss(self, tell: Callable[[Waiter], None]) -> None:
        while self._others:
            tell(self._others.pop())
