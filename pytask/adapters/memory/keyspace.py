"""The data of the in-memory store under the names that it has in Redis: what the commands of clients read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import attrs

from pytask.adapters.decoding import raw_of
from pytask.adapters.memory.state import MemoryState, encoded
from pytask.domain.lifecycle import RESTING, State

Hash = dict[str, bytes]
Scores = dict[str, float]
Value = Hash | list[bytes] | Scores | set[str] | bytes | None


class Keyspace:
    """Finds the value of a key: a hash, a list, a sorted set or a set; None if there is none.

    All but the hash of a task are copies.
    """

    def __init__(self, state: MemoryState) -> None:
        self._state = state
        keys, own = state.keys, state.keys.own
        self._fixed: dict[str, Callable[[], Value]] = {
            keys.queue: self._queue,
            keys.runs: lambda: _texts(state.runs),
            keys.leases: lambda: _scores(state.leases),
            keys.incarnation: lambda: _texts(state.incarnation),
            keys.workers: lambda: _scores(state.workers),
            keys.worker_info: self._infos,
            keys.monitors: lambda: _scores(state.monitors),
            keys.rejected: lambda: list(state.rejected),
            keys.parked: lambda: {name for name, ids in state.parking.items() if ids},
            keys.timers: lambda: _scores(state.timers),
            keys.paused: lambda: set(state.paused),
            keys.paused_functions: lambda: set(state.paused_functions),
            keys.schedules: lambda: _scores(state.schedules),
            keys.limits: lambda: _texts(state.slots.limits),
            keys.groups: lambda: _scores(state.slots.groups),
            keys.runners: lambda: _texts(state.slots.runners),
            keys.limited: lambda: set(state.slots.limited),
        }
        self._fixed |= {keys.index(at): self._index(at) for at in RESTING}
        self._families: dict[str, Callable[[str], Value]] = {
            f"{own}parked:": lambda name: list(state.parking.get(name, ())),
            f"{own}occurrences:": lambda name: list(state.occurrences.get(name, ())),
            f"{own}slots:": lambda name: set(state.slots.taken.get(name, ())),
            f"{own}group:": lambda name: _scores(state.slots.lines.get(name, {})),
            f"{own}rated:": lambda name: _scores(state.slots.rated.get(name, {})),
            f"{own}samples:": lambda name: _texts(
                {str(at): one for at, one in state.samples.get(name, {}).items()}
            ),
            f"{own}log:": lambda name: list(state.ring(name)),
        }

    def value(self, key: str) -> Value:
        """The value of a key."""
        fixed = self._fixed.get(key)
        if fixed is not None:
            return fixed() or None
        for prefix, read in self._families.items():
            if key.startswith(prefix):
                return read(key.removeprefix(prefix)) or None
        return self._state.value(key)

    def hashes(self) -> list[str]:
        """The keys of all hashes of tasks and schedules."""
        return [key for key in list(self._state.values) if isinstance(self._state.value(key), dict)]

    def _queue(self) -> list[bytes]:
        return list(self._state.queue)

    def _index(self, state: State) -> Callable[[], Scores]:
        return lambda: _scores(self._state.index[state])

    def _infos(self) -> Hash:
        return {name: json.dumps(attrs.asdict(info)).encode() for name, info in self._state.infos.items()}


def _texts(found: Mapping[str, object]) -> Hash:
    return {
        name: raw_of(value) if isinstance(value, str) else encoded(value) for name, value in found.items()
    }


def _scores(found: Mapping[str, float]) -> Scores:
    return {name: float(score) for name, score in found.items()}
