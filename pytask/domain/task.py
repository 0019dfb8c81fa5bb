"""The class users subclass."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, ParamSpec, Protocol, cast, overload

from pytask.domain.errors import BadTaskClass, NotRun, TaskFailed
from pytask.domain.journal import progress_of

if TYPE_CHECKING:  # what a type checker shows; nothing of it is loaded
    from collections.abc import Sequence
    from subprocess import Popen

    from _typeshed import StrOrBytesPath
    from gevent import Greenlet
    from redis import Redis
    from typing_extensions import TypeVar

    Data = TypeVar("Data", default=Any)
    Command = StrOrBytesPath | Sequence[StrOrBytesPath]
else:
    from typing import TypeVar

    Data = TypeVar("Data")

P = ParamSpec("P")
R = TypeVar("R")


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

    def blocking(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What `fn` returns or raises, in a native thread."""

    def subprocess(self, args: Any, **options: Any) -> Any:
        """A program that ends with this run."""

    def client(self) -> Any:
        """A Redis client of this run."""


class _NoRun:
    """Stands where the run of a task is, while no worker runs it: in a test that builds one."""

    def __getattr__(self, name: str) -> Any:
        raise NotRun(f"no worker runs this task: it has no {name}")

    def blocking(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return copy_context().run(fn, *args, **kwargs)  # there is no event loop to be held


class TaskConfig:
    """`NAME` (required) is the task's name on the wire; `DATA`, an attrs class the data must fit.

    With `UNKNOWN_KEYS = "ignore"`, keys of the data that `DATA` has no field for are ignored.
    `REDIS_WAIT` says how long `self.redis` waits for a Redis that is away: True for as long as the run
    lives, False not at all, or seconds.
    `SECRET` names fields of the data that nobody is to read by chance: `("password", "api.token")`.  A name
    without a dot is a key at any depth, a path leads from the top.  They are masked by the command line, and
    hidden in errors and log lines; whoever may read Redis reads them all the same.
    `START_RATE` is how many tasks of this class may begin in a second on one worker; the others wait.
    """


class Task(Generic[Data]):
    """A long-running job: subclass it, give its `Config` a `NAME`, and write `start()`.

    For type checkers, `Task[D]` is one whose `self.task_data` is a `D`, as with `Config.DATA = D`.

    The run lasts until `start()` returned *and* every greenlet spawned under it has ended.  What
    `start()` returns is kept as the task's output (any JSON value); an exception makes it ERROR.
    """

    Config: ClassVar[type[Any]] = TaskConfig  # type[Any]: that of a subclass need not derive from this
    Error: ClassVar[type[TaskFailed]] = TaskFailed
    task_data: Data
    _run: RunPort = cast("RunPort", _NoRun())

    def __init__(self, task_data: Data = None) -> None:  # type: ignore[assignment]
        """`task_data` is the dict from the data's JSON, or an instance of `Config.DATA`.

        A worker has set `self.task_data` before, so an `__init__` of your own that forgets to call this
        one loses nothing.
        """
        self.task_data = task_data

    def start(self) -> Any:
        """Do the work; block for as long as it takes."""
        raise NotImplementedError(f"{type(self).__name__} has no start()")

    def stop(self) -> None:
        """Called once when the task is to stop, beside a running `start()`: write one to ask that to end.

        5 s after the call (half of `Timing.grace`) the task's greenlets are killed; at once where a class
        has no `stop()` of its own, or where it raises.
        """

    def emit(self, event: str, data: Any = None) -> None:
        """Publish `{"event": event, "data": data}` on `task-<id>`, if this run is still the task's."""
        self._run.emit(event, data)

    def progress(self, done: float, total: float | None = None, note: str | None = None) -> None:
        """Say how far this run is: `done` of `total` (in any unit), and a short note for people.

        Cheap, and never waits: only the newest is sent, about ten times a second.  `pytask show` has it, and
        watchers get it as the event `progress`.
        """
        self._run.progress(progress_of(done, total, note))

    def spawn(self, fn: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Greenlet[P, R]:
        """Run `fn` in a greenlet that ends with this task; contextvars are copied.  Returns it."""
        return cast("Greenlet[P, R]", self._run.spawn(fn, *args, **kwargs))

    def blocking(self, fn: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """What `fn(*args, **kwargs)` returns or raises, run in a native thread; other tasks go on meanwhile.

        For C code that waits or computes; contextvars are copied.  The tasks of a worker share the threads
        (the setting `blocking_threads`), first come, first served.  A thread cannot be killed: when the task
        is stopped, what `fn` has begun goes on; see docs/threads.md.  In a task that no worker runs, as in
        a test, `fn` is called directly.
        """
        return cast("R", self._run.blocking(fn, *args, **kwargs))

    @overload
    def subprocess(self, args: Command, *, text: Literal[True], **options: Any) -> Popen[str]: ...

    @overload
    def subprocess(self, args: Command, *, encoding: str, **options: Any) -> Popen[str]: ...

    @overload
    def subprocess(
        self,
        args: Command,
        *,
        text: Literal[False] | None = None,
        encoding: None = None,
        **options: Any,
    ) -> Popen[bytes]: ...

    def subprocess(self, args: Any, **options: Any) -> Any:
        """Start a program, as `subprocess.Popen` does, whose whole process group ends with this run.

        `options` are those of Popen but `preexec_fn`, `process_group` and `start_new_session`.  When the run
        ends, what is left of the group gets SIGTERM, and SIGKILL 2.5 s later (a quarter of `Timing.grace`);
        also when the worker dies.
        """
        return self._run.subprocess(args, **options)

    @property
    def id(self) -> str:
        """The task's id."""
        return self._run.id

    @property
    def epoch(self) -> int:
        """Grows with every run of this id, also across lost data: a fencing token for other systems."""
        return self._run.epoch

    @property
    def redis(self) -> Redis:
        """A Redis client with the settings of the app's, on connections that the tasks of a worker share.

        It waits while Redis is away (`Config.REDIS_WAIT`), and does again what does no harm.  A write whose
        reply was lost raises `pytask.errors.OutcomeUnknown`, which is a `redis.ConnectionError` as well.
        """
        return cast("Redis", self._run.client())


def task_name(cls: object) -> str:
    """The wire name of a task class; raises :class:`BadTaskClass` with the fix."""
    kind = _task_class(cls)
    name = getattr(kind.Config, "NAME", None)
    if not isinstance(name, str) or not name:
        raise BadTaskClass(
            f"{kind.__qualname__} has no name: write `class Config: NAME = 'a-name'` inside the class"
        )
    return name


def _task_class(cls: object) -> type[Task]:
    if not isinstance(cls, type):
        if inspect.isroutine(cls):
            raise BadTaskClass(
                f"add_task got the function {cls.__name__}(): a task is a class, `class ATask(pytask.Task)`"
                " with `def start(self)`, where you call the function"
            )
        kind = type(cls).__name__
        raise BadTaskClass(f"add_task got an instance of {kind}: pass the class itself, add_task({kind})")
    if not issubclass(cls, Task):
        raise BadTaskClass(f"{cls.__qualname__} is not a task: derive it from pytask.Task")
    return cls


def check_class(kind: object) -> None:
    """Raise :class:`BadTaskClass`, with the fix, for a class whose every run would fail."""
    cls = _task_class(kind)
    name = cls.__qualname__
    how = getattr(cls.Config, "UNKNOWN_KEYS", "refuse")
    if how not in ("refuse", "ignore"):
        raise BadTaskClass(f"Config.UNKNOWN_KEYS of {name} is 'refuse' or 'ignore', not {how!r}")
    wait = getattr(cls.Config, "REDIS_WAIT", True)
    if not isinstance(wait, int | float) or wait < 0:
        raise BadTaskClass(f"Config.REDIS_WAIT of {name} is True, False or seconds, not {wait!r}")
    start_rate(cls)
    secret_fields(cls)
    if cls.start is Task.start:
        raise BadTaskClass(f"{name} has no start(): write `def start(self):`, which does the work")
    for verb in ("start", "stop"):
        _check_method(f"{name}.{verb}()", inspect.getattr_static(cls, verb))
    _check_call(
        f"{name}.__init__()", cls, "write `def __init__(self, task_data): super().__init__(task_data)`", None
    )


def _check_method(what: str, method: Any) -> None:
    if not inspect.isfunction(method):
        return  # a static method, a partial: what it does cannot be read from it
    if inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method):
        raise BadTaskClass(
            f"{what} is `async def`: tasks are greenlets, which block where a coroutine awaits. Write `def`,"
            " with blocking calls; at most one task of a worker may call asyncio.run()"
        )
    if inspect.isgeneratorfunction(method):
        raise BadTaskClass(
            f"{what} has a `yield`: a call only makes a generator. Write a loop with self.emit()"
        )
    _check_call(what, method, "it is called with `self` alone; its data is self.task_data", None)


def _check_call(what: str, called: Callable[..., Any], fix: str, *args: Any) -> None:
    try:
        signature = inspect.signature(called)
    except (TypeError, ValueError):
        return  # written in C: nothing is known of it
    try:
        signature.bind(*args)
    except TypeError as error:
        raise BadTaskClass(f"{what} cannot be called by a worker ({error}): {fix}") from None


def ignores_unknown(cls: type[Task]) -> bool:
    """Whether keys of the data that `Config.DATA` has no field for are ignored, not refused."""
    return bool(getattr(cls.Config, "UNKNOWN_KEYS", "refuse") == "ignore")


def redis_wait(cls: type[Task]) -> float:
    """Seconds that `self.redis` waits for a Redis that is away."""
    given = getattr(cls.Config, "REDIS_WAIT", True)
    return (math.inf if given else 0.0) if isinstance(given, bool) else float(given)


def secret_fields(cls: object) -> tuple[str, ...]:
    """`Config.SECRET`, names and paths; raises :class:`BadTaskClass` for what is none."""
    given = getattr(getattr(cls, "Config", None), "SECRET", ())
    fields = (given,) if isinstance(given, str) else given
    usable = isinstance(fields, tuple | list) and all(isinstance(one, str) for one in fields)
    if not usable or not all(all(one.split(".")) for one in fields):
        raise BadTaskClass(
            f"Config.SECRET of {getattr(cls, '__qualname__', cls)} names fields of the data, as in"
            f" ('password', 'api.token'), not {given!r}"
        )
    return tuple(fields)


def start_rate(cls: type[Task]) -> float | None:
    """`Config.START_RATE`, starts a second on one worker; raises :class:`BadTaskClass` for what is none."""
    rate = getattr(cls.Config, "START_RATE", None)
    if rate is None:
        return None
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not (rate > 0 and math.isfinite(rate)):
        raise BadTaskClass(
            f"Config.START_RATE of {cls.__qualname__} is a number of starts a second above 0, not {rate!r}"
        )
    return float(rate)


def data_class(cls: type[Task]) -> Any:
    """What the data is turned into: `Config.DATA`, or None."""
    return getattr(cls.Config, "DATA", None)


def register(known: Mapping[str, type[Task]], *classes: object) -> dict[str, type[Task]]:
    """`known` with `classes` added; raises :class:`BadTaskClass` on a second class of one name."""
    tasks = dict(known)
    for cls in classes:
        name = task_name(cls)
        check_class(cls)
        other = tasks.get(name)
        if other is not None and other is not cls:
            raise BadTaskClass(
                f"two tasks are named {name!r}: {other.__module__}.{other.__qualname__} and"
                f" {cls.__module__}.{cast('type', cls).__qualname__}; rename one in its Config"
            )
        tasks[name] = cast("type[Task]", cls)
    return tasks
