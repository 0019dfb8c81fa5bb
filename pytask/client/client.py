"""The client for programs that wait for each answer."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pytask.client.lazy import control, enqueue, requeue
from pytask.client.reader import Reader
from pytask.client.records import FunctionInfo, New, Outcome, Worker
from pytask.domain.messages import Command

if TYPE_CHECKING:
    from pytask.client.enqueue import Function
    from pytask.domain.timing import Timing

Ids = list[str]
Outcomes = list[Outcome]
Workers = list[Worker]
Functions = list[FunctionInfo]


class Client(Reader):
    """Starts, controls and watches tasks.  Does not need gevent; threads and greenlets may share one.

    After `Unavailable` it is unknown whether a call had an effect; repeating it is safe (`start`: if it was
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

    # -- starting -------------------------------------------------------------------------------------

    def start(  # noqa: PLR0913 - what a start may say
        self,
        function: Function,
        data: Any = None,
        *,
        id: str | None = None,  # noqa: A002 - the field's own name, here and below
        delay: float | None = None,
        at: float | datetime | None = None,
        restart: str | None = None,
    ) -> str:
        """Queue a task, in one round trip.

        With an `id` the call may be repeated: while that task waits or runs, nothing is done.  Once it has
        ended (ENDED, ERROR, STOPPED) it runs again with this data, unless this repeats a call of the same
        client that got no answer.

        Args:
            function: The name of the task, or its class, which then checks the data against `Config.DATA`.
            data: A JSON object (a dict), or an instance of `Config.DATA`.
            id: The id; by default a new unique one.
            delay: Seconds until it may start, by the clock of Redis.
            at: The time before which it does not start: a datetime with a time zone, or seconds since 1970.
                A past time means at once.
            restart: "never", "failure" or "always", instead of `Config.RESTART` of its class.

        Returns:
            The id.

        Raises:
            BadData: The data has no JSON form, or does not fit; the message has the path.  Or no valid time.
            TaskExists: Another task has this id.
            TooLarge: Redis does not accept data of this size.
        """
        return self._driver.run(enqueue.start(self._partitions, New(function, data, id, delay, at, restart)))

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
        return self._driver.run(enqueue.start_many(self._partitions, tasks))

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
        self._driver.run(enqueue.update_data(self._partitions, id, data, function))

    # -- control -------------------------------------------------------------------------------------

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
            NoListeners: No worker listens that could stop it; only with `wait`.
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
            TaskNotRunning: It was stopped before it began.
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
            TaskRunning: It was renewed meanwhile, so its worker is alive.
        """
        return self._driver.run(requeue.requeue(self._partitions, id, data, wait, timing))

    def requeue_many(self, ids: Iterable[str], *, timing: Timing | None = None) -> Outcomes:
        """As `requeue`, all in one watch; an outcome for each, whose `refused` says why it was left alone."""
        return self._driver.run(requeue.requeue_many(self._partitions, [*ids], timing))

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
            TaskNotRunning: It came to rest before the new run began.
            RunFailed: The new run failed at once.
        """
        return self._steer(Command.RELOAD, id, wait, data)

    def stop_many(self, ids: Iterable[str]) -> Outcomes:
        """As `stop`, for many tasks and without waiting; an outcome for each, in order."""
        return self._driver.run(control.steer_many(self._partitions, Command.STOP, [*ids]))

    def start_again_many(self, ids: Iterable[str]) -> Outcomes:
        """As `start_again`, for many tasks and without waiting; an outcome for each, in order."""
        return self._driver.run(control.steer_many(self._partitions, Command.START, [*ids]))

    def reload_many(self, ids: Iterable[str], *, wait: float = 0) -> Outcomes:
        """As `reload`, for many tasks; an outcome for each, in order.  Nothing is raised for a single task.

        Args:
            ids: The tasks.
            wait: Seconds to wait for all of them, as in `reload`; 0 returns at once.

        Returns:
            What happened to each; `refused` says why one is not done, also if its new run failed or it came
            to rest before.
        """
        return self._driver.run(control.reload_many(self._partitions, [*ids], wait))

    def remove(self, id: str) -> bool:  # noqa: A002
        """Delete a task that is not running, and its queue entry.

        Args:
            id: The task.

        Returns:
            False if there was none.

        Raises:
            TaskRunning: It is running.
        """
        return self._driver.run(control.remove(self._partitions, id))

    def remove_many(self, ids: Iterable[str], *, state: str | Iterable[str] | None = None) -> Outcomes:
        """Delete many tasks that are not running, 256 in two round trips.

        Args:
            ids: The tasks.
            state: Delete only tasks in this state, or one of these; checked in the same step that deletes.

        Returns:
            What happened to each, in order.  `done` is False if there was none, if it was in another state,
            or if it is running (`refused`).
        """
        return self._driver.run(control.remove_many(self._partitions, [*ids], state))

    def _steer(self, command: Command, task_id: str, wait: float, data: Any = None) -> Outcome:
        return self._driver.run(control.steer(self._partitions, command, task_id, wait, data))
