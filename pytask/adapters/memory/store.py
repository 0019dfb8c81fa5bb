"""The in-memory store: each verb does what its Lua script does, in the same order."""

from __future__ import annotations

from pytask.adapters.memory.control_verbs import ControlVerbs
from pytask.adapters.memory.monitor_verbs import MonitorVerbs
from pytask.adapters.memory.queue_verbs import QueueVerbs
from pytask.adapters.memory.reload_verbs import ReloadVerbs
from pytask.adapters.memory.run_verbs import RunVerbs
from pytask.adapters.memory.schedule_verbs import MemoryTimetable
from pytask.adapters.memory.state import MemoryState
from pytask.adapters.rules import RECORD_LEFT, Retention
from pytask.domain.figures import WorkerInfo


class MemoryStore(QueueVerbs, RunVerbs, ReloadVerbs, ControlVerbs, MonitorVerbs):
    """All verbs: those for tasks are inherited, those for workers are defined here."""

    def __init__(self, state: MemoryState, retention: Retention) -> None:
        super().__init__(state, retention)
        self.schedules = MemoryTimetable(state, retention)

    def announce(self, info: WorkerInfo) -> float | None:
        """Publish the figures of this worker; returns the seconds since any monitor swept."""
        state = self._state
        state.workers[info.session] = int(state.now())
        state.infos[info.session] = info
        return max(0.0, float(int(state.now()) - max(state.monitors.values()))) if state.monitors else None

    def recent_workers(self, within: float) -> list[WorkerInfo]:
        """The workers that reported in the last `within` seconds."""
        state = self._state
        now = int(state.now())
        return [state.infos[one] for one, at in state.workers.items() if abs(now - at) <= within]

    def leave(self, session: str) -> None:
        """Remove this worker's entry."""
        self._state.workers.pop(session, None)
        self._state.infos.pop(session, None)
        self._state.keep_claim(session, RECORD_LEFT)

    def ping(self, session: str) -> None:
        """Publish to the feed of that session."""
        self._state.publish(self._state.keys.ping_channel(session), b"ping")

    def databases(self) -> list[int]:
        """An empty list: a memory store has no db numbers."""
        return []

    def reset(self) -> None:
        """Nothing to drop."""

    close = reconnect = reset
