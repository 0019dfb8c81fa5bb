"""The client for programs that wait for each answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pytask.client.lazy import control, enqueue, listing, logs, queries, requeue, watch
from pytask.client.options import Face
from pytask.client.records import Count, Event, FunctionInfo, Gap, LogLine, Outcome, Page, TaskInfo, Worker
from pytask.client.sync_driver import Shell
from pytask.domain.messages import Command

if TYPE_CHECKING:
    from pytask.client.enqueue import Function
    from pytask.domain.timing import Timing

Ids = list[str]
Outcomes = list[Outcome]
Workers = list[Worker]
Functions = list[FunctionInfo]


class Client(Face[Shell]):
    """Starts, steers and watches tasks.  Needs no gevent; threads and greenlets may share one.

    After `Unavailable` it is not known whether a call had an effect; repeating it is safe (`start`: if it was
    given an `id`).  Every call that reaches Redis may raise a `StoreError`: `Unavailable`, `Refused` or
    `Denied`.

    Args:
        source: A URL, or any client compatible with redis-py's (Sentinel and Cluster too), whose settings are
            used on separate connections.  Default: $PYTASK_REDIS_URL, else $REDIS_URL, else
            redis://127.0.0.1:6379/0.
        namespace: The prefix of keys and channels; that of the workers.
        partitions: The number of partitions; that of the workers.
        timeout: Seconds that one call to Redis may take; default 3.
        connect_timeout: Seconds that connecting may take; default 0.8.
        max_data: Bytes of one task's data; default 16 MiB, as for workers.
        keep_stopped: 0 deletes the hash of a task that `stop` ends before it ran; by default the setting of
            the workers decides how long it is kept.
        name: Shown in the history of tasks that this client steers, 64 bytes of it; default `user@host`.

    Raises:
        ConfigError: An address, namespace or number of partitions that is invalid.
        UnsupportedClient: A client, or a version of one, that pytask cannot use.
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
        """Queue a task, in one round trip.

        With an `id` the call may be repeated: while that task waits or runs, nothing is done.  Once it has
        ended (ENDED, ERROR, STOPPED) it runs again with this data, unless this repeats a call of the same
        client that got no answer.

        Args:
            function: The name of the task, or its class, which then checks the data against `Config.DATA`.
            data: A JSON object (a dict), or an instance of `Config.DATA`.
            id: The id; by default a new unique one.

        Returns:
            The id.

        Raises:
            BadData: The data has no JSON form, or does not fit; the message has the path.
            TaskExists: Another task has this id.
            TooLarge: Redis does not accept data of this size.
        """
        return self._shell.run(enqueue.start(self._places, function, data, id))

    def start_many(self, tasks: Iterable[Any]) -> Ids:
        """Queue many tasks, in chunks that are each queued as a whole or not at all.

        All data is checked before anything is sent.

        Args:
            tasks: Each is `(function, data)`, `(function, data, id)`, a function alone, or a
                `pytask.client.New`.

        Returns:
            The ids, in order.

        Raises:
            BadData: As in `start`; nothing was queued.
            TaskExists: Another task has one of the ids.
            TooLarge: Its `ids` are too large; all others are queued.
            StoreError: Its `queued` names the ids that are certainly queued.
        """
        return self._shell.run(enqueue.start_many(self._places, tasks))

    def update_data(self, id: str, data: Any, function: Function | None = None) -> None:  # noqa: A002
        """Replace the data of a task.  A running task sees it at its next run: call `reload(id)`.

        Args:
            id: The task.
            data: As in `start`.
            function: A task class to check the data.

        Raises:
            NoSuchTask: There is no such task.
            BadData: As in `start`.
        """
        self._shell.run(enqueue.update_data(self._places, id, data, function))

    # -- steering -------------------------------------------------------------------------------------

    def stop(self, id: str, *, wait: float = 0) -> Outcome:  # noqa: A002
        """Stop a task, whether it waits or runs.

        The request is stored in the hash, so it survives restarts, and the worker is notified.

        Args:
            id: The task.
            wait: Seconds to wait until the task has stopped; 0 returns at once.

        Returns:
            What happened; `done` says whether it is at rest already.

        Raises:
            NoSuchTask: There is no such task.
            TimedOut: It has not stopped within `wait` seconds.
            Unheard: No worker listens that could stop it; only with `wait`.
        """
        return self._steer(Command.STOP, id, wait)

    def start_again(self, id: str, data: Any = None, *, wait: float = 0) -> Outcome:  # noqa: A002
        """Queue a task at rest (ENDED, STOPPED, ERROR) again.  One that waits or runs is left alone.

        Args:
            id: The task.
            data: New data; None keeps the present data.
            wait: Seconds to wait until its run has begun; 0 returns at once.

        Returns:
            What happened.

        Raises:
            NoSuchTask: There is no such task.
            TimedOut: It has not begun within `wait` seconds.
            TaskRests: It was stopped before it began.
            RunFailed: It began, and failed within the wait.
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
        """Queue a task again: as `start_again`, and also one whose worker died while no monitor is running.

        Its lease is watched for 90 s first (`Timing.expiry`), as a monitor does, or longer if the settings of
        the dead worker ask for it.

        Args:
            id: The task.
            data: New data; None keeps the present data.
            wait: Seconds to wait until its run has begun; 0 returns as soon as it is queued.
            timing: The times of the workers; default `Timing()`.

        Returns:
            What happened.

        Raises:
            NoSuchTask: There is no such task.
            TaskRuns: It was renewed meanwhile, so its worker is alive.
        """
        return self._shell.run(requeue.requeue(self._places, id, data, wait, timing))

    def requeue_many(self, ids: Iterable[str], *, timing: Timing | None = None) -> Outcomes:
        """As `requeue`, all in one watch; an outcome for each, whose `refused` says why it was left alone."""
        return self._shell.run(requeue.requeue_many(self._places, [*ids], timing))

    def reload(self, id: str, data: Any = None, *, wait: float = 0) -> Outcome:  # noqa: A002
        """Restart a running task in place with the data from its hash, or with `data`.

        The worker checks that data first.  Data that does not fit (not JSON, other types, unknown keys, a
        validator that fails) changes nothing: the run goes on, and `refusal` of the task has the path and the
        reason.  The hash keeps what was written: write data that fits, as the next run begins with it.

        Args:
            id: The task.
            data: New data; None keeps the present data.
            wait: Seconds to wait until the new run has lived for a second, or the reload was refused; 0
                returns at once.

        Returns:
            What happened; `requested` is False if the task was not running.  After a refusal `done` is False,
            and `refusal` has the reason.

        Raises:
            NoSuchTask: There is no such task.
            TimedOut: The new run has not begun within `wait` seconds.
            TaskRests: It came to rest before the new run began.
            RunFailed: The new run failed at once.
        """
        return self._steer(Command.RELOAD, id, wait, data)

    def stop_many(self, ids: Iterable[str]) -> Outcomes:
        """As `stop`, for many tasks and without waiting; an outcome for each, in order."""
        return self._shell.run(control.steer_many(self._places, Command.STOP, [*ids]))

    def start_again_many(self, ids: Iterable[str]) -> Outcomes:
        """As `start_again`, for many tasks and without waiting; an outcome for each, in order."""
        return self._shell.run(control.steer_many(self._places, Command.START, [*ids]))

    def reload_many(self, ids: Iterable[str], *, wait: float = 0) -> Outcomes:
        """As `reload`, for many tasks; an outcome for each, in order.  Nothing is raised for a single task.

        Args:
            ids: The tasks.
            wait: Seconds to wait for all of them, as in `reload`; 0 returns at once.

        Returns:
            What happened to each; `refused` says why one is not done, also if its new run failed or it came
            to rest before.
        """
        return self._shell.run(control.reload_many(self._places, [*ids], wait))

    def remove(self, id: str) -> bool:  # noqa: A002
        """Delete a task that is not running, and its queue entry.

        Args:
            id: The task.

        Returns:
            False if there was none.

        Raises:
            TaskRuns: It is running.
        """
        return self._shell.run(control.remove(self._places, id))

    def remove_many(self, ids: Iterable[str], *, state: str | Iterable[str] | None = None) -> Outcomes:
        """Delete many tasks that are not running, 256 in two round trips.

        Args:
            ids: The tasks.
            state: Delete only tasks in this state, or one of these; checked in the same step that deletes.

        Returns:
            What happened to each, in order.  `done` is False if there was none, if it was in another state,
            or if it is running (`refused`).
        """
        return self._shell.run(control.remove_many(self._places, [*ids], state))

    # -- looking --------------------------------------------------------------------------------------

    def get(self, id: str) -> TaskInfo:  # noqa: A002
        """A task as it is now.

        Args:
            id: The task.

        Raises:
            NoSuchTask: There is no such task.
        """
        return self._shell.run(queries.get(self._places, id))

    def list(
        self,
        *,
        state: str | Iterable[str] | None = None,
        function: str | None = None,
        worker: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """One page of tasks, without their data: running, waiting, failed, stopped, ended; newest first.

        States are indexed; `function` and `worker` are not.  A page filtered by those reads at most ten
        hashes per row (or 1000), and may have few rows or none although its cursor leads on.

        Args:
            state: Only tasks in this state, or one of these.
            function: Only tasks of this name.
            worker: Only tasks of this worker, by name or session.
            limit: Rows of a page.
            cursor: `page.cursor` of the page before.

        Returns:
            The page; its `cursor` is None at the end.

        Raises:
            BadCursor: A cursor of another list.
            BadData: No such state.
            ConfigError: A limit that is not from 1 to 10,000.
        """
        return self._shell.run(
            listing.page(
                self._places, state=state, function=function, worker=worker, limit=limit, cursor=cursor
            )
        )

    def count(self) -> Count:
        """How many tasks are in each state; costs the same for ten tasks and for ten million."""
        return self._shell.run(queries.count(self._places))

    def workers(self) -> Workers:
        """The workers that showed themselves lately, one for each session (a worker has one a partition)."""
        return self._shell.run(queries.workers(self._places))

    def functions(self) -> Functions:
        """The task names that living workers know, or that tasks wait for."""
        return self._shell.run(queries.functions(self._places))

    def find(self, beginning: str, *, limit: int = 5, steps: int = 20) -> tuple[Ids, bool]:
        """Find ids by their beginning.

        Args:
            beginning: What they begin with.
            limit: Ids to return, at most.
            steps: Steps of 5000 keys to look at, at most.

        Returns:
            The ids, and whether all keys were looked at.
        """
        return self._shell.run(watch.find(self._places, beginning, limit, steps))

    # -- following ------------------------------------------------------------------------------------

    def watch(
        self,
        id: str | None = None,  # noqa: A002
        *,
        seconds: float | None = None,
    ) -> Iterator[Event | Gap]:
        """The events that are published after this call returned.

        Survives lost connections: it then yields a `Gap`, because events may have been missed.

        Args:
            id: The task; None for all tasks.
            seconds: How long to watch; None for ever.

        Returns:
            An iterator of events and gaps.
        """
        steps = self._shell.steps(watch.watch(self._places, id, seconds))
        next(steps)
        return steps

    def wait(
        self,
        id: str,  # noqa: A002
        for_state: str | Iterable[str] | None = None,
        timeout: float = 60.0,
    ) -> TaskInfo:
        """Wait until a task is in a state.  Survives lost connections.

        Args:
            id: The task.
            for_state: The state, or one of several; by default ENDED, ERROR or STOPPED.
            timeout: Seconds to wait.

        Returns:
            The task.

        Raises:
            NoSuchTask: There is no such task.
            TimedOut: It did not get there in time.
            BadData: No such state.
        """
        return self._shell.run(watch.wait(self._places, id, for_state, timeout))

    def logs(
        self,
        id: str,  # noqa: A002
        *,
        limit: int | None = 100,
        follow: bool = False,
    ) -> Iterator[LogLine]:
        """The newest lines of a task's log, oldest first.  None are kept while the setting `task_logs` is 0
        (default).

        Args:
            id: The task.
            limit: Lines, at most; None for all that are kept.
            follow: Go on with new lines until the task is at rest or gone.  Survives lost connections;
                `line.missed` counts lines that were not kept long enough.

        Returns:
            An iterator of lines.

        Raises:
            NoSuchTask: There is no such task.
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
        return self._shell.run(control.steer(self._places, command, task_id, wait, data))
