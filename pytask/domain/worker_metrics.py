"""The metrics of any number of workers, from the figures that they publish."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from pytask.domain.figures import MEASURED, WorkerInfo
from pytask.domain.metrics import Family, Kind, Labels, Metric, joined, known_values, merged, series_of

LABELLED = tuple(name for name, metric in MEASURED.items() if "function" in metric.labels)

Key = tuple[str, int, str, float, int]
"""Whose counters they are: host, pid, name and start of a worker, and the partition."""


@attrs.frozen
class Entry:
    """What a worker has published for one partition."""

    info: WorkerInfo
    partition: int = 0
    alive: bool = True  # False: it has been silent for a while

    @property
    def key(self) -> Key:
        """The same for as long as the counters last; a loss of the lease changes the session."""
        info = self.info
        return info.host, info.pid, info.name, info.started or 0.0, self.partition


def published(info: WorkerInfo) -> dict[str, Any]:
    """The part of its figures from which a worker's metrics are made, for JSON."""
    shown: dict[str, Any] = {
        "session": info.session, "name": info.name, "host": info.host, "pid": info.pid,
        "started": info.started, "functions": info.functions,
    }  # fmt: skip
    for name in MEASURED:
        value = getattr(info, name)
        shown[name] = attrs.asdict(value) if attrs.has(type(value)) else value
    return shown


class Totals:
    """Counters that never go back, although workers come and go.

    What a worker had counted when its entry was last seen stays in the totals.
    """

    def __init__(self) -> None:
        self._last: dict[Key, dict[str, Any]] = {}
        self._gone: dict[str, dict[Labels, Any]] = {}

    def families(self, entries: Iterable[Entry]) -> list[Family]:
        """The metrics of the workers that are alive, and the counters of all that ever were.

        Args:
            entries: Those of all workers that are known, also of silent ones; of two with the same key the
                newer one comes first.
        """
        newest: dict[Key, Entry] = {}
        for one in entries:
            newest.setdefault(one.key, one)
        current = {key: _counted(one.info) for key, one in newest.items()}
        for key in self._last.keys() - current.keys():
            self._bury(self._last[key])
        self._last = current
        alive = {key: one.info for key, one in newest.items() if one.alive}
        functions = {name for one in newest.values() for name in one.info.functions}
        functions |= {
            name for info in alive.values() for field in LABELLED for name in getattr(info, field) or ()
        }
        known = known_values(functions)
        return [self._family(field, metric, alive, known) for field, metric in MEASURED.items()]

    def _family(
        self, field: str, metric: Metric, alive: Mapping[Key, WorkerInfo], known: Mapping[str, Sequence[str]]
    ) -> Family:
        if metric.kind is Kind.GAUGE:
            # The partitions of a worker share its slots.
            values = {key[:-1] if metric.shared else key: getattr(info, field) for key, info in alive.items()}
            return Family(metric, merged(metric, values.values(), known))
        series = merged(metric, [values.get(field) for values in self._last.values()], known)
        for labels, number in self._gone.get(field, {}).items():
            series[labels] = joined(metric, series[labels], number) if labels in series else number
        return Family(metric, series)

    def _bury(self, values: Mapping[str, Any]) -> None:
        for field, value in values.items():
            metric, kept = MEASURED[field], self._gone.setdefault(field, {})
            for labels, number in series_of(metric, value):
                kept[labels] = joined(metric, kept[labels], number) if labels in kept else number


def _counted(info: WorkerInfo) -> dict[str, Any]:
    """What a worker has counted so far."""
    return {
        field: getattr(info, field)
        for field, metric in MEASURED.items()
        if metric.kind is not Kind.GAUGE and getattr(info, field) is not None
    }
