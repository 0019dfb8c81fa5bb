"""Threads of runs: their names, their failures, and their current position."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from types import FrameType
from typing import Any

import gevent
from gevent import GreenletExit, monkey

from pytask.logger import get_logger
from pytask.runtime.tree import AnyGreenlet, current_run

log = get_logger(__name__)

OURS = (str(Path(__file__).parents[1]), str(Path(gevent.__file__).parent))
STANDARD = str(Path(os.__file__).parent)

_installed = False


def install() -> None:
    """Install the hooks, once per process, and only if threads are greenlets."""
    global _installed  # noqa: PLW0603 - hooks of the process, set once
    if _installed or not monkey.is_module_patched("threading"):
        return
    _installed = True
    threading.excepthook = _hook(threading.excepthook)
    dummy: Any = threading._DummyThread  # noqa: SLF001 - gevent's own, there is no other
    dummy.__init__ = _named(dummy.__init__)
    logging.getLogger("concurrent.futures").addFilter(_is_no_kill)  # noqa: TID251 - not a log of our own


def _hook(before: Callable[[Any], Any]) -> Callable[[Any], Any]:
    # Threads killed by a stop have not failed.  A real failure is logged with its task.
    def excepthook(args: Any) -> None:
        if issubclass(args.exc_type, GreenletExit):
            return
        run = current_run()
        if run is None or before is not threading.__excepthook__:
            before(args)
        if run is not None and not issubclass(args.exc_type, SystemExit):
            error = args.exc_type, args.exc_value, args.exc_traceback
            name = args.thread.name if args.thread is not None else "?"
            log.error(
                "[PT149] task %s: thread %s failed, but the task continues: %r", run.id, name, args.exc_value,
                exc_info=error,
                extra={"task": run.id, "function": run.claim.function, "epoch": run.epoch},
            )  # fmt: skip

    return excepthook


def _named(make: Callable[[Any], None]) -> Callable[[Any], None]:
    # The name of the thread in which start() runs is the task's id.
    def init(self: Any) -> None:
        make(self)
        run = current_run()
        if run is not None:
            self._name = run.id

    return init


def _is_no_kill(record: logging.LogRecord) -> bool:
    # A ThreadPoolExecutor worker logs everything that ends it as critical, even the stop of its run.
    error = record.exc_info
    return not (error and error[0] is not None and issubclass(error[0], GreenletExit))


def whereabouts(greenlet: AnyGreenlet) -> str:
    """The name, function and line of a thread or greenlet, for a message."""
    what = named(greenlet)
    frame: FrameType | None = greenlet.gr_frame
    return what if frame is None else f"{what} (in {place(_of_user(frame))})"


def named(greenlet: AnyGreenlet) -> str:
    """What it is, and its name."""
    thread = getattr(greenlet, "pytask_thread", None)
    return f"thread {thread.name}" if thread is not None else f"greenlet {greenlet.name}"


def _of_user(innermost: FrameType) -> FrameType:
    # Skip waiting frames of the standard library, unless there are no others.
    frame: FrameType | None = innermost
    while frame is not None and not is_of_user(frame):
        frame = frame.f_back
    return frame or innermost


def is_of_user(frame: FrameType) -> bool:
    """Whether its code is of neither pytask nor gevent nor the standard library."""
    name = frame.f_code.co_filename
    return not name.startswith(OURS) and (not name.startswith(STANDARD) or "site-packages" in name)


def place(frame: FrameType) -> str:
    """The function, file and line, for a message."""
    return f"{frame.f_code.co_name} at {frame.f_code.co_filename}:{frame.f_lineno}"


def only_threads(greenlets: Collection[AnyGreenlet]) -> bool:
    """Whether all of these are threads; greenlets are spawned on purpose and may continue."""
    return all(hasattr(one, "pytask_thread") for one in greenlets)
