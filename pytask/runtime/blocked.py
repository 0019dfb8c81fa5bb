"""Names the task that holds the event loop, by gevent's monitor thread."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
from gevent import events

from pytask.logger import get_logger

log = get_logger(__name__)

# Frames of these are not the user's.  Compared as text, in a thread that must not do much.
NOT_THE_USER = (
    str(Path(__file__).parent),
    str(Path(gevent.__file__).parent),
    str(Path(os.__file__).parent),
    "<frozen",
)


_watching: set[BlockedWatch] = set()


class BlockedWatch:
    """Hears of a blocked loop in a native thread, and logs it as soon as the loop turns again.

    Logging in the thread itself could meet a lock that the blocked greenlet holds; so the thread only
    writes a line to standard error, and the log gets it from the loop.
    """

    def __init__(self, limit: float, *, ours: Callable[[Any], bool] = lambda _: True) -> None:
        self._limit = limit
        self._ours = ours  # whether a run is of this app: several may share the process
        self._found: deque[str] = deque(maxlen=100)
        self._hub = gevent.get_hub()
        self._async = self._hub.loop.async_()
        self._last: tuple[str, int] | None = None

    def start(self) -> None:
        """Begin to watch this thread's hub."""
        gevent.config.monitor_thread = True  # or the hub starts no thread
        gevent.config.max_blocking_time = self._limit
        gevent.config.print_blocking_reports = False
        self._async.start(self._log)
        events.subscribers.append(self._heard)
        _watching.add(self)
        with warnings.catch_warnings():
            # It could watch the memory as well if psutil were there; that is not what we want of it.
            warnings.simplefilter("ignore")
            self._hub.start_periodic_monitoring_thread()
        _report_nothing(self._hub.periodic_monitoring_thread)

    def stop(self) -> None:
        """Stop watching; the last one takes the thread with it."""
        if self._heard in events.subscribers:
            events.subscribers.remove(self._heard)
        self._async.stop()
        self._async.close()
        _watching.discard(self)
        thread = self._hub.periodic_monitoring_thread
        if thread is not None and not any(other._hub is self._hub for other in _watching):  # noqa: SLF001
            # Left alone it would report to a standard error that may be closed by then.
            thread.kill()
            self._hub.periodic_monitoring_thread = None
            gevent.config.monitor_thread = False

    def _heard(self, event: Any) -> None:
        # In the monitor's native thread, where an exception would end the process.
        with contextlib.suppress(Exception):
            self._note(event)

    def _note(self, event: Any) -> None:
        if not isinstance(event, events.EventLoopBlocked) or event.hub is not self._hub:
            return
        run = getattr(event.greenlet, "pytask_run", None)
        if run is not None and not self._ours(run):
            return
        file, line = _where(self._hub.thread_ident)
        if self._last == (file, line):
            return  # still the same block
        self._last = (file, line)
        who = f"task {run.id} ({run.claim.function})" if run is not None else f"greenlet {event.greenlet!r}"
        text = f"{who} held the event loop for more than {self._limit:g} s at {file}:{line}"
        self._found.append(text)
        os.write(2, f"pytask: {text}; all tasks of this process stand still\n".encode(errors="replace"))
        self._async.send()

    def _log(self) -> None:
        self._last = None
        while self._found:
            log.warning(
                "[PT041] %s: call gevent.sleep(0) in between, or give the work to a thread:"
                " gevent.get_hub().threadpool.apply(f, args)", self._found.popleft(),
            )  # fmt: skip


def _report_nothing(thread: Any) -> None:
    """Put a light look in the place of gevent's own, which writes a report of all greenlets first.

    That takes so long that the block may be over when its event is sent, with the wrong greenlet and line.
    Ours comes first, since the thread must never be without a function.
    """
    thread.add_monitoring_function(_look, gevent.config.max_blocking_time)
    thread.add_monitoring_function(thread.monitor_blocking, None)


def _look(hub: Any) -> None:
    """In the monitor's native thread: send gevent's event if the loop was blocked since the last look."""
    thread = hub.periodic_monitoring_thread
    found = thread and thread._greenlet_tracer.did_block_hub(hub)  # noqa: SLF001 - it has no public name
    if found:
        event = events.EventLoopBlocked(found[1], gevent.config.max_blocking_time, [], hub=hub)
        for heard in list(events.subscribers):
            heard(event)


def _where(thread: int) -> tuple[str, int]:
    """File and line of the innermost frame that is the user's."""
    frame = sys._current_frames().get(thread)  # noqa: SLF001 - the only way to see another thread
    first = frame
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(NOT_THE_USER) or "site-packages" in name:
            return name, frame.f_lineno
        frame = frame.f_back
    return (first.f_code.co_filename, first.f_lineno) if first is not None else ("?", 0)
