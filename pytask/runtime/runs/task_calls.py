"""What a task asks of its run: in a greenlet a call blocks, in a coroutine it returns what can be awaited."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any, cast

import gevent
from gevent import Greenlet

from pytask import codec
from pytask.domain.errors import BadData, NotInLoop
from pytask.domain.ports import Borrower
from pytask.domain.task import Task
from pytask.domain.task_config import redis_wait
from pytask.domain.task_log import with_short_note
from pytask.runtime.runs import subprocesses
from pytask.runtime.runs.coroutine_ports import Coroutines
from pytask.runtime.runs.gate import Gate
from pytask.runtime.runs.run_host import RunHost
from pytask.runtime.runs.saving import Kept
from pytask.runtime.tree import AnyGreenlet, TreeOwner, current_run, take_in


class TaskCalls:
    """The part of a run that its task uses."""

    # What few runs have is in none of the slots, but in a dict that the first of it makes: see `Run`.
    __slots__ = (
        "__dict__", "borrower", "children", "client_", "cls", "coroutines", "hidden", "host", "id", "kept",
    )  # fmt: skip

    id: str
    host: RunHost
    cls: type[Task] | None
    children: set[AnyGreenlet] | None
    coroutines: Coroutines | None
    hidden: tuple[str, ...]
    kept: Kept | None
    pause: Gate | None = None  # created with the first pause
    client_: Any
    borrower: Borrower | None

    @property
    def _there(self) -> Coroutines | None:
        """The coroutines of this run, if one of them calls."""
        found = self.coroutines
        return found if found is not None and found.here else None

    def emit(self, event: str, data: Any) -> Any:
        """Publish an event of this run; blocks only while too many are pending."""
        text = self._fitting(codec.event(event, data), f"event {event!r}")
        there = self._there
        return self.host.emit(self, text) if there is None else there.emit(text)

    def gate(self) -> Any:
        """Wait here while the run is paused."""
        there = self._there
        if there is not None:
            return there.gate()
        if self.pause is not None:
            self.host.check_caller(self)
            self.pause.pass_through()
        return None

    def sleep(self, seconds: float) -> Any:
        """Wait this many seconds."""
        there = self._there
        return gevent.sleep(seconds) if there is None else there.sleep(seconds)

    def progress(self, progress: dict[str, Any]) -> None:
        """Report the progress of this run; never blocks."""
        there = self._there
        short = with_short_note(progress, self.hidden)
        if there is None:
            self.host.progress(self, short)
        else:
            there.progress(short)

    def save(self, value: Any, *, now: bool) -> Any:
        """Keep a value for the next run of the task; with `now`, wait until Redis has it."""
        there = self._there
        if there is not None:
            return there.save(codec.encode_saved(value), now=now)
        self.host.check_caller(self)
        raw = codec.encode_saved(value)
        if self.coroutines is not None:
            self.coroutines.saved = raw
        if now:
            return self.host.saving.store(cast("Any", self), raw)
        self.host.saving.keep(cast("Any", self), raw)
        return True

    @property
    def saved(self) -> Any:
        """A copy of the last value that was saved."""
        raw = None if self.coroutines is None else self.coroutines.saved
        if raw is None and self.kept is not None:
            raw = self.kept.raw
        return None if raw is None else codec.decode_saved(raw)

    def _fitting(self, text: bytes, what: str) -> bytes:
        # A change that Redis always refuses would be retried and delay all others.
        limit = self.host.settings.max_data
        if len(text) > limit:
            raise BadData(f"{what} has {len(text)} bytes, over the limit max_data={limit}")
        return text

    def encoded_output(self, value: Any) -> bytes | None:
        """What `start()` returned, as the output; None for nothing.  In any thread."""
        return (
            None
            if value is None
            else self._fitting(codec.encode(value, "what start() returned"), "the output")
        )

    def spawn(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> AnyGreenlet:
        """A greenlet under this run, with the caller's contextvars."""
        self.host.check_caller(self)
        greenlet: AnyGreenlet = Greenlet(partial(copy_context().run, fn, *args, **kwargs))
        greenlet.name = f"{getattr(fn, '__name__', 'greenlet')} of task {self.id}"
        greenlet.start()
        if self.children is None or greenlet not in self.children:
            # Called from outside the run's greenlets, so the spawn callback could not assign it.
            take_in(cast("TreeOwner", self), greenlet)
        return greenlet

    def in_greenlet(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """What `fn` returns or raises, in a greenlet of this run."""
        there = self._there
        if there is None:
            self.host.check_caller(self)
            return fn(*args, **kwargs)
        return there.in_greenlet(partial(fn, *args, **kwargs))

    def aio(self, code: Any) -> Any:
        """What a coroutine returns or raises, in the asyncio loop of the worker."""
        if self._there is not None:
            code.close()
            raise NotInLoop(
                f"task {self.id}: self.aio() waits in a greenlet. Fix: await the coroutine itself"
            )
        self.host.check_caller(self)
        return self.of_coroutines().call(lambda: code)

    def of_coroutines(self) -> Coroutines:
        """The coroutines of this run; the first call starts the loop of the worker."""
        if self.coroutines is None:
            self.coroutines = self.host.asyncio.coroutines(self)
        return self.coroutines

    def blocking(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """What `fn` returns or raises, in a native thread."""
        there = self._there
        if there is not None:
            return there.in_greenlet(partial(self.blocking, fn, *args, **kwargs))
        return self.host.native.call(cast("TreeOwner", self), fn, args, kwargs)

    def subprocess(self, args: Any, **options: Any) -> Any:
        """A program that ends with this run."""
        self.host.check_caller(self)
        return subprocesses.start(cast("subprocesses.ProgramOwner", self), args, options)

    def client(self) -> Any:
        """The run's own Redis client, made on first use."""
        there = self._there
        if there is not None:
            return there.client()
        self.host.check_caller(self)
        if self.client_ is None:
            self.borrower = self.new_borrower()
            self.client_ = self.host.backend.user_client(_current_borrower)
        return self.client_

    def new_borrower(self) -> Borrower:
        """Who this run is for the connections that it uses, of one kind of client."""
        patience = redis_wait(self.cls) if self.cls is not None else 0.0
        return Borrower(self.id, patience, self.host.settings.timing.lease)


def _current_borrower() -> Borrower | None:
    return getattr(current_run(), "borrower", None)
