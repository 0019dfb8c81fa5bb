"""Native threads for `self.blocking()`, so that waits in C code do not block the event loop."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from functools import partial
from typing import Any

import attrs
import gevent
from gevent.event import Event as Flag
from gevent.threadpool import ThreadPool

from pytask.logger import get_logger
from pytask.runtime.process.clock import steady
from pytask.runtime.runs import log_relay
from pytask.runtime.runs.log_relay import get_ident
from pytask.runtime.tree import Service, TreeOwner

log = get_logger(__name__)

IDLE = 10  # seconds until an idle thread ends
LONG = 5.0  # seconds after which a waiting or abandoned call is logged
AGAIN = 60.0  # seconds between two log lines about waiting calls
NAMED = 5  # calls in such a line


@attrs.define(eq=False)
class Call:
    """One call of a task."""

    task: str
    function: str
    since: float  # when it was made; once it has a thread, when it got it

    def __str__(self) -> str:
        return f"{self.function} of task {self.task} for {steady() - self.since:.0f} s"


class NativePool:
    """At most `size` threads for all tasks of a worker, created on demand.

    A thread cannot be killed: it is occupied until its function returns, even after the end of its run.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._home = os.getpid(), get_ident()
        self._pool: ThreadPool | None = None
        self._busy: set[Call] = set()
        self._waiting: dict[Call, Flag] = {}  # calls that wait for a thread, next one first
        self._reported_at = -AGAIN
        self._teller: Service | None = None

    @property
    def is_home(self) -> bool:
        """Whether the caller is in the process and the thread of the event loop."""
        return (os.getpid(), get_ident()) == self._home

    def call(
        self, run: TreeOwner, fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """Call `fn(*args, **kwargs)` in a thread; directly if already in such a thread."""
        if not self.is_home:
            return fn(*args, **kwargs)
        call = Call(run.id, getattr(fn, "__qualname__", None) or repr(fn), steady())
        self._take_place(call)
        result = self._spawn(call, partial(copy_context().run, fn, *args, **kwargs), run)
        try:
            value, error = result.get()
        except BaseException:  # a kill, or a gevent.Timeout
            Service.spawn_later(LONG, self._outlives, call)
            raise
        if error is None:
            return value
        try:
            raise error
        finally:
            del error  # its traceback has this frame

    def _spawn(self, call: Call, fn: Callable[[], Any], run: TreeOwner) -> Any:
        if self._pool is None:
            log_relay.install()
            self._pool = ThreadPool(self._size, idle_task_timeout=IDLE)
        try:
            result = self._pool.spawn(_outcome, fn, run, gevent.get_hub().loop)
        except BaseException:  # the system cannot create more threads
            self._leave_place(call)
            raise
        result.rawlink(partial(self._leave_place, call))
        return result

    # -- threads in the order of the calls -------------------------------------------------------------

    def _take_place(self, call: Call) -> None:
        if len(self._busy) >= self._size:
            self._wait_for_place(call)
        call.since = steady()
        self._busy.add(call)

    def _wait_for_place(self, call: Call) -> None:
        self._waiting[call] = turn = Flag()
        if self._teller is None:
            self._teller = Service.spawn(self._tell)
        try:
            turn.wait()
        except BaseException:
            if self._waiting.pop(call, None) is None:
                self._leave_place(call)  # it got a thread at the same moment
            raise

    def _leave_place(self, call: Call, _result: object = None) -> None:
        # In the hub: must not block.
        self._busy.discard(call)
        if self._waiting:
            following = next(iter(self._waiting))
            self._busy.add(following)  # now, or another call could overtake it
            self._waiting.pop(following).set()

    # -- log lines for operators -----------------------------------------------------------------

    def _tell(self) -> None:
        while self._waiting:
            gevent.sleep(LONG)
            now, first = steady(), next(iter(self._waiting), None)
            if first is None or now - first.since < LONG or now - self._reported_at < AGAIN:
                continue
            self._reported_at = now
            log.warning(
                "[PT047] %d calls of self.blocking() wait for one of %d threads: next %s; in use: %s",
                len(self._waiting), self._size, first, self._users(),
            )  # fmt: skip
        self._teller = None

    def _users(self) -> str:
        oldest = sorted(self._busy, key=lambda call: call.since)
        more = f" and {len(oldest) - NAMED} more" if len(oldest) > NAMED else ""
        return "; ".join(map(str, oldest[:NAMED])) + more

    def _outlives(self, call: Call) -> None:
        if call in self._busy:
            log.warning(
                "[PT048] task %s no longer waits for %s, which still runs in its native thread and occupies"
                    " one of %d threads. Fix: let it check a flag that the task sets in a `finally`",
                call.task, call.function, self._size,
            )  # fmt: skip


def _outcome(fn: Callable[[], Any], run: TreeOwner, loop: Any) -> tuple[Any, BaseException | None]:
    """In the thread.  Returns errors as values, as gevent would print what a function raises there."""
    try:
        with log_relay.within(run, loop):
            return fn(), None
    except BaseException as error:  # noqa: BLE001 - it is raised again where the call was made
        return None, error
