"""How tasks that are started together reach Redis: in batches; in parts if one is refused for its size."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import attrs

from pytask.adapters.redis import scripts
from pytask.adapters.redis.lua import ScriptCall
from pytask.client.operations import Op, ask, ask_all
from pytask.client.partitions import Partitions
from pytask.client.task_records import FINISHED
from pytask.client.verbs import CHUNK as CHUNK_STEERED
from pytask.client.verbs import control
from pytask.domain.errors import Denied, StoreError, TooLarge, Unavailable, may_be_size
from pytask.domain.messages import Command

CHUNK = 500  # tasks of one script: it holds the server for 2 ms
CHUNK_BYTES = 1024 * 1024  # of their data, but for one that is larger alone
ROUND = 8  # scripts of one round trip
LARGE = 16 * 1024  # bytes: no size limit of a server or a proxy is known to be lower


class Start(NamedTuple):
    """When a task starts, what follows its failure, its group and its trace, if its producer says so."""

    when: str = ""  # as `start_time.not_before` writes it
    restart: str = ""
    group: str = ""
    traceparent: str = ""


AT_ONCE = Start()


@attrs.define
class Batch:
    """Tasks of one partition and function."""

    partition: int
    name: str
    check: bool  # an id may be taken
    restart: bool = False  # and a task that has ended runs again
    ids: list[str] = attrs.Factory(list)
    raws: list[bytes] = attrs.Factory(list)
    size: int = 0  # bytes of data
    later: bool = False  # its tasks have entries in `starts`
    starts: list[Start] = attrs.Factory(list)

    def add(self, task_id: str, raw: bytes, start: Start = AT_ONCE) -> None:
        """Add a task."""
        self.ids.append(task_id)
        self.raws.append(raw)
        if self.later:
            self.starts.append(start)
        self.size += len(raw)

    def has_room(self, raw: bytes) -> bool:
        """Whether a task with this data fits in."""
        return len(self.ids) < CHUNK and (not self.ids or self.size + len(raw) <= CHUNK_BYTES)

    def halves(self) -> Iterator[Batch]:
        """The same tasks in two parts."""
        middle = len(self.ids) // 2
        for part in (slice(middle), slice(middle, None)):
            raws = self.raws[part]
            size = sum(map(len, raws))
            yield attrs.evolve(self, ids=self.ids[part], raws=raws, size=size, starts=self.starts[part])


@attrs.define
class Delivery:
    """The results of tasks that were started together."""

    queued: list[str] = attrs.Factory(list)  # including those that were queued before
    taken: list[str] = attrs.Factory(list)  # ids that belong to another task, or key
    finished: dict[int, list[str]] = attrs.Factory(dict)  # by partition: those to be started again
    refused: list[tuple[str, int, StoreError]] = attrs.Factory(list)  # ids, bytes, the answer of Redis

    def note(self, batch: Batch, odd: Sequence[Any]) -> None:
        """A reply of the script."""
        found = {batch.ids[nth - 1]: word for nth, word in zip(odd[::2], odd[1::2], strict=True)}
        finished = [task_id for task_id, word in found.items() if word == b"FINISHED"]
        taken = [task_id for task_id, word in found.items() if word not in (b"FINISHED", b"ALREADY")]
        if finished:
            self.finished.setdefault(batch.partition, []).extend(finished)
        self.taken += taken
        self.queued += (task_id for task_id in batch.ids if task_id not in taken) if taken else batch.ids


def deliver(partitions: Partitions, batches: Sequence[Batch]) -> Op[Delivery]:
    """Queue all tasks that Redis accepts.

    Raises the `StoreError` of anything but a size limit, with `queued` of those that were queued by then; of
    the others in the round it is not known.
    """
    done = Delivery()
    try:
        for part in _rounds(batches):
            yield from _round(partitions, part, done)
        for partition, ids in done.finished.items():
            for at in range(0, len(ids), CHUNK_STEERED):
                yield from control(partitions, partition, Command.START, ids[at : at + CHUNK_STEERED])
        for batch in batches if partitions.unsure else ():
            for task_id in batch.ids:
                partitions.unsure.pop(task_id, None)
    except StoreError as error:
        partitions.mark_unsure(task_id for batch in batches if batch.check for task_id in batch.ids)
        total = sum(len(batch.ids) for batch in batches)
        if total > 1:
            error.queued = tuple(done.queued)
            error.args = (f"{error.args[0]}; {len(done.queued)} of {total} tasks are certainly queued",)
        raise
    return done


def _rounds(batches: Sequence[Batch]) -> Iterator[list[Batch]]:
    part: list[Batch] = []
    size = 0
    for batch in batches:
        if part and (len(part) == ROUND or size + batch.size > ROUND * CHUNK_BYTES):
            yield part
            part, size = [], 0
        part.append(batch)
        size += batch.size
    if part:
        yield part


def _round(partitions: Partitions, part: list[Batch], done: Delivery) -> Op[None]:
    """Some batches in one round trip; those without a reply are repeated one by one."""
    try:
        replies = yield from ask_all([(b.partition, script(partitions, b)) for b in part], tolerant=True)
    except StoreError as error:
        replies = [error] * len(part)  # a broken connection does not show which of them caused it
    for batch, reply in zip(part, replies, strict=True):
        if not isinstance(reply, Exception):
            done.note(batch, reply)
    for batch, reply in zip(part, replies, strict=True):
        if isinstance(reply, Denied) and not batch.check:
            yield from _plainly(partitions, batch)
            done.queued += batch.ids
        elif isinstance(reply, Exception):
            if not may_be_size(reply) or sum(one.size for one in part) < LARGE:
                raise reply
            yield from probe(partitions, batch.partition)
            yield from _again(partitions, batch, done)


def _again(partitions: Partitions, batch: Batch, done: Delivery) -> Op[None]:
    """Repeat it, then in halves: a task that Redis does not accept alone is refused for its size.

    Redis may have executed the first one, whose reply was lost: each id is checked, so that none is queued
    twice.
    """
    try:
        odd = yield from ask(batch.partition, script(partitions, batch, check=True))
    except StoreError as error:
        if not may_be_size(error):
            raise
        yield from probe(partitions, batch.partition)
        if len(batch.ids) == 1:
            done.refused.append((batch.ids[0], batch.size, error))
            return
        for half in batch.halves():
            yield from _again(partitions, half, done)
    else:
        done.note(batch, odd)


def probe(partitions: Partitions, partition: int) -> Op[None]:
    """Raises `StoreError` if Redis does not accept a small command of the same kind either."""
    small = script(partitions, Batch(partition, "?", check=False))
    try:
        yield from ask(partition, small)
    except Unavailable:  # the server may have closed this connection after its answer
        yield from ask(partition, small)


def _plainly(partitions: Partitions, batch: Batch) -> Op[None]:
    """The documented commands: a producer's user may have no right to scripts.  For fresh ids only."""
    keys = partitions.keys[batch.partition]
    starts = batch.starts or [AT_ONCE] * len(batch.ids)
    hashes = [
        (
            "HSET", keys.task(i), "function", batch.name, *(("data", raw) if raw else ()),
            *start_fields(start),
        )
        for i, raw, start in zip(batch.ids, batch.raws, starts, strict=True)
    ]  # fmt: skip
    commands = [*hashes, ("LPUSH", keys.queue, *batch.ids)]
    yield from ask_all([(batch.partition, words) for words in commands])


def start_fields(start: Start) -> Iterator[str]:
    """The fields of a start without a script: a delay counts from this machine's time."""
    if start.when:
        delayed = start.when[0] == "+"
        yield from ("not_before", f"{time.time() + float(start.when):.6f}" if delayed else start.when)
    if start.restart:
        yield from ("restart", start.restart)
    if start.group:
        yield from ("group", start.group)
    if start.traceparent:
        yield from ("traceparent", start.traceparent)


def script(partitions: Partitions, batch: Batch, *, check: bool | None = None) -> ScriptCall[list[Any]]:
    """The script that queues a batch."""
    keys = partitions.keys[batch.partition]
    space = keys.namespace
    return scripts.enqueue(
        queue=keys.queue,
        own=keys.own,
        hashes=[space + task_id for task_id in batch.ids] if space else batch.ids,
        space=len(space.encode()),
        func=batch.name,
        check=batch.check if check is None else check,
        finished=FINISHED if batch.restart else (),
        data=batch.raws,
        starts=list(chain.from_iterable(batch.starts)),
    )


def too_large(refused: Iterable[tuple[str, int, StoreError]], rest: str = "") -> TooLarge:
    """The error for tasks whose data Redis does not accept."""
    found = list(refused)
    task_id, size, error = found[0]
    more = f" (and of {len(found) - 1} more)" if len(found) > 1 else ""
    answer = str(error.args[0]).removeprefix("no answer from Redis: ")
    return TooLarge(
        f"the data of {task_id!r}{more}, {size:,} bytes, exceeds the limit of the server or a proxy:"
        f" {answer}.{rest} Store large data elsewhere and pass a reference to it, or raise the limit"
        " (proto-max-bulk-len, client-query-buffer-limit)",
        tuple(task_id for task_id, _, _ in found),
    )
