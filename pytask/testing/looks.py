"""What a test looks at, and asserts, of tasks that run in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytask.adapters.memory import MemoryBackend
from pytask.adapters.memory.state import text
from pytask.client.client import Client
from pytask.client.enqueue import Function, name_of
from pytask.client.task_records import FINISHED, TaskInfo
from pytask.domain import lifecycle as life

SOON = 5.0  # seconds within which what is asserted becomes true
DAY = 86400.0
ANY: Any = object()


class Looks:
    """A client, and what became of the tasks.

    Attributes:
        client: A `pytask.Client`: all its calls work, `wait=` and `watch()` on the same clock as the tasks.
        backend: Where the state is kept.
    """

    client: Client
    backend: MemoryBackend

    def until(self, condition: Callable[[], Any], within: float = DAY) -> bool:
        """Let time pass until a condition holds; returns whether it does `within` this many seconds."""
        raise NotImplementedError

    # -- looking --------------------------------------------------------------------------------------

    def started(self, function: Function | None = None) -> list[TaskInfo]:
        """The tasks that exist, by id: those of a function (its name or class), or all."""
        name = None if function is None else name_of(function)
        keys = self.backend.state.keys
        ids = [
            i for i, fields in list(self.backend.state.values.items())
            if isinstance(fields, dict) and "function" in fields and not i.startswith(keys.own)
            and (name is None or fields["function"] == name.encode())
        ]  # fmt: skip
        return [self.client.get(i) for i in sorted(ids)]

    def events(self, id: str, name: str | None = None) -> list[Any]:  # noqa: A002
        """What a task has published: (event, data) for each, or the data of one event's."""
        found = self.backend.events(id)
        if name is None:
            return [(one.event, one.data) for one in found]
        return [one.data for one in found if one.event == name]

    def run(self, function: Function, data: Any = None, *, within: float = DAY, **options: Any) -> TaskInfo:
        """Start a task, and let time pass until it has ended, failed or was stopped.

        Args:
            function: Its name or class.
            data: As for `Client.start`.
            within: Seconds; a task that takes longer fails the test.
            **options: As for `Client.start`.

        Returns:
            The task.
        """
        task_id = self.client.start(function, data, **options)
        return self.finished(task_id, within)

    def finished(self, id: str, within: float = DAY) -> TaskInfo:  # noqa: A002
        """Let time pass until a task is at rest; returns it."""
        state = self.backend.state  # a look at it costs less than one by the client, and there are many
        self.until(
            lambda: text(state.fields(id), "state") in FINISHED and id.encode() not in state.queue, within
        )
        task = self.client.get(id)
        assert task.state in FINISHED, (  # noqa: S101 - this is an assertion of a test
            f"{id!r} is {task.state} after {within:g} s. An endless task does not finish: use rounds(), or"
            " advance() and client.stop()"
        )
        return task

    # -- asserting ------------------------------------------------------------------------------------

    def assert_started(self, function: Function, data: Any = ANY, *, times: int | None = None) -> None:
        """A task of this function exists, with this `data` if given, and exactly `times` of them if given."""
        found = self.started(function)
        fitting = [one for one in found if data is ANY or one.data == data]
        said = ", ".join(f"{one.id} {one.data!r}" for one in found) or "none"
        wanted = f"{name_of(function)!r}" + ("" if data is ANY else f" with {data!r}")
        enough = bool(fitting) if times is None else len(fitting) == times
        assert enough, f"{wanted} was started {len(fitting)} times; there are: {said}"  # noqa: S101

    def assert_state(self, id: str, state: str, within: float = SOON) -> TaskInfo:  # noqa: A002
        """A task is in a state, or gets there `within` this many seconds; returns it."""
        self.until(lambda: self.client.get(id).state == state, within)
        task = self.client.get(id)
        said = f": {task.error.splitlines()[0]}" if task.error else ""
        assert task.state == state, f"{id!r} is {task.state}, not {state}{said}"  # noqa: S101
        return task

    def assert_event(self, id: str, name: str, data: Any = ANY, within: float = SOON) -> None:  # noqa: A002
        """A task has published an event, with this data, or does so `within` this many seconds."""
        fits = self.until(lambda: any(data is ANY or one == data for one in self.events(id, name)), within)
        wanted = f"{name!r}" + ("" if data is ANY else f" with {data!r}")
        assert fits, f"{id!r} did not publish {wanted}; it did: {self.events(id)}"  # noqa: S101

    def assert_saved(self, id: str, value: Any, within: float = 2 * SOON) -> None:  # noqa: A002
        """What a task has saved, as the next run would get it; a worker stores it every 5 s."""
        self.until(lambda: self.client.get(id).saved == value, within)
        found = self.client.get(id).saved
        assert found == value, f"{id!r} has saved {found!r}, not {value!r}"  # noqa: S101

    def assert_output(self, id: str, value: Any, within: float = DAY) -> None:  # noqa: A002
        """A task ends, with this output."""
        task = self.finished(id, within)
        assert task.state is life.ENDED, f"{id!r} is {task.state}: {task.error}"  # noqa: S101
        assert task.output == value, f"the output of {id!r} is {task.output!r}, not {value!r}"  # noqa: S101

    def assert_error(self, id: str, says: str, within: float = DAY) -> None:  # noqa: A002
        """A task fails, with this text in its error."""
        task = self.finished(id, within)
        assert task.state is life.ERROR, f"{id!r} is {task.state}, not ERROR"  # noqa: S101
        assert says in task.error, f"the error of {id!r} is {task.error!r}"  # noqa: S101
