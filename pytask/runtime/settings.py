"""The settings of an app.  Each has its meaning, unit and default here, and is validated when built."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any, TypedDict

import attrs

from pytask.domain.errors import ConfigError
from pytask.domain.task_log import RING_MOST
from pytask.domain.timing import Timing


def _positive(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{field.name} must be a whole number of 1 or more, not {value!r}")


def _count(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigError(f"{field.name} must be a whole number of 0 or more, not {value!r}")


def _ring(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= RING_MOST:
        raise ConfigError(f"{field.name} is a number of lines up to {RING_MOST}, 0 for none, not {value!r}")


def _limit(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value <= 0):
        raise ConfigError(f"{field.name} is in seconds above 0, or None for no watch, not {value!r}")


def _rate(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")
    if value is not None and not fits:
        raise ConfigError(f"{field.name} is a number a second above 0, or None, not {value!r}")


def _seconds_or_none(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise ConfigError(f"{field.name} is in whole seconds: 0 for at once, None for never, not {value!r}")


def _seconds(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")
    if not fits:
        raise ConfigError(f"{field.name} is in seconds, 0 for none, not {value!r}")


def _default_name(pid: int | None = None) -> str:
    return f"{socket.gethostname()}-{pid or os.getpid()}"


@attrs.frozen(kw_only=True)
class Settings:
    """How one app behaves."""

    namespace: str = attrs.field(default="", validator=attrs.validators.instance_of(str))
    """In front of every key and channel; "" gives the documented names.  A cluster needs "{tag}:"."""

    partitions: int = attrs.field(default=1, validator=_positive)
    """Independent parts of the namespace, each in a slot of its own, so that the load spreads over the
    nodes of a cluster.  Producers push to `pytask.partition_of(id, partitions)`; see docs/cluster.md."""

    name: str = attrs.field(factory=_default_name, validator=attrs.validators.min_len(1))
    """What people call this worker; host and pid by default."""

    max_tasks: int = attrs.field(default=10_000, validator=_positive)
    """Tasks that run at once here; a full worker leaves ids in the queue."""

    redis_connections: int = attrs.field(default=64, validator=_positive)
    """Connections that `self.redis` of all tasks here shares; those of blocking calls come on top."""

    blocking_threads: int = attrs.field(default=32, validator=_positive)
    """Native threads, at the most, that run what tasks here give to `self.blocking()`; others wait."""

    max_data: int = attrs.field(default=16 * 1024 * 1024, validator=_positive)
    """Bytes of `data`, of an output, of an event; a larger one is an ERROR of that task."""

    max_pending: int = attrs.field(default=10_000, validator=_positive)
    """Events that may wait for Redis, when it is slow or away; see `when_full`."""

    max_pending_bytes: int = attrs.field(default=64 * 1024 * 1024, validator=_positive)
    """Bytes of events that may wait for Redis; see `when_full`."""

    when_full: str = attrs.field(default="wait", validator=attrs.validators.in_(("wait", "drop")))
    """What `emit` does when so many wait: "wait" for room, so that no event is lost, or "drop" the oldest,
    so that a task never waits for Redis; those dropped are counted, in the log and in `pytask:workers`.
    Events of pytask's own (started, ended, ...) are never dropped."""

    keep_ended: int | None = attrs.field(default=7 * 86400, validator=_seconds_or_none)
    """Seconds that the hash of an ENDED task is kept."""

    keep_error: int | None = attrs.field(default=30 * 86400, validator=_seconds_or_none)
    """Seconds that the hash of a task in ERROR is kept."""

    keep_stopped: int | None = attrs.field(default=None, validator=_seconds_or_none)
    """Seconds that the hash of a STOPPED task is kept; for ever by default."""

    history: int = attrs.field(default=16, validator=_count)
    """Moves that a task's hash remembers, in its field `history`; 0 writes none.

    A task that was only claimed and ended has none: its other fields say that.
    """

    task_logs: int = attrs.field(default=0, validator=_ring)
    """Lines of its log that each task keeps in Redis: what is logged (`logging`) inside of it, and what it
    writes to `sys.stdout` and `sys.stderr`, as `print()` does; 0 keeps none.

    A line costs time and memory there, and what is secret in it can be read by whoever reads Redis.
    """

    keep_logs: int = attrs.field(default=7 * 86400, validator=_positive)
    """Seconds that the lines of a task's log are kept after the last of them."""

    progress: bool = attrs.field(default=True, validator=attrs.validators.instance_of(bool))
    """Send what tasks say with `self.progress(done, total, note)`; False makes that do nothing."""

    hard_deadline: bool | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.instance_of(bool))
    )
    """Let the kernel end the process when it could not renew for lease + grace, and end it when a run
    cannot be stopped.  On in `run()` and in the daemon, off in an app that is embedded by `start()`
    (None): without it, one run at a time holds only while the event loop turns."""

    block_limit: float | None = attrs.field(default=0.5, validator=_limit)
    """Seconds a task may hold the event loop before it is named in the log; None does not watch."""

    rebalance: float | None = attrs.field(default=None, validator=_rate)
    """Runs a second, at the most, that go back to the queue while others have more room; None: none do."""

    start_rate: float | None = attrs.field(default=None, validator=_rate)
    """Tasks a second, at the most, that this worker starts; the others stay in the queue. None: no limit."""

    drain: float = attrs.field(default=0.0, validator=_seconds)
    """Seconds that tasks have to end by themselves when the worker is to end: it takes no more then, and
    hands back what still runs.  0: hands back at once.  In `run()` and in the daemon, not in `app.stop()`."""

    slow_sweep: bool = attrs.field(default=False, validator=attrs.validators.instance_of(bool))
    """The monitor also scans for hashes whose registry entry was lost (at most 1000 keys a second)."""

    embargo: bool | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.instance_of(bool))
    )
    """Take no task for 80 s (`Timing.embargo`) after another server took over, while owners put back the
    runs it does not know of: None where acknowledged writes may be lost, True always, False never."""

    on_data_loss: str = attrs.field(default="stop", validator=attrs.validators.in_(("stop", "restore")))
    """What becomes of running tasks when Redis comes back without any data: "stop" stops them, "restore"
    stops them and then queues them again, with the data they were claimed with."""

    durable_acks: int = attrs.field(default=0, validator=_count)
    """Replicas that must have a claim or a renewal before it counts; with fewer, tasks stop as if Redis
    were lost."""

    timing: Timing = attrs.field(factory=Timing, validator=attrs.validators.instance_of(Timing))
    """The times of the protocol."""


def of_this_process(settings: Settings, made_in: int) -> Settings:
    """With the default name of this process, where they have that of the process that they were made in."""
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
    slow_sweep: bool
    embargo: bool | None
    on_data_loss: str
    durable_acks: int
    timing: Timing


def settings_of(values: dict[str, Any]) -> Settings:
    """`Settings(**values)`; raises :class:`ConfigError` that lists the names there are."""
    known = [field.name for field in attrs.fields(Settings)]
    wrong = sorted(set(values) - set(known))
    if wrong:
        raise ConfigError(f"no such setting: {', '.join(wrong)}; there are {', '.join(known)}")
    try:
        return Settings(**values)
    except (TypeError, ValueError) as error:
        raise ConfigError(str(error)) from None


def changed(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """With other values; raises :class:`ConfigError`."""
    return settings_of({**attrs.asdict(settings, recurse=False), **values}) if values else settings
