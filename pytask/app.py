"""PyTask: joins the adapters and the runtime."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self, Unpack

import attrs

from pytask import codec, schema
from pytask.adapters.redis.address import UNSET, Unset, given
from pytask.adapters.redis.backend import BackendOptions, RedisBackend
from pytask.adapters.rules import Retention
from pytask.domain import schedules
from pytask.domain.errors import BadSchedule, ConfigError, UnknownTask
from pytask.domain.ports import Backend
from pytask.domain.schedules import Options
from pytask.domain.task import Task
from pytask.domain.task_class import check_class, register, task_name
from pytask.domain.task_config import data_class
from pytask.logger import get_logger
from pytask.runtime.foreground import Daemon, Foreground
from pytask.runtime.process import life_lock
from pytask.runtime.process.life_lock import OFF, Life, Unusable
from pytask.runtime.process.patched import require_patched
from pytask.runtime.services.schedules import Defined
from pytask.runtime.settings import Settings, SettingsGiven, changed, of_this_process, settings_of
from pytask.runtime.tree import Service
from pytask.runtime.worker import Worker, WorkerPorts

log = get_logger(__name__)

_collected: ContextVar[list[PyTask] | None] = ContextVar("_collected", default=None)


@contextmanager
def collect_runs() -> Iterator[list[PyTask]]:
    """Within this context, `PyTask.run()` only appends the app to the yielded list and returns.

    `pytask run FILE` imports files in it: a file that ends in `app.run()` is imported completely, and the
    daemon then runs that app with its own flags.
    """
    apps: list[PyTask] = []
    token = _collected.set(apps)
    try:
        yield apps
    finally:
        _collected.reset(token)


class PyTask:
    """A worker and the tasks it can run.  Several apps in one process share nothing.

    Args:
        source: A client that is compatible with redis-py's, a URL (`redis://`, `rediss://`, `unix://`), or a
            backend such as `pytask.testing.MemoryBackend`.  Default: $PYTASK_REDIS_URL, else
            $REDIS_URL, else redis://127.0.0.1:6379/0.
        **settings: The fields of `pytask.Settings`.

    Raises:
        ConfigError: A setting that does not exist or has an invalid value.
        UnsupportedClient: A client, or a version of one, that pytask cannot use.
    """

    def __init__(self, source: Any = UNSET, **settings: Unpack[SettingsGiven]) -> None:
        self.settings: Settings = settings_of({**settings})
        self.tasks: dict[str, type[Task]] = {}
        self._made_in = os.getpid()  # servers such as `gunicorn --preload` fork later
        self._source = source
        self._prestart: list[tuple[str, bytes]] = []
        self._schedules: list[Defined] = []
        self._worker: Worker | None = None
        self._origin = ""  # the origin of the address, in words
        if not isinstance(source, str | Unset):
            self._backend()  # an unusable client is refused now, not later

    # -- tasks ----------------------------------------------------------------------------------------

    def add_task(self, *classes: type[Task]) -> None:
        """Let this app run these task classes.

        Args:
            *classes: Subclasses of `pytask.Task`, each with a unique `Config.NAME`.

        Raises:
            BadTaskClass: A class that cannot run, or a second class with the same name; the message has the
                fix.
        """
        tasks = register(self.tasks, *classes)
        for cls in classes:
            schema.check(data_class(cls), cls.__qualname__)
        self.tasks = tasks
        for cls in classes if self._worker is not None else ():
            log.warning("task %r was added after the start: this worker does not run it", task_name(cls))

    def pre_start_task(self, name: str, task_data: Any = None) -> None:
        """Run a task on this worker for the lifetime of the worker, without the queue.

        Args:
            name: The `Config.NAME` of its class, which may be added before or after this call.
            task_data: Any JSON object, or an instance of `Config.DATA`.

        Raises:
            BadData: Data that JSON cannot represent.
        """
        raw = codec.encode(schema.plain(task_data), f"the data of pre-started task {name!r}")
        self._prestart.append((name, raw))

    def every(
        self, seconds: float, task: type[Task] | str, data: Any = None, **options: Unpack[Options]
    ) -> None:
        """Start a task at an interval, once for the whole fleet, even if workers die.

        The schedule is stored when a worker starts.  Occurrences are counted from 1970-01-01T00:00Z, so a
        restart or a new release does not move them.

        Args:
            seconds: The interval, from 1 second.
            task: Its class, which is added to this app if need be, or its name.
            data: Any JSON object, or an instance of `Config.DATA`.
            **options: See `cron`; `tz` goes with that only.

        Raises:
            BadSchedule: An invalid or unknown option; the message has the fix.
            BadData: Data that does not fit.
        """
        self._schedule(task, data, every=seconds, **options)

    def cron(
        self, expression: str, task: type[Task] | str, data: Any = None, **options: Unpack[Options]
    ) -> None:
        """Start a task at the times of a cron expression, once for the whole fleet.

        Args:
            expression: Minute, hour, day of month, month, day of week, such as "0 3 * * *".
            task: Its class, which is added to this app if need be, or its name.
            data: Any JSON object, or an instance of `Config.DATA`.
            **options: `name` of the schedule, which is also the id of its task (default: the task's name);
                `tz`, the time zone ("UTC"); `jitter`, seconds by which a start is delayed at most (0);
                `overlap`, what happens while the last run goes on: "skip" (default), "queue", "allow",
                "replace"; `missed`, what happens with times at which no worker was there: "once" (default),
                "skip", "all"; `deadline`, seconds after its time until which an occurrence may start.

        Raises:
            BadSchedule: An invalid or unknown option; the message has the fix.
            BadData: Data that does not fit.
        """
        self._schedule(task, data, cron=expression, **options)

    def _schedule(self, task: type[Task] | str, data: Any, **options: Any) -> None:
        schedules.check_order(task, **options)
        function = task if isinstance(task, str) else task_name(task)
        name = options.pop("name", None) or function
        found = schedules.made(name, function, **options)
        if any(one.schedule.name == name for one in self._schedules):
            raise BadSchedule(
                f"schedule {name!r} is defined twice in this code: give one of the two another name, such as"
                f" name={name + '-2'!r}"
            )
        if not isinstance(task, str) and self.tasks.get(function) is not task:
            self.add_task(task)
        from pytask.client.enqueue import payload  # the client takes 1 MB, and most workers need none

        raw = payload(task, data, self.settings.max_data)
        self._schedules.append(Defined(schedule=found, data=raw))

    def copy(self, source: Any, **settings: Unpack[SettingsGiven]) -> PyTask:
        """An app with the same tasks, pre-started tasks and schedules, for another Redis.

        Args:
            source: As in `PyTask(source)`.
            **settings: The fields of `pytask.Settings` to change.
        """
        made = PyTask(source)
        made.settings = changed(self.settings, {**settings})
        made.tasks = {**self.tasks}
        made._prestart, made._schedules = [*self._prestart], [*self._schedules]
        return made

    def configure(self, source: Any = None, *, origin: str = "", **settings: Unpack[SettingsGiven]) -> None:
        """Change the address or settings before the start, as the flags of `pytask run` do.

        Args:
            source: As in `PyTask(source)`; None keeps the current one.
            origin: Where the address came from, for messages, such as "from --redis".
            **settings: The fields of `pytask.Settings` to change.

        Raises:
            ConfigError: The app is running, or a setting is invalid.
        """
        if self._worker is not None:
            raise ConfigError("the app is already running: configure it before start()")
        if source is not None:
            self._source = source
        self.settings = changed(self.settings, {**settings})
        self._origin = origin or self._origin

    @property
    def chose_address(self) -> bool:
        """Whether it was created with a client, URL or backend."""
        return self._source is not UNSET

    @property
    def address(self) -> str:
        """The address of Redis, without a password.

        Raises:
            ConfigError: The source cannot be an address.
        """
        return self._backend().describe()

    @property
    def prestarted(self) -> list[str]:
        """The names of the tasks that start with the worker."""
        return [name for name, _ in self._prestart]

    @property
    def prestart(self) -> list[tuple[str, bytes]]:
        """The tasks that start with the worker, with their data."""
        return [*self._prestart]

    @property
    def schedules(self) -> list[Defined]:
        """The schedules that the code defines."""
        return [*self._schedules]

    def check_prestarted(self) -> None:
        """Check that each pre-started task has a class.

        Raises:
            UnknownTask: One has none.
        """
        missing = [name for name in self.prestarted if name not in self.tasks]
        if missing:
            known = ", ".join(sorted(self.tasks)) or "none"
            raise UnknownTask(
                f"pre_start_task({missing[0]!r}): no such task; add_task was called for: {known}"
            )

    # -- running ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the worker inside your program and return; `stop()` ends it.

        The kernel timer is off in this form unless `hard_deadline=True` (see `pytask.Settings`).

        Raises:
            NotPatched: gevent has not patched this process.
            UnknownTask: A pre-started task has no class.
            ConfigError: The app is running already.
            Denied: A wrong password, or missing rights.  While Redis is unreachable, the worker waits.
            SharedChannels: A worker with another db number of this Redis uses the same namespace.
        """
        hard = bool(self.settings.hard_deadline)
        self.start_with(WorkerPorts(hard_deadline=hard, on_failed=self._stop_later))

    def stop(self, timeout: float | None = None) -> bool:
        """Release all tasks and stop the worker.

        Args:
            timeout: The maximum duration in seconds; default `Timing.shutdown`, 25 s.

        Returns:
            Whether every task was released in time.  True if the app was not running.
        """
        if self._worker is None:
            return True
        worker, self._worker = self._worker, None
        return worker.stop(timeout)

    def run(self, task_map: Mapping[str, type[Task]] | None = None) -> None:
        """Run until SIGTERM or SIGINT, then release all tasks; a second signal exits at once.

        Returns within 30 s of the signal unless a task blocks the event loop.  With the setting `drain`,
        tasks first get this many seconds to end; a second signal then ends the drain.  If a run
        cannot be stopped, the process exits with 70.

        Args:
            task_map: Further task classes by name.

        Raises:
            BadTaskClass: A class of `task_map` that cannot run.
            NotPatched: gevent has not patched this process.
            UnknownTask: A pre-started task has no class.
            ConfigError: The app is running already.
        """
        for name, cls in (task_map or {}).items():
            check_class(cls)
            schema.check(data_class(cls), cls.__qualname__)
            self.tasks = {**self.tasks, name: cls}
        collected = _collected.get()
        if collected is not None:
            collected.append(self)
            return
        self.serve(Daemon())

    def serve(self, daemon: Daemon) -> int | None:
        """`run()` with the options of a daemon; returns the signal that ended it, if any."""
        return Foreground(self.settings, daemon, start=self.start_with, stop=self.stop).run()

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
        """The running worker, for inspection."""
        return self._worker

    def start_with(self, ports: WorkerPorts) -> Worker:
        """`start()` in a process of this kind; returns the worker."""
        if self._worker is not None:
            raise ConfigError("this app is already running")
        self.check_prestarted()
        if not _is_backend(self._source):
            require_patched()  # before the adapters import redis, which would be reported as the cause
        self.settings = of_this_process(self.settings, self._made_in)
        backends = self._backends()
        # What is kept in the memory of a process dies with it.
        life = _hold_lock(self.settings) if any(one.cooperative for one in backends) else Life()
        ports = attrs.evolve(ports, schedules=tuple(self._schedules), life=life)
        worker = Worker(backends, self.settings, self.tasks, self._prestart, ports)
        worker.start()
        self._worker = worker
        return worker

    def _stop_later(self) -> None:
        def stop() -> None:
            self.stop()

        Service.spawn(stop)  # a service of the worker died: this is its greenlet, or the hub

    def _backends(self) -> list[Backend]:
        count = self.settings.partitions
        return [self._backend()] if count == 1 else list(self._backend().partitions(count))

    def _backend(self) -> Backend:
        if _is_backend(self._source):
            if self.settings.durable_acks:
                raise ConfigError("durable_acks needs a Redis client or URL, not a custom backend")
            backend: Backend = self._source
            return backend
        return _redis_backend(given(self._source), self.settings, self._origin)


def _is_backend(source: Any) -> bool:
    return hasattr(source, "feed") and hasattr(source, "store")


def _redis_backend(source: Any, settings: Settings, origin: str) -> RedisBackend:
    retention = Retention(
        ended=settings.keep_ended,
        error=settings.keep_error,
        stopped=settings.keep_stopped,
        history=settings.history,
    )
    options = BackendOptions(
        namespace=settings.namespace,
        call_timeout=settings.timing.call_timeout,
        durable_acks=settings.durable_acks,
        redis_connections=settings.redis_connections,
        origin=origin,
        retention=retention,
    )
    return RedisBackend(source, options)


def _hold_lock(settings: Settings) -> Life:
    try:
        return Life(life_lock.hold(settings.runtime_dir))
    except Unusable as error:
        if settings.runtime_dir != OFF:
            log.log(
                logging.WARNING if settings.runtime_dir else logging.INFO,
                "[PT184] the death of this process can be known by silence only (%g s), as it has no lock"
                    " file: %s", settings.timing.expiry, error,
            )  # fmt: skip
        return Life(reason=str(error))
