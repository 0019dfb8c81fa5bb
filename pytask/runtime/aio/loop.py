"""The asyncio loop of a worker: on primitives that gevent has not replaced, since it has a native thread."""

from __future__ import annotations

import _socket
import asyncio
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from heapq import heappush
from typing import Any

from gevent import monkey

from pytask.domain.errors import NotInLoop
from pytask.runtime import coroutine_owner
from pytask.runtime.aio.native_workers import NativeWorkers
from pytask.runtime.aio.selector import Waits
from pytask.runtime.aio.timers import WAKE, Timer, nap
from pytask.runtime.runs import log_relay

getaddrinfo = monkey.get_original("socket", "getaddrinfo")
getnameinfo = monkey.get_original("socket", "getnameinfo")


class WorkerLoop(asyncio.SelectorEventLoop):
    """A loop that needs no greenlet to run.

    Args:
        threads: How many native threads `asyncio.to_thread` may use.
        hub: The loop of the main thread's hub, which handles what the threads log.
    """

    def __init__(self, threads: int, hub: Any) -> None:
        super().__init__(Waits())
        self._workers = NativeWorkers(threads)
        self._hub = hub

    def _make_self_pipe(self) -> None:
        # `socket.socketpair` makes sockets of gevent, whose methods look for a hub in the calling thread.
        own: Any = self
        pair = _socket.socketpair()
        for one in pair:
            one.setblocking(False)  # noqa: FBT003 - its name is positional
        own._ssock, own._csock = pair  # noqa: SLF001 - there is no other way to choose them
        own._internal_fds += 1  # noqa: SLF001
        own._add_reader(pair[0].fileno(), own._read_from_self)  # noqa: SLF001

    def close(self) -> None:
        """As any loop; idle threads end."""
        self._workers.end()
        super().close()

    def call_at(  # type: ignore[override]  # a name for each argument would cost every call
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Any:
        """As any loop, with timers of its own."""
        own: Any = self
        own._check_closed()  # noqa: SLF001 - what the library does
        if self.get_debug():
            own._check_thread()  # noqa: SLF001
            own._check_callback(callback, "call_at")  # noqa: SLF001
        elif callback is WAKE and args[1] is None:
            timer: Any = nap(when, args[0])
            heappush(own._scheduled, timer)  # noqa: SLF001
            return timer
        timer = Timer(when, callback, args, self, context)
        if timer._source_traceback:  # noqa: SLF001
            del timer._source_traceback[-1]  # noqa: SLF001
        heappush(own._scheduled, timer)  # noqa: SLF001
        timer._scheduled = True  # noqa: SLF001
        return timer

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        """As any loop; without an executor in a native thread."""
        if executor is not None:
            return super().run_in_executor(executor, func, *args)
        future = self.create_future()
        owner = coroutine_owner.current()
        run = None if owner is None else owner.run
        self._workers.submit(partial(self._call, future, run, partial(copy_context().run, func, *args)))
        return future

    def _call(self, future: asyncio.Future[Any], run: Any, fn: Callable[[], Any]) -> None:
        """In a thread."""
        value = error = None
        try:
            with log_relay.within(run, self._hub):
                value = fn()
        except BaseException as raised:  # noqa: BLE001 - it is raised again where it is awaited
            error = raised
        with suppress(RuntimeError):  # the loop is closed
            self.call_soon_threadsafe(_answer, future, value, error)
        del error, fn  # of its traceback this frame is a part

    async def getaddrinfo(self, host: Any, port: Any, **how: int) -> Any:
        """As any loop."""
        return await self.run_in_executor(None, partial(getaddrinfo, host, port, **how))

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> Any:
        """As any loop."""
        return await self.run_in_executor(None, getnameinfo, sockaddr, flags)

    def set_default_executor(self, _executor: Any) -> None:
        """Refused: the threads of an executor of the library would be greenlets."""
        raise NotInLoop(
            "loop.set_default_executor() has no effect in a worker, whose native threads all tasks share."
            " Fix: leave it out; the setting blocking_threads is their number"
        )

    def add_signal_handler(self, sig: int, *_: Any) -> None:  # type: ignore[override]
        """Refused, as where there are no signals: libraries then go on without."""
        raise NotImplementedError(
            f"signal {sig} belongs to the worker, which stops its tasks for it: do in `async def stop(self)`,"
            " or in a `finally` of start(), what the handler would do"
        )

    async def _make_subprocess_transport(self, *_: Any, **__: Any) -> Any:
        raise NotInLoop(
            "asyncio cannot start programs in a worker, whose children gevent watches. Fix: start it with"
            " `self.subprocess(...)`, in a method that `await self.in_greenlet(self.method)` calls: then its"
            " process group also ends with the run"
        )


def _answer(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if future.done():
        return  # cancelled
    if error is None:
        future.set_result(value)
    elif isinstance(error, StopIteration):
        future.set_exception(RuntimeError(f"the function raised StopIteration: {error}"))
    else:
        future.set_exception(error)
