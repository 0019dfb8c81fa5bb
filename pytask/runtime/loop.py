"""`run_loop`: call a function at a fixed rate."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from inspect import isawaitable, iscoroutinefunction
from typing import Any, Literal

import attrs
import gevent

from pytask.domain.errors import is_fatal
from pytask.runtime import coroutine_owner
from pytask.runtime.process.clock import steady
from pytask.runtime.tree import LoopOwner, current_run


class _NoLoop:
    """Of code that no worker runs."""

    clock = staticmethod(steady)

    def begin(self) -> None: ...

    def end(self, error: BaseException | None = None) -> None: ...

    rest = begin


NO_LOOP: LoopOwner = _NoLoop()


def run_loop(  # noqa: PLR0913 - options of a public function, all by name
    fn: Callable[[], Any],
    interval: float,
    *,
    jitter: float = 0.0,
    first: float = 0.0,
    on_error: Literal["raise"] | Callable[[Exception], Any] = "raise",
    now: Callable[[], float] | None = None,
    uniform: Callable[[float, float], float] = random.uniform,
) -> Any:
    """Call `fn()` every `interval` seconds, from start to start, until it raises.

    Rounds never overlap and do not drift; a round that takes longer than the interval skips the rounds that
    it missed.  While the task is paused no round begins; the first one after it begins at once.

    In a coroutine: `await run_loop(fn, 5)`.  There `fn` and `on_error` may be `async`, and are awaited.

    Args:
        fn: What to call.
        interval: Seconds between the starts of two rounds.
        jitter: Seconds: each round, also the first, starts up to this much later, at random, so that many
            tasks do not work in the same moment.  At most `interval`.
        first: Seconds before the first round.
        on_error: What follows an exception of `fn`: "raise" ends the loop with it; a function is called with
            it, and unless that raises, the loop goes on with the next round.  `self.Fatal` always ends it.
        now: A monotonic clock, in seconds; for tests.  By default that of the worker.
        uniform: Returns a random number between two numbers; for tests.

    Raises:
        ValueError: A number that makes no sense.
        Exception: What `fn` or `on_error` raised; it ends the loop.
    """
    _check(interval, jitter, first, on_error)
    owner = coroutine_owner.here()
    run = current_run() if owner is None else owner.run
    loop = NO_LOOP if run is None else run.loop()
    rounds = Rounds(interval, jitter, first, now or loop.clock, uniform)
    if owner is not None or iscoroutinefunction(fn):
        return _run_async(fn, rounds, on_error, owner, loop)
    try:
        while True:
            rest = rounds.rest()
            if rest is not None:
                gevent.sleep(rest)
            if run is not None:
                if run.paused:
                    loop.rest()
                run.gate()
            loop.begin()
            try:
                fn()
            except Exception as error:
                loop.end(error)
                if on_error == "raise" or is_fatal(error):
                    raise
                on_error(error)
            else:
                loop.end()
            rounds.over()
    finally:
        loop.rest()


async def _run_async(
    fn: Callable[[], Any], rounds: Rounds, on_error: Any, owner: Any, loop: LoopOwner
) -> None:
    import asyncio

    try:
        while True:
            rest = rounds.rest()
            if rest is not None:
                await asyncio.sleep(rest)
            if owner is not None:
                if owner.run.paused:
                    loop.rest()
                await owner.gate()
            loop.begin()
            try:
                await _result(fn())
            except Exception as error:
                loop.end(error)
                if on_error == "raise" or is_fatal(error):
                    raise
                await _result(on_error(error))
            else:
                loop.end()
            rounds.over()
    finally:
        loop.rest()


async def _result(value: Any) -> Any:
    return await value if isawaitable(value) else value


@attrs.define
class Rounds:
    """When the rounds begin."""

    _interval: float
    _jitter: float
    _first: float
    _now: Callable[[], float]
    _uniform: Callable[[float, float], float]
    _began: float = attrs.field(init=False)
    _done: int = attrs.field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self._began = self._now() + self._first

    def rest(self) -> float | None:
        """Seconds until the next one; None: the first one begins at once."""
        rest = self._began + self._done * self._interval - self._now()
        if self._jitter:
            rest += self._uniform(0.0, self._jitter)
        return max(0.0, rest) if self._done or rest > 0 else None

    def over(self) -> None:
        """A round is over: those that it has missed are skipped."""
        self._done = max(self._done + 1, int((self._now() - self._began) / self._interval) + 1)


def _check(interval: float, jitter: float, first: float, on_error: Any) -> None:
    if not interval > 0:
        raise ValueError(f"run_loop needs an interval above 0 seconds, not {interval!r}")
    if not 0 <= jitter <= interval:
        raise ValueError(f"the jitter of run_loop must be seconds from 0 to the interval, not {jitter!r}")
    if not 0 <= first < math.inf:
        raise ValueError(f"`first` of run_loop must be seconds, 0 or more, not {first!r}")
    if on_error != "raise" and not callable(on_error):
        raise ValueError(f"on_error of run_loop must be 'raise' or a function of the error, not {on_error!r}")
