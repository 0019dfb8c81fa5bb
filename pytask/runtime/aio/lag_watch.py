"""Names the coroutine that blocks the asyncio loop: renewals go on meanwhile, so nobody else would notice.

The loop is asked for an answer again and again.  If it gives none for as long as a lease lasts, its runs
count as blocked, like those of a worker whose event loop stands still: they are handed back, and since they
cannot be stopped, the process ends.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import attrs
import gevent

from pytask.logger import get_logger
from pytask.runtime.aio import places
from pytask.runtime.aio.family import RunTask
from pytask.runtime.aio.run_coroutines import RunCoroutines
from pytask.runtime.aio.service import AsyncioLoop
from pytask.runtime.runs.blocking_libraries import remedy
from pytask.runtime.runs.loop_monitor import package_of, where

log = get_logger(__name__)

DEFAULT_PAUSE = 1.0  # seconds between two questions, if blocks are not to be logged
GENERAL = "`await asyncio.sleep(0)` in between, or work in a native thread: `await self.blocking(f, *args)`"


@attrs.frozen(kw_only=True)
class LagWatchPorts:
    """The ports of the watch."""

    loop: AsyncioLoop
    limit: float | None  # seconds without an answer after which the block is logged
    lease: float  # and after which the runs count as blocked
    clock: Callable[[], float]
    on_silent: Callable[[], None]


class LagWatch:
    """One question at a time, which the loop answers in its next iteration."""

    def __init__(self, ports: LagWatchPorts) -> None:
        self._ports = ports
        self._asked = self._answered = 0  # numbers of questions
        self._asked_at = 0.0
        self._told = self._gave_up = False
        self._ended = False

    def run(self) -> None:
        """Run until stopped."""
        pause = DEFAULT_PAUSE if self._ports.limit is None else self._ports.limit / 2
        while not self._ended:
            self._ports.loop.busy.wait()
            self.look()
            gevent.sleep(pause)

    def end(self) -> None:
        """Stop after the current step."""
        self._ended = True
        self._ports.loop.busy.set()

    @property
    def lag(self) -> float:
        """Seconds for which the loop has not answered."""
        return 0.0 if self._answered == self._asked else self._ports.clock() - self._asked_at

    def look(self) -> None:
        """Ask the loop, or look how long it has not answered."""
        if self._ended or not self._ports.loop.started:
            return
        lag = self.lag
        if not lag:
            self._told = self._gave_up = False
            self._asked += 1
            self._asked_at = self._ports.clock()
            # Not through the mailbox, where a stop of 50,000 runs may be ahead of it.
            self._ports.loop.loop.call_soon_threadsafe(self._answer, self._asked)
            return
        if self._ports.limit is not None and lag >= self._ports.limit and not self._told:
            self._told = True
            self._name(lag)
        if lag >= self._ports.lease and not self._gave_up:
            self._gave_up = True
            log.critical(
                "[PT218] the asyncio loop has not answered for %.0f s: its tasks count as blocked, and are"
                " handed back; if they cannot be stopped, this process ends",
                lag,
            )
            self._ports.on_silent()

    def _answer(self, number: int) -> None:
        # In the thread of the loop.
        self._answered = number

    def _name(self, lag: float) -> None:
        thread = self._ports.loop
        task = asyncio.current_task(thread.loop)
        owner = task.owner if isinstance(task, RunTask) else None
        run = owner.run if isinstance(owner, RunCoroutines) else None
        frame = sys._current_frames().get(thread.ident)  # noqa: SLF001 - the only way
        if task is None and frame is not None and frame.f_code.co_name == "select":
            return  # it waits for the processor, not for code
        if task is not None and not _is_in(frame, task):
            frame = places.innermost(task)  # it waits in the hub of its thread, as in a patched time.sleep()
        place, library = where(frame, package_of(run))
        who = "code of no task" if run is None else f"task {run.id} ({run.claim.function})"
        fix = remedy(library) or GENERAL
        log.warning(
            "[PT217] %s blocks the asyncio loop for more than %.3g s at %s; all coroutines of this process"
            " are blocked, and greenlets go on: %s", who, lag, place, fix,
        )  # fmt: skip


def _is_in(frame: FrameType | None, task: asyncio.Task[Any]) -> bool:
    """Whether this stack is that of the task."""
    outermost = getattr(task.get_coro(), "cr_frame", None)
    while frame is not None and frame is not outermost:
        frame = frame.f_back
    return frame is not None
