"""A task that a test constructs itself: what it emits, saves and reports is recorded."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

from pytask import codec
from pytask.domain.errors import ConfigError
from pytask.domain.occurrences import Scheduled
from pytask.domain.task import Task


class Now:
    """The answer of what need not be awaited, and can be."""

    def __await__(self) -> Generator[Any, None, None]:
        yield from ()


class Recorder:
    """In the place of a run.

    Attributes:
        events: What was emitted, as (name, data).
        saves: The values that were saved, the newest last.
        progresses: The reports of progress: dicts with `done`, and `total` and `note` if they were given.
        slept: The seconds of each `self.sleep()`, which returns at once.
    """

    def __init__(
        self, *, saved: Any, id: str, attempt: int, scheduled: Scheduled | None, redis: Any  # noqa: A002
    ) -> None:  # fmt: skip
        self.id = id
        self.epoch = 1
        self.attempt = attempt
        self.scheduled = scheduled
        self.events: list[tuple[str, Any]] = []
        self.saves: list[Any] = []
        self.progresses: list[dict[str, Any]] = []
        self.slept: list[float] = []
        self._redis = redis
        self._saved = None if saved is None else codec.encode_saved(saved)

    def emit(self, event: str, data: Any) -> Now:
        """Record it; data that has no JSON form is refused as in a run."""
        codec.event(event, data)
        self.events.append((event, data))
        return Now()

    def progress(self, progress: dict[str, Any]) -> None:
        """Record it."""
        self.progresses.append(progress)

    def save(self, value: Any, *, now: bool) -> Any:
        """Record it; a value that has no JSON form, or is too large, is refused as in a run."""
        self._saved = codec.encode_saved(value)
        self.saves.append(codec.decode_saved(self._saved))
        return _True() if now else True

    @property
    def saved(self) -> Any:
        """A copy of the last value."""
        return None if self._saved is None else codec.decode_saved(self._saved)

    def gate(self) -> Now:
        """Nothing pauses it."""
        return Now()

    def sleep(self, seconds: float) -> Now:
        """Record it, and return at once."""
        self.slept.append(seconds)
        return Now()

    def blocking(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call it directly."""
        return copy_context().run(fn, *args, **kwargs)

    in_greenlet = blocking

    def aio(self, code: Any) -> Any:
        """Run it in an asyncio loop of its own."""
        import asyncio

        return asyncio.run(code)

    def spawn(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """In a plain greenlet, which the test ends."""
        import gevent

        return gevent.spawn(fn, *args, **kwargs)

    def subprocess(self, args: Any, **options: Any) -> Any:
        """Start it as a program of the test."""
        return subprocess.Popen(args, **options)

    def client(self) -> Any:
        """The client that the test gave.

        Raises:
            ConfigError: It gave none.
        """
        if self._redis is None:
            raise ConfigError(
                "this task asks for self.redis, and the test gave none: pass recording(redis=...), such as"
                " fakeredis.FakeRedis()"
            )
        return self._redis


class _True(Now):
    """True, which can also be awaited."""

    def __await__(self) -> Generator[Any, None, bool]:  # type: ignore[override]
        yield from ()
        return True

    def __eq__(self, other: object) -> bool:
        return other is True or isinstance(other, _True)

    __hash__ = Now.__hash__


@contextmanager
def recording(
    *,
    saved: Any = None,
    id: str = "test",  # noqa: A002
    attempt: int = 1,
    scheduled: Scheduled | None = None,
    redis: Any = None,
) -> Iterator[Recorder]:
    """Record what tasks do that the test constructs within this context: no worker, no loop.

    `Tick({"n": 1})` is then constructed, and its methods are called, as any object's.  Tasks that a worker
    runs are not affected.

    Args:
        saved: What `self.saved` is, as if an earlier run had saved it.
        id: The id of the task.
        attempt: What `self.attempt` is.
        scheduled: What `self.scheduled` is.
        redis: What `self.redis` is.

    Yields:
        The record.
    """
    recorder = Recorder(saved=saved, id=id, attempt=attempt, scheduled=scheduled, redis=redis)
    before = Task._run  # noqa: SLF001 - the place of the run of a task that has none
    Task._run = recorder  # noqa: SLF001
    try:
        yield recorder
    finally:
        Task._run = before  # noqa: SLF001
