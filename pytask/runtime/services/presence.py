"""Publishes this worker's entry, and warns if no monitor is running."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from functools import cache
from itertools import accumulate
from typing import Any, TypeVar

import attrs
import gevent
import msgspec

from pytask import files, schema
from pytask.domain.errors import StoreError
from pytask.domain.figures import WorkerInfo
from pytask.domain.leases import Lease
from pytask.domain.ports import Store
from pytask.domain.restarts import policy_text
from pytask.domain.task import Task
from pytask.domain.task_config import data_class, ignores_unknown, restart_policy, secret_fields
from pytask.domain.version import OLDER, PROTOCOL, __version__, is_older_protocol, may_share
from pytask.logger import get_logger
from pytask.runtime.process.cpu_usage import Load
from pytask.runtime.process.life_lock import Life
from pytask.runtime.runs.executor import Executor
from pytask.runtime.runs.refusals import LARGE, Refusals
from pytask.runtime.store_proxy import StoreProxy
from pytask.zones import zone_data

log = get_logger(__name__)

T = TypeVar("T")

SCHEMA, SCHEMAS = 4096, 32_768  # bytes: of one function, of all
LOOK_EVERY = 12  # heartbeats between two checks of the other workers' releases


@attrs.frozen(kw_only=True)
class PresencePorts:
    """The ports of the presence service."""

    store_proxy: StoreProxy
    executor: Executor
    lease: Lease
    clock: Callable[[], float]
    session: Callable[[], str]
    wall: Callable[[], float] = time.time
    dropped: Callable[[], int] = lambda: 0  # number of events dropped because Redis was too slow
    held: Callable[[], float] = lambda: 0.0  # seconds without an answer to commits or claims
    refused: Callable[[], int] = lambda: 0  # tasks refused for their size
    closed: Callable[[], bool] = lambda: False  # whether claims are paused
    load: Load | None = None
    life: Life = attrs.Factory(Life)
    schedules: Callable[[], Mapping[str, str]] = dict  # those that the code defines, with their digests


@attrs.frozen(kw_only=True)
class _Classes:
    """What an entry tells of the task classes."""

    of: Mapping[str, type[Task]]
    names: tuple[str, ...]
    secret: Mapping[str, tuple[str, ...]]  # the secret fields of their data
    schemas: Mapping[str, Mapping[str, Any]]
    restarts: Mapping[str, str]  # their policies, in words


class Presence:
    """Publishes an entry in `pytask:workers` every heartbeat: for people, and for proofs of its death."""

    def __init__(self, ports: PresencePorts) -> None:
        self._store_proxy = ports.store_proxy
        self._executor = ports.executor
        self._lease = ports.lease
        self._timing = ports.lease.timing
        self._clock = ports.clock
        self._session = ports.session
        self._dropped = ports.dropped
        self._held = ports.held
        self._refused_tasks = ports.refused
        self._closed = ports.closed
        self._load = ports.load
        self._schedules = ports.schedules
        self._life = ports.life
        self._zones = str(zone_data())
        self._refusals = Refusals()
        self._brief = False  # an entry with all functions was refused
        self._ended = False
        self._began: float | None = None
        self._warned = False
        self._shows = 0
        self._started = ports.wall()
        self._lag: float | None = None
        self._round_trip: float | None = None
        self._facts: _Classes | None = None

    def run(self) -> None:
        """Run until stopped."""
        while not self._ended:
            try:
                if self._load is not None:
                    self._load.look()
                self.show()
            except StoreError as error:
                log.debug("could not publish the worker's entry: %s", error)
            except Exception:
                log.exception("could not publish the worker's entry")
            self._nap()

    def _nap(self) -> None:
        # The delay of this sleep is the lag of the event loop.
        before = self._clock()
        gevent.sleep(self._timing.heartbeat)
        self._lag = max(0.0, self._clock() - before - self._timing.heartbeat)

    def end(self) -> None:
        """Stop after the current step."""
        self._ended = True

    def info(self) -> WorkerInfo:
        """The current figures."""
        classes = self._classes()
        tally, renewed = self._executor.tally, self._lease.living.oldest()
        return WorkerInfo(
            session=self._session(),
            name=self._executor.settings.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            lock=self._life.mark,
            unlocked=self._life.reason,
            running=len(self._executor.living),
            functions=_fitting(classes.names) if self._brief else classes.names,
            schedules=None if self._brief else tuple(self._schedules()),
            definitions={} if self._brief else self._schedules(),
            zones=self._zones,
            secret=classes.secret,
            schemas={} if self._brief else classes.schemas,
            restarts=classes.restarts,
            limits=dict(self._executor.rules),
            tasks=self._executor.queued,
            # While claims are paused, report no room to workers that rebalance.
            max_tasks=0 if self._closed() else self._executor.settings.max_tasks,
            version=__version__,
            protocol=PROTOCOL,
            dropped=self._dropped(),
            task_logs=self._executor.settings.task_logs,
            started=round(self._started, 3),
            lag=None if self._lag is None else round(self._lag, 6),
            round_trip=None if self._round_trip is None else round(self._round_trip, 6),
            monitor=bool(self._executor.monitor_ports.here),
            expiry=self._timing.expiry,
            files=files.limit(),
            held=round(self._held(), 1),
            embargo=round(max(0.0, self._lease.embargo_until - self._clock()), 1),
            refused=self._refused_tasks(),
            runs=self._shown({name: count for name, count in tally.runs.items() if count}),
            lease_age=0.0 if renewed is None else round(max(0.0, self._clock() - renewed), 3),
            takeovers=tally.takeovers.found,
            restarted=self._shown({name: dict(counts) for name, counts in tally.restarts.items()}),
            backing_off=tally.backing_off,
            round_age=self._shown(tally.round_age),
            rounds=tally.rounds.found,
            starts=tally.starts.found,
            timers_late=tally.timers_late.found,
            fires=dict(tally.fires),
            kept_by=dict(self._executor.lingering.kept_by),
            pausing=self._executor.pauses.whereabouts,
            stuck=self._executor.stopping.stuck,
            cpu=None if self._load is None else self._load.cpu,
            busiest=() if self._load is None else self._load.busiest,
        )

    def _classes(self) -> _Classes:
        """The facts of the entry about the task classes, rebuilt only when they change."""
        known = self._executor.tasks
        if self._facts is None or self._facts.of != known:
            self._facts = _Classes(
                of=dict(known),
                names=tuple(sorted(known)),
                secret={name: found for name, cls in known.items() if (found := secret_fields(cls))},
                schemas=_schemas(known),
                restarts=_policies(known),
            )
        return self._facts

    def _shown(self, by_function: dict[str, T]) -> dict[str, T]:
        """What an entry has of this, after one that named all functions was refused for its size."""
        if not self._brief:
            return by_function
        fitting = set(_fitting(self._classes().names))
        return {name: value for name, value in by_function.items() if name in fitting}

    def show(self) -> None:
        """Publish one entry; warns once if no monitor swept lately, or of incompatible releases."""
        info = self.info()
        try:
            since = self._store_proxy.call(lambda store: self._announce(store, info))
        except StoreError as error:
            self._refused(error)
            raise
        self._watch_monitors(since)
        if self._shows % LOOK_EVERY == 0:
            self.look()
        self._shows += 1

    def _announce(self, store: Store, info: WorkerInfo) -> float | None:
        # Measured in the proxy's greenlet, to exclude the time spent waiting for other calls.
        before = self._clock()
        since = store.announce(info)
        self._round_trip = self._clock() - before
        return since

    def _refused(self, error: StoreError) -> None:
        if not self._brief and self._refusals.refused(error, self._lease.last_ok, self._clock()):
            self._brief = True
            log.warning(
                "Redis refuses this worker's entry in pytask:workers, which lists its %d functions; from now"
                    " on the entry lists only some of them: %s", len(self._executor.tasks), error,
            )  # fmt: skip

    def look(self) -> None:
        """Warn once of each worker with an incompatible release."""
        within = 3 * self._timing.slowest_heartbeat + 1  # report times are whole seconds
        for other in self._store_proxy.call(lambda store: store.recent_workers(within)):
            if not may_share(__version__, other.version):
                _warn_of(other.version, other.name, other.host)
            elif other.version and is_older_protocol(other.protocol):
                _warn_of_protocol(other.protocol, other.name, other.host)

    def _watch_monitors(self, since: float | None) -> None:
        now = self._clock()
        self._began = now if self._began is None else self._began
        silent = now - self._began if since is None else since
        if silent <= 3 * self._timing.expiry:
            self._warned = False
            return
        if self._shows % LOOK_EVERY == 0:
            self._store_proxy.call(lambda store: store.retire())  # a monitor does this, if there is one
        if not self._warned:
            self._warned = True
            log.warning(
                "[PT093] no monitor has swept for %.0f s: tasks of a dead worker are not requeued. Start"
                " one: app.add_task(Monitor); app.pre_start_task('pytask/monitor')",
                silent,
            )

    def leave(self) -> None:
        """Remove the entry."""
        session = self._session()
        self._store_proxy.call(lambda store: store.leave(session))


def _policies(known: Mapping[str, type[Task]]) -> dict[str, str]:
    """The restart policies of classes that have one, in words."""
    found = {name: restart_policy(cls) for name, cls in known.items()}
    return {name: policy_text(one) for name, one in found.items() if one is not None and one.on != "never"}


def _schemas(known: Mapping[str, type[Task]]) -> dict[str, Mapping[str, Any]]:
    """What the data of functions must fit, as much as an entry that is sent every few seconds may hold."""
    found: dict[str, Mapping[str, Any]] = {}
    room = SCHEMAS
    for name, cls in sorted(known.items()):
        shown = _schema_of(data_class(cls), unknown=ignores_unknown(cls))
        if shown is not None and shown[1] <= min(room, SCHEMA):
            room -= shown[1]
            found[name] = shown[0]
    return found


@cache  # with each entry
def _schema_of(into: Any, *, unknown: bool) -> tuple[Mapping[str, Any], int] | None:
    """The schema of a data class, and its size as JSON."""
    made = schema.json_schema(into, unknown=unknown)
    return None if made is None else (made, len(msgspec.json.encode(made)))


def _fitting(names: tuple[str, ...]) -> tuple[str, ...]:
    """As many of these names as fit into an entry that no size limit refuses."""
    ends = accumulate(6 * len(name) + 4 for name in names)  # the maximum size of the name in JSON
    return names[: sum(end <= LARGE // 2 for end in ends)]


@cache  # each partition checks repeatedly
def _warn_of(version: str, name: str, host: str) -> None:
    log.warning(
        "[PT094] worker %r on %r runs pytask %r, but this one runs %s: the releases may be"
            " incompatible. Upgrade the older workers soon, or give the two releases separate"
            " namespaces",
        name[:80], host[:80], version, __version__,
    )  # fmt: skip


@cache
def _warn_of_protocol(protocol: str, name: str, host: str) -> None:
    log.warning(
        "[PT167] worker %r on %r speaks wire protocol %s, and this one %s: %s. Upgrade it before you use"
            " delays, restarts or schedules",
        name[:80], host[:80], protocol or "1.0", PROTOCOL, OLDER,
    )  # fmt: skip
