"""The metrics of the fleet: what its workers publish, and how many tasks there are by state and function.

States are counted by Redis.  By function they are known where workers tell them, where tasks are parked, and
for 1000 ids of the queue, of the timers and of each state at rest, whose hashes are read once.  All others
have the function "", such as those that wait for a limit or are paused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytask.adapters import decoding
from pytask.client import queries
from pytask.client.operations import Op, ask, ask_all
from pytask.client.partitions import Partitions
from pytask.client.records import Count, Worker
from pytask.client.task_records import FINISHED
from pytask.domain import lifecycle as life
from pytask.domain import metrics
from pytask.domain.lifecycle import State
from pytask.domain.metrics import Family, Labels
from pytask.domain.worker_metrics import Entry, Totals
from pytask.metrics import page

LOOKED = 1000  # ids of each place whose function is read
TOGETHER = 500  # of them in one round trip
KNOWN_MOST = 20_000  # ids whose function is remembered
UNKNOWN = ""  # the function of a task whose hash was not read


class FleetMetrics:
    """Reads the metrics; one object for one page, as it remembers the counters of workers that are gone."""

    def __init__(self) -> None:
        self._totals = Totals()
        self._known: dict[tuple[int, str], str] = {}

    def page(self, partitions: Partitions, accept: str = "") -> Op[tuple[bytes, str]]:
        """A page for Prometheus, and its content type."""
        page.require()
        return page.write((yield from self.families(partitions)), accept)

    def families(self, partitions: Partitions) -> Op[list[Family]]:
        """What the page shows now."""
        workers = yield from queries.workers(partitions)
        counted = yield from queries.count(partitions)
        age = yield from _oldest_lease(partitions)
        tasks = yield from self._tasks(partitions, counted, workers)
        entries = (Entry(worker, worker.partition, worker.alive) for worker in workers)
        own: dict[str, Mapping[Labels, Any]] = {metrics.TASKS.name: tasks, metrics.LEASE_AGE.name: {(): age}}
        found = self._totals.families(entries)
        return [Family(one.metric, own.get(one.metric.name, one.series)) for one in found]

    def _tasks(
        self, partitions: Partitions, counted: Count, workers: Sequence[Worker]
    ) -> Op[dict[Labels, int]]:
        """How many tasks there are, by state and function."""
        by_state: dict[State, Counter[str]] = {state: Counter() for state in State}
        for worker in workers:
            by_state[life.RUNNING].update(worker.runs or {} if worker.alive else {})
        by_state[life.WAIT].update(counted.parked)
        for partition in range(len(partitions.keys)):
            waiting = yield from _waiting(partitions, partition)
            by_state[life.WAIT].update((yield from self._functions(partitions, partition, waiting)))
            for state in FINISHED:
                ids = yield from _newest(partitions, partition, state)
                by_state[state].update((yield from self._functions(partitions, partition, ids - waiting)))
        names = {name for worker in workers for name in worker.functions}
        found: dict[Labels, int] = {(state, name): 0 for state in State for name in sorted(names)}
        for state, functions in by_state.items():
            found |= {(state, name): count for name, count in functions.items()}
            rest = counted.states[state] - functions.total()
            found[state, UNKNOWN] = max(0, rest) + functions[UNKNOWN]
        return found

    def _functions(self, partitions: Partitions, partition: int, ids: Iterable[str]) -> Op[Counter[str]]:
        """How many of these ids have which function."""
        wanted = [(partition, task_id) for task_id in ids]
        new = [one for one in wanted if one not in self._known]
        if len(self._known) + len(new) > KNOWN_MOST:
            self._known, new = {}, wanted
        keys, known = partitions.keys[partition], self._known
        for at in range(0, len(new), TOGETHER):
            part = new[at : at + TOGETHER]
            hashes = [decoding.raw_of(keys.task(task_id)) for _, task_id in part]
            names = yield from ask_all(
                [(partition, ("HGET", key, "function")) for key in hashes], tolerant=True
            )
            for one, name in zip(part, names, strict=True):
                known[one] = decoding.shown(name) if isinstance(name, bytes | str) else UNKNOWN
        return Counter(known.get(one, UNKNOWN) for one in wanted)


def _waiting(partitions: Partitions, partition: int) -> Op[set[str]]:
    """The ids in the queue and in the timers, at most 1000 of each."""
    queued, _ = yield from queries.standing(partitions, partition, LOOKED // 2)
    timers = yield from ask(partition, ("ZREVRANGE", partitions.keys[partition].timers, -LOOKED, -1))
    return {*queued, *map(decoding.text, timers)}


def _newest(partitions: Partitions, partition: int, state: State) -> Op[set[str]]:
    found = yield from ask(partition, ("ZREVRANGE", partitions.keys[partition].index(state), 0, LOOKED - 1))
    return set(map(decoding.text, found))


def _oldest_lease(partitions: Partitions) -> Op[float]:
    """Seconds since the oldest renewal of all runs, by the clock of Redis."""
    oldest = 0.0
    for partition, keys in enumerate(partitions.keys):
        (seconds, micros), first = yield from ask_all(
            [(partition, ("TIME",)), (partition, ("ZREVRANGE", keys.leases, -1, -1, "WITHSCORES"))]
        )
        for _, renewed in decoding.pairs(first):
            oldest = max(oldest, int(seconds) + int(micros) / 1e6 - float(renewed) / 1e6)
    return round(oldest, 3)
