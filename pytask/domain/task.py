"""The class users subclass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, cast

from pytask.domain.errors import BadTaskClass, TaskFailed
from pytask.domain.journal import progress_of


class RunPort(Protocol):
    """What a task sees of its run; the runtime provides it."""

    id: str

    @property
    def epoch(self) -> int:
        """Grows with every run."""

    def emit(self, event: str, data: Any) -> None:
        """Publish an event."""

    def progress(self, progress: dict[str, Any]) -> None:
        """Note how far this run is."""

    def spawn(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """A greenlet of this run."""

    def client(self) -> Any:
        """A Redis client of this run."""


class Task:
    """A long-running job: subclass it, give its `Config` a `NAME`, and write `start()`.

    The run lasts until `start()` returned *and* every greenlet spawned under it has ended.  What
    `start()` returns is kept as the task's output (any JSON value); an exception makes it ERROR.
    """

    class Config:
        """`NAME` (required) is the task's name on the wire; `DATA`, an attrs class the data must fit."""

    Error: ClassVar[type[TaskFailed]] = TaskFailed
    task_data: Any = None
    _run: RunPort

    def start(self) -> Any:
        """Do the work; block for as long as it takes."""
        raise NotImplementedError(f"{type(self).__name__} has no start()")

    def stop(self) -> None:
        """Called once when the task is to stop, beside a running `start()`; then its greenlets are
        killed.  The default does nothing."""

    def emit(self, event: str, data: Any = None) -> None:
        """Publish `{"event": event, "data": data}` on `task-<id>`, if this run is still the task's."""
        self._run.emit(event, data)

    def progress(self, done: float, total: float | None = None, note: str | None = None) -> None:
        """Say how far this run is: `done` of `total` (in any unit), and a short note for people.

        Cheap, and never waits: only the newest is sent, about ten times a second.  `pytask show` has it, and
        watchers get it as the event `progress`.
        """
        self._run.progress(progress_of(done, total, note))

    def spawn(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run `fn` in a greenlet that ends with this task; contextvars are copied.  Returns it."""
        return self._run.spawn(fn, *args, **kwargs)

    @property
    def id(self) -> str:
        """The task's id."""
        return self._run.id

    @property
    def epoch(self) -> int:
        """Grows with every run of this id, also across lost data: a fencing token for other systems."""
        return self._run.epoch

    @property
    def redis(self) -> Any:
        """A Redis client of this run's own, with the settings of the app's; closed with the run."""
        return self._run.client()


def task_name(cls: object) -> str:
    """The wire name of a task class; raises :class:`BadTaskClass` with the fix."""
    if not isinstance(cls, type):
        kind = type(cls).__name__
        raise BadTaskClass(f"add_task got an instance of {kind}: pass the class itself, add_task({kind})")
    if not issubclass(cls, Task):
        raise BadTaskClass(f"{cls.__qualname__} is not a task: derive it from pytask.Task")
    name = getattr(cls.Config, "NAME", None)
    if not isinstance(name, str) or not name:
        raise BadTaskClass(
            f"{cls.__qualname__} has no name: write `class Config: NAME = 'a-name'` inside the class"
        )
    return name


def data_class(cls: type[Task]) -> type | None:
    """The attrs class of `Config.DATA`, or None."""
    found: type | None = getattr(cls.Config, "DATA", None)
    return found


def register(known: Mapping[str, type[Task]], *classes: object) -> dict[str, type[Task]]:
    """`known` with `classes` added; raises :class:`BadTaskClass` on a second class of one name."""
    tasks = dict(known)
    for cls in classes:
        name = task_name(cls)
        other = tasks.get(name)
        if other is not None and other is not cls:
            raise BadTaskClass(
                f"two tasks are named {name!r}: {other.__module__}.{other.__qualname__} and"
                f" {cls.__module__}.{cast('type', cls).__qualname__}; rename one in its Config"
            )
        tasks[name] = cast("type[Task]", cls)
    return tasks
