"""The settings of an app, each with its meaning, unit and default, validated on construction."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any, TypedDict

import attrs

from pytask.domain.errors import ConfigError
from pytask.domain.metrics import listen_address
from pytask.domain.task_log import RING_MOST
from pytask.domain.timing import LEASE, Timing


def _positive(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{field.name} must be a whole number of 1 or more, not {value!r}")


def _count(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigError(f"{field.name} must be a whole number of 0 or more, not {value!r}")


def _ring(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= RING_MOST:
        raise ConfigError(
            f"{field.name} must be a number of lines up to {RING_MOST}, 0 for none, not {value!r}"
        )


def _limit(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value <= 0):
        raise ConfigError(
            f"{field.name} must be a number of seconds above 0, or None to disable it, not {value!r}"
        )


def _rate(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")
    if value is not None and not fits:
        raise ConfigError(f"{field.name} must be a number per second above 0, or None, not {value!r}")


def _seconds_or_none(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise ConfigError(f"{field.name} must be whole seconds (0: at once, None: never), not {value!r}")


def _seconds(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")
    if not fits:
        raise ConfigError(f"{field.name} must be a number of seconds, 0 for none, not {value!r}")


def _place(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        raise ConfigError(f"{field.name} must be a text such as '9100' or '0.0.0.0:9100', not {value!r}")
    listen_address(value)


def _default_name(pid: int | None = None) -> str:
    return f"{socket.gethostname()}-{pid or os.getpid()}"


@attrs.frozen(kw_only=True)
class Settings:
    """The settings of one app."""

    namespace: str = attrs.field(default="", validator=attrs.validators.instance_of(str))
    """Prefix of every key and channel; "" gives the documented names.  A cluster needs "{tag}:"."""

    partitions: int = attrs.field(default=1, validator=_positive)
    """Number of partitions of the namespace, each in its own hash slot, which spread the load over the nodes
    of a cluster.  Producers push to `pytask.partition_of(id, partitions)`; see docs/cluster.md."""

    name: str = attrs.field(factory=_default_name, validator=attrs.validators.min_len(1))
    """Display name of this worker; host and pid by default."""

    max_tasks: int = attrs.field(default=10_000, validator=_positive)
    """Maximum number of concurrent tasks; a full worker leaves ids in the queue."""

    redis_connections: int = attrs.field(default=64, validator=_positive)
    """Connections that `self.redis` of all tasks shares; blocking calls use additional ones."""

    blocking_threads: int = attrs.field(default=32, validator=_positive)
    """Maximum number of native threads for `self.blocking()`; further calls wait."""

    max_data: int = attrs.field(default=16 * 1024 * 1024, validator=_positive)
    """Maximum size in bytes of data, of an output, and of an event; a larger one makes the task an ERROR."""

    max_pending: int = attrs.field(default=10_000, validator=_positive)
    """Maximum number of events that wait for a slow or unreachable Redis; see `when_full`."""

    max_pending_bytes: int = attrs.field(default=64 * 1024 * 1024, validator=_positive)
    """Maximum size in bytes of the events that wait for Redis; see `when_full`."""

    when_full: str = attrs.field(default="wait", validator=attrs.validators.in_(("wait", "drop")))
    """What `emit` does at these limits: "wait" for room, so that no event is lost, or "drop" the oldest
    events, so that a task never waits for Redis; dropped events are counted in the log and in
    `pytask:workers`. Lifecycle events (started, ended, ...) are never dropped."""

    keep_ended: int | None = attrs.field(default=7 * 86400, validator=_seconds_or_none)
    """Retention of the hash of an ENDED task, in seconds."""

    keep_error: int | None = attrs.field(default=30 * 86400, validator=_seconds_or_none)
    """Retention of the hash of a task in ERROR, in seconds."""

    keep_stopped: int | None = attrs.field(default=None, validator=_seconds_or_none)
    """Retention of the hash of a STOPPED task, in seconds; forever by default."""

    history: int = attrs.field(default=16, validator=_count)
    """Number of transitions stored in the hash field `history`; 0 stores none.

    A task that was only claimed and ended has none; its other fields contain the same information.
    """

    task_logs: int = attrs.field(default=0, validator=_ring)
    """Number of log lines of each task stored in Redis: its log records (`logging`) and its output to
    `sys.stdout` and `sys.stderr`, such as that of `print()`; 0 stores none.

    Lines cost time and memory in Redis, and secrets in them are visible to all users with access to Redis.
    """

    keep_logs: int = attrs.field(default=7 * 86400, validator=_positive)
    """Retention of a task's log lines, in seconds after the last line."""

    progress: bool = attrs.field(default=True, validator=attrs.validators.instance_of(bool))
    """Whether `self.progress(done, total, note)` is sent; False makes it a no-op."""

    hard_deadline: bool | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.instance_of(bool))
    )
    """Let the kernel end the process if it could not renew its leases for lease + grace, and end it if a run
    cannot be stopped.  None (default): on in `run()` and in the daemon, off in an app that is embedded with
    `start()`.  Without it, at most one run at a time is guaranteed only while the event loop responds."""

    block_limit: float | None = attrs.field(default=0.5, validator=_limit)
    """Seconds for which a task may block the event loop before it is logged; None disables the check."""

    rebalance: float | None = attrs.field(default=None, validator=_rate)
    """Maximum number of runs per second that are released to less loaded workers; None: none."""

    start_rate: float | None = attrs.field(default=None, validator=_rate)
    """Maximum number of tasks started per second; the rest stay in the queue. None: no limit."""

    drain: float = attrs.field(default=0.0, validator=_seconds)
    """Seconds to wait at shutdown for tasks to end by themselves; the worker claims no more tasks, and then
    releases the rest.  0: release at once.  Applies to `run()` and the daemon, not to `app.stop()`."""

    metrics: str | None = attrs.field(default=None, validator=_place)
    """Where `/metrics` is served for Prometheus: a port, for this machine only, or HOST:PORT.  None: on the
    health socket only.  Needs the extra `pytaskd[metrics]`; with `--processes` the supervisor serves one page
    for all.  Applies to `run()` and the daemon."""

    traces: bool = attrs.field(default=False, validator=attrs.validators.instance_of(bool))
    """Whether runs make spans of OpenTelemetry: at their start, for each round of `run_loop`, and at their
    end.  Needs the extra `pytaskd[otel]`; see docs/traces.md."""

    samples: bool = attrs.field(default=True, validator=attrs.validators.instance_of(bool))
    """Whether the monitor keeps samples of the fleet's figures for the last hour and the last day, which the
    page draws: 648 lines, 60 KB in Redis."""

    slow_sweep: bool = attrs.field(default=False, validator=attrs.validators.instance_of(bool))
    """Whether the monitor also scans for hashes without a registry entry (at most 1000 keys per second)."""

    embargo: bool | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.instance_of(bool))
    )
    """Whether to claim no tasks for 80 s (`Timing.embargo`) after a failover, while owners restore the runs
    that the new server lost: None if acknowledged writes may be lost, True always, False never."""

    runtime_dir: str | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.min_len(1))
    )
    """Directory of the lock files by which workers of one machine prove that another has died: of the user,
    mode 0700, on a local file system.  None: in $RUNTIME_DIRECTORY, in $XDG_RUNTIME_DIR, or in the directory
    for temporary files; "off": no locks, so that a death is known by silence only."""

    on_data_loss: str = attrs.field(default="stop", validator=attrs.validators.in_(("stop", "restore")))
    """What to do with running tasks if Redis returns without its data: "stop" stops them, "restore" stops
    them and then queues them again with the data of their claims."""

    durable_acks: int = attrs.field(default=0, validator=_count)
    """Number of replicas that must confirm a claim or a renewal before it counts; with fewer, tasks stop as
    if Redis were lost."""

    failover: float = attrs.field(default=LEASE, validator=lambda _, __, value: Timing.for_failover(value))
    """Seconds without Redis after which a worker stops its tasks, from 15 to 60; the times after which the
    tasks of a dead worker continue elsewhere follow from it.  See docs/failover.md."""

    _timing: Timing = attrs.field(
        factory=Timing, validator=attrs.validators.instance_of(Timing), alias="timing"
    )
    """The times of the protocol as given; `timing` has those in force."""

    def __attrs_post_init__(self) -> None:
        """Refuse a failover beside times of one's own."""
        given = self._timing
        standard = attrs.evolve(Timing().scaled(given.scale), shutdown=given.shutdown)
        if self.failover != LEASE and given != standard:
            raise ConfigError(
                f"failover={self.failover:g} and timing={given} were both given, but each sets the lease and"
                " what follows from it: leave one of them out"
            )

    @property
    def timing(self) -> Timing:
        """The times of the protocol; those that follow from `failover` unless others are given."""
        given = self._timing
        if self.failover == LEASE:
            return given
        return attrs.evolve(Timing.for_failover(self.failover).scaled(given.scale), shutdown=given.shutdown)


def of_this_process(settings: Settings, made_in: int) -> Settings:
    """The settings with this process's default name, if they have that of their creator."""
    if os.getpid() == made_in or settings.name != _default_name(made_in):
        return settings
    return attrs.evolve(settings, name=_default_name())


class SettingsGiven(TypedDict, total=False):
    """The fields of `Settings` as keyword arguments, for type checkers."""

    namespace: str
    partitions: int
    name: str
    max_tasks: int
    redis_connections: int
    blocking_threads: int
    max_data: int
    max_pending: int
    max_pending_bytes: int
    when_full: str
    keep_ended: int | None
    keep_error: int | None
    keep_stopped: int | None
    history: int
    task_logs: int
    keep_logs: int
    progress: bool
    hard_deadline: bool | None
    block_limit: float | None
    rebalance: float | None
    start_rate: float | None
    drain: float
    metrics: str | None
    traces: bool
    samples: bool
    slow_sweep: bool
    embargo: bool | None
    runtime_dir: str | None
    on_data_loss: str
    durable_acks: int
    failover: float
    timing: Timing


def _arguments() -> list[tuple[str, str]]:
    """The keyword argument and the attribute of each setting."""
    return [(field.alias or field.name, field.name) for field in attrs.fields(Settings)]


def settings_of(values: dict[str, Any]) -> Settings:
    """`Settings(**values)`; raises :class:`ConfigError` that lists the valid names."""
    known = [argument for argument, _ in _arguments()]
    wrong = sorted(set(values) - set(known))
    if wrong:
        raise ConfigError(f"no such setting: {', '.join(wrong)}; settings: {', '.join(known)}")
    try:
        return Settings(**values)
    except (TypeError, ValueError) as error:
        raise ConfigError(str(error)) from None


def changed(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """The settings with other values; raises :class:`ConfigError`."""
    now = {argument: getattr(settings, name) for argument, name in _arguments()}
    return settings_of({**now, **values}) if values else settings
