"""How the loop waits: in the kernel, or in gevent's hub of its thread while that has greenlets."""

from __future__ import annotations

import selectors
from typing import Any, cast

import gevent
from gevent import Greenlet, monkey

from pytask.runtime.runs.log_relay import get_ident

# gevent has replaced it in a patched process, by one that costs a switch for each turn of the loop.
Native = cast("type[selectors.BaseSelector]", monkey.get_original("selectors", "DefaultSelector"))


class Waits(Native):  # type: ignore[misc, valid-type]
    """The kernel's selector, which lets greenlets of its own thread run.

    Where gevent has patched the process, a `threading.Thread` that a coroutine's library starts is a greenlet
    of the loop's thread.  It would never run if that waited in the kernel.
    """

    def __init__(self) -> None:
        super().__init__()
        self._thread = get_ident()
        self.greenlets = 0  # alive, in this thread
        Greenlet.add_spawn_callback(self._spawned)

    def close(self) -> None:
        """As the kernel's."""
        Greenlet.remove_spawn_callback(self._spawned)
        super().close()

    def select(self, timeout: float | None = None) -> list[Any]:
        """As the kernel's."""
        if not self.greenlets:
            return list(super().select(timeout))
        self._wait(timeout)
        return list(super().select(0))

    def _wait(self, timeout: float | None) -> None:
        if timeout is not None and timeout <= 0:
            gevent.sleep(0)
            return
        hub = gevent.get_hub()
        watcher = hub.loop.io(self.fileno(), 1)
        limit = gevent.Timeout.start_new(timeout)
        try:
            hub.wait(watcher)
        except gevent.Timeout as error:
            if error is not limit:
                raise
        finally:
            limit.close()
            watcher.close()

    def _spawned(self, greenlet: Any) -> None:
        if get_ident() == self._thread:
            self.greenlets += 1
            greenlet.rawlink(self._ended)

    def _ended(self, _greenlet: object) -> None:
        self.greenlets -= 1
