"""What the greenlets of a paused run wait at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gevent import GreenletExit, getcurrent, killall
from gevent.event import Event as Flag


class Gate:
    """The gate of one run, made with its first pause; it is closed while the run is paused."""

    __slots__ = ("_left", "_on_reached", "_open", "hook", "waiting")

    def __init__(self, on_reached: Callable[[], None]) -> None:
        self._on_reached = on_reached
        self._open = Flag()
        self._open.set()
        self._left = False
        self.waiting: set[Any] = set()  # the greenlets that wait
        self.hook: Any = None  # the greenlet of the last `on_pause()` or `on_resume()`

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

    def pass_through(self) -> None:
        """Wait while it is closed.  If the run is being stopped, the greenlet ends: nothing goes on."""
        while not self._open.is_set():
            if self._left:
                raise GreenletExit
            me = getcurrent()
            self.waiting.add(me)
            try:
                self._on_reached()
                self._open.wait()
            finally:
                self.waiting.discard(me)

    def leave(self) -> None:
        """The run is being stopped, and `stop()` was called: end the greenlets that wait, or come."""
        if self.closed:
            self._left = True
            killall(list(self.waiting), block=False)
