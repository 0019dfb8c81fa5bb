"""A worker that owns the process: it runs until a signal, releases its tasks, and exits in time.

`PyTask.run()` does this; a daemon adds what it has of its own as `Daemon`.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

import attrs
from gevent.os import fork_gevent

from pytask.domain.wording import counted
from pytask.logger import get_logger
from pytask.metrics import page
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
from pytask.runtime.standby import Standby
from pytask.runtime.supervised import SupervisorLink, SupervisorLinkPorts
from pytask.runtime.tree import Service
from pytask.runtime.worker import Worker, WorkerPorts

log = get_logger(__name__)


class Hangup(Protocol):
    """The reaction of a daemon to SIGHUP."""

    def attach(self, end: Callable[[int], None], health: HealthReporter) -> None:
        """The worker starts: `end` ends it as that signal would; `health` is notified of reloads."""

    def __call__(self) -> None:
        """SIGHUP was received."""


@attrs.frozen(kw_only=True)
class Daemon:
    """What a daemon has in addition to a program that calls `run()`."""

    link: SupervisorLink | None = None
    """The link to the supervisor, in a child of `pytask run --processes N`."""
    health_path: Path | None = None
    """The path of the socket for `pytask health`."""
    hangup: Hangup | None = None
    standby: Standby | None = None
    """In the child of `pytask dev` that is to take over from another one."""

    @property
    def ends_with_the_run(self) -> bool:
        """Whether the process exits after the run; otherwise the program continues."""
        return self.link is not None or self.hangup is not None

    @property
    def prefix(self) -> str:
        """The prefix of the run ids of this worker; "": random."""
        return self.link.prefix if self.link is not None else ""

    def on_hangup(self) -> Callable[[], None] | None:
        """The handler of SIGHUP; None: it is not handled."""
        if self.link is not None:
            return lambda: None  # the supervisor handles SIGHUP
        return self.hangup


class Foreground:
    """One run: `start(ports)` returns the running worker, `stop()` releases all tasks."""

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
        """Run until a signal, then release all tasks; returns the signal, if there was one.

        Raises the error that ended the worker; exits with 70 if a run could not be stopped.
        """
        if self._settings.metrics is not None:
            page.require()
        hard = self._settings.hard_deadline is not False
        if hard and init.alone():
            init.leave_init(fork_gevent)  # for a script that is PID 1; refused if there are other threads
        use_own_resolver()
        # Threads of the program; threads that are started from now on belong to tasks.
        kept, threads = shutdown.children(), shutdown.threads()
        patient = self._settings.drain > 0
        with Signals(
            on_hangup=self._daemon.on_hangup(), on_quiet=self._pause_intake, patient=patient
        ) as signals:
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
        log.log(
            self._level if clean else logging.INFO,
            "all tasks released"
            if clean
            else "stopped before Redis acknowledged every release or claim; a monitor recovers what is left",
        )
        return signals.received

    @property
    def _level(self) -> int:
        """Of messages about a stop; on standby it is that of every save, and not asked for by a signal."""
        return logging.INFO if self._daemon.standby is None else logging.DEBUG

    def _begin(self, signals: Signals, hard: bool) -> Worker:
        thread_owners.note_all()
        calm_collector()  # before the start: frozen objects are invisible to the dump of all greenlets
        return self._start(
            WorkerPorts(
                hard_deadline=hard,
                own_loop=True,
                prefix=self._daemon.prefix,
                on_failed=signals.wake,
                standby=self._daemon.standby,
                on_blocked=self._daemon.link.blocked if self._daemon.link else lambda _who, _place: None,
            )
        )

    def _pause_intake(self, quiet: bool) -> None:
        if self._worker is not None:
            self._worker.pause_intake(quiet)

    def _report_health(self, worker: Worker, signals: Signals) -> HealthReporter:
        link, hangup = self._daemon.link, self._daemon.hangup
        if link is not None:
            link.start(SupervisorLinkPorts(
                store_proxies=[partition.store_proxy for partition in worker.partitions],
                timing=self._settings.timing, clock=worker.now,
                on_stop=signals.wake, on_quiet=worker.pause_intake, on_hurry=signals.hurry,
                on_go=partial(worker.capacity.close, closed=False),
                on_alone=self._daemon.standby.alone.set if self._daemon.standby else lambda: None,
                blames=self._daemon.standby is None,  # else its author corrects it, and it is to run at once
            ))  # fmt: skip
            if self._daemon.standby is not None:
                Service.spawn(self._stand_by, worker, link)
        tell = link.tell if link is not None else None
        health = HealthReporter(worker, notifier=Notifier(), path=self._daemon.health_path, tell=tell)
        health.start()
        if hangup is not None:
            hangup.attach(signals.end, health)
        return health

    def _stand_by(self, worker: Worker, link: SupervisorLink) -> None:
        worker.await_claims()
        names = sorted(worker.executor.tasks)
        link.stands_by(self._settings.namespace, self._settings.partitions, names)

    def _hand_back(self, worker: Worker, signals: Signals) -> tuple[bool, bool]:
        """Release all tasks: (whether Redis acknowledged all, whether a run could not be stopped)."""
        log.log(self._level, "signal received: releasing %s", counted(len(worker.living), "task"))
        until = time.monotonic() + self._settings.timing.shutdown
        clean = self._stop()
        stuck = bool(worker.living)
        if self._daemon.link is not None and clean and not stuck:
            self._daemon.link.tell("left")  # otherwise the supervisor has another child release the rest
        if stuck or self._daemon.ends_with_the_run:
            # With exit code 0 nothing would start the new code that SIGHUP requested.  If SIGTERM arrived
            # during a reload, the last signal counts.
            failed = worker.failed is not None or signals.received == signal.SIGHUP
            shutdown.leave_within(until - time.monotonic(), EXIT_STUCK if stuck else int(failed))
        return clean, stuck
