"""One asyncio loop for all tasks of a worker: docs/libraries.md shows it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any


def loop_for_all() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Start a loop in a thread; the returned function runs a coroutine in it, cancelled with its task."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        try:
            return future.result()
        finally:
            future.cancel()

    return run
