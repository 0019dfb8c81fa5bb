"""The coroutines of one run, as its two sides see them: the greenlets of the worker, and the asyncio loop.

Each attribute belongs to one native thread, and only calls in the mailboxes go from one to the other.  A
greenlet per run would cost 8 kB while it waits, so this object stands for a coroutine in the tree of its run.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context, copy_context
from functools import partial
from types import FrameType
from typing import Any, Protocol, cast

from gevent import GreenletExit
from gevent.event import AsyncResult

from pytask.domain.errors import NotRun, TooManyEvents
from pytask.domain.ports import Borrower
from pytask.runtime import coroutine_owner
from pytask.runtime.aio import places
from pytask.runtime.aio.family import Family, Rare, RunTask
from pytask.runtime.aio.mailbox import Mailbox
from pytask.runtime.aio.waits import AtGate, GreenletCall, Room
from pytask.runtime.process.coroutine_frames import frames_of
from pytask.runtime.runs.failure import describe
from pytask.runtime.runs.run import Run

CANCELLED = "killed: other code cancelled the coroutine of start()"


End = tuple[bytes | None, BaseException | None, str | None]  # of `start()`: output, error, its text


class LoopThread(Protocol):
    """The thread of the loop."""

    to_loop: Mailbox
    to_hub: Mailbox
    emitted: int  # events, counted by its thread
    passed_on: int  # of these, counted by the event loop's thread
    calls: dict[AsyncResult[Any], RunTask]  # that greenlets wait for
    frees: set[asyncio.Task[None]]  # that close connections

    @property
    def is_here(self) -> bool:
        """Whether the caller is in it."""

    def count(self, more: int) -> None:
        """So many more runs have coroutines; in the event loop's thread."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Its loop."""


class RunCoroutines(Family):
    """Implements `runs.coroutine_ports.Coroutines`."""

    __slots__ = ("alive", "run", "saved", "sent")

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run
        # In the event loop's thread:
        self.alive = False
        self.sent = 0  # calls to the other thread
        # In either thread:
        self.saved: bytes | None = None  # the newest value

    @property
    def service(self) -> LoopThread:
        """The thread of the loop."""
        return cast("LoopThread", self.run.host.asyncio)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Its loop."""
        return self.service.loop

    @property
    def here(self) -> bool:
        """Whether the caller is in the thread of the asyncio loop."""
        return self.service.is_here

    # -- in the event loop's thread -------------------------------------------------------------------

    def begin(self, make: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Start the coroutine of `start()`."""
        self._send(self._begin, make)

    def call(self, make: Callable[[], Any], *, copies: bool = True) -> Any:
        """Call `make()` in the loop's thread, and wait for what it returns."""
        if self.run.over:
            raise NotRun(f"the run of task {self.run.id} is over: it cannot run a coroutine")
        result: AsyncResult[Any] = AsyncResult()
        context = copy_context() if copies else Context()
        self._send(self._call, make, context, result)
        try:
            return result.get()
        except BaseException:
            if not result.ready():  # a kill, or a gevent.Timeout
                self.service.to_loop.put(self._give_up, result)
            raise

    def cancel(self, *, again: bool = False) -> None:
        """Cancel what runs."""
        self.service.to_loop.put(partial(self.ask_to_end, again=again))

    def _send(self, fn: Callable[..., object], *args: Any) -> None:
        if not self.alive:
            self.alive = True
            self.service.count(1)
        self.sent += 1
        self.service.to_loop.put(fn, *args)

    def forget(self) -> None:
        """The run is over."""
        if self.rare is not None and self.rare.borrower is not None:
            self.service.to_loop.put(self._free)

    def whereabouts(self) -> list[str]:
        """The functions and lines where the coroutines are."""
        return [places.whereabouts(task) for task in self.tasks()]

    def stacks(self) -> list[tuple[str, list[FrameType]]]:
        """The name of each asyncio task, and its frames, innermost last."""
        return [(task.get_name(), frames_of(task)) for task in self.tasks()]

    def _over(self, got: int, end: End | None) -> None:
        if got == self.sent and self.alive:
            self.alive = False
            self.service.count(-1)
        if end is not None:
            self.run.start_over(*end)
        elif not self.alive:
            self.run.coroutines_over()

    def _failed(self, name: str, error: BaseException) -> None:
        self.run.coroutine_failed(name, error)

    # -- in the thread of the asyncio loop ------------------------------------------------------------

    def _begin(self, make: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self.got += 1
        context = Context()
        try:
            context.run(coroutine_owner.become, self)
            self.start(context.run(make), self.run.id, context)
        except BaseException as error:  # noqa: BLE001 - SystemExit would end the loop
            self._tell_over((None, error, describe(error, self.run.hidden)))

    def _call(self, make: Callable[[], Any], context: Context, result: AsyncResult[Any]) -> None:
        self.got += 1
        try:
            context.run(coroutine_owner.become, self)
            value = context.run(make)
            if inspect.isawaitable(value):
                code = value if inspect.iscoroutine(value) else _awaited(value)
                reply = partial(self._reply, result)
                self.service.calls[result] = self.start(code, self.run.id, context, reply)
                return
        except BaseException as error:  # noqa: BLE001 - it is raised again where it is awaited
            self.service.to_hub.put(result.set_exception, error)
        else:
            self.service.to_hub.put(result.set, value)
        if self.empty:
            self._tell_over(None)

    def _give_up(self, result: AsyncResult[Any]) -> None:
        task = self.service.calls.get(result)
        if task is not None and not task.asked:
            task.asked = True
            task.cancel()

    def _reply(self, result: AsyncResult[Any], task: RunTask) -> None:
        del self.service.calls[result]
        if task.cancelled():
            error: BaseException | None = asyncio.CancelledError()
        else:
            error = task.exception()
        if error is None:
            self.service.to_hub.put(result.set, task.result())
        else:
            self.service.to_hub.put(result.set_exception, error)

    def over(self, task: RunTask) -> None:
        """A task is done."""
        is_root = task is self.root
        super().over(task)
        if is_root:
            self._tell_over(self._end(task))
        elif self.empty:
            self._tell_over(None)

    def _end(self, task: RunTask) -> End:
        if task.cancelled():
            return None, GreenletExit(), CANCELLED
        error = task.exception()
        if error is None:
            try:
                return self.run.encoded_output(task.result()), None, None
            except Exception as unfit:  # noqa: BLE001 - whatever the value does when it is encoded
                error = unfit
        return None, error, describe(error, self.run.hidden)

    def _tell_over(self, end: End | None) -> None:
        if not self.empty:
            self.service.to_hub.put(self._over, 0, end)  # a number that was never sent
            return
        to_hub = self.service.to_hub
        if self.rare is not None:
            for name, error in self.unseen():
                to_hub.put(self._failed, name, error)
        to_hub.put(self._over, self.got, end)

    def lost(self, name: str, error: BaseException) -> None:
        """An exception that nobody will look at any more: its task is gone."""
        self.service.to_hub.put(self._failed, name, error)

    # -- what a task asks for, in the thread of the asyncio loop -----------------------------------------

    def emit(self, event: bytes) -> Awaitable[None]:
        """Send an event."""
        if self.crowded(2):
            raise TooManyEvents(self.run.id)
        self.service.emitted += 1
        self.service.to_hub.put(self._emit, event)
        return Room(self.crowded, self.run)

    def _emit(self, event: bytes) -> None:
        # In the event loop's thread.
        self.service.passed_on += 1
        self.run.host.emit_later(self.run, event)

    def crowded(self, times: int) -> bool:
        """Whether so many times as many events wait for Redis as may."""
        coming = self.service.emitted - self.service.passed_on
        return self.run.host.committer.crowded(times, coming)

    def progress(self, progress: dict[str, Any]) -> None:
        """Report progress; the newest report replaces one that is on its way."""
        own = self.own()
        own.reported = progress
        if not own.reporting:
            own.reporting = True
            self.service.to_hub.put(self._progress, own)

    def _progress(self, own: Rare) -> None:
        own.reporting = False
        if own.reported is not None:
            self.run.host.progress(self.run, own.reported)

    def save(self, raw: bytes, *, now: bool) -> Any:
        """Keep a value; the newest one replaces one that is on its way."""
        own = self.own()
        self.saved = raw
        if not own.saving:
            own.saving = True
            self.service.to_hub.put(self._save, own)
        return self.in_greenlet(partial(self.run.host.saving.store, self.run, raw)) if now else True

    def _save(self, own: Rare) -> None:
        own.saving = False
        if self.saved is not None:
            self.run.host.saving.keep(self.run, self.saved)

    def output(self, stream: str, text: str) -> None:
        """What a coroutine prints."""
        self.service.to_hub.put(self.run.host.journal.output, self.run, stream, text)

    def sleep(self, seconds: float) -> Any:
        """Wait."""
        return asyncio.sleep(seconds)

    async def gate(self) -> None:
        """Wait while the run is paused."""
        while self.run.paused:
            waiter = AtGate(self.run, self.service.to_loop)
            self.service.to_hub.put(waiter.reach)
            try:
                await waiter.opened
            finally:
                self.service.to_hub.put(waiter.part)

    async def in_greenlet(self, fn: Callable[[], Any]) -> Any:
        """Call `fn()` in a greenlet of the run."""
        call = GreenletCall(self.run, self.service.to_loop, partial(copy_context().run, fn))
        self.service.to_hub.put(call.start)
        try:
            return await call.future
        finally:
            if not call.future.done() or call.future.cancelled():
                self.service.to_hub.put(call.kill)

    def client(self) -> Any:
        """A Redis client for coroutines."""
        own = self.own()
        if own.borrower is None:
            own.borrower = self.run.new_borrower()
        return self.run.host.backend.coroutines.client(_current_borrower)

    def _free(self) -> None:
        borrower = self.own().borrower
        if borrower is not None and borrower.held:
            freed = self.run.host.backend.coroutines.free(borrower)
            self.service.frees.add(task := asyncio.Task(freed, loop=self.loop, context=Context()))
            task.add_done_callback(self.service.frees.discard)


def _current_borrower() -> Borrower | None:
    owner: RunCoroutines | None = coroutine_owner.current()
    return None if owner is None or owner.rare is None else owner.rare.borrower


async def _awaited(value: Awaitable[Any]) -> Any:
    return await value
