"""The tasks that somebody looks at: what the last look has read of each, and what has changed since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytask.client import Client
from pytask.client.glance import Line, Seen, glance
from pytask.client.task_records import TaskInfo
from pytask.shown.operations import run

TASK, ENDED = 5.0, 30.0  # seconds after which a task is due, as ages grow; one that has ended
WALKS = 1  # of those that have ended, and are due: so many in a look
SHARED = 0.5  # seconds for which what a look has read is shown


class Watched:
    """Reads all of them together: round trips, and walks through a queue, do not grow with the viewers.

    Whether a task that has ended waits again, only a walk through its queue tells: up to 20 ms of Redis for a
    million entries.  So such a task is read again after an event of it, or when it is due; and of those that
    are due one a look, in turns.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._tasks: dict[str, Seen] = {}  # id -> as it was at the last look
        self._lines: dict[str, Line] = {}  # id -> the newest line of its log
        self._due: dict[str, float] = {}  # id -> when it is read again in any case
        self._read = (0.0, frozenset[str]())  # when the last look has read, and what
        self._turn = 0  # grows when what was read must not be shown any more

    def forget(self) -> None:
        """Somebody has changed something, and wants to see it."""
        self._turn += 1
        self._read = (0.0, frozenset())
        self._due.update(dict.fromkeys(self._due, 0.0))  # also of those that have ended

    def clear(self) -> None:
        """Nobody looks any more."""
        self._keep({})

    def seen(self, task: str, now: float) -> TaskInfo | None:
        """What the last look has read of a task, if that was a moment ago."""
        at, read = self._read
        found = self._tasks.get(task) if task in read and now - at < SHARED else None
        return found if isinstance(found, TaskInfo) else None

    def look(self, wanted: Mapping[str, set[str]], busy: set[str], now: float) -> dict[str, set[str]]:
        """The topics that have changed, of each of the tasks; `wanted`: those that its viewers wait for.

        `busy`: tasks with events since the last look.
        """
        self._keep(wanted)
        tasks = self._to_read([task for task, topics in wanted.items() if "task" in topics], busy, now)
        logs = [task for task, topics in wanted.items() if "log" in topics]
        turn = self._turn
        read, newest = run(self._client, lambda partitions: glance(partitions, tasks, logs))
        found = {task: {"events"} if task in busy else set() for task in wanted}
        for task, value in read.items():
            if self._has_changed(task, value, task in busy, now):
                found[task].add("task")
        for task, line in newest.items():
            if _differs(self._lines, task, line):
                found[task].add("log")
        if turn == self._turn:
            self._read = (now, frozenset(read))
        return found

    def _to_read(self, tasks: Sequence[str], busy: set[str], now: float) -> list[str]:
        resting = {task for task in tasks if _has_ended(self._tasks.get(task)) and task not in busy}
        due = sorted((at, task) for task in resting if now >= (at := self._due[task]))
        return [task for task in tasks if task not in resting] + [task for _, task in due[:WALKS]]

    def _has_changed(self, task: str, value: Seen, busy: bool, now: float) -> bool:
        ended = _has_ended(self._tasks.get(task))
        differs = _differs(self._tasks, task, value)
        if not differs and not (isinstance(value, TaskInfo) and (busy or now >= self._due.get(task, 0.0))):
            return False
        self._due[task] = now + (ENDED if ended else TASK)
        return True

    def _keep(self, wanted: Mapping[str, object]) -> None:
        known: dict[str, Any]
        for known in (self._tasks, self._lines, self._due):
            for task in known.keys() - wanted.keys():
                del known[task]


def _has_ended(value: Seen) -> bool:
    return isinstance(value, TaskInfo) and value.finished


def _differs(known: dict[str, Any], task: str, value: object) -> bool:
    """Note what was read; whether it was something else before."""
    before = known.get(task, known)
    known[task] = value
    return before is not known and before != value
