"""Prevents a forked child from acting as the worker: gevent would continue the parent's greenlets."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any, Protocol

import gevent
from gevent._hub_local import set_hub, set_loop
from gevent.hub import Hub
from greenlet import greenlet


class Guarded(Protocol):
    """The part of a worker that a fork needs."""

    forked: bool


_workers: weakref.WeakSet[Guarded] = weakref.WeakSet()
_registered = False
_undo: list[Callable[[], None]] = []
_left: list[Any] = []  # hubs of the parent: destroying them would resume them

EXIT_FORKED = 70  # a forked child whose greenlet ended without ending the process


def guard(worker: Guarded) -> None:
    """Mark `worker` dead in every child that this process forks while it runs."""
    global _registered  # noqa: PLW0603 - a hook of the process, set once
    _workers.add(worker)
    if not _registered:
        _registered = True
        os.register_at_fork(after_in_child=_in_child)


def is_working() -> bool:
    """Whether a worker runs in this process."""
    return bool(_workers)


def release(worker: Guarded) -> None:
    """The worker has stopped; forks no longer affect it."""
    _workers.discard(worker)


def on_child(undo: Callable[[], None]) -> None:
    """Call `undo` in a forked child, for state of the process such as signal handlers."""
    _undo.append(undo)


def forget(undo: Callable[[], None]) -> None:
    """Undo `on_child`."""
    if undo in _undo:
        _undo.remove(undo)


def _in_child() -> None:
    if not _workers:
        return
    for worker in list(_workers):
        worker.forked = True
    _workers.clear()
    for undo in _undo:
        undo()
    _leave_hub()


def _leave_hub() -> None:
    """Give the child its own hub, so that it never switches to a greenlet of the parent.

    The old hub is kept: destroying it would switch to its parent, the main greenlet, and `run()` with its
    clean-up would continue in the child.
    """
    current: Any = gevent.getcurrent()
    _left.append(gevent.get_hub())
    new: Any = Hub(default=False)
    set_hub(new)
    set_loop(new.loop)
    if current.parent is None:
        return  # the main greenlet forked: the program continues normally
    main = current
    while main.parent is not None:
        main = main.parent
    # When the child's greenlet ends, the process exits here instead of unwinding the parent's main stack.
    end = greenlet(_end_process, main)
    end.switch(current)
    new.parent = end
    current.parent = new


def _end_process(back: Any) -> None:
    try:
        back.switch()
    finally:
        os._exit(EXIT_FORKED)
