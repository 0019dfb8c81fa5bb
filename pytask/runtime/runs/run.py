"""One run of one task in this process."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial
from typing import Any, Protocol, cast
from weakref import ReferenceType

import attrs
from gevent import Greenlet, GreenletExit
from gevent.event import Event as Flag

from pytask import codec
from pytask.domain.control import StopReason
from pytask.domain.errors import BadData, PytaskError, TaskFailed
from pytask.domain.ports import Borrower
from pytask.domain.record import Claim, RunRef
from pytask.domain.secrets import hide
from pytask.domain.task import Task, redis_wait
from pytask.logger import get_logger
from pytask.runtime.monitor import MonitorPorts
from pytask.runtime.runs import subprocesses, threads
from pytask.runtime.runs.fitting import fitted, secrets_of
from pytask.runtime.runs.native_threads import NativePool
from pytask.runtime.runs.start_rate import Turns
from pytask.runtime.runs.task_log import Journal
from pytask.runtime.settings import Settings
from pytask.runtime.tree import (
    AnyGreenlet,
    RunGreenlet,
    Service,
    StopGreenlet,
    current_run,
    is_expected,
    take_in,
)

log = get_logger(__name__)

ERROR_BYTES = 8192
LARGE = 4096  # bytes of data that are not kept beside what was read from them


class RunHost(Protocol):
    """The part of the executor that runs use."""

    settings: Settings
    turns: Turns
    journal: Journal
    monitor_ports: MonitorPorts
    native: NativePool

    def check_caller(self, run: Run) -> None:
        """Raise unless this is the process and the thread of the event loop."""

    def emit(self, run: Run, event: bytes) -> None:
        """An event of a run; waits while too many wait."""

    def progress(self, run: Run, progress: dict[str, Any]) -> None:
        """How far a run is; never waits."""

    def user_client(self, current: Callable[[], Borrower | None]) -> Any:
        """A Redis client for a run's own use."""

    def began(self, run: Run) -> None:
        """`start()` of a run that a reload began is about to be called."""

    def fail(self, run: Run) -> None:
        """A run failed, and greenlets of it live on."""

    def lingers(self, run: Run) -> None:
        """`start()` has returned, and only threads of the run live on."""

    def ended(self, run: Run) -> None:
        """Nothing of a run is left.  May be called from the hub: never blocks."""


class Run:
    """`start()`, the greenlets under it, and how it came out.  Slots: there are thousands of these."""

    __slots__ = (
        "actor", "borrower", "children", "claim", "client_", "cls", "dead", "error", "failure",
        "fits", "greenlet", "hidden", "host", "id", "lines", "local", "output", "over", "ref", "restore",
        "returned", "settling", "sockets", "started", "stop_reason", "stopping", "task",
    )  # fmt: skip

    def __init__(self, host: RunHost, claim: Claim, ref: RunRef, cls: type[Task] | None, now: float) -> None:
        self.host = host
        self.claim = claim
        self.id = claim.id
        self.ref = ref
        self.cls = cls
        self.started = now
        self.local = False
        self.restore = False  # its hash was lost with all data: it is made anew when this run is dead
        self.task: Task | None = None
        self.greenlet: RunGreenlet | None = None
        self.children: set[AnyGreenlet] | None = None  # made with the first one
        self.returned = False  # start() is done
        self.over = False  # and so is every greenlet under it
        self.output: bytes | None = None
        self.error: BaseException | None = None  # the first one, which fails the run
        self.failure: str | None = None  # its text
        self.stop_reason: StopReason | None = None
        self.actor: AnyGreenlet | None = None  # made with the first wish
        self.dead: Flag | None = None
        self.stopping = False  # stop() was called
        self.settling = False  # a reload began it, and it has yet to prove that it lives
        self.hidden: tuple[str, ...] = ()  # values of secret fields, which no text of it shows
        self.fits: Claim | None = None  # what the reload that ends it was judged by
        self.client_: Any = None
        self.borrower: Borrower | None = None  # of connections; made with the client
        self.sockets: list[ReferenceType[Any]] | None = None  # that it made, see leftovers
        self.lines = 0  # of its log, so far

    @property
    def grace(self) -> float:
        """Seconds that a stop of this run may take."""
        return self.host.settings.timing.grace

    @property
    def epoch(self) -> int:
        """Grows with every run of this id."""
        return self.claim.epoch

    @property
    def monitor_ports(self) -> MonitorPorts:
        """What a monitor gets from the worker."""
        return self.host.monitor_ports

    # -- in the run's own greenlet --------------------------------------------------------------------

    def main(self) -> None:
        """Build the task, run `start()`, and note how it came out.

        Our own record decides, never gevent's: a killed greenlet counts as successful there.
        """
        try:
            self.host.turns.wait(self.cls)
            self.task = self._build()
            if self.settling:
                self.host.began(self)
            value = self.task.start()
            # A start() that joined its killed loop gets the GreenletExit as a value.
            if value is not None and not isinstance(value, GreenletExit):
                self.output = self._fitting(codec.encode(value, "what start() returned"), "the output")
        except BaseException as error:  # noqa: BLE001 - SystemExit would end the daemon, Timeout is no Exception
            self._note(error)
        self._describe()
        self.returned = True
        if not self.children:
            self.finished()
        elif self.failure is not None:
            self.host.fail(self)
        elif threads.only_threads(self.children):
            self.host.lingers(self)

    def _build(self) -> Task:
        self.hidden = secrets_of(self.claim, self.cls)
        data = fitted(self.claim, self.cls, self.host.settings.max_data)
        if self.claim.data is not None and len(self.claim.data) > LARGE:
            self.claim = attrs.evolve(self.claim, data=None)  # a run may live for months
        task = self.cls.__new__(self.cls)  # type: ignore[arg-type]  # without a class nothing fits
        # Before __init__, so that emit() and id work in there, and for one that does not call Task's own.
        task._run = self  # noqa: SLF001
        task.task_data = data
        task.__init__(data)  # type: ignore[misc]
        return task

    def call_stop(self) -> bool:
        """`Task.stop()`, in a greenlet of its own: it may hang, or raise; whether it did its work."""
        try:
            if self.task is not None:
                self.task.stop()
        except GreenletExit:
            raise
        except BaseException:
            log.exception("task %s: stop() raised; its greenlets are killed all the same", self.id)
            return False
        return True

    def _note(self, error: BaseException) -> None:
        if self.error is None and not _is_exit(error):
            self.error = error

    def _describe(self) -> None:
        # Apart from noting it, which may happen in the hub: the text comes from the error's own code.
        if self.error is None or self.failure is not None:
            return
        if isinstance(self.error, GreenletExit):
            self.failure = "killed: other code killed the greenlet of start()"
        else:
            self.failure = describe(self.error, self.hidden)

    # -- the tree -------------------------------------------------------------------------------------

    def adopt(self, greenlet: AnyGreenlet) -> None:
        """A greenlet was spawned under this run."""
        if self.children is None:
            self.children = set()
        self.children.add(greenlet)
        greenlet.rawlink(self._child_ended)

    def _child_ended(self, greenlet: AnyGreenlet) -> None:
        children = self.children
        if children is None:
            return
        children.discard(greenlet)
        error = greenlet.exception
        if error is not None and (self.stop_reason is not None or is_expected(greenlet) or _is_exit(error)):
            error = None
        if error is not None:
            self._note(error)  # the first failure is the run's, as in a task group
        if error is not None or (self.returned and not children):
            # This is the hub: nothing may block here, not even a log handler.
            Service.spawn(self._after_child, greenlet.name, error)

    def _after_child(self, name: str, error: BaseException | None) -> None:
        if error is not None:
            about = {"task": self.id, "pytask_run": self}
            log.warning("task %s: greenlet %s failed: %r", self.id, name, error, extra=about)
        self._describe()
        if self.returned and not self.children:
            self.finished()
        elif self.failure is not None:
            self.host.fail(self)

    def finished(self) -> None:
        """No greenlet of this run is left, nor, by and by, a program; tell the executor, once."""
        if not self.over and not subprocesses.end(self):
            self.over = True
            self.task = None  # they refer to each other: its data would wait for the garbage collector
            self.host.ended(self)

    def alive(self) -> list[AnyGreenlet]:
        """The greenlets of this run that may still act."""
        tree: list[AnyGreenlet] = list(self.children or ())
        if self.greenlet is not None:
            tree.append(self.greenlet)
        return [g for g in tree if not g.ready() and not g.dead]

    def stopper(self) -> StopGreenlet | None:
        """Begin `stop()`, once, where the task has one of its own."""
        if self.stopping or self.task is None or type(self.task).stop is Task.stop:
            return None
        self.stopping = True
        greenlet = StopGreenlet(self)
        greenlet.name = f"stop of task {self.id}"
        self.adopt(greenlet)
        greenlet.start()
        return greenlet

    # -- what the task sees ---------------------------------------------------------------------------

    def emit(self, event: str, data: Any) -> None:
        """Publish an event of this run; waits only while far too many wait already."""
        self.host.emit(self, self._fitting(codec.event(event, data), f"event {event!r}"))

    def progress(self, progress: dict[str, Any]) -> None:
        """Note how far this run is; never waits."""
        if self.hidden and "note" in progress:
            progress = progress | {"note": hide(progress["note"], self.hidden)}
        self.host.progress(self, progress)

    def _fitting(self, text: bytes, what: str) -> bytes:
        # One that Redis never takes would be sent again and again, and hold up the ends of all others.
        limit = self.host.settings.max_data
        if len(text) > limit:
            raise BadData(f"{what} has {len(text)} bytes, over the limit max_data={limit}")
        return text

    def spawn(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> AnyGreenlet:
        """A greenlet under this run, with the caller's contextvars."""
        self.host.check_caller(self)
        greenlet: AnyGreenlet = Greenlet(partial(copy_context().run, fn, *args, **kwargs))
        greenlet.name = f"{getattr(fn, '__name__', 'greenlet')} of task {self.id}"
        greenlet.start()
        if self.children is None or greenlet not in self.children:
            # Called from outside the run's own greenlets: the spawn callback could not know.
            take_in(self, greenlet)
        return greenlet

    def blocking(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """What `fn` returns or raises, in a native thread."""
        return self.host.native.call(self, fn, args, kwargs)

    def subprocess(self, args: Any, **options: Any) -> Any:
        """A program that ends with this run."""
        self.host.check_caller(self)
        return subprocesses.start(self, args, options)

    def client(self) -> Any:
        """The run's own Redis client, made on first use."""
        self.host.check_caller(self)
        if self.client_ is None:
            patience = redis_wait(self.cls) if self.cls is not None else 0.0
            self.borrower = Borrower(self.id, patience, self.host.settings.timing.lease)
            self.client_ = self.host.user_client(_current_borrower)
        return self.client_


def running() -> Run | None:
    """The run whose code is executing, or None: as `current_run`, with the full type."""
    return cast("Run | None", current_run())


def _current_borrower() -> Borrower | None:
    run = running()
    return None if run is None else run.borrower


def _is_exit(error: BaseException) -> bool:
    """`exit()` and `sys.exit(0)`: an end that went well, as it is for a program."""
    return isinstance(error, SystemExit) and error.code in (None, 0)


def describe(error: BaseException, hidden: Sequence[str] = ()) -> str:
    """The `error` field: the text, then the traceback, 8 KiB at the most; without what is `hidden`."""
    if isinstance(error, TaskFailed):
        return _cut(hide(_text(error), hidden), ERROR_BYTES)
    # Only our own errors begin with a code of ours; SystemExit has a `code` too, and so have many others.
    name = "" if isinstance(error, PytaskError) else f"{type(error).__name__}: "
    text = _cut(hide(name + _text(error), hidden), 2048)
    frames = error.__traceback__.tb_next if error.__traceback__ is not None else None
    if frames is None or not needs_traceback(error):
        return text
    trace = hide("".join(traceback.format_exception(type(error), error, frames)), hidden)
    room = ERROR_BYTES - len(text.encode(errors="replace")) - 8
    tail = trace.encode(errors="replace")[-room:].decode(errors="ignore")
    return f"{text}\n{tail}" if len(tail) == len(trace) else f"{text}\n...\n{tail}"


def needs_traceback(error: BaseException) -> bool:
    """Whether code of the task took part; errors of pytask alone, as for unfit data, need only their text."""
    if isinstance(error, TaskFailed):
        return False
    modules = (frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__))
    return not isinstance(error, PytaskError) or any(not name.startswith("pytask.") for name in modules)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a user's __str__; the run must be settled all the same
        return "(its __str__ failed)"


def _cut(text: str, limit: int) -> str:
    raw = text.encode(errors="replace")
    return raw.decode() if len(raw) <= limit else raw[: limit - 4].decode(errors="ignore") + " ..."
