"""The base class of all tasks."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, ParamSpec, cast, overload

from pytask.domain.errors import FatalFailure, TaskFailed
from pytask.domain.run_facts import RunFacts
from pytask.domain.task_config import TaskConfig
from pytask.domain.task_log import progress_of

if TYPE_CHECKING:  # for type checkers only
    from collections.abc import Sequence
    from subprocess import Popen

    from _typeshed import StrOrBytesPath
    from gevent import Greenlet
    from typing_extensions import TypeVar

    Data = TypeVar("Data", default=Any)
    Command = StrOrBytesPath | Sequence[StrOrBytesPath]
else:
    from typing import TypeVar

    Data = TypeVar("Data")

P = ParamSpec("P")
R = TypeVar("R")


class Task(RunFacts, Generic[Data]):
    """A long-running job: subclass it, give its `Config` a `NAME`, and write `start()`.

    A run lasts until `start()` has returned *and* every greenlet spawned under it has ended.  What `start()`
    returns, any JSON value, is stored as the output; an exception makes the task ERROR.  Each run gets a new
    instance: attributes set on `self` are lost at the end of the run; what `self.save()` got is not.

    For type checkers, `Task[D]` is a task whose `self.task_data` is a `D`, as with `Config.DATA = D`.

    Args:
        task_data: The dict decoded from the data's JSON, or an instance of `Config.DATA`.

    Attributes:
        task_data: The same; set before `__init__`, so an `__init__` of your own need not call this one.
        Error: The exception for a failure without a traceback: `raise self.Error("no such feed")`.
        Fatal: The same for a failure that another run would repeat: no restart policy retries it.
    """

    Config: ClassVar[type[Any]] = TaskConfig  # type[Any]: that of a subclass need not derive from this
    Error: ClassVar[type[TaskFailed]] = TaskFailed
    Fatal: ClassVar[type[FatalFailure]] = FatalFailure
    task_data: Data

    def __init__(self, task_data: Data = None) -> None:  # type: ignore[assignment]
        """Set `self.task_data`."""
        self.task_data = task_data

    def start(self) -> Any:
        """Do the work; block for as long as it takes.

        With `async def start(self)` it is a coroutine in the worker's asyncio loop, where the other methods
        of the class are called, too; what waits is awaited: `await self.sleep(5)`.  See docs/asyncio.md.

        Returns:
            Any JSON value, stored in the hash field `output` and sent with the event `ended`.

        Raises:
            Exception: Any exception ends the run with the state ERROR.
        """
        raise NotImplementedError(f"{type(self).__name__} has no start()")

    def stop(self, *args: Any, **kwargs: Any) -> Any:
        """Override it to make a running `start()` end; it is called once, in a separate greenlet.

        Write `def stop(self):`, or `def stop(self, reason):` to be told why: "stop" (on request), "reload",
        "release" (a deploy, or another worker has more room), "timeout" (`Config.TIMEOUT`), or "lost" (the
        task belongs to another run by now, or Redis is out of reach for too long).

        5 s after the call (half of `Timing.grace`) the greenlets of the task are killed.  Without a `stop()`,
        or if it raises, they are killed at once: so one that does not make `start()` end costs 5 s (PT179).
        """

    @classmethod
    def check(cls, data: Data) -> None:
        """Override it, as a class or static method, to refuse data with which this task could not work.

        Called before a reload stops or changes anything, and before each start, with data that fits
        `Config.DATA`.  After a refused reload the run continues unchanged; a refused start is an ERROR.

        Args:
            data: The decoded data, as `self.task_data` would be.

        Raises:
            ValueError: The reason.  `pytask.errors.BadData(reason, "$.path")` says where, too.
        """

    def on_reload(self, data: Data) -> Any:
        """Override it to take new data in place: `start()` continues, in the same run.

        Called in a greenlet of its own, with data that passed all checks.  Afterwards `self.task_data` is the
        new data.  If it raises, the reload is refused.  Without it a reload stops the run and starts another.

        Args:
            data: The new data.

        Raises:
            ValueError: Why the data is not taken, as in `check`.
        """

    def gate(self) -> Any:
        """Wait here while the task is paused: call it where the task may stand still for hours.

        `run_loop` does so before each round.  If the task is stopped meanwhile, its `stop()` is called, and
        the greenlets that wait here end.  Returns at once if the task is not paused, or has no run.  In a
        coroutine: `await self.gate()`.
        """
        return self._run.gate()

    def sleep(self, seconds: float) -> Any:
        """Wait this many seconds, while other tasks continue.  In a coroutine: `await self.sleep(5)`.

        Raises:
            NotRun: No worker runs this task.
        """
        return self._run.sleep(seconds)

    def on_pause(self) -> Any:
        """Override it to be told of a pause, in a greenlet of the task; greenlets stop only at their gates.

        A task that stands still by other means than gates calls `self.gate()` at the end: that says that it
        has paused.  An exception is logged, and ends nothing.
        """

    def on_resume(self) -> Any:
        """Override it to be told that the task was resumed; it follows `on_pause()`, as that does."""

    def emit(self, event: str, data: Any = None) -> Any:
        """Publish `{"event": event, "data": data}` on the channel `task-<id>` if this run is still current.

        Waits while too many events wait for Redis.  In a coroutine it never waits, unless it is awaited.

        Args:
            event: The name of the event.
            data: Any JSON value, `Settings.max_data` bytes at most.

        Raises:
            BadData: Data that has no JSON form, or is too large.
            TooManyEvents: In a coroutine that does not await it, twice as many events wait as may.
            NotRun: No worker runs this task.
        """
        return self._run.emit(event, data)

    def progress(self, done: float, total: float | None = None, note: str | None = None) -> None:
        """Report the progress of this run.

        Never waits: only the newest report is sent, about ten times per second.  `pytask show` prints it, and
        watchers get the event `progress`.

        Args:
            done: The completed amount, in any unit.
            total: The total amount, in the same unit.
            note: A short description.

        Raises:
            BadData: Not a finite number, or not a text.
            NotRun: No worker runs this task.
        """
        self._run.progress(progress_of(done, total, note))

    @overload
    def save(self, value: Any) -> bool: ...

    @overload
    def save(self, value: Any, *, now: bool) -> Any: ...

    def save(self, value: Any, *, now: bool = False) -> Any:
        """Keep a value for the next run of this task, whatever ends this run: see `saved`.

        The last value wins.  Never waits: it is stored with the next renewal, at most 5 s later
        (`Timing.heartbeat`), and always with the end of the run.  So a deploy, a reload, a stop and a failure
        lose nothing, and the death of the process at most what was saved since the last renewal.

        Args:
            value: Any JSON value of 64 KiB at most: what the next run needs to go on, such as a position.
            now: Wait until Redis has it, while Redis is unreachable as long as `Config.REDIS_WAIT` says.  In
                a coroutine: `await self.save(value, now=True)`.

        Returns:
            False if `now`, and the task no longer belongs to this run: nothing was stored.  Otherwise True.

        Raises:
            BadData: A value that has no JSON form, or is too large.  The last value is kept.
            StoreError: Redis did not take it in time; only with `now`.  It is stored later if possible.
            NotRun: No worker runs this task.
        """
        return self._run.save(value, now=now)

    def spawn(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Greenlet[P, R]:
        """Run `fn` in a greenlet that ends with this task; context variables are copied.

        Args:
            fn: What to call.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments.

        Returns:
            The greenlet.

        Raises:
            NotRun: No worker runs this task.
        """
        return cast("Greenlet[P, R]", self._run.spawn(fn, *args, **kwargs))

    def in_greenlet(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Any:
        """For a coroutine: call `fn` in a greenlet of this task, and await what it returns.

        There libraries that block let other tasks continue, as in a task without `async`, and
        `self.subprocess()` works.  In a greenlet `fn` is called directly.

        Raises:
            Exception: Whatever `fn` raised.
            NotRun: No worker runs this task.
        """
        return self._run.in_greenlet(fn, *args, **kwargs)

    def aio(self, code: Coroutine[Any, Any, R]) -> R:
        """Run a coroutine in the asyncio loop of the worker, and wait for it: for tasks without `async`.

        It belongs to this run, and is cancelled when the task is stopped or a `gevent.Timeout` expires.

        Args:
            code: The coroutine: `self.aio(fetch(url))`.

        Returns:
            What it returned.

        Raises:
            Exception: Whatever it raised.
            NotInLoop: It was called in a coroutine, which can await.
            NotRun: No worker runs this task.
        """
        return cast("R", self._run.aio(code))

    def blocking(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `fn` in a native thread and wait for it, while other tasks continue.

        For C code that waits or computes; context variables are copied.  The tasks of a worker share the
        threads (setting `blocking_threads`) in order of their calls.  A thread cannot be killed: when the
        task is stopped, `fn` keeps running; see docs/threads.md.  In a task without a run, for example in a
        test, `fn` is called directly.  In a coroutine: `await self.blocking(fn)`.

        Args:
            fn: What to call.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments.

        Returns:
            What `fn` returned.

        Raises:
            Exception: Whatever `fn` raised.
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

        When the run ends or the worker dies, remaining processes of the group get SIGTERM, and SIGKILL 2.5 s
        later (a quarter of `Timing.grace`).

        Args:
            args: The program and its arguments.
            **options: The options of Popen except `preexec_fn`, `process_group` and `start_new_session`.

        Returns:
            The process, a `Popen`.

        Raises:
            NotRun: No worker runs this task.
        """
        return self._run.subprocess(args, **options)
