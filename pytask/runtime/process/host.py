"""What a worker needs from its process; a simulation can replace it."""

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

from pytask.runtime.process.kill_timer import KillTimer

FLUSH_SECONDS = 1.0  # timeout for flushing the log at an immediate exit


def exit_now(code: int) -> None:
    """Exit without unwinding; the log is flushed, unless that raises or hangs."""
    try:
        with gevent.Timeout(FLUSH_SECONDS):
            logging.shutdown()
    finally:
        os._exit(code)


def calm_collector() -> None:
    """Make the garbage collector run less often and skip loaded modules, in a process of our own.

    Objects of ended runs are freed by reference counting; scanning thousands of living runs would delay them.
    """
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def fresh_id() -> str:
    """A unique id."""
    return uuid.uuid4().hex


def kernel_timer(hard: bool) -> KillTimer:
    """The timer that ends the process."""
    return KillTimer(hard=hard)


@attrs.frozen(kw_only=True)
class Process:
    """Randomness, names, CPU time, and the two ways to end the process."""

    exit: Callable[[int], None] = exit_now
    fresh_id: Callable[[], str] = fresh_id
    uniform: Callable[[float, float], float] = random.uniform
    kill_timer: Callable[[bool], KillTimer] = kernel_timer
    used: Callable[[], float] = time.process_time  # seconds of CPU, of all its threads
