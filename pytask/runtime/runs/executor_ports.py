"""What the table of runs needs."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Protocol

import attrs

from pytask.domain.control import StopReason
from pytask.domain.leases import Lease
from pytask.domain.ports import Backend
from pytask.domain.restarts import Retry
from pytask.domain.task import Task
from pytask.runtime.process.host import exit_now
from pytask.runtime.process.kill_timer import KillTimer
from pytask.runtime.runs.committer import Committer
from pytask.runtime.runs.coroutine_ports import CoroutineHost
from pytask.runtime.runs.native_threads import NativePool
from pytask.runtime.runs.run_host import TracingPort
from pytask.runtime.runs.start_rate import Turns
from pytask.runtime.runs.tally import Tally
from pytask.runtime.settings import Settings
from pytask.runtime.store_proxy import StoreProxy


class Ids(Protocol):
    """Makes the run ids of a worker session."""

    id: str
    """The session."""

    def next_run(self) -> str:
        """A new unique run id."""

    def reserve(self, count: int) -> int:
        """Reserve this many numbers for runs `<id>:<number>`; returns the one before them."""


@attrs.frozen(kw_only=True)
class ExecutorPorts:
    """The ports of an executor."""

    settings: Settings
    lease: Lease
    committer: Committer
    store_proxy: StoreProxy
    kill_timer: KillTimer
    tasks: Mapping[str, type[Task]]
    turns: Turns
    native: NativePool
    asyncio: CoroutineHost
    backend: Backend
    ids: Ids
    clock: Callable[[], float]
    on_place: Callable[[], None]  # a run is over and its slot is free
    # A pre-started task ended: its id, the last stop reason, and the restart that follows.
    on_local_over: Callable[[str, StopReason | None, Retry | None], None]
    uniform: Callable[[float, float], float] = random.uniform
    tally: Tally = attrs.Factory(Tally)
    tracing: TracingPort | None = None
    exit_process: Callable[[int], None] = exit_now
