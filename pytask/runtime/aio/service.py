"""The native thread of a worker in which its coroutines run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, cast

import gevent
from gevent import monkey
from gevent._hub_local import get_hub_if_exists
from gevent.event import AsyncResult
from gevent.event import Event as Flag

from pytask.logger import get_logger
from pytask.runtime import coroutine_owner
from pytask.runtime.aio.family import RunTask, make_task
from pytask.runtime.aio.loop import WorkerLoop
from pytask.runtime.aio.mailbox import Mailbox
from pytask.runtime.aio.run_coroutines import RunCoroutines
from pytask.runtime.runs import log_relay
from pytask.runtime.runs.log_relay import get_ident
from pytask.runtime.runs.run import Run
from pytask.runtime.tree import Service

log = get_logger(__name__)

AT_ONCE = 256  # calls, before others have their turn
END_SECONDS = 2.0  # for the thread to end

start_thread = monkey.get_original("_thread", "start_new_thread")


class AsyncioLoop:
    """One asyncio loop, in a native thread that starts with the first coroutine."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self.ident = self._hub_ident = 0  # of the thread, and of that of the event loop
        self._pid = 0
        self._loop: WorkerLoop | None = None
        self._ended: Any = None
        self._async: Any = None
        self._hub: Any = None
        self._delivering = False
        self._runs = 0  # with coroutines
        self.emitted = self.passed_on = 0  # events: each number is changed by one thread alone
        self.busy = Flag()  # set while there are any
        self.calls: dict[AsyncResult[Any], RunTask] = {}  # that greenlets wait for; of the loop's thread
        self.frees: set[asyncio.Task[None]] = set()  # that close connections of ended runs
        self.to_loop = Mailbox(self._wake_loop)
        self.to_hub = Mailbox(self._wake_hub)

    @property
    def is_here(self) -> bool:
        """Whether the caller is in the thread of the loop."""
        return bool(get_ident() == self.ident)

    @property
    def started(self) -> bool:
        """Whether there is a thread."""
        return self.ident != 0 and self._pid == os.getpid()

    @property
    def loop(self) -> WorkerLoop:
        """The loop; only once the thread has started."""
        if self._loop is None:
            raise RuntimeError("the loop has not started")
        return self._loop

    # -- in the event loop's thread -------------------------------------------------------------------

    def coroutines(self, run: Run) -> RunCoroutines:
        """The coroutines of a run."""
        if not self.started:
            self._start()
        return RunCoroutines(run)

    def cancel(self, several: Sequence[RunCoroutines]) -> None:
        """Cancel what runs of these."""
        self.to_loop.put(_ask_to_end, several)

    def _start(self) -> None:
        # The hub of this thread comes first: two threads that each make the first hub of the process lock up.
        self._hub, self._hub_ident = gevent.get_hub(), get_ident()
        log_relay.install()
        self._pid = os.getpid()
        self._async = self._hub.loop.async_(ref=False)
        self._async.start(self._called)
        self._ended = self._hub.loop.async_(ref=False)
        ready = monkey.get_original("_thread", "allocate_lock")()
        ready.acquire()
        start_thread(self._main, (ready,))
        ready.acquire()  # a few hundred microseconds, once
        self._wake()  # where a loop before has ended, or this process was forked, after a call was put in

    def end(self) -> None:
        """End the thread, once no coroutine is left."""
        if not self.started:
            return
        gone = Flag()
        self._ended.start(gone.set)
        self._wake()  # what was put in just now comes before the end
        self.loop.call_soon_threadsafe(self.loop.stop)
        if not gone.wait(END_SECONDS):
            log.warning("the asyncio loop did not end within %g s; it ends with the process", END_SECONDS)
            return
        self.ident = 0
        for watcher in (self._ended, self._async):
            watcher.stop()
            watcher.close()
        self._loop = None

    def _called(self) -> None:
        # In the hub, where nothing may block.
        if not self._delivering:
            self._delivering = True
            Service.spawn(self._deliver)

    def _deliver(self) -> None:
        try:
            while self.to_hub.take(AT_ONCE, _failed):
                gevent.sleep(0)
        finally:
            self._delivering = False
            if len(self.to_hub):
                self._called()

    def _wake_hub(self) -> None:
        self._async.send()

    def count(self, more: int) -> None:
        """So many more runs have coroutines."""
        before, self._runs = self._runs, self._runs + more
        if before <= 0 < self._runs:
            self.busy.set()
        elif self._runs <= 0:
            self.busy.clear()

    def _wake_loop(self) -> None:
        # Where the event loop has started a batch of runs, its thread does not let go of the interpreter
        # between two of them: a call at once would hand it over, and wait for it, up to 50 times a batch.
        if get_ident() == self._hub_ident:
            self._hub.loop.run_callback(self._wake)
        else:
            self._wake()

    def _wake(self) -> None:
        with suppress(RuntimeError):  # the loop has ended since: nothing waits for it any more
            self.loop.call_soon_threadsafe(self._work)

    # -- in the thread of the loop -----------------------------------------------------------------------

    def _work(self) -> None:
        if self.to_loop.take(AT_ONCE, _failed):
            self.loop.call_soon(self._work)

    def _main(self, ready: Any) -> None:
        loop = self._loop = WorkerLoop(self._threads, self._hub.loop)
        loop.set_task_factory(make_task)
        loop.set_exception_handler(self._handle)
        self.ident = get_ident()
        ready.release()
        with log_relay.relayed(_current_run, self._hub.loop):
            self._run(loop)
        self._ended.send()

    def _run(self, loop: WorkerLoop) -> None:
        ending = False
        while not ending:
            try:
                loop.run_forever()
                ending = True
            except (SystemExit, KeyboardInterrupt):
                continue  # of a task, which has recorded it: others go on
        self._cancel_rest(loop)
        hub = get_hub_if_exists()
        loop.close()
        if hub is not None:
            hub.destroy(destroy_loop=True)

    @staticmethod
    def _cancel_rest(loop: WorkerLoop) -> None:
        """End what belongs to the process, such as the connections of a client that all tasks share."""
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            with suppress(SystemExit, KeyboardInterrupt):
                loop.run_until_complete(asyncio.wait(tasks, timeout=END_SECONDS / 2))

    @staticmethod
    def _handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What asyncio reports: the failure of a task that nobody has looked at, or of a callback."""
        task, error = context.get("task") or context.get("future"), context.get("exception")
        if isinstance(task, RunTask) and error is not None and task.done():
            cast("RunCoroutines", task.owner).lost(task.get_name(), error)
            return
        handle: Any = context.get("handle")
        owner = None if handle is None else coroutine_owner.of(handle._context)  # noqa: SLF001
        if owner is None:
            loop.default_exception_handler(context)
            return
        token = coroutine_owner.become(owner)  # so that its log lines are of the run
        try:
            loop.default_exception_handler(context)
        finally:
            coroutine_owner.leave(token)


def _current_run() -> Any:
    owner = coroutine_owner.current()
    return None if owner is None else owner.run


def _ask_to_end(several: Sequence[RunCoroutines]) -> None:
    for one in several:
        try:
            one.ask_to_end(again=False)
        except Exception as error:  # noqa: BLE001 - of one run; the others must end, too
            _failed(one.ask_to_end, error)


def _failed(fn: Callable[..., object], error: Exception) -> None:
    log.error(
        "a call between the threads of a worker failed (%r): this is a bug in pytask", fn, exc_info=error
    )
