"""Lists of tasks in pages, read from the indexes: the cost depends on the page, not on the number of tasks.

A cursor marks the next position.  Tasks that keep their state are listed exactly once; those that change it
meanwhile may be listed twice or not at all.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import attrs

from pytask.adapters.decoding import pairs, raw_of, text
from pytask.adapters.keys import Keys
from pytask.client.operations import Op, ask, ask_all
from pytask.client.partitions import Partitions
from pytask.client.queries import due_times, standing
from pytask.client.records import Page
from pytask.client.task_records import FINISHED, LIST_FIELDS, TaskInfo, read_task, states_of
from pytask.domain import lifecycle as life
from pytask.domain.errors import BadCursor, ConfigError
from pytask.domain.lifecycle import State
from pytask.domain.messages import IdFault, read_id

MOST = 10_000  # tasks of a page
STEP = 500  # ids of one step
LINES_STEP = 20  # waiting lists of one step
# Entries at each end of a queue that are searched for ids that wait again: twenty a row, within these bounds.
ENDS_FACTOR, ENDS_LEAST, ENDS_MOST = 20, 1000, 10_000
LOOK_FACTOR, LOOK_LEAST = 10, 1000  # hashes that a page with a filter may read: ten a row, or 1000
ORDER = (life.RUNNING, life.WAIT, life.ERROR, life.STOPPED, life.ENDED)

Part = Any  # the next position of a source, JSON; None at its beginning
Entries = list[tuple[str, Part]]  # ids, each with the position after it
Queued = Callable[[int, int], set[str]]
"""The ids in the queue of a partition, of up to so many entries at either end."""


class Source(Protocol):
    """A source of ids."""

    @property
    def state(self) -> State:
        """The state of all its tasks."""

    @property
    def partition(self) -> int:
        """The partition."""

    def step(self, part: Part, limit: int) -> Op[tuple[Entries, Part]]:
        """Up to `limit` ids from the position `part`, and the next position; None at the end."""


@attrs.frozen
class Runs:
    """The index of RUNNING: the leases.  It is scanned because its scores change continuously."""

    partition: int
    keys: Keys
    state: State = life.RUNNING

    def step(self, part: Part, limit: int) -> Op[tuple[Entries, Part]]:
        """A scan step may return more than `limit` ids: it is repeated, and continues after the last id."""
        cursor, count, last = part or ["0", limit, None]
        reply = yield from ask(self.partition, ("ZSCAN", self.keys.leases, cursor, "COUNT", count))
        after, found = text(reply[0]), reply[1]
        # Libraries that know the command return pairs.
        ids = [text(raw) for raw in ([one for one, _ in found] if _paired(found) else found[::2])]
        ids = (
            ids[ids.index(last) + 1 :] if last in ids else ids
        )  # it no longer exists: listing some twice is better than omitting some
        entries = [(task_id, [cursor, count, task_id]) for task_id in ids[:limit]]
        if len(ids) > limit:
            return entries, entries[-1][1]
        return entries, None if after == "0" else [after, limit, None]


@attrs.frozen
class Index:
    """The index of a resting state, newest first."""

    partition: int
    keys: Keys
    state: State

    def step(self, part: Part, limit: int) -> Op[tuple[Entries, Part]]:
        """From a score downwards; within that score, from an id downwards."""
        top, last, ties = part or ["+inf", None, 0]
        key, most = self.keys.index(self.state), limit + ties
        found = yield from ask(
            self.partition, ("ZREVRANGEBYSCORE", key, top, "-inf", "WITHSCORES", "LIMIT", 0, most)
        )
        scored = [(text(raw), text(score)) for raw, score in pairs(found)]
        fresh = [(i, s) for i, s in scored if last is None or s != top or raw_of(i) < raw_of(last)][:limit]
        entries: Entries = []
        before, shown = top, ties
        for task_id, score in fresh:
            shown = shown + 1 if score == before else 1
            before = score
            entries.append((task_id, [score, task_id, shown]))
        return entries, entries[-1][1] if entries and len(scored) == most else None


@attrs.frozen
class Queue:
    """The queue from its tail, where workers claim: the next task first."""

    partition: int
    keys: Keys
    state: State = life.WAIT

    def step(self, part: Part, limit: int) -> Op[tuple[Entries, Part]]:
        """From an offset; if the list moved, from the present position of the last listed id."""
        offset = 0
        if part is not None:
            offset = yield from self._offset_after(*part)
        found = yield from ask(self.partition, ("LRANGE", self.keys.queue, -(offset + limit), -(offset + 1)))
        ids = [text(raw) for raw in reversed(found)]
        # An id requeued by pytask is in the index of WAIT, and was listed there.
        index = self.keys.index(self.state)
        scores = yield from ask_all([(self.partition, ("ZSCORE", index, raw_of(task_id))) for task_id in ids])
        entries = [
            (task_id, [offset + at, task_id])
            for at, (task_id, score) in enumerate(zip(ids, scores, strict=True), 1)
            if score is None
        ]
        return entries, [offset + len(ids), ids[-1]] if len(ids) == limit else None

    def _offset_after(self, offset: int, last: str) -> Op[int]:
        key = self.keys.queue
        there = yield from ask(self.partition, ("LINDEX", key, -offset))
        if there is not None and text(there) == last:
            return offset
        found = yield from ask(
            self.partition, ("LPOS", key, raw_of(last), "RANK", -1, "MAXLEN", offset + 1000)
        )
        if found is None:
            return 0  # it was claimed, and so were all ids before it
        return int((yield from ask(self.partition, ("LLEN", key)))) - int(found)


@attrs.frozen
class Lines:
    """The waiting lists of groups and functions, each from its first id."""

    partition: int
    keys: Keys
    state: State = life.WAIT

    def step(self, part: Part, limit: int) -> Op[tuple[Entries, Part]]:
        """From an offset in one of the lists that a scan step returns."""
        cursor, nth, offset = part or ["0", 0, 0]
        reply = yield from ask(self.partition, ("ZSCAN", self.keys.groups, cursor, "COUNT", LINES_STEP))
        after, found = text(reply[0]), reply[1]
        names = [text(raw) for raw in ([one for one, _ in found] if _paired(found) else found[::2])]
        entries: Entries = []
        while nth < len(names) and len(entries) < limit:
            most = limit - len(entries)
            key = self.keys.line(names[nth])
            # From the end, as every role may call it.
            raws = yield from ask(self.partition, ("ZREVRANGE", key, -(offset + most), -(offset + 1)))
            ids = [text(raw) for raw in reversed(raws)]
            entries += ((task_id, [cursor, nth, offset + at]) for at, task_id in enumerate(ids, 1))
            nth, offset = (nth, offset + most) if len(ids) == most else (nth + 1, 0)
        there: Part = [cursor, nth, offset] if nth < len(names) else None if after == "0" else [after, 0, 0]
        return (yield from self._unlisted(entries)), there

    def _unlisted(self, entries: Entries) -> Op[Entries]:
        """Those that are not in the index of WAIT, where they were listed."""
        index = self.keys.index(self.state)
        scores = yield from ask_all([(self.partition, ("ZSCORE", index, raw_of(i))) for i, _ in entries])
        return [entry for entry, score in zip(entries, scores, strict=True) if score is None]


def page(  # noqa: PLR0913 - the filters
    partitions: Partitions,
    *,
    state: str | Iterable[str] | None,
    function: str | None,
    worker: str | None,
    limit: int,
    cursor: str | None,
    queued: Queued | None = None,
) -> Op[Page]:
    """Up to `limit` tasks.  With a filter, a page with a cursor may have fewer tasks, or none.

    `queued` tells what it has read of a queue a moment ago; by default, the queue is read for each page.
    """
    if type(limit) is not int or not 1 <= limit <= MOST:
        raise ConfigError(f"limit must be a whole number from 1 to {MOST}, not {limit!r}")
    states = ORDER if state is None else tuple(one for one in ORDER if one in states_of(state))
    sources = _sources(partitions, states)
    at, part = _read_cursor(cursor, states, len(sources))
    filtered = function is not None or worker is not None
    budget = max(LOOK_FACTOR * limit, LOOK_LEAST) if filtered else 2 * limit + LOOK_LEAST
    ends = min(max(ENDS_FACTOR * limit, ENDS_LEAST), ENDS_MOST)
    rows: list[TaskInfo] = []
    looked = 0
    waiting: dict[int, set[str]] = {}  # by partition; read at most once per page
    shown: set[str] = set()
    while at < len(sources) and len(rows) < limit and looked < budget:
        source = sources[at]
        entries, after = yield from source.step(part, STEP if filtered else min(STEP, limit - len(rows)))
        ids = [task_id for task_id, _ in entries]
        looked += len(ids)
        part = after
        found = yield from _rows(source, partitions, ids)
        if source.state in FINISHED and ids and source.partition not in waiting:
            waiting[source.partition] = (
                queued(source.partition, ends)
                if queued is not None
                else (yield from standing(partitions, source.partition, ends))[0]
            )
        for (task_id, here), task in zip(entries, found, strict=True):
            if source.state in FINISHED and task_id in waiting[source.partition]:
                continue  # pushed again: it is listed as WAIT
            if isinstance(source, Queue) and task_id in shown:
                continue
            shown.add(task_id)
            if task is None or not _fits(task, function, worker):
                continue
            rows.append(task)
            if len(rows) == limit:
                part = after if here == entries[-1][1] else here
                break
        if part is None:
            at += 1
    more = None if at == len(sources) else _write_cursor(states, at, part)
    return Page(tasks=tuple(rows), cursor=more, looked=looked)


def _sources(partitions: Partitions, states: Sequence[State]) -> list[Source]:
    found: list[Source] = []
    for state in states:
        for partition, keys in enumerate(partitions.keys):
            found.append(Runs(partition, keys) if state is life.RUNNING else Index(partition, keys, state))
            if state is life.WAIT:
                found += (Queue(partition, keys), Lines(partition, keys))
    return found


def _rows(source: Source, partitions: Partitions, ids: Sequence[str]) -> Op[list[TaskInfo | None]]:
    """The tasks of these hashes; None for a hash that was deleted or has changed its state."""
    keys = partitions.keys[source.partition]
    commands = [(source.partition, ("HMGET", raw_of(keys.task(task_id)), *LIST_FIELDS)) for task_id in ids]
    replies = yield from ask_all(commands, tolerant=True)
    rows = [_row(source, task_id, reply) for task_id, reply in zip(ids, replies, strict=True)]
    if source.state is not life.WAIT or isinstance(source, Queue | Lines):
        return rows
    due = yield from due_times(partitions, source.partition, ids)
    return [row and attrs.evolve(row, due=when) for row, when in zip(rows, due, strict=True)]


def _row(source: Source, task_id: str, reply: Any) -> TaskInfo | None:
    if not isinstance(reply, list) or not any(reply) or isinstance(read_id(raw_of(task_id)), IdFault):
        return None
    fields = {name: value for name, value in zip(LIST_FIELDS, reply, strict=True) if value is not None}
    task = read_task(task_id, fields)
    if source.state is life.WAIT and task.state is not life.RUNNING:
        # If another client pushed it, the hash still has its previous state.
        return attrs.evolve(task, state=source.state, again=task.finished)
    return task if task.state is source.state else None


def _fits(task: TaskInfo, function: str | None, worker: str | None) -> bool:
    if function is not None and task.function != function:
        return False
    return worker is None or task.worker == worker or (worker != "" and task.session == worker)


def _write_cursor(states: Sequence[State], at: int, part: Part) -> str:
    text = json.dumps(["".join(state[0] for state in states), at, part], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(cursor: str | None, states: Sequence[State], sources: int) -> tuple[int, Part]:
    if cursor is None:
        return 0, None
    try:
        raw = base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4))
        initials, at, part = json.loads(raw)
        fits = initials == "".join(state[0] for state in states) and 0 <= at < sources
        if not fits or not (part is None or isinstance(part, list)):
            raise ValueError  # noqa: TRY301 - like the errors of the decoders
    except (ValueError, TypeError, AttributeError):
        raise BadCursor(
            "invalid cursor for this list: pass page.cursor of the previous page, with the same state and"
            " the same partitions"
        ) from None
    return at, part


def _paired(found: Sequence[Any]) -> bool:
    return bool(found) and isinstance(found[0], tuple | list)
