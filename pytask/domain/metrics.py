"""What Prometheus reads: the metrics of workers, made from their figures.

`pytask.domain.figures` says which figure is which metric.  A page is made from the figures of any number of
workers: of one, of the children of a supervisor, or of a fleet.  No label contains an id, so the number of
series does not grow with the number of tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import product
from typing import Any, Final

import attrs

from pytask.domain.errors import ConfigError

Labels = tuple[str, ...]

QUICK: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets of what should take no time, in seconds."""
ROUND: Final = (0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0)
"""Those of the rounds of loops."""
TAKEOVER: Final = (0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 90.0, 120.0, 180.0, 300.0)
"""Those of takeovers: at once where a death is proven, else after the expiry."""


class RestartReason(StrEnum):
    """Why a task runs once more: the values of the label `reason`."""

    FAILURE = "failure"  # by its policy, after a failure
    TIMEOUT = "timeout"  # by its policy, after `Config.TIMEOUT`
    END = "end"  # by its policy, after an end
    RELOAD = "reload"  # with new data, or because it was asked for
    ROLLBACK = "rollback"  # with the old data, as its run failed with the new
    RELEASE = "release"  # its worker was stopped, or lost Redis
    MOVE = "move"  # another worker had more room
    DEATH = "death"  # its worker died


STARTED: Final = "started"
"""Beside the reasons why one is skipped: what becomes of an occurrence, the values of the label `outcome`."""


@attrs.frozen
class Histogram:
    """Measurements by their size: `counts` has one entry for each bucket, and one for what is above all."""

    counts: tuple[int, ...]
    sum: float = 0.0

    def plus(self, other: Histogram) -> Histogram:
        """Both together; without the other if its buckets are those of another release."""
        if len(other.counts) != len(self.counts):
            return self
        both = tuple(mine + its for mine, its in zip(self.counts, other.counts, strict=True))
        return Histogram(both, self.sum + other.sum)


class Kind(StrEnum):
    """The types of Prometheus that are used."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@attrs.frozen(kw_only=True)
class Metric:
    """How a figure is shown to Prometheus."""

    name: str  # a counter without its suffix `_total`
    text: str
    kind: Kind = Kind.GAUGE
    labels: Labels = ()  # those that the figure has; two: it is an object of objects
    running: bool = False  # it has a label `state`, whose only value a worker knows
    merge: Callable[[Iterable[float]], float] = sum  # of several workers
    shared: bool = False  # the partitions of a worker share it, so it counts once
    buckets: tuple[float, ...] = ()

    @property
    def shown_labels(self) -> Labels:
        """The names of the labels of a series."""
        return ("state", *self.labels) if self.running else self.labels


@attrs.frozen
class Family:
    """A metric and its series: the values of its labels, and what was measured."""

    metric: Metric
    series: Mapping[Labels, Any]


# -- the list: referred to by `pytask.domain.figures` -------------------------------------------------------

TASKS = Metric(
    name="pytask_tasks",
    text="Tasks by state; a worker knows those that it runs, the page of the fleet knows all.",
    labels=("function",),
    running=True,
)
LEASE_AGE = Metric(
    name="pytask_lease_age_seconds",
    text="Time since the last acknowledged renewal of the run that was renewed least recently.",
    merge=max,
)
TAKEOVERS = Metric(
    name="pytask_takeover_seconds",
    text="From the last renewal of a run whose worker died to the next claim of its task.",
    kind=Kind.HISTOGRAM,
    buckets=TAKEOVER,
)
RESTARTS = Metric(
    name="pytask_restarts", text="Runs that followed a run of the same task, by the reason.",
    kind=Kind.COUNTER, labels=("function", "reason"),
)  # fmt: skip
BACKING_OFF = Metric(
    name="pytask_tasks_backing_off", text="Tasks whose next run waits for the delay of their restart policy."
)
SLOTS = Metric(
    name="pytask_slots", text="Room for runs from the queue; 0 while a worker takes none.", shared=True
)
SLOTS_USED = Metric(name="pytask_slots_used", text="Runs from the queue.")
LOOP_LAG = Metric(
    name="pytask_loop_lag_seconds", text="How late the event loop was, the last time.", merge=max
)
ROUND_AGE = Metric(
    name="pytask_round_age_seconds",
    text="Time since the last round of a `run_loop` began, of the one that has turned least recently.",
    labels=("function",), merge=max,
)  # fmt: skip
ROUNDS = Metric(
    name="pytask_round_seconds", text="Duration of the rounds of `run_loop`.",
    kind=Kind.HISTOGRAM, buckets=ROUND,
)  # fmt: skip
STARTS = Metric(
    name="pytask_start_latency_seconds", text="From the answer to a claim to the call of `start()`.",
    kind=Kind.HISTOGRAM, buckets=QUICK,
)  # fmt: skip
TIMERS_LATE = Metric(
    name="pytask_timers_due_late_seconds",
    text="How late delayed tasks were queued: the latest one of each batch.",
    kind=Kind.HISTOGRAM, buckets=QUICK,
)  # fmt: skip
FIRES = Metric(
    name="pytask_schedule_fires", text="Occurrences of schedules, by what became of them.",
    kind=Kind.COUNTER, labels=("outcome",),
)  # fmt: skip
REDIS = Metric(name="pytask_redis_seconds", text="Time that Redis took to answer, the last time.", merge=max)
DROPPED = Metric(
    name="pytask_events_dropped", text="Events that Redis did not take fast enough.", kind=Kind.COUNTER
)


# -- values -------------------------------------------------------------------------------------------------


def known_values(functions: Iterable[str]) -> Mapping[str, Sequence[str]]:
    """All values of each label, so that every series exists before anything has happened."""
    from pytask.domain.schedules import Reason  # most clients need neither schedules nor metrics

    return {"function": sorted(functions), "reason": list(RestartReason), "outcome": [STARTED, *Reason]}


def zeros(metric: Metric, known: Mapping[str, Sequence[str]]) -> dict[Labels, Any]:
    """The series of a metric before anything has happened."""
    zero = Histogram((0,) * (len(metric.buckets) + 1)) if metric.kind is Kind.HISTOGRAM else 0
    own = product(*(known[label] for label in metric.labels))
    return {(*_state(metric), *labels): zero for labels in own}


def series_of(metric: Metric, value: Any) -> Iterator[tuple[Labels, Any]]:
    """The series in one figure of one worker; only those of which it has something."""
    if value is None:
        return
    for labels, number in _flat(value, len(metric.labels)):
        yield (*_state(metric), *labels), number


def _state(metric: Metric) -> Labels:
    from pytask.domain.lifecycle import RUNNING  # a supervisor needs it for a page only

    return (RUNNING,) if metric.running else ()


def _flat(value: Any, depth: int) -> Iterator[tuple[Labels, Any]]:
    if not depth:
        yield (), value
        return
    for name, inner in value.items():
        for labels, number in _flat(inner, depth - 1):
            yield (name, *labels), number


def merged(metric: Metric, values: Iterable[Any], known: Mapping[str, Sequence[str]]) -> dict[Labels, Any]:
    """The series of a metric, from the same figure of several workers."""
    found: dict[Labels, Any] = {}
    for value in values:
        for labels, number in series_of(metric, value):
            before = found.get(labels)
            found[labels] = number if before is None else joined(metric, before, number)
    total = zeros(metric, known)
    for labels, number in found.items():
        zero = total.get(labels)
        # A histogram with the buckets of another release cannot be shown with ours.
        total[labels] = zero.plus(number) if isinstance(zero, Histogram) else number
    return total


def joined(metric: Metric, one: Any, other: Any) -> Any:
    """One value of two."""
    if isinstance(one, Histogram):
        return one.plus(other)
    return metric.merge((one, other))


# -- where ---------------------------------------------------------------------------------------------------

LOOPBACK: Final = "127.0.0.1"
HIGHEST_PORT: Final = 65535


def listen_address(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`; a port alone means this machine only.  Raises `ConfigError`."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    if not (port.isascii() and port.isdigit() and int(port) <= HIGHEST_PORT) or host == "*":
        raise ConfigError(
            f"metrics must be a port, or HOST:PORT, not {text!r}: such as 9100 for this machine only, or"
            " 0.0.0.0:9100 for all who can reach it"
        )
    return host or LOOPBACK, int(port)
