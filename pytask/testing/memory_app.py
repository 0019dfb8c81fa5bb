"""A worker in memory, its tasks, and a client on it: with a clock that a test moves."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from itertools import count
from typing import Any

import gevent

from pytask.adapters.memory import MemoryBackend
from pytask.adapters.rules import Retention
from pytask.aio import Client as AsyncClient
from pytask.app import PyTask
from pytask.client.client import Client
from pytask.client.enqueue import Function, name_of
from pytask.domain.errors import NotSimulated
from pytask.domain.task import Task
from pytask.domain.task_class import is_async
from pytask.runtime.process.clock import steady
from pytask.runtime.process.host import Process
from pytask.runtime.runs.native_threads import NativePool
from pytask.runtime.tree import TreeOwner
from pytask.runtime.worker import WorkerPorts
from pytask.testing.looks import DAY, Looks
from pytask.testing.memory_server import EPOCH
from pytask.testing.virtual_time import Loop, virtual_time
from pytask.testing.waiting import WaitingBackend

HELD = 10.0  # seconds that a clock may miss: its worker looks at it more often
LEAST = 1e-6  # seconds of virtual time
REAL_STEP = 0.005  # seconds between two looks at a condition, on real time


class Unhurried:
    """A steady clock that hardly goes on while something holds the thread, such as a debugger.

    Or the worker would find its leases lost when the thread is free again, and stop its tasks.
    """

    def __init__(self) -> None:
        self._seen = steady()
        self._time = 0.0

    def __call__(self) -> float:
        """Seconds; only differences mean anything."""
        now = steady()
        self._time += min(now - self._seen, HELD)
        self._seen = now
        return self._time


class Direct(NativePool):
    """Native threads have no place on virtual time: what blocks takes none of it."""

    def call(
        self,
        run: TreeOwner,  # noqa: ARG002 - the caller's own
        fn: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Any:
        """Call it here."""
        return copy_context().run(fn, *args, **kwargs)


class MemoryApp(Looks):
    """Tasks that run in memory; made by `app()`.

    Attributes:
        app: The `PyTask` that runs them.
        client: A `pytask.Client` on it.
        aio_client: A `pytask.aio.Client` on it, for the coroutines of a test.
        backend: Where the state is kept.
    """

    def __init__(self, made: PyTask, backend: MemoryBackend, loop: Loop | None) -> None:
        self.app = made
        self.backend = backend
        self.client = Client(backend, name="test")
        self.aio_client = AsyncClient(backend, name="test")
        self._loop = loop
        self._exited: int | None = None

    # -- time -----------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """The time that tasks and schedules see: seconds since 1970."""
        return self.backend.state.now()

    def advance(self, seconds: float) -> None:
        """Let time pass: everything that is due until then happens, in its order."""
        gevent.sleep(seconds)
        self._check()

    def until(self, condition: Callable[[], Any], within: float = DAY) -> bool:
        """Let time pass until a condition holds; returns whether it does `within` this many seconds."""
        clock = self.backend.clock
        end = clock() + within
        while not condition():
            left = end - clock()
            if left <= LEAST:
                return False
            gevent.sleep(min(left, REAL_STEP) if self._loop is None else next_step(self._loop, left))
            self._check()
        return True

    def rounds(self, function: Function, count: int = 1, within: float = 30 * DAY) -> None:
        """Let time pass until the endless tasks of a function have gone through this many more rounds.

        A round is one of `run_loop`.  For another loop use `advance()`.

        Args:
            function: The name or the class of the tasks; all of them count together.
            count: How many.
            within: Seconds; the test fails if they take longer.
        """
        name = name_of(function)
        rounds = self._rounds()
        goal = rounds.get(name, 0) + count
        done = self.until(lambda: rounds.get(name, 0) >= goal, within)
        assert done, (  # noqa: S101 - this is an assertion of a test
            f"tasks of {name!r} went through {count - goal + rounds.get(name, 0)} of {count} rounds of"
            f" run_loop within {within:g} s: start one, or use advance() if it has a loop of its own"
        )

    def _rounds(self) -> Mapping[str, int]:
        worker = self.app.worker
        return {} if worker is None else worker.executor.tally.turned

    def _check(self) -> None:
        worker = self.app.worker
        if worker is not None:
            worker.raise_failure()
        assert self._exited is None, (  # noqa: S101
            f"the worker process would have exited with {self._exited}: a task could not be stopped"
        )

    def exited(self, code: int) -> None:
        """What ends the process of a worker ends the test."""
        self._exited = code


@contextmanager
def app(
    *what: type[Task] | PyTask, real_time: bool = False, at: float = EPOCH, **settings: Any
) -> Iterator[MemoryApp]:
    """Run tasks in memory, in this process and thread, and give a client on them.

    On virtual time `gevent.sleep`, `self.sleep`, `run_loop`, delays, schedules, timeouts and leases take no
    real time: nothing moves but in `advance()`, `until()`, the assertions, and calls of the client that wait.
    What gevent has not patched (`time.sleep`) still takes real time, and sockets never have an answer; for
    these, and for tasks with `async def start`, use `real_time=True`.

    Args:
        *what: Task classes, or one `PyTask` of yours: its tasks, pre-started tasks, schedules and settings.
        real_time: On the real clock, with sockets and asyncio.
        at: The virtual time at the beginning, in seconds since 1970; by default 2027-01-15 08:00 UTC.
        **settings: The fields of `pytask.Settings` to change.

    Yields:
        The app; its worker is running.

    Raises:
        NotSimulated: A task that needs asyncio, on virtual time.
        BadTaskClass: A class that cannot run.
    """
    if real_time:
        yield from _running(what, None, at, settings)
        return
    with virtual_time() as loop:
        try:
            yield from _running(what, loop, at, settings)
        finally:
            loop.ended = True


def _running(
    what: Sequence[type[Task] | PyTask], loop: Loop | None, at: float, settings: dict[str, Any]
) -> Iterator[MemoryApp]:
    clock = Unhurried() if loop is None else loop.now
    now = time.time if loop is None else lambda: at + loop.time
    made = collected(what, settings | {"block_limit": None})
    kept = made.settings
    retention = Retention(
        ended=kept.keep_ended, error=kept.keep_error, stopped=kept.keep_stopped, history=kept.history
    )
    backend = WaitingBackend(now=now, retention=retention, clock=clock, sleep=gevent.sleep)
    made.configure(backend)
    found = MemoryApp(made, backend, loop)
    if loop is not None:
        check_virtual(made)
    ids = partial(next, count(1))
    process = Process(
        exit=found.exited, fresh_id=lambda: f"test{ids()}", uniform=random.Random(0).uniform, used=lambda: 0.0  # noqa: S311
    )  # fmt: skip
    pool = NativePool if loop is None else Direct
    made.start_with(WorkerPorts(clock=clock, process=process, native=pool))
    try:
        yield found
    finally:
        made.stop()


def collected(what: Sequence[type[Task] | PyTask], settings: dict[str, Any]) -> PyTask:
    """An app with these tasks, in memory; one of the test's own is left as it is."""
    apps = [one for one in what if isinstance(one, PyTask)]
    made = apps[0].copy(MemoryBackend(), **settings) if apps else PyTask(MemoryBackend(), **settings)
    made.add_task(*(one for one in what if not isinstance(one, PyTask)))
    return made


def next_step(loop: Loop, most: float) -> float:
    """Seconds until the next thing happens, and a little later.

    Never nothing: without any time passing, no timer fires, not even one that is due.
    """
    at = loop.next_time()
    return max(LEAST, most if at is None else min(most, at - loop.time))


def check_virtual(made: PyTask) -> None:
    """Raises `NotSimulated` for a task that needs real time."""
    for name, cls in made.tasks.items():
        if is_async(cls):
            raise NotSimulated(
                f"task {name!r} has `async def start`, and asyncio has no virtual time: pass real_time=True"
                " to app()"
            )
