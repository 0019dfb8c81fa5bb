"""The client for programs that wait for each answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from pytask.adapters.address import DEFAULT_URL
from pytask.client import follow, logs, look, pages, produce, steer
from pytask.client.blocking import Shell
from pytask.client.places import CONNECT_TIMEOUT, MAX_DATA, TIMEOUT, places_of
from pytask.client.produce import Function
from pytask.client.records import Count, Event, FunctionInfo, Gap, LogLine, Outcome, Page, TaskInfo, Worker
from pytask.domain.messages import Command

Ids = list[str]
Outcomes = list[Outcome]
Workers = list[Worker]
Functions = list[FunctionInfo]


class Client:
    """Starts, steers and watches tasks.  Needs no gevent; may be shared by threads and by greenlets.

    `source` is a URL or any redis-py compatible client (Sentinel and Cluster too), whose settings are
    taken over on connections of our own.  `namespace` and `partitions` are those of the workers.  Nothing
    is repeated by itself: after `errors.Unavailable` it is not known whether the call had an effect, and
    repeating it is harmless (for `start`, where it was given an `id`).
    """

    def __init__(  # noqa: PLR0913 - what there is to choose
        self,
        source: Any = DEFAULT_URL,
        *,
        namespace: str = "",
        partitions: int = 1,
        timeout: float = TIMEOUT,
        connect_timeout: float = CONNECT_TIMEOUT,
        max_data: int = MAX_DATA,
        keep_stopped: int | None = None,
    ) -> None:
        """Connects at the first call.

        `timeout` and `connect_timeout` are in seconds, for one call; `max_data` in bytes.  `keep_stopped`:
        seconds that the hash of a task is kept that `stop` ends before it ran (None for ever), as in the
        workers' settings.
        """
        places_of(namespace, partitions)
        self._shell = Shell(source, namespace, partitions, timeout, connect_timeout)
        self._places = places_of(
            namespace,
            partitions,
            max_data=max_data,
            keep_stopped=keep_stopped,
        )
        self._shell.bind(self._places)

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
        the call may be repeated: the same task is queued once; `TaskExists` if another has the id.
        """
        return self._shell.run(produce.start(self._places, function, data, id))

    def start_many(self, tasks: Iterable[Any]) -> Ids:
        """Queue many tasks; their ids in order.

        Each is `(function, data)`, `(function, data, id)`, a function alone, or a `pytask.client.New`.  All
        data is checked before anything is sent; then they go in chunks, each as a whole or not at all.
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
        `wait` (seconds) this returns when the task has stopped, or raises `TimedOut`, or `Unheard` if no
        worker listens.  Without, `done` tells whether it rests already.  Raises `NoSuchTask`.
        """
        return self._steer(Command.STOP, id, wait)

    def start_again(self, id: str, data: Any = None, *, wait: float = 0) -> Outcome:  # noqa: A002
        """Queue a task at rest again (ENDED, STOPPED or ERROR), with new data if some is given.

        Nothing is done to one that waits or runs.  With `wait` this returns when its run began.
        """
        return self._steer(Command.START, id, wait, data)

    requeue = start_again

    def reload(self, id: str, data: Any = None, *, wait: float = 0) -> Outcome:  # noqa: A002
        """Let a running task begin anew with the data that is in its hash, or with `data`.

        With `wait` this returns when the new run has begun.  A task that does not run is left alone:
        `requested` is False then.
        """
        return self._steer(Command.RELOAD, id, wait, data)

    def stop_many(self, ids: Iterable[str]) -> Outcomes:
        """Stop many, without waiting; an outcome for each, in order, `state` None where there is none."""
        return self._shell.run(steer.steer_many(self._places, Command.STOP, [*ids]))

    def start_again_many(self, ids: Iterable[str]) -> Outcomes:
        """As `stop_many`."""
        return self._shell.run(steer.steer_many(self._places, Command.START, [*ids]))

    def reload_many(self, ids: Iterable[str]) -> Outcomes:
        """As `stop_many`."""
        return self._shell.run(steer.steer_many(self._places, Command.RELOAD, [*ids]))

    def remove(self, id: str) -> bool:  # noqa: A002
        """Delete a task that does not run, from wherever it waits; False if there was none.

        Raises `TaskRuns`.
        """
        return self._shell.run(steer.remove(self._places, id))

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
