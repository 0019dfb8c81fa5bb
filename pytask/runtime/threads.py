"""Threads of tasks, which are greenlets: named by their task, and logged with its id when they fail.

An exception that ends a thread is no error of the task: Python's own threads keep it to themselves.
"""

from __future__ import annotations

import threading
from typing import Any

from gevent import GreenletExit, monkey
from gevent import threading as gevent_threading  # type: ignore[attr-defined]

from pytask.logger import get_logger
from pytask.runtime.tree import current_run

log = get_logger(__name__)

_users = 0
_Dummy: Any = gevent_threading._DummyThread  # noqa: SLF001 - what current_thread() makes in a bare greenlet
_named = _Dummy.__init__
_before: Any = None


def install() -> None:
    """Begin, once however many workers ask for it."""
    global _users, _before  # noqa: PLW0603 - the hook is the process's
    _users += 1
    if _users > 1:
        return
    _before, threading.excepthook = threading.excepthook, _failed
    if monkey.is_module_patched("threading"):
        _Dummy.__init__ = _name


def remove() -> None:
    """Put back what was there, once all workers said so; a hook that others set stays."""
    global _users  # noqa: PLW0603
    _users -= 1
    if _users:
        return
    if threading.excepthook is _failed:
        threading.excepthook = _before
    _Dummy.__init__ = _named


def _name(thread: Any) -> None:
    """The thread that `start()`, or a greenlet of a task, takes itself for bears the id of the task."""
    _named(thread)
    run = current_run()
    if run is not None:
        thread._name = run.id  # noqa: SLF001 - the setter of `name` wants a thread that Python made


def _failed(args: Any) -> None:
    run = current_run()
    if run is None or _before is not threading.__excepthook__:
        _before(args)  # that of an error reporter hears of all
    if run is None or issubclass(args.exc_type, SystemExit | GreenletExit):
        return  # the latter: it was killed, with its task or by it
    error = args.exc_value if args.exc_value is not None else args.exc_type()
    name = args.thread.name if args.thread is not None else "of no name"
    log.error(
        "[PT149] task %s: thread %s failed, and the task goes on: %r", run.id, name, error,
        exc_info=(args.exc_type, error, args.exc_traceback),
        extra={"task": run.id, "function": run.claim.function, "epoch": run.epoch},
    )  # fmt: skip
