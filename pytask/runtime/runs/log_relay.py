"""What is logged in native threads of tasks is handed to the event loop, where the handlers of the log are.

Their locks are gevent's, which lose wake-ups between native threads: with gevent 26.9, of two threads that
log for 3 s one waits for ever, and so does the event loop with its next line.
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

MOST = 1000  # lines that may wait for the loop; a thread that logs faster waits
AT_ONCE = 50  # lines, until other greenlets have their turn

get_ident = monkey.get_original("_thread", "get_ident")  # the patched one tells greenlets apart
sleep = monkey.get_original("time", "sleep")

_runs: dict[int, tuple[Any, Any]] = {}  # by native thread: whose function it executes, and the event loop
_lines: deque[tuple[logging.Logger, logging.LogRecord]] = deque()
_delivering = False
_handle = logging.Logger.callHandlers


def install() -> None:
    """Before the first such thread; once a process."""
    logging.Logger.callHandlers = _call_handlers  # type: ignore[assignment]
    if monkey.is_module_patched("threading"):
        # Held for moments in which nothing switches, so that a native lock does, for greenlets as well.
        logging._lock = _native_lock()  # type: ignore[attr-defined]  # noqa: SLF001


def _native_lock() -> Any:
    return monkey.get_original("_thread", "RLock")()


@contextmanager
def within(run: Any, loop: Any) -> Iterator[None]:
    """In such a thread: what is logged inside is of this run."""
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
    # In the hub, where a handler must not block.
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
