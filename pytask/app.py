"""PyTask: where the adapters and the runtime are joined."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, Unpack

import attrs
from gevent.os import fork_gevent

from pytask import codec, schema
from pytask.adapters.address import UNSET, Unset, given
from pytask.adapters.backend import RedisBackend
from pytask.adapters.store import Retention
from pytask.domain.errors import ConfigError, UnknownTask
from pytask.domain.plural import counted
from pytask.domain.ports import Backend
from pytask.domain.task import Task, check_class, data_class, register
from pytask.logger import get_logger
from pytask.runtime import init, leaving, owners
from pytask.runtime.attendant import Attendant
from pytask.runtime.companion import Companion
from pytask.runtime.drain import drain
from pytask.runtime.notify import Notifier
from pytask.runtime.patched import require_patched
from pytask.runtime.process import calm_collector, exit_now
from pytask.runtime.resolver import use_own_resolver
from pytask.runtime.settings import Settings, SettingsGiven, of_this_process, settings_of
from pytask.runtime.signals import Signals
from pytask.runtime.stopping import EXIT_STUCK
from pytask.runtime.tree import Service
from pytask.runtime.worker import Worker, WorkerPorts

log = get_logger(__name__)


_collected: ContextVar[list[PyTask] | None] = ContextVar("_collected", default=None)


@contextmanager
def collect_runs() -> Iterator[list[PyTask]]:
    """Inside, `PyTask.run()` only adds the app to the list this yields, and returns.

    `pytask run FILE` imports the file like this: one that ends in `app.run()` is imported to its end,
    and the daemon then runs that app with its own flags.
    """
    apps: list[PyTask] = []
    token = _collected.set(apps)
    try:
        yield apps
    finally:
        _collected.reset(token)


class Hangup(Protocol):
    """What a daemon does on SIGHUP, and what it needs of the run for that."""

    end: Callable[[int], None]
    told: Attendant | None

    def __call__(self) -> None:
        """SIGHUP came."""


class PyTask:
    """A worker and the tasks it knows.  Several in one process share nothing.

    `source` is any redis-py compatible client, or a URL (`redis://`, `rediss://`, `unix://`), or a
    backend such as `pytask.adapters.memory.MemoryBackend`; without one the address is that of
    $PYTASK_REDIS_URL or $REDIS_URL, else redis://127.0.0.1:6379/0.  Further keyword arguments are the fields
    of `pytask.Settings`.
    """

    def __init__(self, source: Any = UNSET, **settings: Unpack[SettingsGiven]) -> None:
        self.settings: Settings = settings_of({**settings})
        self.tasks: dict[str, type[Task]] = {}
        self._made_in = os.getpid()  # servers such as `gunicorn --preload` fork later
        self._source = source
        self._prestart: list[tuple[str, bytes]] = []
        self._worker: Worker | None = None
        self._companion: Companion | None = None  # of a child of `pytask run --processes N`
        self._run_path: Path | None = None  # of the socket that `pytask health` asks: the daemon's
        self._hangup: Hangup | None = None  # what a daemon does on SIGHUP
        self.ended_by: int | None = None  # the signal that ended run(), if one did
        if not isinstance(source, str | Unset):
            self._backend()  # a client that cannot work is refused here, not later

    # -- tasks ----------------------------------------------------------------------------------------

    def add_task(self, *classes: type[Task]) -> None:
        """Let this app run these task classes.  Raises `BadTaskClass` with the fix."""
        tasks = register(self.tasks, *classes)
        for cls in classes:
            schema.check(data_class(cls), cls.__qualname__)
        self.tasks = tasks

    def pre_start_task(self, name: str, task_data: Any = None) -> None:
        """Run a task of this name on this worker from its start, with `task_data` (any JSON object).

        It is never queued; it stops with the worker.  The class may be added before or after.
        """
        raw = codec.encode(schema.plain(task_data), f"the data of pre-started task {name!r}")
        self._prestart.append((name, raw))

    def configure(self, source: Any = None, **settings: Unpack[SettingsGiven]) -> None:
        """Change the address or settings before the start; what the daemon's flags do."""
        if self._worker is not None:
            raise ConfigError("the app runs already: configure it before start()")
        if source is not None:
            self._source = source
        if settings:
            self.settings = settings_of(attrs.asdict(self.settings, recurse=False) | {**settings})

    @property
    def prestarted(self) -> list[str]:
        """The names of the tasks that start with the worker."""
        return [name for name, _ in self._prestart]

    def check_prestarted(self) -> None:
        """Raise `UnknownTask` for a pre-started task of which there is no class."""
        missing = [name for name in self.prestarted if name not in self.tasks]
        if missing:
            known = ", ".join(sorted(self.tasks)) or "none"
            raise UnknownTask(
                f"pre_start_task({missing[0]!r}): no such task; add_task was called for: {known}"
            )

    # -- life -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the worker beside your own program, in this process; `stop()` ends it.

        The kernel timer is off here unless `hard_deadline=True` (see `Settings`).
        """
        self._start(self._stop_later, hard=bool(self.settings.hard_deadline))

    def stop(self, timeout: float | None = None) -> bool:
        """Hand all tasks back and stop; True if that was done within `timeout` seconds (default 25)."""
        if self._worker is None:
            return True
        worker, self._worker = self._worker, None
        return worker.stop(timeout)

    def run(self, task_map: Mapping[str, type[Task]] | None = None) -> None:
        """Work until SIGTERM or SIGINT, then hand everything back; a second signal ends at once.

        Returns within 30 s of the signal, unless a task holds the event loop; what follows is the program's.
        With the setting `drain`, tasks first have that time to end, and a second signal ends it.
        `task_map` adds task classes by name.  If a run could not be stopped, the process exits with 70.
        """
        for name, cls in (task_map or {}).items():
            check_class(cls)
            schema.check(data_class(cls), cls.__qualname__)
            self.tasks = {**self.tasks, name: cls}
        collected = _collected.get()
        if collected is not None:
            collected.append(self)
            return
        if self.settings.hard_deadline is not False and init.alone():
            init.leave_init(fork_gevent)  # a script of its own as PID 1; with other threads it is refused
        use_own_resolver()
        # Of the program; those that are started from now on belong to tasks.
        kept, threads = leaving.children(), leaving.threads()
        with Signals(
            on_hangup=self._on_hangup(), on_quiet=self._be_quiet, patient=self.settings.drain > 0
        ) as signals:
            owners.note_all()
            calm_collector()  # before the start: what is frozen is seen by no look at all greenlets
            worker = self._start(signals.wake, hard=self.settings.hard_deadline is not False)
            if self._companion is not None:
                couriers = [lane.courier for lane in worker.lanes]
                self._companion.start(
                    couriers, self.settings.timing, worker.now,
                    on_stop=signals.wake, on_quiet=worker.be_quiet, on_hurry=signals.hurry,
                )  # fmt: skip
            attendant = self._attend(worker)
            if self._hangup is not None:
                self._hangup.end, self._hangup.told = signals.end, attendant
            signals.wait()
            attendant.leave(reload=signals.received == signal.SIGHUP)
            drain(worker, signals, self.settings.drain)
            log.info("signal received: handing %s back", counted(len(worker.living), "task"))
            self.ended_by = signals.received
            until = time.monotonic() + self.settings.timing.shutdown
            clean = self.stop()
            self.ended_by = signals.received  # SIGTERM may have come while a SIGHUP was carried out
            stuck = bool(worker.living)
            if self._companion is not None and clean and not stuck:
                self._companion.tell("left")  # else the supervisor lets a sibling release what is left
            self._leave_by(until, stuck, failed=worker.failed is not None)
            leaving.end_children(kept)
            leaving.name_threads(threads)
            attendant.end()
            worker.raise_failure()
            if signals.thrown is not None:
                raise signals.thrown
        if stuck:
            exit_now(EXIT_STUCK)
        log.info("all tasks handed back" if clean else "stopped; Redis does not know all of it yet")

    def __enter__(self) -> Self:
        """`with app:` is start() and stop()."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    @property
    def worker(self) -> Worker | None:
        """The running worker, for a look inside."""
        return self._worker

    def _be_quiet(self, quiet: bool) -> None:
        if self._worker is not None:
            self._worker.be_quiet(quiet)

    def _start(self, on_failed: Callable[[], None], *, hard: bool) -> Worker:
        if self._worker is not None:
            raise ConfigError("this app runs already")
        self.check_prestarted()
        if not _is_backend(self._source):
            require_patched()  # before the adapters import redis, which would then be named as the culprit
        self.settings = of_this_process(self.settings, self._made_in)
        prefix = self._companion.prefix if self._companion is not None else ""
        ports = WorkerPorts(hard_deadline=hard, prefix=prefix, on_failed=on_failed)
        worker = Worker(self._backends(), self.settings, self.tasks, self._prestart, ports)
        worker.start()
        self._worker = worker
        return worker

    def _on_hangup(self) -> Callable[[], None] | None:
        if self._companion is not None:
            return lambda: None  # the supervisor decides what a hangup means
        return self._hangup

    def _leave_by(self, until: float, stuck: bool, *, failed: bool) -> None:
        """Limit the rest: of a daemon, whose process ends now, and of one that a run would not leave."""
        if not stuck and self._hangup is None and self._companion is None:
            return
        # With 0, nobody would start the new code that SIGHUP asked for.
        code = EXIT_STUCK if stuck else int(failed or self.ended_by == signal.SIGHUP)
        leaving.leave_within(until - time.monotonic(), code)

    def _attend(self, worker: Worker) -> Attendant:
        tell = None if self._companion is None else self._companion.tell
        attendant = Attendant(worker, notifier=Notifier(), path=self._run_path, tell=tell)
        attendant.start()
        return attendant

    def _stop_later(self) -> None:
        def stop() -> None:
            self.stop()

        Service.spawn(stop)  # a service of the worker died: this is its own greenlet, or the hub

    def _backends(self) -> list[Backend]:
        count = self.settings.partitions
        return [self._backend()] if count == 1 else list(self._backend().partitions(count))

    def _backend(self) -> Backend:
        if _is_backend(self._source):
            if self.settings.durable_acks:
                raise ConfigError("durable_acks needs a Redis client or URL, not a backend of your own")
            backend: Backend = self._source
            return backend
        settings = self.settings
        return RedisBackend(
            given(self._source),
            namespace=settings.namespace,
            call_timeout=settings.timing.call_timeout,
            durable_acks=settings.durable_acks,
            redis_connections=settings.redis_connections,
            retention=Retention(
                ended=settings.keep_ended,
                error=settings.keep_error,
                stopped=settings.keep_stopped,
                history=settings.history,
            ),
        )


def _is_backend(source: Any) -> bool:
    return hasattr(source, "feed") and hasattr(source, "store")
