"""Reading the log lines of a task.

They are a list with the newest last; old lines are dropped as new ones arrive.  A reader uses the number of a
line and the epoch of its run to detect which lines are new and which were missed.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pytask.client.operations import Give, Op, Pause, ask_all
from pytask.client.partitions import Partitions
from pytask.client.records import LogLine
from pytask.client.task_records import FINISHED
from pytask.domain.errors import BadData, NoSuchTask, Unavailable
from pytask.domain.lifecycle import State
from pytask.domain.task_log import RING_MOST

FIRST_LOOK, LONGEST_LOOK = 0.1, 0.5  # seconds between two reads of a log: short after a line, then longer
LONGEST_PAUSE = 3.0  # seconds between two attempts to reach Redis


def read(partitions: Partitions, task_id: str, limit: int | None, follow: bool) -> Op[None]:
    """Yields None after the first read, then the newest `limit` lines; with `follow` also new ones.

    Following ends when the task has ended, failed, was stopped or deleted.  Raises `NoSuchTask`, `BadData`.
    """
    if limit is not None and (type(limit) is not int or limit < 0):
        raise BadData(f"limit must be a number of lines, or None for all stored lines, not {limit!r}")
    partition = partitions.of(task_id)
    reader = Reader(partitions, partition, task_id)
    lines = yield from reader.first(limit)
    yield Give(None)
    for line in lines:
        yield Give(line)
    pause = FIRST_LOOK
    while follow and not reader.over:
        yield Pause(pause)
        try:
            lines = yield from reader.more()
        except Unavailable:  # the numbers show which lines were missed meanwhile
            pause = min(2 * pause, LONGEST_PAUSE)
            continue
        for line in lines:
            yield Give(line)
        pause = FIRST_LOOK if lines else min(1.5 * pause, LONGEST_LOOK)


class Reader:
    """The log of one task, and the position of the reader."""

    def __init__(self, partitions: Partitions, partition: int, task_id: str) -> None:
        keys = partitions.keys[partition]
        self._place, self._id = partition, task_id
        self._hash, self._ring = keys.task(task_id), keys.log(task_id)
        self._last: tuple[int, int] | None = None  # epoch and number of the newest line read
        self.gone = False  # no such task
        self.over = False  # no more lines follow, unless the task is started again

    def first(self, limit: int | None) -> Op[list[LogLine]]:
        """The newest `limit` lines; all of them for None.  Raises `NoSuchTask`."""
        most = RING_MOST if limit is None else limit
        found = yield from self._look(max(1, most))  # no lines requested: existing lines are still not new
        if not found and self.gone:
            raise NoSuchTask(
                f"no task {self._id!r}, and none of its lines are stored (settings keep_logs, keep_ended,"
                " keep_error, keep_stopped)"
            )
        lines = self._fresh(found)
        return lines[-most:] if most else []

    def more(self) -> Op[list[LogLine]]:
        """The lines added since the last read; no others are read."""
        newest = yield from self._look(1)
        if not newest or not self._is_new(newest[-1]):
            return []
        epoch, number = self._last or (0, 0)
        behind = newest[-1].number - number if newest[-1].epoch == epoch else RING_MOST
        if behind > 1:
            newest = yield from self._look(min(behind, RING_MOST))
        return self._fresh(newest)

    def _look(self, count: int) -> Op[list[LogLine]]:
        # State first, then lines: the lines of a run are stored before its end.
        state, raws = yield from ask_all(
            [
                (self._place, ("HMGET", self._hash, "state", "function")),
                (self._place, ("LRANGE", self._ring, -count, -1)),
            ]
        )
        self.gone = not any(state)
        self.over = self.gone or State.read((state[0] or b"").decode(errors="replace")) in FINISHED
        return [line for line in map(read_line, raws) if line is not None]

    def _is_new(self, line: LogLine) -> bool:
        return self._last is None or (line.epoch, line.number) > self._last

    def _fresh(self, lines: list[LogLine]) -> list[LogLine]:
        """The lines not read yet: a worker repeats a call without a reply, so a line may be stored twice."""
        found = []
        for line in lines:
            if self._is_new(line):
                found.append(line.after(self._last))
                self._last = (line.epoch, line.number)
        return found


def read_line(raw: bytes) -> LogLine | None:
    """A stored line; None if it is invalid."""
    try:
        kept: Any = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    if not isinstance(kept, dict):
        return None
    number, epoch, at = kept.get("n"), kept.get("epoch"), kept.get("at")
    if not (isinstance(number, int) and isinstance(epoch, int) and isinstance(at, int | float)):
        return None
    return LogLine(
        at=float(at), level=_text(kept, "level"), logger=_text(kept, "logger"), text=_text(kept, "text"),
        number=number, epoch=epoch,
    )  # fmt: skip


def _text(kept: dict[str, Any], name: str) -> str:
    value = kept.get(name)
    return value if isinstance(value, str) else ""
