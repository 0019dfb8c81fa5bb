"""What runs and the executor know of coroutines: nothing of asyncio."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from types import FrameType
from typing import Any, Protocol


class Coroutines(Protocol):
    """The coroutines of one run: those of its methods, and what these have created."""

    alive: bool  # whether there may be any
    saved: bytes | None  # the value that this run has saved last, in whichever thread

    @property
    def here(self) -> bool:
        """Whether the caller is in the thread of the asyncio loop."""

    # -- in the event loop's thread -------------------------------------------------------------------

    def begin(self, make: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Start the coroutine of `start()`, which `make()` returns, there; `run.start_over` gets its end."""

    def call(self, make: Callable[[], Any], *, copies: bool = True) -> Any:
        """Call `make()` there, wait for the coroutine that it returns, and return or raise what that does.

        `copies`: with the context variables of the caller.
        """

    def cancel(self, *, again: bool = False) -> None:
        """Cancel what runs, once; with `again` also what was cancelled before."""

    def forget(self) -> None:
        """The run is over."""

    def whereabouts(self) -> list[str]:
        """The functions and lines where the coroutines are, for a message."""

    def stacks(self) -> list[tuple[str, list[FrameType]]]:
        """The name of each asyncio task, and its frames, innermost last."""

    # -- in the thread of the asyncio loop ------------------------------------------------------------

    def emit(self, event: bytes) -> Any:
        """Send an event; what is returned can be awaited, while too many wait."""

    def progress(self, progress: dict[str, Any]) -> None:
        """Report progress."""

    def save(self, raw: bytes, *, now: bool) -> Any:
        """Keep a value; with `now` it can be awaited."""

    def gate(self) -> Any:
        """Wait while the run is paused, when it is awaited."""

    def sleep(self, seconds: float) -> Any:
        """Wait, when it is awaited."""

    def in_greenlet(self, fn: Callable[[], Any]) -> Any:
        """Call `fn()` in a greenlet of the run, when it is awaited."""

    def client(self) -> Any:
        """A Redis client for coroutines."""


class CoroutineHost(Protocol):
    """The asyncio loop of a worker."""

    def coroutines(self, run: Any) -> Coroutines:
        """Those of a run; starts the loop if it is the first one."""

    def cancel(self, several: Sequence[Any]) -> None:
        """Cancel what runs of these coroutines, as `Coroutines.cancel` does for those of one run."""
