"""The end of the process after the hand-over, whatever tasks left behind.

Python waits at its exit for children of `multiprocessing`, for threads that are not daemons and for functions
of `atexit`; each of them may never end.
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
LEAST_SECONDS = 5.0  # for the exit, even if the hand-over took all the time there was
BEHIND = 1.0  # seconds by which the second means is later
STEP = 0.02


def children() -> set[Any]:
    """The living children of `multiprocessing`, those of ProcessPoolExecutor too."""
    # Not imported for this: without the module there is none.
    module = sys.modules.get("multiprocessing")
    return set(module.active_children()) if module is not None else set()


def end_children(kept: set[Any]) -> None:
    """End the children that were started since `kept` was taken: they work for tasks that are handed back."""
    mine = children() - kept
    if not mine:
        return
    pids = ", ".join(str(child.pid) for child in mine)
    log.warning("child processes that tasks left behind are ended: pid %s; end them in stop()", pids)
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
    """The living threads for which Python waits at its exit."""
    return {one for one in threading.enumerate() if not one.daemon}


def name_threads(kept: set[threading.Thread]) -> None:
    """Name those that were started since `kept` was taken: nobody can end a thread, but by its own code."""
    mine = sorted(one.name for one in threads() - kept)
    if mine:
        log.warning(
            "[PT137] threads that were started since run() began keep this process: %s. End them in stop(),"
            " or start them with daemon=True", ", ".join(mine),
        )  # fmt: skip


def leave_within(seconds: float, code: int) -> None:
    """End the process with `code` after so many seconds, unless it has ended by then.

    A native thread does it, which needs no event loop.  Where no Python code can run (C code holds the
    interpreter, or it is being torn down) faulthandler does, a little later and with exit code 1.
    """
    limit = max(LEAST_SECONDS, seconds)
    monkey.get_original("_thread", "start_new_thread")(_end, (limit, code))
    faulthandler.dump_traceback_later(limit + BEHIND, exit=True, file=2)


def _end(seconds: float, code: int) -> None:
    monkey.get_original("time", "sleep")(seconds)
    text = f"pytask: [PT125] the process did not end within {seconds:.1f} s after it handed its tasks back"
    with contextlib.suppress(OSError):
        os.write(2, f"{text}; it is ended. Its threads are in:\n".encode())
        faulthandler.dump_traceback(2)
    os._exit(code)
