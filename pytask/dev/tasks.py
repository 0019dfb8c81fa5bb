"""What `pytask dev` reads of the tasks: counts and rows for the view, and those without new code."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

import attrs

from pytask.client import Client, TaskInfo
from pytask.dev.worker import Place
from pytask.domain import lifecycle as life
from pytask.domain.errors import PytaskError
from pytask.domain.wording import counted, verb
from pytask.terminal import command

NAMED = 5  # tasks in one message
MONITOR = "pytask/monitor"
PAGE = 1000
TIMEOUT = 0.5  # seconds: the loop waits meanwhile


@attrs.frozen
class Shown:
    """What the view shows: a sentence instead, if it could not be read."""

    counts: dict[str, int] = attrs.Factory(dict)
    tasks: list[TaskInfo] = attrs.Factory(list)
    error: str = ""


@attrs.frozen
class Lost:
    """Tasks of a function for which the code has no class."""

    function: str
    number: int
    ids: tuple[str, ...] = ()  # some of them

    def told(self, functions: Collection[str]) -> str:
        """Which tasks that are, and what to do; `functions`: those of the code."""
        names = f": {', '.join(self.ids)}" if self.ids else ""
        names += " and more" if self.ids and self.number > len(self.ids) else ""
        near = get_close_matches(self.function, functions, n=1)
        meant = f" It has {near[0]!r}: if you renamed it, keep the old NAME." if near else ""
        chosen = (
            self.ids if len(self.ids) == self.number else ("--name", self.function, "--state", str(life.WAIT))
        )
        delete = command(["pytask", "rm", *chosen])
        return (
            f"{counted(self.number, 'task waits', 'tasks wait')} for a class that the code does not have,"
            f" {self.function!r}{names}.{meant} {verb(self.number, 'It runs', 'They run')} as soon as a save"
            f" brings it; to delete {verb(self.number, 'it', 'them')}: {delete}"
        )


@attrs.frozen
class Failed:
    """Tasks that ended in an error."""

    tasks: tuple[TaskInfo, ...] = ()  # some of them, the last one first
    number: int = 0

    @property
    def last(self) -> tuple[str, int]:
        """Which run failed last; ("", 0) if none did."""
        return next(((task.id, task.epoch) for task in self.tasks), ("", 0))

    @property
    def told(self) -> str:
        """Which tasks that are, and how they run again."""
        names = ", ".join(f"{task.id} ({task.function})" for task in self.tasks)
        names += f" and {self.number - len(self.tasks)} more" if self.number > len(self.tasks) else ""
        few = len(self.tasks) == self.number
        chosen = [task.id for task in self.tasks] if few else ["--state", str(life.ERROR)]
        again = command(["pytask", "start", *chosen])
        return (
            f"{counted(self.number, 'task has failed', 'tasks have failed')}: {names}; to try again: {again}"
        )


@attrs.frozen
class Rest:
    """Tasks that do not run the new code."""

    queued: int = 0
    lost: list[Lost] = attrs.Factory(list)
    failed: Failed = attrs.Factory(Failed)


class Tasks:
    """The tasks of the code."""

    def __init__(self, url: str, place: Place, functions: Collection[str] = ()) -> None:
        self._monitors = place.partitions if MONITOR in functions else 0  # that are no news
        self._client = Client(
            url, namespace=place.namespace, partitions=place.partitions, timeout=TIMEOUT,
            connect_timeout=TIMEOUT,
        )  # fmt: skip

    def shown(self, rows: int) -> Shown:
        """The counts, and the first tasks."""
        try:
            counts = {str(state): number for state, number in self._client.count().states.items()}
            counts[life.RUNNING] = max(0, counts.get(life.RUNNING, 0) - self._monitors)
            limit = rows + self._monitors
            tasks = [task for task in self._client.list(limit=limit) if task.function != MONITOR]
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

    def rest(self, functions: Collection[str]) -> Rest:
        """What none of these functions, of the code, runs."""
        try:
            count = self._client.count()
            lost = {name: number for name, number in count.parked.items() if number and name not in functions}
            return Rest(
                count.queued,
                [self._lost(name, number) for name, number in sorted(lost.items())],
                Failed(tuple(self._client.list(state=life.ERROR, limit=NAMED)), count[life.ERROR]),
            )
        except PytaskError:
            return Rest()

    def _lost(self, name: str, number: int) -> Lost:
        found = self._client.list(state=life.WAIT, function=name, limit=NAMED)
        return Lost(name, number, tuple(sorted(task.id for task in found)))
