"""After a fork the child must not act as the worker: gevent would go on running the parent's greenlets."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Any

import gevent
from gevent._hub_local import set_hub, set_loop

if TYPE_CHECKING:
    from pytask.runtime.worker import Worker

_workers: weakref.WeakSet[Worker] = weakref.WeakSet()
_registered = False
_left: Any = None


def guard(worker: Worker) -> None:
    """Mark `worker` dead in every child that this process forks while it runs."""
    global _registered  # noqa: PLW0603 - a hook of the process, set once
    _workers.add(worker)
    if not _registered:
        _registered = True
        os.register_at_fork(after_in_child=_in_child)


def release(worker: Worker) -> None:
    """The worker has stopped; forks are no longer its concern."""
    _workers.discard(worker)


def _in_child() -> None:
    if not _workers:
        return
    for worker in list(_workers):
        worker.forked = True
    _workers.clear()
    _leave_hub()


def _leave_hub() -> None:
    # Without its loop no greenlet of the parent is ever switched to in here.
    global _left  # noqa: PLW0603 - kept, as its end would resume it
    old: Any = gevent.get_hub()
    current: Any = gevent.getcurrent()
    if current.parent is None:  # the main greenlet
        old.destroy(destroy_loop=True)
    elif current is not old:
        # Hub.destroy() lets the hub end, which switches to the main greenlet: that would go on in here
        # while we, who forked, never returned from fork().
        _left = old
        set_loop(None)  # type: ignore[arg-type]
        set_hub(None)  # type: ignore[arg-type]
        old.loop.destroy()
        new: Any = gevent.get_hub()
        new.parent = old.parent
        current.parent = new
