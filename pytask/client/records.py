"""What a client returns.  Fields that other releases add are in `more`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import attrs

from pytask.client.task_records import Refusal, Rollback, TaskInfo
from pytask.domain.figures import WorkerInfo
from pytask.domain.lifecycle import State

if TYPE_CHECKING:
    from pytask.domain.task import Task


@attrs.frozen
class New:
    """One task for `start_many`: a task's name or class, its data, and an id if it is to have that one."""

    function: str | type[Task]
    data: Any = attrs.field(default=None, repr=False)  # it may hold secrets
    id: str | None = None
    delay: float | None = None  # seconds until it may start, by the clock of Redis
    at: float | datetime | None = None  # the time before which it does not start: seconds since 1970 as well
    restart: str | None = None  # "never", "failure" or "always": instead of the policy of its class
    group: str | None = None  # what it shares with others that must not all run at the same time
    traceparent: str | None = None  # of W3C Trace Context; None: that of the current span


@attrs.frozen(kw_only=True)
class Page:
    """Some tasks, and where to continue: `list(cursor=page.cursor, ...)`; None at the end."""

    tasks: tuple[TaskInfo, ...]
    cursor: str | None = None
    looked: int = 0  # hashes that were read for this page

    def __iter__(self) -> Iterator[TaskInfo]:
        return iter(self.tasks)

    def __len__(self) -> int:
        return len(self.tasks)


@attrs.frozen(kw_only=True)
class Count:
    """How many tasks there are, by state.  Parked ones wait for a worker that knows their function."""

    states: Mapping[State, int]
    queued: int = 0  # in the queue
    delayed: int = 0  # in the timers: they wait for their time
    limited: int = 0  # in the waiting lists of groups and functions: they wait for a slot
    paused: int = 0  # paused tasks, whether they wait or run
    pausing: int = 0  # those of these that run, and have not reached a gate yet
    held: tuple[str, ...] = ()  # the paused functions; "*": all
    parked: Mapping[str, int] = attrs.Factory(dict)  # by function
    rejected: int = 0  # notes of pushed ids that could not be tasks, at most 1000
    exact: bool = True  # False in a long queue: an id that waits again is also counted where it was before

    def __getitem__(self, state: str) -> int:
        return self.states[State(state)]

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.states.values())


@attrs.frozen(kw_only=True)
class Outcome:
    """The outcome of a stop, a start, a reload, a pause or a removal."""

    id: str
    done: bool  # the task has reached the requested state
    state: State | None  # as far as known: None without `wait` where a worker has to act first
    requested: bool = False  # the request is stored and was sent to its worker
    listeners: int | None = None  # subscribed workers; None if none had to be notified
    refused: str = ""  # why nothing was done, if the state does not explain it: it is running, or not a task
    refusal: Refusal | None = None  # of a reload whose data does not fit, where it was waited for
    rolled_back: Rollback | None = None  # of a reload that was rolled back, where it was waited for
    in_place: bool = False  # a reload that its run took in place, without a new run; where it was waited for

    def __bool__(self) -> bool:
        return self.done


@attrs.frozen(kw_only=True)
class Worker(WorkerInfo):
    """A worker as it reports itself every few seconds; its figures are those of `WorkerInfo`."""

    seen: float = 0.0  # when it reported last: seconds since 1970, of the server
    silent: float = 0.0  # seconds since then
    partition: int = 0
    more: Mapping[str, Any] = attrs.Factory(dict)  # figures of other releases

    @property
    def alive(self) -> bool:
        """It reported within the last 15 seconds, three times its period."""
        return self.silent <= SILENT


SILENT = 15.0


@attrs.frozen(kw_only=True)
class FunctionInfo:
    """A task name: who runs it, and who waits for it."""

    name: str
    workers: int  # that know it, and are alive
    parked: int = 0  # tasks that wait because no worker knew it, or because it is paused
    paused: bool = False  # its tasks are not started


@attrs.frozen(kw_only=True)
class Event:
    """One event of a task: of its life (see `pytask.domain.messages.Event`) or its own, by `emit`."""

    id: str
    name: str
    data: Any = None


@attrs.frozen(kw_only=True)
class LogLine:
    """A line of a task's log: what was logged (`logging`) inside of it, or its progress."""

    at: float  # seconds since 1970, by the worker's clock
    level: str  # such as "info"; "progress" for what `self.progress()` said
    logger: str
    text: str  # with the traceback, if there is one; the middle of more than 2048 characters is cut
    number: int  # 1 is the first line of a run
    epoch: int  # of the run; grows with every run of the task
    missed: int = 0  # lines of this run between the line before and this one, which are no longer kept

    def after(self, last: tuple[int, int] | None) -> LogLine:
        """This line if `last`, the epoch and number of the line before, is known."""
        if last is None or last[0] != self.epoch:
            return self
        return attrs.evolve(self, missed=self.number - last[1] - 1)


@attrs.frozen(kw_only=True)
class Gap:
    """The connection was lost: events may have been missed from `since` until now.

    `task` is the task as it is now, when one task is watched; None if it is gone.
    """

    seconds: float  # for how long no event could be received, at most
    reason: str
    task: TaskInfo | None = None


@attrs.frozen
class Frame:
    """A place in a stack."""

    file: str
    line: int
    function: str  # its qualified name


@attrs.frozen(kw_only=True)
class Stack:
    """Where a greenlet, a thread or a coroutine of a run is; the innermost frame is the last."""

    of: str  # what it is, and its name: `greenlet Greenlet-0`
    frames: tuple[Frame, ...]  # at most 30


class Stacks(list[Stack]):
    """The stacks of a run, that of `start()` first.

    Attributes:
        more: Whether the run has more stacks than these.
    """

    __slots__ = ("more",)

    def __init__(self, stacks: Iterable[Stack] = (), *, more: bool = False) -> None:
        """Hold them."""
        super().__init__(stacks)
        self.more = more
