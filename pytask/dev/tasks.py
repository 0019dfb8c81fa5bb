"""What `pytask dev` reads of the tasks: counts and rows for the view, and those that still run old code."""

from __future__ import annotations

import attrs

from pytask.client import Client, TaskInfo
from pytask.dev.worker import Place
from pytask.domain import lifecycle as life
from pytask.domain.errors import PytaskError

MONITOR = "pytask/monitor"
PAGE = 1000
TIMEOUT = 0.5  # seconds: the loop waits meanwhile


@attrs.frozen
class Shown:
    """What the view shows: a sentence instead, if it could not be read."""

    counts: dict[str, int] = attrs.Factory(dict)
    tasks: list[TaskInfo] = attrs.Factory(list)
    error: str = ""


class Tasks:
    """The tasks of the code."""

    def __init__(self, url: str, place: Place) -> None:
        self._client = Client(
            url, namespace=place.namespace, partitions=place.partitions, timeout=TIMEOUT,
            connect_timeout=TIMEOUT,
        )  # fmt: skip

    def shown(self, rows: int) -> Shown:
        """The counts, and the first tasks."""
        try:
            counts = {str(state): number for state, number in self._client.count().states.items()}
            # Its own monitor is no news.
            tasks = [task for task in self._client.list(limit=rows + 1) if task.function != MONITOR]
        except PytaskError as error:
            return Shown(error=str(error))
        return Shown(counts, tasks[:rows])

    def still_of(self, prefix: str) -> list[str]:
        """For example "clock-1 (tick)": what runs in the worker whose run ids begin with `prefix`."""
        try:
            running = self._client.list(state=life.RUNNING, limit=PAGE)
        except PytaskError:
            return []
        return [
            f"{task.id} ({task.function})"
            for task in running
            if task.run.startswith(prefix) and task.function != MONITOR
        ]
