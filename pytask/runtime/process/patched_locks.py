"""gevent's locks, event and queues, made compatible with the standard ones for libraries.

The standard event and queues on top of gevent's locks cannot be used: a kill would lose wake-ups and items.
"""

from __future__ import annotations

import queue
import threading
from typing import Any

from gevent import event, monkey
from gevent import queue as queues
from gevent.thread import LockType  # type: ignore[import-not-found]


class Event(event.Event):
    """Allows attributes: pyTelegramBotAPI replaces `set` and `clear` of its events."""


class _Standard:
    """With `maxsize` 0 for no limit, and a `mutex`: watchdog uses both."""

    def __init__(self, maxsize: int = 0, *more: Any) -> None:
        self.mutex = threading.Lock()  # for `with q.mutex: q.queue.clear()`; the queue itself needs none
        super().__init__(maxsize or None, *more)  # type: ignore[call-arg]  # gevent warns of 0

    @property
    def maxsize(self) -> int:
        """The given value; gevent uses None for no limit."""
        return super().maxsize or 0  # type: ignore[misc]

    @maxsize.setter
    def maxsize(self, size: int) -> None:
        queues.Queue.maxsize.__set__(self, size)  # type: ignore[union-attr]


class Queue(_Standard, queues.Queue[Any]):  # type: ignore[misc]
    """`queue.Queue`."""


class LifoQueue(_Standard, queues.LifoQueue[Any]):  # type: ignore[misc]
    """`queue.LifoQueue`."""


class PriorityQueue(_Standard, queues.PriorityQueue[Any]):  # type: ignore[misc]
    """`queue.PriorityQueue`."""


def use_locks() -> None:
    """Make `Condition.notify()` atomic: without switches and kills between its steps.

    For a lock without `_is_owned` it tries an acquire, after which gevent may switch: a killed `Queue.get()`
    would have taken the item by then, and a killed `Event.set()` would have woken nobody.
    """
    LockType._is_owned = LockType.locked  # noqa: SLF001 - where it is looked for


def use_event() -> None:
    """Put ours in the place of gevent's."""
    threading.Event = Event  # type: ignore[assignment,misc]


def use_queues() -> None:
    """Put ours in the place of gevent's."""
    for kind in (Queue, LifoQueue, PriorityQueue):
        setattr(queue, kind.__name__, kind)


def use_simple_queue() -> None:
    """Put gevent's in the place of the standard one: that is C code, and executors wait in it."""
    monkey.patch_module(queue, queues, items=["SimpleQueue"])
