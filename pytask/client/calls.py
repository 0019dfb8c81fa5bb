"""The client for programs that wait for each answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pytask.client.blocking import Shell
from pytask.client.face import Face
from pytask.client.late import follow, logs, look, pages, produce, requeue, steer
from pytask.client.records import Count, Event, FunctionInfo, Gap, LogLine, Outcome, Page, TaskInfo, Worker
from pytask.domain.messages import Command

if TYPE_CHECKING:
    from pytask.client.produce import Function
    from pytask.domain.timing import Timing

Ids = list[str]
Outcomes = list[Outcome]
Workers = list[Worker]
Functions = list[FunctionInfo]


class Client(Face[Shell]):
    """Starts, steers and watches tasks.  Needs no gevent; may be shared by threads and by greenlets.

    `source` is a URL or any redis-py compatible client (Sentinel and Cluster too), whose settings are
    taken over on connections of our own.  `namespace` and `partitions` are those of the workers.  Only
    data of 16 KB and more is sent again by itself, where Redis did not take it and answers all the same, to
    tell whether it is too large (`TooLarge`).  After `errors.Unavailable` it is not known whether the call
    had an effect, and repeating it is harmless (for `start`, where it was given an `id`).
    """

    _make_shell = Shell

    # -- starting -------------------------------------------------------------------------------------

    def start(
        self,
        function: Function,
        data: Any = None,
        *,
        id: str | None = None,  # noqa: A002 - the field's own name, here and below
    ) -> str:
        """Queue a task, in one round trip; its id.

        `function` is a task's name, or its class: then `data` (a dict, or an instance of `Config.DATA`) is
        checked against `Config.DATA` first, and `BadData` tells the path to what does not fit.  With an `id`
        the call may be repeated: while that very task waits or runs, nothing is done.  Once it has ended
        (ENDED, ERROR, STOPPED) it runs again, with this data; but not where this repeats a call of the same
        client that got no answer.  `TaskExists` if another task has the id.
        """
        return self._shell.run(produce.start(self._places, function, data, id))

    def start_many(self, tasks: Iterable[Any]) -> Ids:
        """Queue many tasks; their ids in order.

        Each is `(function, data)`, `(function, data, id)`, a function alone, or a `pytask.client.New`.  All
        data is checked before anything is sent; then they go in chunks, each as a whole or not at all.  A
        chunk that is refused for its size is sent again in parts, which queues no task twice; `TooLarge` then
        names the tasks that are too large alone, and all others are queued.  Of any other `StoreError` the
        attribute `queued` has the ids that are queued for certain.
        """
        return self._shell.run(produce.start_many(self._places, tasks))

    def update_data(self, id: str, data: Any, function: Function | None = None) -> None:  # noqa: A002
        """Replace the data of a task; a running one sees it at its next run, such as `reload(id)` begins.

        `function`, a task class, has the data checked.  Raises `NoSuchTask`.
        """
        self._shell.run(produce.update_data(self._places, id, data, function))

    # -- steering -------------------------------------------------------------------------------------

    def stop(self, id: str, *, wait: float = 0) -> Outcome:  # noqa: A002
        """Stop a task, whether it waits or runs.

        The wish is written down, so that it outlives a restart of everything, and the worker is told.  With
        `wait` (seconds) this returns when the task has come to rest, or raises `TimedOut`, or `Unheard` if no
        worker listens.  Without, `done` tells whether it rests already.  Raises `NoSuchTask`.
        """
        return self._steer(Command.STOP, id, wait)

    def start_again(self, id: str, data: Any = None, *, wait: float = 0) -> Outcome:  # noqa: A002
        """Queue a task at rest again (ENDED, STOPPED or ERROR), with new data if some is given.

        Nothing is done to one that waits or runs.  With `wait` this returns when its run began, or
        raises `TaskRests` if it was stopped before.
        """
        return self._steer(Command.START, id, wait, data)

    def requeue(
        self,
        id: str,  # noqa: A002
        data: Any = None,
        *,
        wait: float = 0,
        timing: Timing | None = None,
    ) -> Outcome:
        """Queue a task again: as `start_again`, and also one whose worker died while no monitor lives.

        Its lease is watched for T = 90 s first, as a monitor does, so this call takes as long; longer where
        the dead worker's own times asked for it.  Raises `TaskRuns` where it was renewed within T.
        """
        return self._shell.run(requeue.requeue(self._places, id, data, wait, timing))

    def requeue_many(self, ids: Iterable[str], *, timing: Timing | None = None) -> Outcomes:
        """As `requeue`, all in one watch; an outcome for each, whose `refused` says why it was left alone."""
        return self._shell.run(requeue.requeue_many(self._places, [*ids], timing))

    def reload(self, id: str, data: Any = None, *, wait: float = 0) -> Outcome:  # noqa: A002
        """Let a running task begin anew with the data that is in its hash, or with `data`.

        The worker looks at that data first.  Where it does not fit (no JSON, other types, unknown keys, a
        validator that fails) nothing stops: the run goes on, and `refusal` of the task has the path and the
        reason.  The hash keeps what was written: write data that fits, as the next run begins with it.

        With `wait` this returns when the new run lives, which is a second after its `start()` was called, or
        when the reload was refused: then `done` is False, and `refusal` tells why.  Raises `TaskRests` if the
        task came to rest before, `RunFailed` if the new run failed at once.  A task that does not run is left
        alone: `requested` is False then.
        """
        return self._steer(Command.RELOAD, id, wait, data)

    def stop_many(self, ids: Iterable[str]) -> Outcomes:
        """Stop many, without waiting; an outcome for each, in order, `state` None where there is none."""
        return self._shell.run(steer.steer_many(self._places, Command.STOP, [*ids]))

    def start_again_many(self, ids: Iterable[str]) -> Outcomes:
        """As `stop_many`."""
        return self._shell.run(steer.steer_many(self._places, Command.START, [*ids]))

    def reload_many(self, ids: Iterable[str], *, wait: float = 0) -> Outcomes:
        """As `stop_many`; with `wait` each outcome is that of `reload`, and nothing is raised for one task.

        `refused` then says why one is not done, also where its new run failed or it came to rest before.
        """
        return self._shell.run(steer.reload_many(self._places, [*ids], wait))

    def remove(self, id: str) -> bool:  # noqa: A002
        """Delete a task that does not run, from wherever it waits; False if there was none.

        Raises `TaskRuns`.
        """
        return self._shell.run(steer.remove(self._places, id))

    def remove_many(self, ids: Iterable[str], *, state: str | Iterable[str] | None = None) -> Outcomes:
        """As `remove`, 256 in two round trips; an outcome for each, in order.

        With `state` only those that are in it, or in one of several, in the very step that deletes: an id
        that has ended and was pushed again waits, and is left.  `done` is False where there was none, where
        it is in another state, and where `refused` says why it was left: it runs.
        """
        return self._shell.run(steer.remove_many(self._places, [*ids], state))

    # -- looking --------------------------------------------------------------------------------------

    def get(self, id: str) -> TaskInfo:  # noqa: A002
        """A task as it is now.  Raises `NoSuchTask`."""
        return self._shell.run(look.get(self._places, id))

    def list(
        self,
        *,
        state: str | Iterable[str] | None = None,
        function: str | None = None,
        worker: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """A page of tasks, without their data: running, waiting, failed, stopped, ended; newest first.

        `worker` is a worker's name or its session.  The states have indexes; `function` and `worker` have
        none: a page with them reads ten hashes a row (or 1000) at the most, and may have few rows or none
        while its `cursor` leads on.  `page.cursor` is None at the end.
        """
        return self._shell.run(
            pages.page(
                self._places, state=state, function=function, worker=worker, limit=limit, cursor=cursor
            )
        )

    def count(self) -> Count:
        """How many tasks are in each state; costs the same for ten tasks and for ten million."""
        return self._shell.run(look.count(self._places))

    def workers(self) -> Workers:
        """The workers that showed themselves lately, one for each session (a worker has one a partition)."""
        return self._shell.run(look.workers(self._places))

    def functions(self) -> Functions:
        """The task names that living workers know, or that tasks wait for."""
        return self._shell.run(look.functions(self._places))

    def find(self, beginning: str, *, limit: int = 5, steps: int = 20) -> tuple[Ids, bool]:
        """Ids that begin so, `limit` at the most, and whether all keys were looked at (5000 a step)."""
        return self._shell.run(follow.find(self._places, beginning, limit, steps))

    # -- following ------------------------------------------------------------------------------------

    def watch(
        self,
        id: str | None = None,  # noqa: A002
        *,
        seconds: float | None = None,
    ) -> Iterator[Event | Gap]:
        """The events of a task, or of all, that are published after this call returned.

        For ever, or for so many `seconds`.  Outlives lost connections: then it gives a `Gap`, since events
        may have been missed.
        """
        steps = self._shell.steps(follow.watch(self._places, id, seconds))
        next(steps)
        return steps

    def wait(
        self,
        id: str,  # noqa: A002
        for_state: str | Iterable[str] | None = None,
        timeout: float = 60.0,
    ) -> TaskInfo:
        """Wait until a task is in a state, or in one of several; by default until it has ended in any way.

        Returns the task.  Raises `NoSuchTask`, and `TimedOut` after `timeout` seconds.  Outlives lost
        connections.
        """
        return self._shell.run(follow.wait(self._places, id, for_state, timeout))

    def logs(
        self,
        id: str,  # noqa: A002
        *,
        limit: int | None = 100,
        follow: bool = False,
    ) -> Iterator[LogLine]:
        """The newest `limit` lines that a task logged, the oldest first; None for all that are kept.

        With `follow` also those that come, until the task has ended, failed, was stopped, or is gone; that
        outlives lost connections, and `line.missed` tells how many lines were not kept long enough.  There
        are none where the worker's setting `task_logs` is 0, as it is by default.  Raises `NoSuchTask`.
        """
        steps = self._shell.steps(logs.read(self._places, id, limit, follow))
        next(steps)
        return steps

    # -- life -----------------------------------------------------------------------------------------

    def close(self) -> None:
        """Drop the connections; the next call makes new ones."""
        self._shell.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _steer(self, command: Command, task_id: str, wait: float, data: Any = None) -> Outcome:
        return self._shell.run(steer.steer(self._places, command, task_id, wait, data))
