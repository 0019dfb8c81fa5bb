"""The figures that a worker publishes, each declared once: name, unit, meaning, parser, and metric.

This list defines the worker's registry entry, how other workers and clients read it, the rows of
`pytask workers` and `pytask top`, what `/metrics` shows, and the table in docs/protocol.md.  A new figure
needs one field here and one line in `pytask.runtime.services.presence` that measures it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import attrs

from pytask.domain import metrics
from pytask.domain.limits import Rule
from pytask.domain.metrics import Histogram, Metric

T = TypeVar("T")

LONGEST_MEASURE = 1e12  # seconds; larger values are invalid
LONGEST_VERSION = 40  # characters
ITSELF: Final = "figure"  # the key of a figure in the metadata of its field


# -- parsers: the JSON is untrusted, so every value is checked; None is an invalid value ---------------------


def whole(value: Any) -> int | None:
    """A whole number of 0 or more."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def measure(value: Any) -> float | None:
    """A number of seconds, or another measure of 0 or more."""
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LONGEST_MEASURE
    return float(value) if fits else None


def word(value: Any) -> str | None:
    """A text."""
    return value if isinstance(value, str) else None


def flag(value: Any) -> bool | None:
    """True or false."""
    return value if isinstance(value, bool) else None


def words(value: Any) -> tuple[str, ...] | None:
    """A list of texts."""
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else None


def texts(value: Any) -> dict[str, str] | None:
    """An object of texts."""
    found = value.items() if isinstance(value, dict) else ()
    return {name: text for name, text in found if isinstance(text, str)}


def _wholes(value: Any) -> dict[str, int] | None:
    """An object of whole numbers."""
    return _object(value, whole)


def _nested_wholes(value: Any) -> dict[str, dict[str, int]] | None:
    return _object(value, _wholes)


def _measures(value: Any) -> dict[str, float] | None:
    return _object(value, measure)


def _object(value: Any, read: Callable[[Any], T | None]) -> dict[str, T] | None:
    if not isinstance(value, dict):
        return None
    return {name: found for name, one in value.items() if (found := read(one)) is not None}


def _schemas(value: Any) -> dict[str, Mapping[str, Any]] | None:
    rows = value.items() if isinstance(value, dict) else ()
    return {name: schema for name, schema in rows if isinstance(schema, dict)}


def _histogram(value: Any) -> Histogram | None:
    if not isinstance(value, dict):
        return None
    total, shown = measure(value.get("sum")), value.get("counts")
    counts = [whole(one) for one in shown] if isinstance(shown, list) else []
    valid = tuple(one for one in counts if one is not None)
    fits = total is not None and valid and len(valid) == len(counts)
    return Histogram(valid, total or 0.0) if fits else None


def _fields(value: Any) -> dict[str, tuple[str, ...]] | None:
    rows = value.items() if isinstance(value, dict) else ()
    return {name: found for name, fields in rows if (found := words(fields))}


def _version(value: Any) -> str | None:
    return value[:LONGEST_VERSION] if isinstance(value, str) else None


@attrs.frozen
class Busy:
    """A task that used much of its worker's time."""

    id: str
    function: str
    share: float  # fraction of the time of one core
    turns: int = 0  # how often it was resumed during the measurement


def _busiest(value: Any) -> tuple[Busy, ...] | None:
    rows = [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
    return tuple(
        Busy(
            id=word(one.get("id")) or "",
            function=word(one.get("function")) or "",
            share=measure(one.get("share")) or 0.0,
            turns=whole(one.get("turns")) or 0,
        )
        for one in rows
    )


def _rules(value: Any) -> dict[str, Rule] | None:
    rows = value.items() if isinstance(value, dict) else ()
    return {name: _rule(one) for name, one in rows if isinstance(one, dict)}


def _rule(shown: dict[str, Any]) -> Rule:
    rate = shown.get("rate")
    pair = (whole(rate[0]), measure(rate[1])) if isinstance(rate, list) and len(rate) > 1 else (None, None)
    return Rule(
        limit=whole(shown.get("limit")),
        group_limit=whole(shown.get("group_limit")),
        rate=(pair[0], pair[1]) if pair[0] and pair[1] else None,
        path=words(shown.get("path")) or (),
    )


# -- the list -----------------------------------------------------------------------------------------------


@attrs.frozen
class Figure:
    """The parser of a figure, its meaning, its unit and its column ("" for none), and its metric."""

    read: Callable[[Any], Any]
    text: str
    unit: str = ""
    column: str = ""
    metric: Metric | None = None


def _figure(
    read: Callable[[Any], Any], text: str, unit: str = "", column: str = "", metric: Metric | None = None
) -> dict[str, Figure]:
    return {ITSELF: Figure(read, text, unit, column, metric)}


@attrs.frozen(kw_only=True)
class WorkerInfo:
    """The figures that a worker publishes.  They are informational; only rebalancing uses them, and `lock`
    says whose death a free lock proves.

    They are stored in each partition as JSON with these names, in field `session` of the hash
    `pytask:workers:info`; the score in the zset `pytask:workers` is the Redis time of the last report, in
    seconds.  A worker reports every heartbeat and removes its entry when it shuts down.  Readers treat a
    worker with an old score as silent.  Other releases publish more or fewer figures; None means not
    published.
    """

    session: str = attrs.field(metadata=_figure(word, "identifier, new for each start of a worker"))
    name: str = attrs.field(default="", metadata=_figure(word, "its display name"))
    host: str = attrs.field(default="", metadata=_figure(word, "name of its machine"))
    pid: int = attrs.field(default=0, metadata=_figure(whole, "process id on that machine"))
    version: str = attrs.field(default="", metadata=_figure(_version, "release of pytask"))
    protocol: str = attrs.field(
        default="", metadata=_figure(_version, 'version of the wire protocol; "" before 1.1')
    )
    functions: tuple[str, ...] = attrs.field(default=(), metadata=_figure(words, "functions that it runs"))
    secret: Mapping[str, tuple[str, ...]] = attrs.field(
        factory=dict,
        metadata=_figure(_fields, "function: the fields of its data that readers mask (`Config.SECRET`)"),
    )
    schemas: Mapping[str, Mapping[str, Any]] = attrs.field(
        factory=dict,
        metadata=_figure(
            _schemas,
            "function: JSON Schema of its data (`Config.DATA`), for clients that check data before they send"
            " it; large ones are left out",
        ),
    )
    schedules: tuple[str, ...] | None = attrs.field(
        default=None, metadata=_figure(words, "names of the schedules that its code defines")
    )
    definitions: Mapping[str, str] = attrs.field(
        factory=dict,
        metadata=_figure(texts, "name of such a schedule: a digest of its definition, to compare code with"),
    )
    zones: str = attrs.field(
        default="", metadata=_figure(word, "the time zone data that it reads: release, and where from")
    )
    restarts: Mapping[str, str] = attrs.field(
        factory=dict,
        metadata=_figure(
            texts, "function: what its policy does after a failure (`Config.RESTART`), in words"
        ),
    )
    limits: Mapping[str, Rule] = attrs.field(
        factory=dict,
        metadata=_figure(
            _rules,
            "function: the limits of its class (`Config.LIMIT`, `GROUP_LIMIT`, `RATE`, `GROUP`), as `limit`,"
            " `group_limit`, `rate` and `path`",
        ),
    )
    lock: str = attrs.field(
        default="",
        metadata=_figure(
            word,
            "the file that its process has locked: boot id, device, inode, token; spaces between",
        ),
    )
    unlocked: str = attrs.field(
        default="",
        metadata=_figure(word, "why it has no such lock; its death is then known by silence"),
    )
    running: int = attrs.field(default=0, metadata=_figure(whole, "its runs, pre-started tasks included"))
    tasks: int | None = attrs.field(
        default=None,
        metadata=_figure(whole, "those of its runs that came from the queue", metric=metrics.SLOTS_USED),
    )
    max_tasks: int | None = attrs.field(
        default=None,
        metadata=_figure(whole, "room for runs from the queue, 0 while it takes none", metric=metrics.SLOTS),
    )
    started: float | None = attrs.field(
        default=None, metadata=_figure(measure, "when it started, by its own clock", "s since 1970")
    )
    lag: float | None = attrs.field(
        default=None,
        metadata=_figure(measure, "how late its event loop was, the last time", "s", "lag", metrics.LOOP_LAG),
    )
    round_trip: float | None = attrs.field(
        default=None,
        metadata=_figure(
            measure, "time that Redis took to answer, the last time", "s", "redis", metrics.REDIS
        ),
    )
    cpu: float | None = attrs.field(
        default=None,
        metadata=_figure(measure, "processor time of its process since the last entry", "cores", "cpu"),
    )
    monitor: bool = attrs.field(
        default=False, metadata=_figure(flag, "whether a monitor runs there", column="monitor")
    )
    expiry: float | None = attrs.field(
        default=None, metadata=_figure(measure, "silence after which its runs may be taken over", "s")
    )
    dropped: int = attrs.field(
        default=0,
        metadata=_figure(
            whole, "events that Redis did not take fast enough, since the start", metric=metrics.DROPPED
        ),
    )
    task_logs: int | None = attrs.field(
        default=None, metadata=_figure(whole, "lines of its log that each task keeps, 0 for none")
    )
    files: int | None = attrs.field(
        default=None, metadata=_figure(whole, "files and sockets that its process may open")
    )
    held: float = attrs.field(
        default=0.0,
        metadata=_figure(measure, "time for which Redis has taken no end, or answered no claim", "s"),
    )
    embargo: float = attrs.field(
        default=0.0,
        metadata=_figure(measure, "time for which it still claims nothing, as another server answered", "s"),
    )
    refused: int = attrs.field(
        default=0,
        metadata=_figure(whole, "tasks that became ERROR as their data or end was too large for Redis"),
    )
    runs: Mapping[str, int] | None = attrs.field(
        default=None, metadata=_figure(_wholes, "function: its runs", metric=metrics.TASKS)
    )
    lease_age: float | None = attrs.field(
        default=None,
        metadata=_figure(
            measure, "time since the oldest acknowledged renewal of its runs", "s", metric=metrics.LEASE_AGE
        ),
    )
    takeovers: Histogram | None = attrs.field(
        default=None,
        metadata=_figure(
            _histogram,
            "times from the last renewal of runs whose worker died to the next claim, of the claims of this"
            " worker: how many by size (`counts`, with the buckets of the metric), and their `sum`",
            "s", metric=metrics.TAKEOVERS,
        ),
    )  # fmt: skip
    restarted: Mapping[str, Mapping[str, int]] | None = attrs.field(
        default=None,
        metadata=_figure(
            _nested_wholes, "function: reason: runs that followed another of the same task, since the start",
            metric=metrics.RESTARTS,
        ),
    )  # fmt: skip
    backing_off: int | None = attrs.field(
        default=None,
        metadata=_figure(
            whole, "tasks that it has put off by their restart policy, and whose time has not come",
            metric=metrics.BACKING_OFF,
        ),
    )  # fmt: skip
    round_age: Mapping[str, float] | None = attrs.field(
        default=None,
        metadata=_figure(
            _measures, "function: time since the last round of the `run_loop` that turned least recently",
            "s", metric=metrics.ROUND_AGE,
        ),
    )  # fmt: skip
    rounds: Histogram | None = attrs.field(
        default=None,
        metadata=_figure(
            _histogram, "durations of the rounds of `run_loop`, as `takeovers`", "s", metric=metrics.ROUNDS
        ),
    )
    starts: Histogram | None = attrs.field(
        default=None,
        metadata=_figure(
            _histogram, "times from the answer to a claim to `start()`, as `takeovers`",
            "s", metric=metrics.STARTS,
        ),
    )  # fmt: skip
    timers_late: Histogram | None = attrs.field(
        default=None,
        metadata=_figure(
            _histogram, "how late it queued delayed tasks, the latest of each batch, as `takeovers`",
            "s", metric=metrics.TIMERS_LATE,
        ),
    )  # fmt: skip
    fires: Mapping[str, int] | None = attrs.field(
        default=None,
        metadata=_figure(
            _wholes, "outcome: occurrences of schedules that it has decided, since the start",
            metric=metrics.FIRES,
        ),
    )  # fmt: skip
    kept_by: Mapping[str, str] = attrs.field(
        factory=dict,
        metadata=_figure(texts, "id of a task: the threads that keep its run from ending; 20 tasks at most"),
    )
    pausing: Mapping[str, str] = attrs.field(
        factory=dict,
        metadata=_figure(texts, "id of a task that is to pause: where its run is; 20 tasks at most"),
    )
    stuck: tuple[str, ...] = attrs.field(
        default=(), metadata=_figure(words, "ids of tasks that survived being stopped, a few of them")
    )
    busiest: tuple[Busy, ...] = attrs.field(
        default=(),
        metadata=_figure(
            _busiest, "tasks that had most of the processor time, where that is nearly a whole core:"
            " objects with id, function, share and turns",
        ),
    )  # fmt: skip


FIGURES: Final[Mapping[str, Figure]] = {
    field.name: field.metadata[ITSELF] for field in attrs.fields(WorkerInfo)
}
MEASURED: Final[Mapping[str, Metric]] = {
    name: figure.metric for name, figure in FIGURES.items() if figure.metric is not None
}
"""The figures that are metrics."""


def read(shown: Mapping[str, Any]) -> dict[str, Any]:
    """The figures in a worker's entry, of any release; invalid ones are left out."""
    found = {name: figure.read(shown[name]) for name, figure in FIGURES.items() if name in shown}
    return {name: value for name, value in found.items() if value is not None}
