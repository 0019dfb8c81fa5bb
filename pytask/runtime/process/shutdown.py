"""Ends the process after the tasks are released, regardless of what tasks left behind.

At exit Python waits for children of `multiprocessing`, for non-daemon threads and for functions of `atexit`;
each of them may never end.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
import threading
import time
from typing import Any

from gevent import monkey

from pytask.logger import get_logger

log = get_logger(__name__)

CHILD_SECONDS = 1.0  # from SIGTERM to SIGKILL for a child process
LEAST_SECONDS = 5.0  # for the exit, even if releasing the tasks took all the time
BEHIND = 1.0  # seconds by which the fallback is later
STEP = 0.02


def children() -> set[Any]:
    """The living children of `multiprocessing`, including those of ProcessPoolExecutor."""
    # Not imported here: without the module there are none.
    module = sys.modules.get("multiprocessing")
    return set(module.active_children()) if module is not None else set()


def end_children(kept: set[Any]) -> None:
    """End the children that were started since `kept`: they belong to released tasks."""
    mine = children() - kept
    if not mine:
        return
    pids = ", ".join(str(child.pid) for child in mine)
    log.warning("ending child processes that tasks left behind: pid %s; end them in stop()", pids)
    _each(mine, "terminate")
    until = time.monotonic() + CHILD_SECONDS
    while mine & children() and time.monotonic() < until:
        time.sleep(STEP)
    _each(mine & children(), "kill")


def _each(some: set[Any], verb: str) -> None:
    for child in some:
        with contextlib.suppress(Exception):  # it has ended meanwhile, or was closed by its task
            getattr(child, verb)()


def threads() -> set[threading.Thread]:
    """The living threads for which Python waits at exit."""
    return {one for one in threading.enumerate() if not one.daemon}


def name_threads(kept: set[threading.Thread]) -> None:
    """Log the threads that were started since `kept`; a thread cannot be ended from outside."""
    mine = sorted(one.name for one in threads() - kept)
    if mine:
        log.warning(
            "[PT137] threads that were started since run() prevent the process from exiting: %s. End them in"
                " stop(), or start them with daemon=True", ", ".join(mine),
        )  # fmt: skip


def leave_within(seconds: float, code: int) -> None:
    """End the process with `code` after `seconds`, unless it has ended by then.

    A native thread does it, which needs no event loop.  If no Python code can run (C code holds the GIL, or
    the interpreter is shutting down), faulthandler does it a little later, with exit code 1.
    """
    limit = max(LEAST_SECONDS, seconds)
    monkey.get_original("_thread", "start_new_thread")(_end, (limit, code))
    faulthandler.dump_traceback_later(limit + BEHIND, exit=True, file=2)


def _end(seconds: float, code: int) -> None:
    monkey.get_original("time", "sleep")(seconds)
    text = f"pytask: [PT125] the process did not exit within {seconds:.1f} s after it released its tasks"
    with contextlib.suppress(OSError):
        os.write(2, f"{text}; ending it. Its threads:\n".encode())
        faulthandler.dump_traceback(2)
    os._exit(code)
