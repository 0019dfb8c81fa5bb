"""What coroutines wait for that the event loop's thread does: room for events, the gate, greenlets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Any

from gevent import GreenletExit

from pytask.runtime.aio.family import RunTask
from pytask.runtime.aio.mailbox import Mailbox
from pytask.runtime.runs.run import Run

ROOM, LONGEST_ROOM = 0.05, 1.0  # seconds between two looks whether events may be sent again


class Room:
    """What `self.emit()` returns in a coroutine: to await while too many events wait for Redis."""

    __slots__ = ("_crowded", "_run")

    def __init__(self, crowded: Callable[[int], bool], run: Run) -> None:
        self._crowded = crowded
        self._run = run

    def __await__(self) -> Generator[Any, None, None]:
        # The other thread makes room, and need not know who waits: a look at its numbers costs nothing.
        pause = ROOM
        while self._crowded(1) and not self._run.over:
            yield from asyncio.sleep(pause).__await__()
            pause = min(2 * pause, LONGEST_ROOM)


class AtGate:
    """A coroutine at the gate of its run."""

    __slots__ = ("_run", "_task", "_to_loop", "opened")

    def __init__(self, run: Run, to_loop: Mailbox) -> None:
        self._run = run
        self._to_loop = to_loop
        self._task = asyncio.current_task()
        self.opened = asyncio.get_running_loop().create_future()

    # In the event loop's thread:

    def reach(self) -> None:
        """The coroutine is at the gate."""
        gate = self._run.pause
        if gate is None:
            self.go_on()
        else:
            gate.join(self)

    def part(self) -> None:
        """The coroutine waits no longer."""
        gate = self._run.pause
        if gate is not None:
            gate.part(self)

    def go_on(self) -> None:
        """The run was resumed."""
        self._to_loop.put(self._open)

    def end(self) -> None:
        """The run is being stopped."""
        self._to_loop.put(self._end)

    # In the thread of the asyncio loop:

    def _open(self) -> None:
        if not self.opened.done():
            self.opened.set_result(None)

    def _end(self) -> None:
        task = self._task
        if task is None or self.opened.done():
            return
        if isinstance(task, RunTask):
            task.asked = True
        task.cancel()


class GreenletCall:
    """A function that a coroutine waits for, in a greenlet of its run."""

    __slots__ = ("_fn", "_greenlet", "_killed", "_run", "_to_loop", "future")

    def __init__(self, run: Run, to_loop: Mailbox, fn: Callable[[], Any]) -> None:
        self._run = run
        self._to_loop = to_loop
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._fn = fn
        self._greenlet: Any = None
        self._killed = False

    # In the event loop's thread:

    def start(self) -> None:
        """Call the function, in a greenlet of the run."""
        if not self._killed:
            self._greenlet = self._run.spawn(self._call)

    def kill(self) -> None:
        """The coroutine waits no longer."""
        self._killed = True
        if self._greenlet is not None:
            self._greenlet.kill(block=False)

    def _call(self) -> None:
        put = self._to_loop.put
        try:
            value = self._fn()
        except GreenletExit:
            put(self.future.cancel)
            raise
        except BaseException as error:  # noqa: BLE001 - it is raised again where it is awaited
            put(self._answer, None, error)
        else:
            put(self._answer, value, None)

    # In the thread of the asyncio loop:

    def _answer(self, value: Any, error: BaseException | None) -> None:
        if self.future.done():
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(value)
