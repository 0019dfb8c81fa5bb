"""One run of a task in this process."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from inspect import iscoroutine
from typing import Any, cast
from weakref import ReferenceType

from gevent import GreenletExit
from gevent.event import Event as Flag

from pytask.domain.control import StopReason
from pytask.domain.errors import BadData
from pytask.domain.occurrences import Scheduled, read_scheduled
from pytask.domain.ports import Borrower
from pytask.domain.record import NO_FIELDS, Adoption, Claim, InForce, RunRef
from pytask.domain.task import Task
from pytask.domain.task_class import is_async, takes_reason
from pytask.logger import get_logger
from pytask.runtime.monitor import MonitorPorts
from pytask.runtime.runs import subprocesses, threads
from pytask.runtime.runs.coroutine_ports import Coroutines
from pytask.runtime.runs.failure import describe
from pytask.runtime.runs.fitting import fitted, secrets_of
from pytask.runtime.runs.run_host import RunHost
from pytask.runtime.runs.saving import Kept
from pytask.runtime.runs.tally import Loop
from pytask.runtime.runs.task_calls import TaskCalls
from pytask.runtime.tree import (
    AnyGreenlet,
    LoopOwner,
    RunGreenlet,
    Service,
    StopGreenlet,
    current_run,
    is_expected,
)

log = get_logger(__name__)


class Run(TaskCalls):
    """`start()`, the greenlets under it, and its outcome.  It has slots because there are thousands."""

    __slots__ = (
        "actor", "began", "claim", "dead", "emitted", "error", "failure", "greenlet", "lines", "local",
        "output", "over", "ref", "returned", "sockets", "started", "stop_reason", "stopping", "task",
    )  # fmt: skip

    # What few runs have: each slot takes 8 bytes of all of them.
    restore: bool = False  # its hash was lost with all data: it is restored when this run is dead
    unfit: bool = False  # it failed because of its data, which another run would have, too
    settling: bool = False  # it was started by a reload and is not yet confirmed
    fits: Claim | None = None  # the validated data of the reload that ends it
    packed: bytes | None = None  # its data, compressed; then its claim has none
    trial: str = ""  # the mark of the trial of its data, after a reload
    fallback: InForce | None = None  # before a reload in place of which the trial is not stored yet
    reloads: int = 0  # in place
    answered: float = -math.inf  # when its last reload was refused, or taken in place
    span: Any = None  # the context of that of its start, if traces are made

    def __init__(self, host: RunHost, claim: Claim, ref: RunRef, cls: type[Task] | None, now: float) -> None:
        self.host = host
        self.claim = claim
        self.id = claim.id
        self.ref = ref
        self.cls = cls
        self.started = now  # the claim was answered
        self.began = now  # it had its turn
        self.local = False
        self.task: Task | None = None
        self.greenlet: RunGreenlet | None = None
        self.children: set[AnyGreenlet] | None = None  # created with the first one
        self.coroutines: Coroutines | None = None  # created with the first one
        self.returned = False  # start() has returned
        self.over = False  # start() and every greenlet under it have ended
        self.emitted = 0  # the number of its last event, see Committer.has_sent
        self.output: bytes | None = None
        self.error: BaseException | None = None  # the first one, which fails the run
        self.failure: str | None = None  # its text
        self.stop_reason: StopReason | None = None
        self.actor: AnyGreenlet | None = None  # created with the first stop reason
        self.dead: Flag | None = None
        self.stopping = False  # stop() was called
        self.hidden: tuple[str, ...] = ()  # values of secret fields, which texts must not contain
        # What the task has saved, so far; None if it never has.
        self.kept = Kept(claim.fields.saved) if claim.fields is not None and claim.fields.saved else None
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
    def attempt(self) -> int:
        """1 more than the restarts in a row before this run."""
        return 1 if self.claim.fields is None else 1 + max(0, self.claim.fields.restarts)

    @property
    def adoption(self) -> Adoption:
        """The proof with which a Redis that has lost it puts it back."""
        claim, fields = self.claim, self.claim.fields or NO_FIELDS
        return Adoption(
            self.id, self.ref.run, claim.epoch, self.paused, fields.group,
            claim.crashes, max(0, fields.restarts), fields.failed,
        )  # fmt: skip

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

    def loop(self) -> LoopOwner:
        """A `run_loop` of this run, which tells when its rounds begin and end."""
        plain, tracing = Loop(self.host.tally, self.claim.function), self.host.tracing
        return plain if tracing is None else tracing.loop(self, plain)

    # -- in the run's own greenlet --------------------------------------------------------------------

    def main(self) -> None:
        """Build the task, run `start()`, and record the outcome.

        gevent's own result is not used: it counts a killed greenlet as successful.
        """
        try:
            self.host.wait_for_turn(self)
            if self.pause is not None:
                self.gate()
            task, data = self._prepared()
            if is_async(self.cls):
                if self.settling:
                    self.host.began(self)
                return self._hand_over(partial(self._start, task, data))
            value = self._start(task, data)
            if value is None:
                pass  # as most do, which costs nothing more
            elif iscoroutine(value):  # of a `start()` that a decorator has wrapped
                return self._hand_over(lambda: value)
            # A start() that joined its killed loop returns the GreenletExit.
            elif not isinstance(value, GreenletExit):
                self.output = self.encoded_output(value)
        except BaseException as error:  # noqa: BLE001 - SystemExit would end the daemon, Timeout is no Exception
            self._fail(error)
        return self._returned()

    def _hand_over(self, make: Callable[[], Any]) -> None:
        # This greenlet ends, since it would cost more than the coroutine: `start_over` continues here.
        self.greenlet = None
        self.of_coroutines().begin(make)

    def start_over(self, output: bytes | None, error: BaseException | None, failure: str | None) -> None:
        """The coroutine of `start()` has ended; its error was described where it was raised."""
        self.output = output
        if error is not None:
            self._fail(error)
            if self.error is error:
                self.failure = self.failure or failure
        self._returned()

    def _returned(self) -> None:
        if self.error is not None:
            self._describe()
        self.returned = True
        if not self.busy:
            self.finished()
        elif self.failure is not None:
            self.host.fail(self)
        elif threads.only_threads(self.children or ()):
            self.host.lingers(self)

    def _prepared(self) -> tuple[Task, Any]:
        self.hidden = secrets_of(self.claim, self.cls)
        data = fitted(self.claim, self.cls, self.host.settings.max_data)
        self.host.took_data(self)
        task = self.cls.__new__(self.cls)  # type: ignore[arg-type]  # without a class nothing fits
        # Before __init__, so that emit() and id work in it, even if it does not call Task.__init__.
        task._run = self  # noqa: SLF001
        task.task_data = data
        return task, data

    def _start(self, task: Task, data: Any) -> Any:
        task.__init__(data)  # type: ignore[misc]
        self.task = task
        if self.settling and not is_async(self.cls):
            self.host.began(self)
        return task.start()

    def call(self, method: Callable[..., Any], *args: Any) -> Any:
        """Call a method of the task where its `start()` is, and wait for it if it is a coroutine."""
        if is_async(self.cls):
            return self.of_coroutines().call(partial(method, *args), copies=False)
        value = method(*args)
        return self.aio(value) if iscoroutine(value) else value

    def call_stop(self, reason: str) -> bool:
        """Run `Task.stop()` in its own greenlet, as it may hang or raise; returns whether it succeeded."""
        try:
            if self.task is not None:
                self.call(self.task.stop, *([reason] if takes_reason(type(self.task)) else []))
        except GreenletExit:
            raise
        except BaseException:
            log.exception("task %s: stop() raised an exception; killing its greenlets", self.id)
            return False
        return True

    def _fail(self, error: BaseException) -> None:
        if self.task is None and isinstance(error, BadData):
            self.unfit = True
        self._note(error)

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
        if error is not None or (self.returned and not self.busy):
            # In the hub: must not block, not even in a log handler.
            Service.spawn(self._after_child, greenlet.name, error)

    def _after_child(self, name: str, error: BaseException | None) -> None:
        if error is not None:
            about = {"task": self.id, "pytask_run": self}
            log.warning("task %s: greenlet %s failed: %r", self.id, name, error, extra=about)
        self._after_part()

    def coroutine_failed(self, name: str, error: BaseException) -> None:
        """A coroutine of this run failed, and nobody has looked at its exception."""
        about = {"task": self.id, "pytask_run": self}
        if self.stop_reason is None and not _is_exit(error) and not self.over:
            self._note(error)
        log.warning("task %s: the asyncio task %s failed: %r", self.id, name, error, extra=about)
        if not self.over:
            self._after_part()

    def coroutines_over(self) -> None:
        """No coroutine of this run is left."""
        if not self.over:
            self._after_part()

    def _after_part(self) -> None:
        self._describe()
        if self.returned and not self.busy:
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

    @property
    def busy(self) -> bool:
        """Whether something is left of it, beside the greenlet of `start()`."""
        return bool(self.children) or (self.coroutines is not None and self.coroutines.alive)

    @property
    def is_dead(self) -> bool:
        """Whether nothing is left of it."""
        return not self.alive() and not (self.coroutines is not None and self.coroutines.alive)

    def whereabouts(self, most: int) -> str:
        """Where its greenlets and coroutines are, for a message."""
        found = [*map(threads.whereabouts, self.alive()[:most])]
        if self.coroutines is not None and self.coroutines.alive:
            found += self.coroutines.whereabouts()
        return "; ".join(found[:most])

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


def running() -> Run | None:
    """The run whose code is executing, or None; like `current_run`, with the full type."""
    return cast("Run | None", current_run())


def _is_exit(error: BaseException) -> bool:
    """Whether it is `exit()` or `sys.exit(0)`, which counts as success, as for a program."""
    return isinstance(error, SystemExit) and error.code in (None, 0)
