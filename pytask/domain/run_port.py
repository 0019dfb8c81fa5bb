"""What a task asks of its run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextvars import copy_context
from typing import Any, Protocol

from pytask.domain.errors import NotRun
from pytask.domain.occurrences import Scheduled


class RunPort(Protocol):
    """The part of a run that its task uses; the runtime provides it."""

    id: str

    @property
    def epoch(self) -> int:
        """Increases with every run."""

    @property
    def attempt(self) -> int:
        """1, or 1 more than the restarts in a row."""

    @property
    def scheduled(self) -> Scheduled | None:
        """The occurrence of a schedule that started it."""

    def emit(self, event: str, data: Any) -> Any:
        """Publish an event."""

    def progress(self, progress: dict[str, Any]) -> None:
        """Report the progress of this run."""

    def gate(self) -> Any:
        """Wait while this run is paused."""

    def sleep(self, seconds: float) -> Any:
        """Wait this many seconds."""

    def in_greenlet(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call `fn` in a greenlet of this run."""

    def aio(self, code: Any) -> Any:
        """Run a coroutine in the asyncio loop of the worker, and wait for it."""

    def spawn(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Spawn a greenlet of this run."""

    def blocking(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call `fn` in a native thread; returns or raises what it does."""

    def subprocess(self, args: Any, **options: Any) -> Any:
        """Start a program that ends with this run."""

    def save(self, value: Any, *, now: bool) -> Any:
        """Keep a value for the next run of the task."""

    @property
    def saved(self) -> Any:
        """The last value that was saved."""

    def client(self) -> Any:
        """A Redis client of this run."""


class NoRun:
    """Placeholder for the run of a task that was created directly, for example in a test."""

    def __getattr__(self, name: str) -> Any:
        raise NotRun(f"this task has no run, so it has no {name}")

    def blocking(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call it directly."""
        return copy_context().run(fn, *args, **kwargs)  # there is no event loop to block

    def gate(self) -> Awaitable[None]:
        """Go on."""
        return _NoWait()  # nothing pauses it


class _NoWait:
    """Can be awaited, and need not be."""

    def __await__(self) -> Generator[Any, None, None]:
        yield from ()
