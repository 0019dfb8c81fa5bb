"""Passes log records of native threads to the event loop, which calls the log handlers.

The handlers have gevent locks, which lose wake-ups between native threads: with gevent 26.9, two threads that
log for 3 s can deadlock each other and the event loop.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import gevent
from gevent import monkey

from pytask.runtime.process.log_format import message_of
from pytask.runtime.tree import Service

MOST = 1000  # records that may wait for the loop; a thread that logs faster waits
AT_ONCE = 50  # records, before other greenlets are scheduled

get_ident = monkey.get_original("_thread", "get_ident")  # the patched function identifies greenlets instead
sleep = monkey.get_original("time", "sleep")

_runs: dict[
    int, tuple[Any, Any]
] = {}  # by native thread: the run whose function it executes, and the event loop
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


@contextmanager
def within(run: Any, loop: Any) -> Iterator[None]:
    """In such a thread: attribute records logged inside to this run."""
    _runs[get_ident()] = run, loop
    try:
        yield
    finally:
        del _runs[get_ident()]


def _call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
    run, loop = _runs.get(get_ident(), (None, None))
    if run is None:
        _handle(logger, record)
        return
    record.msg, record.args = message_of(record), None  # its values may belong to this thread
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
