"""Closes sockets that runs leave behind in garbage.

A library with reference cycles keeps its socket after the run is over until the next full garbage collection,
which is rare in a worker; meanwhile a broker may keep sending to it.  Therefore a full collection is started
soon after a run left an open socket, and uses at most one percent of the time.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from time import perf_counter
from typing import Any
from weakref import ReferenceType, ref

from gevent import socket

from pytask.logger import get_logger
from pytask.runtime.runs.run import Run, running
from pytask.runtime.tree import Service

log = get_logger(__name__)

SOON = 0.5  # seconds; one collection serves many runs
SHARE = 100  # minimum pause until the next collection, as a multiple of the last one's duration

PRUNE = 16  # sockets of a run from which dead references are removed, at each power of two

_left: list[ReferenceType[Any]] = []
_looking = False
_pause = SOON
_watched = False


def watch() -> None:
    """Record which run creates a socket; once per process."""
    global _watched  # noqa: PLW0603 - a hook of the process, set once
    if not _watched:
        _watched = True
        kind: Any = socket.socket  # gevent's, which a patched process has as its own
        kind.__init__ = _noted(kind.__init__)


def _noted(make: Callable[..., None]) -> Callable[..., None]:
    def init(self: Any, *how: Any, **named: Any) -> None:
        make(self, *how, **named)
        run = running()
        if run is not None:
            made = run.sockets = run.sockets or []
            made.append(ref(self))
            if len(made) >= PRUNE and len(made).bit_count() == 1:
                run.sockets = [*filter(_open, made)]

    return init


def _open(known: ReferenceType[Any]) -> bool:
    found = known()
    return found is not None and found.fileno() >= 0


def look_at(run: Run) -> None:
    """A run is over: a socket of it that stays open is garbage, or used by another run."""
    global _looking  # noqa: PLW0603 - one look for all runs of the process
    if not run.sockets:
        return
    _left.extend(filter(_open, run.sockets))
    run.sockets = None
    if _left and not _looking:
        _looking = True
        Service.spawn_later(_pause, _look)


def _look() -> None:
    global _looking, _pause  # noqa: PLW0603
    _looking, _pause = False, SOON
    number = sum(map(_open, _left))
    _left.clear()  # sockets that are in use are not checked again
    if number:
        began = perf_counter()
        gc.collect()
        took = perf_counter() - began
        _pause = max(SOON, SHARE * took)
        log.debug("runs left %d sockets open: collected garbage for %.3f s", number, took)
