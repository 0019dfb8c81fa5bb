"""Shows this worker to others, and notices when nobody watches for dead ones."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from functools import cache
from itertools import accumulate

import attrs
import gevent

from pytask import files
from pytask.domain.errors import StoreError
from pytask.domain.figures import WorkerInfo
from pytask.domain.leases import Lease
from pytask.domain.ports import Store
from pytask.domain.task import secret_fields
from pytask.domain.version import __version__, may_share
from pytask.logger import get_logger
from pytask.runtime.process.cpu_usage import Load
from pytask.runtime.runs.executor import Executor
from pytask.runtime.runs.refusals import LARGE, Refusals
from pytask.runtime.store_proxy import Courier

log = get_logger(__name__)

LOOK_EVERY = 12  # heartbeats between two looks at the releases of the others


@attrs.frozen(kw_only=True)
class PresencePorts:
    """What the worker's entry is made from."""

    courier: Courier
    executor: Executor
    lease: Lease
    clock: Callable[[], float]
    session: Callable[[], str]
    wall: Callable[[], float] = time.time
    dropped: Callable[[], int] = lambda: 0  # events dropped because Redis was too slow
    held: Callable[[], float] = lambda: 0.0  # seconds without an answer to commits or claims
    refused: Callable[[], int] = lambda: 0  # tasks refused for their size
    closed: Callable[[], bool] = lambda: False  # told to take no tasks
    load: Load | None = None


class Presence:
    """An entry in `pytask:workers` every H.  Information only."""

    def __init__(self, ports: PresencePorts) -> None:
        self._courier = ports.courier
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
        self._refusals = Refusals()
        self._brief = False  # an entry with all functions was refused
        self._ended = False
        self._began: float | None = None
        self._warned = False
        self._shows = 0
        self._started = ports.wall()
        self._lag: float | None = None
        self._round_trip: float | None = None

    def run(self) -> None:
        """Show up until told to end."""
        while not self._ended:
            try:
                if self._load is not None:
                    self._load.look()
                self.show()
            except StoreError as error:
                log.debug("could not show up: %s", error)
            except Exception:
                log.exception("could not show up")
            self._nap()

    def _nap(self) -> None:
        # How late the loop comes back to one who sleeps is how late it comes to everybody.
        before = self._clock()
        gevent.sleep(self._timing.heartbeat)
        self._lag = max(0.0, self._clock() - before - self._timing.heartbeat)

    def end(self) -> None:
        """Let the loop end after what it is doing."""
        self._ended = True

    def info(self) -> WorkerInfo:
        """What there is to show at this moment."""
        known = self._executor.tasks
        names = tuple(sorted(known))
        return WorkerInfo(
            session=self._session(),
            name=self._executor.settings.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            running=len(self._executor.living),
            functions=_fitting(names) if self._brief else names,
            secret={name: found for name, cls in known.items() if (found := secret_fields(cls))},
            tasks=self._executor.queued,
            # No room to others that rebalance, while it takes nothing.
            max_tasks=0 if self._closed() else self._executor.settings.max_tasks,
            version=__version__,
            dropped=self._dropped(),
            task_logs=self._executor.settings.task_logs,
            started=round(self._started, 3),
            lag=None if self._lag is None else round(self._lag, 6),
            round_trip=None if self._round_trip is None else round(self._round_trip, 6),
            monitor=bool(self._executor.monitor_ports.here),
            expiry=self._timing.expiry,
            files=files.limit(),
            held=round(self._held(), 1),
            refused=self._refused_tasks(),
            kept_by=dict(self._executor.lingering.kept_by),
            stuck=self._executor.stopping.stuck,
            cpu=None if self._load is None else self._load.cpu,
            busiest=() if self._load is None else self._load.busiest,
        )

    def show(self) -> None:
        """One entry; warns once when no monitor swept for 3T, or when a release does not fit ours."""
        info = self.info()
        try:
            since = self._courier.call(lambda store: self._announce(store, info))
        except StoreError as error:
            self._refused(error)
            raise
        self._watch_monitors(since)
        if self._shows % LOOK_EVERY == 0:
            self.look()
        self._shows += 1

    def _announce(self, store: Store, info: WorkerInfo) -> float | None:
        # In the courier's greenlet: what waits there before us is no time of Redis.
        before = self._clock()
        since = store.announce(info)
        self._round_trip = self._clock() - before
        return since

    def _refused(self, error: StoreError) -> None:
        if not self._brief and self._refusals.refused(error, self._lease.last_ok, self._clock()):
            self._brief = True
            log.warning(
                "Redis refuses the entry of this worker in pytask:workers, which names its %d functions: it"
                " names only some of them from now on: %s", len(self._executor.tasks), error,
            )  # fmt: skip

    def look(self) -> None:
        """Warn, once for each, of workers of a release that is not made to share a Redis with ours."""
        within = 3 * self._timing.heartbeat + 1  # the times there are whole seconds
        for other in self._courier.call(lambda store: store.crew(within)):
            if not may_share(__version__, other.version):
                _warn_of(other.version, other.name, other.host)

    def _watch_monitors(self, since: float | None) -> None:
        now = self._clock()
        self._began = now if self._began is None else self._began
        silent = now - self._began if since is None else since
        if silent <= 3 * self._timing.expiry:
            self._warned = False
            return
        if self._shows % LOOK_EVERY == 0:
            self._courier.call(lambda store: store.retire())  # a monitor does this, where there is one
        if not self._warned:
            self._warned = True
            log.warning(
                "[PT093] no monitor has been seen for %.0f s: tasks of a dead worker are not handed on. Start"
                " one: app.add_task(Monitor); app.pre_start_task('pytask/monitor')",
                silent,
            )

    def leave(self) -> None:
        """Take the entry away."""
        session = self._session()
        self._courier.call(lambda store: store.leave(session))


def _fitting(names: tuple[str, ...]) -> tuple[str, ...]:
    """As many of these as an entry has room for that no size limit refuses."""
    ends = accumulate(6 * len(name) + 4 for name in names)  # as JSON has them at the most
    return names[: sum(end <= LARGE // 2 for end in ends)]


@cache  # a worker looks again and again, and so does each of its lanes
def _warn_of(version: str, name: str, host: str) -> None:
    log.warning(
        "[PT094] worker %r on %r runs pytask %r, and this one %s: these releases may not"
        " understand each other's tasks. Let one release take over from the other soon, or give them"
        " namespaces of their own",
        name[:80], host[:80], version, __version__,
    )  # fmt: skip
