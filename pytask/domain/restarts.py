"""Whether a task runs again when one of its runs is over, and when: pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, cast

import attrs

from pytask.domain.delays import RESTARTS
from pytask.domain.errors import ConfigError
from pytask.domain.record import StartFields
from pytask.domain.wording import ago, counted

Word = Literal["never", "failure", "always"]

LONGEST = 366 * 86400.0  # seconds; the largest `first`, `cap`, `healthy` and `window`
MOST_TIMES = 1000  # the largest `limit` with a window: the hash keeps that many times


def _require(holds: bool, name: str, value: object, wrong: str) -> None:
    if not holds:
        raise ConfigError(f"Restart({name}={value!r}): `{name}` {wrong}")


def _number(value: Any, above: float, most: float) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and above < value <= most


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@attrs.frozen
class Restart:
    """When a task runs again after one of its runs has failed or ended: `Config.RESTART`.

    The n-th restart in a row waits between half of d and d, at random, where d is
    `first * factor ** (n - 1)` seconds, at most `cap`.  The count is one for all workers.  It starts again
    at 1 after a run that lived `healthy` seconds, and after `start` by a client.  What a worker does to a
    task is not counted: shutdown, rebalancing, reload, and the death of the worker.

    Data that does not fit, `raise self.Fatal(...)`, and a task that gave up become ERROR and stay it.

    All but the first argument are given by name.

    Raises:
        ConfigError: A value that makes no sense.
    """

    on: Word = "failure"  # "never", "failure": after a run that failed, "always": also after one that ended
    first: float = attrs.field(default=1.0, kw_only=True)  # seconds before the first restart, above 0
    factor: float = attrs.field(default=2.0, kw_only=True)  # each wait is this factor times the previous one
    cap: float = attrs.field(default=300.0, kw_only=True)  # the longest wait in seconds
    healthy: float = attrs.field(default=600.0, kw_only=True)
    """Seconds of one run after which the count starts again."""
    limit: int | None = attrs.field(default=None, kw_only=True)
    """After this many restarts the task gives up and becomes ERROR; None: never."""
    window: float | None = attrs.field(default=None, kw_only=True)
    """Seconds: only restarts within them count for `limit`; None: all since the count started."""

    def __attrs_post_init__(self) -> None:
        """Refuse values that make no sense."""
        _require(self.on in RESTARTS, "on", self.on, "must be 'never', 'failure' or 'always'")
        for name in ("first", "cap", "healthy"):
            value = getattr(self, name)
            _require(_number(value, 0.0, LONGEST), name, value, "must be seconds above 0, at most 366 days")
        _require(
            _number(self.factor, 0.0, math.inf) and self.factor >= 1, "factor", self.factor,
            "must be a number of at least 1: each wait is this factor times the previous one",
        )  # fmt: skip
        _require(
            self.cap >= self.first, "cap", self.cap,
            f"must be at least `first` ({self.first:g} s): it is the longest wait",
        )  # fmt: skip
        _require(
            self.limit is None or (_whole(self.limit) and self.limit > 0), "limit", self.limit,
            "must be a whole number of restarts above 0, or None for no limit; for no restart write"
            " Restart('never')",
        )  # fmt: skip
        if self.window is not None:
            self._check_window(self.window)

    def _check_window(self, window: float) -> None:
        wrong = "must be seconds above 0, at most 366 days, or None for all restarts in a row"
        _require(_number(window, 0.0, LONGEST), "window", window, wrong)
        _require(
            self.limit is not None, "window", window,
            "has no effect without `limit`: write how many restarts are allowed in it",
        )  # fmt: skip
        wrong = f"must be at most {MOST_TIMES} with a window, because each time is kept in the task's hash"
        _require(self.limit is None or self.limit <= MOST_TIMES, "limit", self.limit, wrong)


NEVER = Restart("never")


@attrs.frozen(kw_only=True)
class Over:
    """The facts of a run that is over."""

    failed: bool
    lived: float  # seconds
    at: float  # seconds since 1970, by the clock of Redis


@attrs.frozen(kw_only=True)
class Retry:
    """The task runs again."""

    delay: float  # seconds
    restarts: int  # in a row, with this one
    times: str  # for the hash field `restart_times`

    @property
    def attempt(self) -> int:
        """The number of the run that follows; the first run of a task is 1."""
        return self.restarts + 1


@attrs.frozen
class GiveUp:
    """The task does not run again, because of the limit of its policy."""

    reason: str  # how often it was restarted, in which time


def policy_of(of_class: Restart | None, fields: StartFields | None) -> Restart:
    """The policy of a task: that of its class (None: never), with the word of its hash field `restart`."""
    policy = of_class or NEVER
    word = fields.restart if fields is not None else ""
    return attrs.evolve(policy, on=cast("Word", word)) if word in RESTARTS and word != policy.on else policy


def decide(policy: Restart, before: StartFields | None, over: Over, chance: float) -> Retry | GiveUp | None:
    """What follows a run that is over; None if its policy does not apply to it.

    `before` is what the claim of the run had, and `chance` is a random number in [0, 1).
    """
    if policy.on == "never" or (policy.on == "failure" and not over.failed):
        return None
    before = before or StartFields()
    healthy = over.lived >= policy.healthy
    restarts = 0 if healthy else max(0, before.restarts)
    known = _times(before.failed)
    if policy.window is not None:
        kept = [time for time in known if abs(over.at - time) < policy.window]
        made = len(kept)
    else:
        kept = known[:1] if restarts else []  # since when the count runs
        made = restarts
    if policy.limit is not None and made >= policy.limit:
        return GiveUp(_given_up(policy, made, over.at - min([over.at, *kept])))
    times = kept if kept and policy.window is None else [*kept, over.at]
    return Retry(delay=_delay(policy, restarts + 1, chance), restarts=restarts + 1, times=_written(times))


def _delay(policy: Restart, restarts: int, chance: float) -> float:
    # Equal jitter: without it tasks that failed together restart together, and with a wait from 0 on a
    # crash loop would not slow down.
    try:
        longest = min(policy.cap, policy.first * float(policy.factor) ** (restarts - 1))
    except OverflowError:
        longest = policy.cap
    return longest / 2 + chance * longest / 2


def _given_up(policy: Restart, made: int, seconds: float) -> str:
    text = f"gave up after {counted(made, 'restart')} in {ago(seconds)}"
    if policy.window is not None:
        return f"{text}: the limit is {policy.limit} in {ago(policy.window)}"
    return f"{text}: the limit is {policy.limit} in a row, each run shorter than {ago(policy.healthy)}"


def _times(text: str) -> list[float]:
    """The times of the field `restart_times`, which is written in milliseconds."""
    return [int(word) / 1e3 for word in text.split() if word.isascii() and word.isdecimal()]


def _written(times: Sequence[float]) -> str:
    return " ".join(f"{time * 1e3:.0f}" for time in times)


def policy_text(policy: Restart) -> str:
    """The waits and the limit of a policy, in words."""
    text = (
        f"at most {ago(policy.cap)} between two runs; the count resets after {ago(policy.healthy)} of health"
    )
    if policy.limit is None:
        return text
    within = "in a row" if policy.window is None else f"in {ago(policy.window)}"
    return f"{text}; gives up after {counted(policy.limit, 'restart')} {within}"
