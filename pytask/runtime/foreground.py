"""A worker that has the process: it works until a signal, hands its tasks back, and leaves in time.

`PyTask.run()` does this; a daemon adds what it has of its own as `Daemon`.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import attrs
from gevent.os import fork_gevent

from pytask.domain.wording import counted
from pytask.logger import get_logger
from pytask.runtime import thread_owners
from pytask.runtime.drain import drain
from pytask.runtime.health import HealthReporter
from pytask.runtime.process import init, shutdown
from pytask.runtime.process.host import calm_collector, exit_now
from pytask.runtime.process.resolver import use_own_resolver
from pytask.runtime.process.signals import Signals
from pytask.runtime.process.systemd import Notifier
from pytask.runtime.runs.stopping import EXIT_STUCK
from pytask.runtime.settings import Settings
from pytask.runtime.supervised import SupervisorLink, SupervisorLinkPorts
from pytask.runtime.worker import Worker, WorkerPorts

log = get_logger(__name__)


class Hangup(Protocol):
    """What a daemon does on SIGHUP."""

    def attach(self, end: Callable[[int], None], health: HealthReporter) -> None:
        """The run begins: `end` ends it, as if by that signal; `health` is told of a reload."""

    def __call__(self) -> None:
        """SIGHUP came."""


@attrs.frozen(kw_only=True)
class Daemon:
    """What a daemon has, and a program that calls `run()` has not."""

    link: SupervisorLink | None = None
    """To the supervisor, in a child of `pytask run --processes N`."""
    health_path: Path | None = None
    """Of the socket that `pytask health` asks."""
    hangup: Hangup | None = None

    @property
    def ends_with_the_run(self) -> bool:
        """Whether the process ends with the run: else what follows is the program's."""
        return self.link is not None or self.hangup is not None

    @property
    def prefix(self) -> str:
        """What the run ids of this worker begin with; "": it chooses."""
        return self.link.prefix if self.link is not None else ""

    def on_hangup(self) -> Callable[[], None] | None:
        """What SIGHUP does; None: it is not handled."""
        if self.link is not None:
            return lambda: None  # the supervisor decides what a hangup means
        return self.hangup


class Foreground:
    """One run: `start(ports)` gives the running worker, `stop()` hands all back."""

    def __init__(
        self,
        settings: Settings,
        daemon: Daemon,
        *,
        start: Callable[[WorkerPorts], Worker],
        stop: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._daemon = daemon
        self._start = start
        self._stop = stop
        self._worker: Worker | None = None

    def run(self) -> int | None:
        """Until a signal, and all is handed back; the signal that ended it, if one did.

        Raises what ended the worker; exits with 70 if a run could not be stopped.
        """
        hard = self._settings.hard_deadline is not False
        if hard and init.alone():
            init.leave_init(fork_gevent)  # a script of its own as PID 1; with other threads it is refused
        use_own_resolver()
        # Of the program; those that are started from now on belong to tasks.
        kept, threads = shutdown.children(), shutdown.threads()
        patient = self._settings.drain > 0
        with Signals(on_hangup=self._daemon.on_hangup(), on_quiet=self._be_quiet, patient=patient) as signals:
            worker = self._worker = self._begin(signals, hard)
            health = self._report_health(worker, signals)
            signals.wait()
            health.leave(reload=signals.received == signal.SIGHUP)
            drain(worker, signals, self._settings.drain)
            clean, stuck = self._hand_back(worker, signals)
            shutdown.end_children(kept)
            shutdown.name_threads(threads)
            health.end()
            worker.raise_failure()
            if signals.thrown is not None:
                raise signals.thrown
        if stuck:
            exit_now(EXIT_STUCK)
        log.info("all tasks handed back" if clean else "stopped; Redis does not know all of it yet")
        return signals.received

    def _begin(self, signals: Signals, hard: bool) -> Worker:
        thread_owners.note_all()
        calm_collector()  # before the start: what is frozen is seen by no look at all greenlets
        return self._start(
            WorkerPorts(hard_deadline=hard, prefix=self._daemon.prefix, on_failed=signals.wake)
        )

    def _be_quiet(self, quiet: bool) -> None:
        if self._worker is not None:
            self._worker.pause_intake(quiet)

    def _report_health(self, worker: Worker, signals: Signals) -> HealthReporter:
        link, hangup = self._daemon.link, self._daemon.hangup
        if link is not None:
            link.start(SupervisorLinkPorts(
                store_proxies=[partition.store_proxy for partition in worker.partitions],
                timing=self._settings.timing, clock=worker.now,
                on_stop=signals.wake, on_quiet=worker.pause_intake, on_hurry=signals.hurry,
            ))  # fmt: skip
        tell = link.tell if link is not None else None
        health = HealthReporter(worker, notifier=Notifier(), path=self._daemon.health_path, tell=tell)
        health.start()
        if hangup is not None:
            hangup.attach(signals.end, health)
        return health

    def _hand_back(self, worker: Worker, signals: Signals) -> tuple[bool, bool]:
        """Whether Redis knows all of it, and whether a run is left that could not be stopped."""
        log.info("signal received: handing %s back", counted(len(worker.living), "task"))
        until = time.monotonic() + self._settings.timing.shutdown
        clean = self._stop()
        stuck = bool(worker.living)
        if self._daemon.link is not None and clean and not stuck:
            self._daemon.link.tell("left")  # else the supervisor lets a sibling release what is left
        if stuck or self._daemon.ends_with_the_run:
            # With 0, nobody would start the new code that SIGHUP asked for.  SIGTERM may have come while
            # a SIGHUP was carried out: the last one counts.
            failed = worker.failed is not None or signals.received == signal.SIGHUP
            shutdown.leave_within(until - time.monotonic(), EXIT_STUCK if stuck else int(failed))
        return clean, stuck
