"""`run_loop`: call a function at a fixed rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent

from pytask.runtime.process.clock import steady


def run_loop(fn: Callable[[], Any], interval: float, *, now: Callable[[], float] = steady) -> None:
    """Call `fn()` every `interval` seconds, from start to start, until it raises.

    Rounds never overlap and do not drift; a round that takes longer than the interval skips the rounds that
    it missed.

    Args:
        fn: What to call.
        interval: Seconds between the starts of two rounds.
        now: A monotonic clock, in seconds; for tests.

    Raises:
        ValueError: The interval is not above 0.
        Exception: Whatever `fn` raised; it ends the loop.
    """
    if not interval > 0:
        raise ValueError(f"run_loop needs an interval above 0 seconds, not {interval!r}")
    began = now()
    done = 0
    while True:
        fn()
        done = max(done + 1, int((now() - began) / interval) + 1)
        gevent.sleep(max(0.0, began + done * interval - now()))
