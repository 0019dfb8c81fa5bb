"""One run of a task in this process."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any, Protocol, cast
from weakref import ReferenceType

from gevent import Greenlet, GreenletExit
from gevent.event import Event as Flag

from pytask import codec
from pytask.domain.control import StopReason
from pytask.domain.errors import BadData
from pytask.domain.occurrences import Scheduled, read_scheduled
from pytask.domain.ports import Borrower
from pytask.domain.record import Claim, InForce, RunRef
from pytask.domain.task import Task
from pytask.domain.task_class import takes_reason
from pytask.domain.task_config import redis_wait
from pytask.domain.task_log import with_short_note
from pytask.logger import get_logger
from pytask.runtime.monitor import MonitorPorts
from pytask.runtime.runs import subprocesses, threads
from pytask.runtime.runs.failure import describe
from pytask.runtime.runs.fitting import fitted, secrets_of
from pytask.runtime.runs.gate import Gate
from pytask.runtime.runs.native_threads import NativePool
from pytask.runtime.runs.saving import Kept, Saving
from pytask.runtime.runs.tally import Loop, Tally
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


class RunHost(Protocol):
    """The part of the executor that runs use."""

    settings: Settings
    journal: Journal
    saving: Saving
    monitor_ports: MonitorPorts
    native: NativePool
    tally: Tally

    def check_caller(self, run: Run) -> None:
        """Raise unless this is the process and the thread of the event loop."""

    def emit(self, run: Run, event: bytes) -> None:
        """An event of a run; blocks while too many are pending."""

    def flush(self, run: Run, needed: Callable[[], bool]) -> None:
        """Wait until Redis has the events of a run, while `needed()`."""

    def progress(self, run: Run, progress: dict[str, Any]) -> None:
        """The progress of a run; never blocks."""

    def user_client(self, current: Callable[[], Borrower | None]) -> Any:
        """A Redis client for a run's own use."""

    def wait_for_turn(self, run: Run) -> None:
        """Wait until the run may start, then start the clock of its timeout."""

    def took_data(self, run: Run) -> None:
        """The data of a run was decoded; its bytes are needed only for a reload."""

    def began(self, run: Run) -> None:
        """`start()` of a reloaded run is about to be called."""

    def fail(self, run: Run) -> None:
        """A run failed, but greenlets of it are alive."""

    def lingers(self, run: Run) -> None:
        """`start()` has returned, and only threads of the run are alive."""

    def ended(self, run: Run) -> None:
        """A run is dead.  May be called from the hub: never blocks."""


class Run:
    """`start()`, the greenlets under it, and its outcome.  It has slots because there are thousands."""

    __slots__ = (
        "actor", "answered", "began", "borrower", "children", "claim", "client_", "cls", "dead", "emitted",
        "error", "failure", "fallback", "fits", "greenlet", "hidden", "host", "id", "kept", "lines", "local",
        "output", "over", "packed", "pause", "ref", "reloads", "restore", "returned", "settling", "sockets",
        "started", "stop_reason", "stopping", "task", "trial", "unfit",
    )  # fmt: skip

    def __init__(self, host: RunHost, claim: Claim, ref: RunRef, cls: type[Task] | None, now: float) -> None:
        self.host = host
        self.claim = claim
        self.id = claim.id
        self.ref = ref
        self.cls = cls
        self.started = now  # the claim was answered
        self.began = now  # it had its turn
        self.local = False
        self.restore = False  # its hash was lost with all data: it is restored when this run is dead
        self.task: Task | None = None
        self.greenlet: RunGreenlet | None = None
        self.children: set[AnyGreenlet] | None = None  # created with the first one
        self.returned = False  # start() has returned
        self.over = False  # start() and every greenlet under it have ended
        self.emitted = 0  # the number of its last event, see Committer.has_sent
        self.output: bytes | None = None
        self.error: BaseException | None = None  # the first one, which fails the run
        self.failure: str | None = None  # its text
        self.unfit = False  # it failed because of its data, which another run would have, too
        self.stop_reason: StopReason | None = None
        self.actor: AnyGreenlet | None = None  # created with the first stop reason
        self.dead: Flag | None = None
        self.stopping = False  # stop() was called
        self.settling = False  # it was started by a reload and is not yet confirmed
        self.hidden: tuple[str, ...] = ()  # values of secret fields, which texts must not contain
        self.fits: Claim | None = None  # the validated data of the reload that ends it
        # What the task has saved, so far; None if it never has.
        self.kept = Kept(claim.fields.saved) if claim.fields is not None and claim.fields.saved else None
        self.packed: bytes | None = None  # its data, compressed; then its claim has none
        self.trial = ""  # the mark of the trial of its data, after a reload
        self.fallback: InForce | None = None  # before a reload in place of which the trial is not stored yet
        self.reloads = 0  # in place
        self.answered = -math.inf  # when its last reload was refused, or taken in place
        self.pause: Gate | None = None  # created with the first pause
        self.client_: Any = None
        self.borrower: Borrower | None = None  # of connections; created with the client
        self.sockets: list[ReferenceType[Any]] | None = None  # that it created, see leftover_sockets
        self.lines = 0  # of its log, so far

    @property
    def grace(self) -> float:
        """The maximum seconds for a stop of this run."""
        return self.host.settings.timing.grace

    @property
    def epoch(self) -> int:
        """Increases with every run of this id."""
        return self.claim.epoch

    @property
    def group(self) -> str:
        """The group in which it was claimed; "" for none."""
        return "" if self.claim.fields is None else self.claim.fields.group

    @property
    def attempt(self) -> int:
        """1 more than the restarts in a row before this run."""
        return 1 if self.claim.fields is None else 1 + max(0, self.claim.fields.restarts)

    @property
    def scheduled(self) -> Scheduled | None:
        """The occurrence of a schedule that started it."""
        fields = self.claim.fields
        return read_scheduled(fields.scheduled) if fields is not None and fields.scheduled else None

    @property
    def paused(self) -> bool:
        """Whether its greenlets are to wait at its gate."""
        return self.pause is not None and self.pause.closed

    @property
    def monitor_ports(self) -> MonitorPorts:
        """The ports for a monitor."""
        return self.host.monitor_ports

    # -- in the run's own greenlet --------------------------------------------------------------------

    def main(self) -> None:
        """Build the task, run `start()`, and record the outcome.

        gevent's own result is not used: it counts a killed greenlet as successful.
        """
        try:
            self.host.wait_for_turn(self)
            self.gate()
            self.task = self._build()
            if self.settling:
                self.host.began(self)
            value = self.task.start()
            # A start() that joined its killed loop returns the GreenletExit.
            if value is not None and not isinstance(value, GreenletExit):
                self.output = self._fitting(codec.encode(value, "what start() returned"), "the output")
        except BaseException as error:  # noqa: BLE001 - SystemExit would end the daemon, Timeout is no Exception
            self.unfit = self.task is None and isinstance(error, BadData)
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
        self.host.took_data(self)
        task = self.cls.__new__(self.cls)  # type: ignore[arg-type]  # without a class nothing fits
        # Before __init__, so that emit() and id work in it, even if it does not call Task.__init__.
        task._run = self  # noqa: SLF001
        task.task_data = data
        task.__init__(data)  # type: ignore[misc]
        return task

    def call_stop(self, reason: str) -> bool:
        """Run `Task.stop()` in its own greenlet, as it may hang or raise; returns whether it succeeded."""
        try:
            if self.task is not None:
                self.task.stop(*([reason] if takes_reason(type(self.task)) else []))
        except GreenletExit:
            raise
        except BaseException:
            log.exception("task %s: stop() raised an exception; killing its greenlets", self.id)
            return False
        return True

    def _note(self, error: BaseException) -> None:
        if self.error is None and not _is_exit(error):
            self.error = error

    def _describe(self) -> None:
        # Separate from recording the error, which may happen in the hub: the text is computed by user code.
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
            self._note(error)  # the first failure decides, as in a task group
        if error is not None or (self.returned and not children):
            # In the hub: must not block, not even in a log handler.
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
        """When no greenlet of this run is left, end its programs, then notify the executor once."""
        if not self.over and not subprocesses.end(self):
            self.over = True
            # Break the reference cycle, so that the data does not wait for the garbage collector.
            self.task = None
            self.host.ended(self)

    def alive(self) -> list[AnyGreenlet]:
        """The living greenlets of this run."""
        tree: list[AnyGreenlet] = list(self.children or ())
        if self.greenlet is not None:
            tree.append(self.greenlet)
        return [g for g in tree if not g.ready() and not g.dead]

    def stopper(self, reason: str) -> StopGreenlet | None:
        """Start `stop()` once, if the task overrides it; `reason` is the word for it."""
        if self.stopping or self.task is None or type(self.task).stop is Task.stop:
            return None
        self.stopping = True
        greenlet = StopGreenlet(self, reason)
        greenlet.name = f"stop of task {self.id}"
        self.adopt(greenlet)
        greenlet.start()
        return greenlet

    # -- the interface of the task ---------------------------------------------------------------------------

    def emit(self, event: str, data: Any) -> None:
        """Publish an event of this run; blocks only while too many are pending."""
        self.host.emit(self, self._fitting(codec.event(event, data), f"event {event!r}"))

    def gate(self) -> None:
        """Wait here while the run is paused."""
        if self.pause is not None:
            self.host.check_caller(self)
            self.pause.pass_through()

    def loop(self) -> Loop:
        """A loop of this run, which tells when its rounds begin and end."""
        return Loop(self.host.tally, self.claim.function)

    def progress(self, progress: dict[str, Any]) -> None:
        """Report the progress of this run; never blocks."""
        self.host.progress(self, with_short_note(progress, self.hidden))

    def save(self, value: Any, *, now: bool) -> bool:
        """Keep a value for the next run of the task; with `now`, blocks until Redis has it."""
        self.host.check_caller(self)
        raw = codec.encode_saved(value)
        if now:
            return self.host.saving.store(self, raw)
        self.host.saving.keep(self, raw)
        return True

    @property
    def saved(self) -> Any:
        """A copy of the last value that was saved."""
        raw = None if self.kept is None else self.kept.raw
        return None if raw is None else codec.decode_saved(raw)

    def _fitting(self, text: bytes, what: str) -> bytes:
        # A change that Redis always refuses would be retried and delay all others.
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
            # Called from outside the run's greenlets, so the spawn callback could not assign it.
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
    """The run whose code is executing, or None; like `current_run`, with the full type."""
    return cast("Run | None", current_run())


def _current_borrower() -> Borrower | None:
    run = running()
    return None if run is None else run.borrower


def _is_exit(error: BaseException) -> bool:
    """Whether it is `exit()` or `sys.exit(0)`, which counts as success, as for a program."""
    return isinstance(error, SystemExit) and error.code in (None, 0)
