"""The client for programs that wait for each answer."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pytask.client.control_methods import ControlMethods
from pytask.client.lazy import enqueue
from pytask.client.reader import Reader
from pytask.client.records import FunctionInfo, New, Outcome, Worker

if TYPE_CHECKING:
    from pytask.client.enqueue import Function

Ids = list[str]
Outcomes = list[Outcome]
Workers = list[Worker]
Functions = list[FunctionInfo]


class Client(ControlMethods, Reader):
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
        group: str | None = None,
        traceparent: str | None = None,
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
            group: What it shares with other tasks, such as "account-17", up to 256 bytes: at most as many
                tasks of a group run at a time as its limit allows (`client.limits`, `Config.GROUP_LIMIT`).
            traceparent: The trace to which the spans of its runs link, of W3C Trace Context.  By default that
                of the current span of OpenTelemetry, if there is one; "" for none.

        Returns:
            The id.

        Raises:
            BadData: The data has no JSON form, or does not fit; the message has the path.
                Or no valid time, or group.
            TaskExists: Another task has this id.
            TooLarge: Redis does not accept data of this size.
        """
        task = New(function, data, id, delay, at, restart, group, traceparent)
        return self._driver.run(enqueue.start(self._partitions, task))

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
