"""Passes log records of native threads to the event loop, which calls the log handlers.

The handlers have gevent locks, which lose wake-ups between native threads: with gevent 26.9, two threads that
log for 3 s can deadlock each other and the event loop.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import gevent
from gevent import monkey

from pytask.runtime.process.log_format import message_of
from pytask.runtime.tree import Service

MOST = 1000  # records that may wait for the loop; a thread that logs faster waits
AT_ONCE = 50  # records, before other greenlets are scheduled

get_ident = monkey.get_original("_thread", "get_ident")  # the patched function identifies greenlets instead
sleep = monkey.get_original("time", "sleep")

# By native thread: what finds the run whose code it executes, and the event loop.
_threads: dict[int, tuple[Callable[[], Any], Any]] = {}
_lines: deque[tuple[logging.Logger, logging.LogRecord]] = deque()
_delivering = False
_handle = logging.Logger.callHandlers


def install() -> None:
    """Install it before the first such thread; once per process."""
    logging.Logger.callHandlers = _call_handlers  # type: ignore[assignment]
    if monkey.is_module_patched("threading"):
        # Held only while no switch can happen, so a native lock is safe for greenlets, too.
        logging._lock = _native_lock()  # type: ignore[attr-defined]  # noqa: SLF001


def _native_lock() -> Any:
    return monkey.get_original("_thread", "RLock")()


def within(run: Any, loop: Any) -> AbstractContextManager[None]:
    """In such a thread: attribute records logged inside to this run; None: to no run."""
    return relayed(lambda: run, loop)


@contextmanager
def relayed(current: Callable[[], Any], loop: Any) -> Iterator[None]:
    """In such a thread: attribute each record logged inside to the run that `current` returns, if any."""
    _threads[get_ident()] = current, loop
    try:
        yield
    finally:
        del _threads[get_ident()]


def _call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
    known = _threads.get(get_ident())
    if known is None:
        _handle(logger, record)
        return
    current, loop = known
    record.msg, record.args = message_of(record), None  # its values may belong to this thread
    run = current()
    if run is not None:
        record.__dict__.setdefault("task", run.id)
        record.pytask_run = run
    _lines.append((logger, record))
    loop.run_callback_threadsafe(_wake)
    while len(_lines) > MOST:
        sleep(0.01)


def _wake() -> None:
    # A handler must not block in the hub.
    global _delivering  # noqa: PLW0603 - one for the process, as the log
    if not _delivering:
        _delivering = True
        Service.spawn(_deliver)


def _deliver() -> None:
    global _delivering  # noqa: PLW0603
    try:
        while _lines:
            for _ in range(min(AT_ONCE, len(_lines))):
                with suppress(Exception):  # a handler's; in the thread it would have been the caller's
                    _handle(*_lines.popleft())
            gevent.sleep(0)
    finally:
        _delivering = False
