"""What a worker takes from the process around it, so that a simulation can bring its own."""

from __future__ import annotations

import gc
import logging
import os
import random
import time
import uuid
from collections.abc import Callable

import attrs
import gevent

from pytask.runtime.process.kill_timer import Deadman

FLUSH_SECONDS = 1.0  # for the log, at an exit that must not wait


def exit_now(code: int) -> None:
    """End the process without unwinding anything; the log is flushed, unless that raises or hangs."""
    try:
        with gevent.Timeout(FLUSH_SECONDS):
            logging.shutdown()
    finally:
        os._exit(code)


def calm_collector() -> None:
    """Let the garbage collector of a process of our own look less often, and not at what was loaded.

    What a run leaves dies by itself; to look through the thousands that live stalls them all.
    """
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def fresh_id() -> str:
    """An id that nobody else makes."""
    return uuid.uuid4().hex


def kernel_timer(hard: bool) -> Deadman:
    """The timer that ends the process."""
    return Deadman(hard=hard)


@attrs.frozen(kw_only=True)
class Process:
    """Chance, names, what it costs, and the two ways in which a process ends itself."""

    exit: Callable[[int], None] = exit_now
    fresh_id: Callable[[], str] = fresh_id
    uniform: Callable[[float, float], float] = random.uniform
    deadman: Callable[[bool], Deadman] = kernel_timer
    used: Callable[[], float] = time.process_time  # seconds of CPU, of all its threads
