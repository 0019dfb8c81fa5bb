"""gevent's locks, event and queues, made so like the standard ones that libraries work with them.

The standard event and queues over gevent's locks are no way out: a kill there loses wake-ups and items.
"""

from __future__ import annotations

import queue
import threading
from typing import Any

from gevent import event, monkey
from gevent import queue as queues
from gevent.thread import LockType  # type: ignore[import-not-found]


class Event(event.Event):
    """Takes attributes: pyTelegramBotAPI replaces `set` and `clear` of its events."""


class _Standard:
    """`maxsize` is 0 for no limit, and there is a `mutex`: watchdog uses both."""

    def __init__(self, maxsize: int = 0, *more: Any) -> None:
        self.mutex = threading.Lock()  # for `with q.mutex: q.queue.clear()`; the queue itself needs none
        super().__init__(maxsize or None, *more)  # type: ignore[call-arg]  # gevent warns of 0

    @property
    def maxsize(self) -> int:
        """As it was given; gevent has None for no limit."""
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
    """Let `Condition.notify()` switch to no other greenlet, and be killed nowhere between its steps.

    Of a lock that cannot say whether it is owned it asks by an acquire that fails, after which gevent lets
    others run: a killed `Queue.get()` had taken the item by then, and a killed `Event.set()` woken nobody.
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
