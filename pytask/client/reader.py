"""The methods of the client that read: tasks, lists, counts, workers, events, logs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from pytask.client.drivers import driver_of
from pytask.client.lazy import listing, logs, queries, samples, watch
from pytask.client.limit_methods import Limits
from pytask.client.options import ClientOptions
from pytask.client.records import Count, Event, FunctionInfo, Gap, LogLine, Outcome, Page, Worker
from pytask.client.schedules import Schedules
from pytask.client.sync_driver import SyncDriver
from pytask.client.task_records import TaskInfo
from pytask.domain.samples import Sample

Ids = list[str]
Outcomes = list[Outcome]
Workers = list[Worker]
Functions = list[FunctionInfo]


class Reader(ClientOptions[SyncDriver]):
    """Reads and watches tasks and workers: the read-only part of `pytask.Client`."""

    _make_driver = staticmethod(driver_of)

    @property
    def limits(self) -> Limits:
        """The calls that set and read limits."""
        return Limits(self._driver, self._partitions)

    @property
    def schedules(self) -> Schedules:
        """The calls that make, read and change schedules."""
        return Schedules(self._driver, self._partitions)

    # -- looking --------------------------------------------------------------------------------------

    def get(self, id: str) -> TaskInfo:  # noqa: A002
        """The current state of a task.

        Args:
            id: The task.

        Raises:
            NoSuchTask: There is no such task.
        """
        return self._driver.run(queries.get(self._partitions, id))

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
        hashes per row (or 1000), and may have few rows or none although more pages follow.

        Args:
            state: Only tasks in this state, or one of these.
            function: Only tasks of this name.
            worker: Only tasks of this worker, by name or session.
            limit: Rows of a page.
            cursor: `page.cursor` of the previous page.

        Returns:
            The page; its `cursor` is None at the end.

        Raises:
            BadCursor: A cursor of another list.
            BadData: No such state.
            ConfigError: A limit that is not from 1 to 10,000.
        """
        return self._driver.run(
            listing.page(
                self._partitions, state=state, function=function, worker=worker, limit=limit, cursor=cursor
            )
        )

    def count(self) -> Count:
        """The number of tasks in each state; the cost does not depend on the number of tasks."""
        return self._driver.run(queries.count(self._partitions))

    def workers(self) -> Workers:
        """The workers that reported recently, one entry per session (a worker has one per partition)."""
        return self._driver.run(queries.workers(self._partitions))

    def functions(self) -> Functions:
        """The task names that running workers know or that parked tasks wait for."""
        return self._driver.run(queries.functions(self._partitions))

    def samples(self, ring: str = "hour") -> tuple[Sample, ...]:
        """The fleet in the last hour, every 10 s, or in the last day, every 5 minutes.

        Monitors keep these (setting `samples`), so there is none of a time at which no worker ran.

        Args:
            ring: "hour" or "day".

        Returns:
            The samples, the oldest first.

        Raises:
            BadData: No such ring.
        """
        return self._driver.run(samples.samples(self._partitions, ring))

    def metrics(self, accept: str = "") -> tuple[bytes, str]:
        """A page for Prometheus: all workers, and all tasks by state and function.

        Ask one client each time: it remembers what workers had counted that are gone, so that no counter goes
        back.  `pytask.metrics.wsgi.app(client.metrics)` is a WSGI application that answers with it.

        Args:
            accept: The header `Accept` of the scrape, which chooses the format.

        Returns:
            The page, and its content type.

        Raises:
            MissingExtra: prometheus-client is not installed: `pip install 'pytaskd[metrics]'`.
        """
        return self._driver.run(self._metrics.page(self._partitions, accept))

    def find(self, beginning: str, *, limit: int = 5, steps: int = 20) -> tuple[Ids, bool]:
        """Find ids by their prefix.

        Args:
            beginning: The prefix.
            limit: The maximum number of ids.
            steps: The maximum number of scan steps, each of 5000 keys.

        Returns:
            The ids, and whether all keys were scanned.
        """
        return self._driver.run(watch.find(self._partitions, beginning, limit, steps))

    # -- watching -------------------------------------------------------------------------------------

    def watch(
        self,
        id: str | None = None,  # noqa: A002
        *,
        seconds: float | None = None,
    ) -> Iterator[Event | Gap]:
        """The events published after this call.

        Survives lost connections: it then yields a `Gap`, because events may have been missed.

        Args:
            id: The task; None for all tasks.
            seconds: How long to watch; None without a limit.

        Returns:
            An iterator of events and gaps.
        """
        steps = self._driver.steps(watch.watch(self._partitions, id, seconds))
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
            TimedOut: It did not reach the state in time.
            BadData: No such state.
        """
        return self._driver.run(watch.wait(self._partitions, id, for_state, timeout))

    def logs(
        self,
        id: str,  # noqa: A002
        *,
        limit: int | None = 100,
        follow: bool = False,
    ) -> Iterator[LogLine]:
        """The newest lines of a task's log, oldest first.

        Workers store none while the setting `task_logs` is 0 (default).

        Args:
            id: The task.
            limit: The maximum number of lines; None for all stored lines.
            follow: Continue with new lines until the task is at rest or deleted.  Survives lost connections;
                `line.missed` counts lines that were dropped before they could be read.

        Returns:
            An iterator of lines.

        Raises:
            NoSuchTask: There is no such task.
        """
        steps = self._driver.steps(logs.read(self._partitions, id, limit, follow))
        next(steps)
        return steps

    # -- closing -------------------------------------------------------------------------------------

    def close(self) -> None:
        """Drop the connections; the next call opens new ones."""
        self._driver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
