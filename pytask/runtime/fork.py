"""After a fork the child must not act as the worker: gevent would go on running the parent's greenlets."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING

import gevent

if TYPE_CHECKING:
    from pytask.runtime.worker import Worker

_workers: weakref.WeakSet[Worker] = weakref.WeakSet()
_registered = False


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
    # Without its hub no greenlet of the parent is ever switched to in here.
    gevent.get_hub().destroy(destroy_loop=True)
