"""Names the task that blocks the event loop, using gevent's monitor thread."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import gevent
from gevent import events

from pytask.logger import get_logger
from pytask.runtime.runs.blocking_libraries import remedy

log = get_logger(__name__)

# Compared as text, to keep the monitor thread fast.
OURS = (str(Path(__file__).parents[2]) + os.sep, str(Path(gevent.__file__).parent) + os.sep, "<frozen")
STANDARD = str(Path(os.__file__).parent) + os.sep
PACKAGES = ("site-packages", "dist-packages")  # may be inside the directory of the standard library
GENERAL = "call gevent.sleep(0) in between, or move the work to a native thread: self.blocking(f, *args)"

_watching: set[BlockedWatch] = set()


class BlockedWatch:
    """Detects a blocked loop in a native thread, and logs it as soon as the loop responds again.

    Logging in the thread itself could deadlock with the blocked greenlet, so the thread only writes a line to
    standard error, and the loop logs it afterwards.
    """

    def __init__(
        self,
        limit: float,
        *,
        ours: Callable[[Any], bool] = lambda _: True,
        on_blocked: Callable[[str, str], None] = lambda _who, _place: None,
    ) -> None:
        self._limit = limit
        self._on_blocked = on_blocked  # in the native thread: who and where; in the loop: "" once it responds
        self._ours = ours  # whether a run belongs to this app: several may share the process
        self._found: deque[tuple[str, str]] = deque(maxlen=100)  # description and fix
        self._hub = gevent.get_hub()
        self._async = self._hub.loop.async_()
        self._last = ""

    def start(self) -> None:
        """Start to monitor this thread's hub."""
        gevent.config.monitor_thread = True  # otherwise the hub starts no monitor thread
        gevent.config.max_blocking_time = self._limit
        gevent.config.print_blocking_reports = False
        self._async.start(self._log)
        events.subscribers.append(self._on_event)
        _watching.add(self)
        with warnings.catch_warnings():
            # Disable its memory monitor, which is active if psutil is installed.
            warnings.simplefilter("ignore")
            self._hub.start_periodic_monitoring_thread()
        _report_nothing(self._hub.periodic_monitoring_thread)

    def stop(self) -> None:
        """Stop monitoring; the last worker ends the thread."""
        if self._on_event in events.subscribers:
            events.subscribers.remove(self._on_event)
        self._async.stop()
        self._async.close()
        _watching.discard(self)
        thread = self._hub.periodic_monitoring_thread
        if thread is not None and not any(other._hub is self._hub for other in _watching):  # noqa: SLF001
            # Otherwise it would write to a standard error that may be closed by then.
            thread.kill()
            self._hub.periodic_monitoring_thread = None
            gevent.config.monitor_thread = False

    def _on_event(self, event: Any) -> None:
        # In the monitor thread, where an exception would end the process.
        with contextlib.suppress(Exception):
            self._note(event)

    def _note(self, event: Any) -> None:
        if not isinstance(event, events.EventLoopBlocked) or event.hub is not self._hub:
            return
        run = getattr(event.greenlet, "pytask_run", None)
        if run is not None and not self._ours(run):
            return
        frame = sys._current_frames().get(self._hub.thread_ident)  # noqa: SLF001 - the only way
        place, library = where(frame, package_of(run))
        if self._last == place:
            return  # still the same block
        self._last = place
        who = f"task {run.id} ({run.claim.function})" if run is not None else f"greenlet {event.greenlet!r}"
        text = f"{who} blocked the event loop for more than {self._limit:g} s at {place}"
        self._found.append((text, remedy(library) or GENERAL))
        os.write(2, f"pytask: {text}; all tasks of this process are blocked\n".encode(errors="replace"))
        self._on_blocked(who, place)
        self._async.send()

    def _log(self) -> None:
        self._last = ""
        self._on_blocked("", "")
        while self._found:
            log.warning("[PT041] %s: %s", *self._found.popleft())


def _report_nothing(thread: Any) -> None:
    """Replace gevent's check with a fast one; gevent's first writes a report of all greenlets.

    That takes so long that the block may be over when its event is sent, with the wrong greenlet and line.
    The new check is added first, since the thread must never be without a function.
    """
    thread.add_monitoring_function(_look, gevent.config.max_blocking_time)
    thread.add_monitoring_function(thread.monitor_blocking, None)


def _look(hub: Any) -> None:
    """In the monitor thread: send gevent's event if the loop was blocked since the last check."""
    thread = hub.periodic_monitoring_thread
    found = thread and thread._greenlet_tracer.did_block_hub(hub)  # noqa: SLF001 - it has no public name
    if found:
        event = events.EventLoopBlocked(found[1], gevent.config.max_blocking_time, [], hub=hub)
        for subscriber in list(events.subscribers):
            subscriber(event)


def package_of(run: Any) -> str:
    """The package of a run's task class; "" if there is none."""
    return _package(getattr(getattr(run, "cls", None), "__module__", ""))


def where(frame: FrameType | None, own: str) -> tuple[str, str]:
    """The user's innermost line, that of the library it called, and the name of that library.

    `own` is the package of the task class, which is user code even if it is installed like a library.
    """
    innermost = frame
    place = library = ""
    while frame is not None:
        file, package = frame.f_code.co_filename, _package(frame.f_globals.get("__name__", ""))
        installed = any(part in file for part in PACKAGES)
        line = f"{file}:{frame.f_lineno}"
        if file.startswith(OURS) or (file.startswith(STANDARD) and not installed):
            pass
        elif not installed or package == own:
            return (f"{place}, called from {line}" if place else line), library
        elif not place:
            place, library = line, package
        frame = frame.f_back
    if place or innermost is None:
        return place or "?", library
    return f"{innermost.f_code.co_filename}:{innermost.f_lineno}", ""


def _package(module: object) -> str:
    return str(module).partition(".")[0]
