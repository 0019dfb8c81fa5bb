"""A snapshot of a whole deployment in a few round trips, regardless of the number of tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from pytask.adapters import decoding
from pytask.client import queries
from pytask.client.operations import Now, Op, ask, ask_all
from pytask.client.partitions import Partitions
from pytask.client.records import Count, Worker
from pytask.domain.errors import StoreError
from pytask.domain.timing import Timing

INFO = ("server", "memory", "clients", "replication", "persistence", "keyspace")


@attrs.frozen(kw_only=True)
class Fleet:
    """The input of `status`, `top` and `doctor`."""

    count: Count
    workers: tuple[Worker, ...]  # one per process, with the sum of its sessions
    monitor: float | None  # seconds since any monitor swept; the oldest of all partitions; None: never
    server: Mapping[str, str]  # from INFO; empty if that is not allowed
    seconds: float  # one round trip
    clock: float = 0.0  # seconds that the clock of Redis is ahead of ours, where it was measured

    @property
    def swept_lately(self) -> bool:
        """Whether a monitor has swept so recently that one probably still runs."""
        return self.monitor is not None and self.monitor < 2 * Timing().sweep

    @property
    def alive(self) -> list[Worker]:
        """The workers that reported recently."""
        return [worker for worker in self.workers if worker.alive]


def read_fleet(
    partitions: Partitions, count: Count | None = None, sessions: Sequence[Worker] | None = None
) -> Op[Fleet]:
    """Read the snapshot; `count` and `sessions`: those of a moment ago, which are not read again."""
    sweeps = [
        (at, ("ZREVRANGE", keys.monitors, 0, 0, "WITHSCORES")) for at, keys in enumerate(partitions.keys)
    ]
    swept = yield from ask_all(sweeps)  # also connects, which must not be measured below
    began = yield Now()
    seconds, micros = yield from ask(0, ("TIME",))
    took = (yield Now()) - began
    now = int(seconds) + int(micros) / 1e6
    return Fleet(
        count=count or (yield from queries.count(partitions)),
        workers=together((yield from queries.workers(partitions)) if sessions is None else sessions),
        monitor=_oldest(swept, now),
        server=(yield from _info()),
        seconds=took,
    )


def together(sessions: Sequence[Worker]) -> tuple[Worker, ...]:
    """Merge the sessions of a worker, which has one per partition."""
    found: dict[tuple[str, int, str], Worker] = {}
    for worker in sessions:
        who = (worker.host, worker.pid, worker.name) if worker.pid else (worker.session, 0, "")
        same = found.get(who)
        if same is None:
            found[who] = worker
        elif same.partition != worker.partition:
            found[who] = attrs.evolve(
                same,
                running=same.running + worker.running,
                tasks=None if same.tasks is None or worker.tasks is None else same.tasks + worker.tasks,
                silent=min(same.silent, worker.silent),
                held=max(same.held, worker.held),
                embargo=max(same.embargo, worker.embargo),
                refused=same.refused + worker.refused,
                kept_by={**same.kept_by, **worker.kept_by},
                pausing={**same.pausing, **worker.pausing},
            )
        elif worker.silent < same.silent:
            found[who] = worker  # a new session of the same process, after a loss of Redis
    return tuple(sorted(found.values(), key=lambda worker: (worker.host, worker.name, worker.pid)))


def _oldest(swept: list[Any], now: float) -> float | None:
    times = []
    for reply in swept:
        if not reply:
            return None
        last = reply[0][1] if isinstance(reply[0], tuple | list) else reply[1]
        times.append(max(0.0, now - float(last)))
    return max(times)


def _info() -> Op[dict[str, str]]:
    try:
        parts = yield from ask_all([(0, ("INFO", section)) for section in INFO])
    except StoreError:
        return {}
    found: dict[str, str] = {}
    for part in parts:
        found.update(decoding.info(part))
    return found
