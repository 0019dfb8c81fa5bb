"""Native threads for `asyncio.to_thread` and `loop.run_in_executor(None, ...)`.

The executor of the standard library would start greenlets here, and its locks would be gevent's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gevent import monkey

IDLE = 10.0  # seconds until an idle thread ends

Job = Callable[[], object]
start_thread = monkey.get_original("_thread", "start_new_thread")


class NativeWorkers:
    """At most `size` threads, created on demand.  Jobs do not raise."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._jobs: Any = monkey.get_original("queue", "SimpleQueue")()
        self._lock = monkey.get_original("_thread", "allocate_lock")()
        self._threads = self._free = 0

    def submit(self, job: Job) -> None:
        """Call `job()` in a thread, as soon as one is free."""
        with self._lock:
            self._jobs.put(job)
            starts = self._jobs.qsize() > self._free and self._threads < self._size
            if not starts:
                return
            self._threads += 1
        try:
            start_thread(self._work, ())
        except RuntimeError:  # the system cannot create more threads
            with self._lock:
                self._threads -= 1
                if self._threads:
                    return  # another one takes it
            raise

    def end(self) -> None:
        """Let idle threads end."""
        with self._lock:
            for _ in range(self._threads):
                self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._next()) is not None:
            job()
            del job  # it holds what it was called with

    def _next(self) -> Job | None:
        with self._lock:
            self._free += 1
        try:
            job: Job | None = self._jobs.get(timeout=IDLE)
        except Exception:  # noqa: BLE001 - queue.Empty, of whichever module
            job = None
        with self._lock:
            self._free -= 1
            if job is None and not self._jobs.empty():
                job = self._jobs.get()  # it came while this thread gave up
            if job is None:
                self._threads -= 1
        return job
