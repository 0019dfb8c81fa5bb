"""What runs need of the executor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from pytask.domain.lifecycle import Trigger
from pytask.domain.ports import Backend
from pytask.runtime.monitor import MonitorPorts
from pytask.runtime.runs.committer import Committer
from pytask.runtime.runs.coroutine_ports import CoroutineHost
from pytask.runtime.runs.native_threads import NativePool
from pytask.runtime.runs.saving import Saving
from pytask.runtime.runs.tally import Loop, Tally
from pytask.runtime.runs.task_log import Journal
from pytask.runtime.settings import Settings
from pytask.runtime.tree import LoopOwner


class TracingPort(Protocol):
    """Makes spans of runs; see `pytask.runtime.tracing`."""

    def began(self, run: Any) -> None:
        """`start()` is about to be called."""

    def over(self, run: Any, trigger: Trigger | None, error: BaseException | None) -> None:
        """A run is dead."""

    def loop(self, run: Any, plain: Loop) -> LoopOwner:
        """A `run_loop` whose rounds are spans."""


class RunHost(Protocol):
    """The part of the executor that runs use."""

    settings: Settings
    journal: Journal
    saving: Saving
    monitor_ports: MonitorPorts
    native: NativePool
    backend: Backend
    asyncio: CoroutineHost
    committer: Committer
    tally: Tally
    tracing: TracingPort | None
    took_data: Callable[[Any], None]
    """The data of a run was decoded; its bytes are needed only for a reload."""

    def check_caller(self, run: Any) -> None:
        """Raise unless this is the process and the thread of the event loop."""

    def emit(self, run: Any, event: bytes) -> None:
        """An event of a run; blocks while too many are pending."""

    def emit_later(self, run: Any, event: bytes) -> None:
        """As `emit`, without the wait: for a caller that waits elsewhere."""

    def flush(self, run: Any, needed: Callable[[], bool]) -> None:
        """Wait until Redis has the events of a run, while `needed()`."""

    def progress(self, run: Any, progress: dict[str, Any]) -> None:
        """The progress of a run; never blocks."""

    def wait_for_turn(self, run: Any) -> None:
        """Wait until the run may start, then start the clock of its timeout."""

    def began(self, run: Any) -> None:
        """`start()` of a reloaded run is about to be called."""

    def fail(self, run: Any) -> None:
        """A run failed, but greenlets of it are alive."""

    def lingers(self, run: Any) -> None:
        """`start()` has returned, and only threads of the run are alive."""

    def ended(self, run: Any) -> None:
        """A run is dead.  May be called from the hub: never blocks."""
