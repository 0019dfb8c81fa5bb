"""Maps greenlets to runs: every greenlet spawned under a run belongs to that run's tree.

gevent calls back for each greenlet that is started, including those of `spawn_later`, of pools and (in a
patched process) of threads; `thread_owners` handles threads that do not belong to the run that starts them.
`spawn_raw`, native threads and subprocesses are not tracked.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from signal import SIGINT, default_int_handler, getsignal
from threading import Thread
from typing import TYPE_CHECKING, Any, Protocol
from weakref import ReferenceType, WeakSet, ref

from gevent import Greenlet, GreenletExit, Timeout, get_hub, getcurrent, killall
from gevent.greenlet import SuccessSpawnedLink  # type: ignore[attr-defined]
from gevent.pool import GroupMappingMixin, IMapUnordered  # type: ignore[attr-defined]

from pytask.domain.record import Claim
from pytask.domain.secrets import hide
from pytask.logger import get_logger
from pytask.runtime import thread_owners

if TYPE_CHECKING:
    AnyGreenlet = Greenlet[..., Any]
    Base = Greenlet[..., Any]
else:
    AnyGreenlet = Base = Greenlet


log = get_logger(__name__)


class TreeOwner(Protocol):
    """The part of a run that its greenlets and log messages use."""

    id: str
    claim: Claim
    actor: AnyGreenlet | None  # the greenlet that stops the run, if any
    over: bool  # all its greenlets have ended
    hidden: tuple[str, ...]  # secret values that texts must not contain

    @property
    def epoch(self) -> int:
        """Increases with every run of this id."""

    @property
    def paused(self) -> bool:
        """Whether its greenlets are to wait at its gate."""

    def main(self) -> None:
        """The body of the greenlet of `start()`."""

    def call_stop(self, reason: str) -> bool:
        """The body of the greenlet of `stop()`; returns whether `stop()` returned normally."""

    def adopt(self, greenlet: AnyGreenlet) -> None:
        """A greenlet was spawned under this run."""

    def gate(self) -> None:
        """Wait while the run is paused."""

    def loop(self) -> LoopOwner:
        """A `run_loop` of the run, which tells when its rounds begin and end."""


class LoopOwner(Protocol):
    """The part of a loop that `run_loop` uses."""

    @property
    def clock(self) -> Callable[[], float]:
        """The clock by which its rounds begin."""

    def begin(self) -> None:
        """A round begins."""

    def end(self, error: BaseException | None = None) -> None:
        """The round has ended, with an error or without."""

    def rest(self) -> None:
        """No round is due: the loop is over, or its task is paused."""


class Service(Base):
    """A greenlet of the worker itself; never part of a run, regardless of who starts it.

    Only `end_services` kills it: otherwise a task that kills all greenlets would leave a living process
    without renewals.
    """

    mortal = False

    def _maybe_kill_before_start(self, exception: Any) -> bool:
        # kill() and killall() check this first and then use throw().
        return bool(self.mortal and super()._maybe_kill_before_start(exception))  # type: ignore[misc]

    def throw(self, *how: Any) -> Any:
        """Refuse a kill, but not the timeouts of the service's own code."""
        if self.mortal or not _is_kill(how):
            return super().throw(*how)
        return None


def _is_kill(how: tuple[Any, ...]) -> bool:
    return not how or isinstance(how[0], GreenletExit) or how[0] is GreenletExit


def end_services(services: Sequence[AnyGreenlet], timeout: float) -> None:
    """Kill the worker's own greenlets; survivors end with the process."""
    for service in services:
        service.mortal = True  # type: ignore[attr-defined]
    try:
        killall(services, timeout=timeout)
    except Timeout:  # kill() ignores it, killall() raises it
        names = ", ".join(str(service.name) for service in services if not service.ready())
        log.warning("services did not end within %g s: %s", timeout, names)


class RunGreenlet(Base):
    """The greenlet in which a run's `start()` executes."""

    __slots__ = ("pytask_run",)  # without a dict of its own, which would take 120 bytes of each

    spawning_stack_limit = 0  # always that of the consumer: useless, and kept as long as the run

    def __init__(self, run: TreeOwner) -> None:
        super().__init__()
        self.pytask_run: TreeOwner | None = run

    def _run(self) -> Any:
        if self.pytask_run is not None:
            self.pytask_run.main()
        # Break the reference cycle, so that neither waits for the garbage collector.
        self.pytask_run = None


class StopGreenlet(RunGreenlet):
    """The greenlet of a task's `stop()`: it ends with its run."""

    __slots__ = ("reason",)

    def __init__(self, run: TreeOwner, reason: str) -> None:
        super().__init__(run)
        self.reason = reason

    def _run(self) -> bool:
        return self.pytask_run is not None and self.pytask_run.call_stop(self.reason)


def current_run() -> TreeOwner | None:
    """The run whose code is executing, or None."""
    return getattr(getcurrent(), "pytask_run", None)


def current_hidden() -> tuple[str, ...]:
    """The secret values that no text of the code that is executing shows."""
    run = current_run()
    return run.hidden if run is not None else getattr(getcurrent(), "pytask_hidden", ())


@contextmanager
def hiding(values: tuple[str, ...]) -> Iterator[None]:
    """What a service of the worker logs inside, as by code of the user that it calls, shows none of these."""
    service: Any = getcurrent()
    before = getattr(service, "pytask_hidden", ())
    service.pytask_hidden = values
    try:
        yield
    finally:
        service.pytask_hidden = before


def watch_spawns() -> None:
    """Start to track spawned greenlets; once per process, even with several apps."""
    Greenlet.add_spawn_callback(_adopt)
    hub: Any = get_hub()
    if hub not in _contained:
        _contained.add(hub)
        hub.handle_error = _contain(hub, hub.handle_error)
        hub.print_exception = _quietly(hub.print_exception)
        hub.throw = _unkillable(hub.throw)


_MAP = getattr(GroupMappingMixin, "_GroupMappingMixin__map", None)  # what map() runs in a greenlet
_THREAD = getattr(Thread, "_bootstrap", None)  # the function that a thread runs in a greenlet
_contained: WeakSet[Any] = WeakSet()


def _contain(hub: Any, handle: Callable[..., None]) -> Callable[..., None]:
    # gevent re-raises a SystemExit, SystemError or KeyboardInterrupt of any greenlet in the main one, which
    # would end the worker.  Under a run it is an error of the task, recorded when the greenlet ends.
    def handle_error(context: Any, kind: Any, value: Any, trace: Any) -> None:
        if _run_of(context) is None or not issubclass(kind, hub.SYSTEM_ERROR) or _is_ctrl_c(kind):
            handle(context, kind, value, trace)
        elif not issubclass(kind, hub.NOT_ERROR):
            hub.print_exception(context, kind, value, trace)

    return handle_error


def _run_of(context: Any) -> TreeOwner | None:
    # The context is the greenlet, or for a link the callback and the greenlet.
    source = context[-1] if isinstance(context, tuple) and context else context
    return getattr(source, "pytask_run", None)


def _is_ctrl_c(kind: type[BaseException]) -> bool:
    # In a program that leaves Ctrl-C to Python it is raised in any greenlet, but is meant for the program.
    return issubclass(kind, KeyboardInterrupt) and getsignal(SIGINT) is default_int_handler


def _quietly(show: Callable[..., None]) -> Callable[..., None]:
    # Standard error may be closed; an error raised here would propagate through the event loop.
    def print_exception(context: Any, kind: Any, value: Any, trace: Any) -> None:
        with suppress(Exception):
            run = _run_of(context)
            if run is not None and run.hidden:  # gevent's text has the arguments of the greenlet as well
                text = "".join(traceback.format_exception(kind, value, trace))
                sys.stderr.write(hide(text, run.hidden))
            else:
                show(context, kind, value, trace)

    return print_exception


def _unkillable(throw: Callable[..., Any]) -> Callable[..., Any]:
    # The event loop is also a greenlet, and must survive code that kills all greenlets.
    def guarded(*how: Any) -> Any:
        return None if _is_kill(how) else throw(*how)

    return guarded


def _adopt(greenlet: Any) -> None:
    if isinstance(greenlet, (RunGreenlet, Service)):
        return
    run = current_run()
    if run is None or (thread_owners.blocks and thread_owners.is_sharing()):
        return
    method = greenlet._run  # noqa: SLF001 - it has no public name
    function = getattr(method, "__func__", None)
    if function is _THREAD:
        if thread_owners.of_process(method.__self__):
            return
        greenlet.pytask_thread = method.__self__
    take_in(run, greenlet)
    if isinstance(greenlet, IMapUnordered) or function is _MAP:
        greenlet.pytask_collects = True  # the reader of the results of imap() or map() gets the errors
    greenlet.pytask_expected = hasattr(getcurrent(), "pytask_collects")


def take_in(run: TreeOwner, greenlet: Any) -> None:
    """Make `greenlet` and its `link()` callbacks part of the run's tree."""
    greenlet.pytask_run = run
    greenlet.link = partial(_link, run, ref(greenlet))
    greenlet.get = partial(_get, ref(greenlet))
    run.adopt(greenlet)


def is_expected(greenlet: Any) -> bool:
    """Whether other code of the task receives the error of this greenlet: by get(), a link, or a map."""
    return bool(getattr(greenlet, "pytask_expected", False))


def _get(source: ReferenceType[Any], *how: Any, **named: Any) -> Any:
    greenlet = source()
    greenlet.pytask_expected = True  # type: ignore[union-attr]  # its caller holds it
    return type(greenlet).get(greenlet, *how, **named)  # type: ignore[union-attr]


def _link(run: TreeOwner, linked: ReferenceType[Any], callback: Any, *how: Any, **named: Any) -> None:
    greenlet = linked()
    if greenlet is not None:
        if SuccessSpawnedLink not in (*how, *named.values()):
            greenlet.pytask_expected = True
        type(greenlet).link(greenlet, _Within(run, callback), *how, **named)


class _Within:
    """Run a link callback in a greenlet of the run: gevent would call it in one that cannot be killed."""

    __slots__ = ("callback", "run")

    def __init__(self, run: TreeOwner, callback: Callable[[Any], Any]) -> None:
        if not callable(callback):
            raise TypeError(f"Expected callable: {callback!r}")
        self.run = run
        self.callback = callback

    def __call__(self, source: Any) -> None:
        # While a run is being stopped, callbacks are not executed: they could restart what was killed.
        if self.run.actor is None and not self.run.over:
            greenlet: AnyGreenlet = Greenlet(self.callback, source)
            take_in(self.run, greenlet)
            greenlet.start()

    def __eq__(self, other: object) -> bool:
        return bool(self.callback == getattr(other, "callback", other))

    def __hash__(self) -> int:
        return hash(self.callback)
