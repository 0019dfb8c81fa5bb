"""What calls of Redis in coroutines have in common, on one server and in a cluster."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from typing import Any

from pytask.adapters.redis import cloned_options, command_effects
from pytask.adapters.redis.task_client import may_wait
from pytask.adapters.redis.task_connection import pause
from pytask.domain.errors import OutcomeUnknown
from pytask.domain.ports import Borrower

Commands = Sequence[Sequence[Any]]


def cancels() -> int:
    """How often the current task was cancelled."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def check_cancel(before: int) -> None:
    """Raise a cancel that was lost: `wait_for` of Python 3.11, with which redis-py sends, loses one that
    comes as it is done.  A call that blocks would then wait for its reply.
    """
    if cancels() > before:
        raise asyncio.CancelledError


async def again_while_safe(
    once: Callable[[], Awaitable[Any]],
    commands: Commands,
    borrower: Borrower | None,
    shares: asyncio.Semaphore,
    away: Callable[[Exception], bool],
) -> Any:
    """The value of `once()`, which sends these commands; again while Redis is away and that is safe."""
    began, failures, before = time.monotonic(), 0, cancels()
    blocks = any(map(command_effects.waits, commands))
    while True:
        failures += 1
        try:
            async with contextlib.nullcontext() if blocks else shares:  # in order of the calls
                found = await once()
        except Exception as error:
            if isinstance(error, OutcomeUnknown) or not away(error):
                raise
            if not may_wait(borrower, error, time.monotonic() - began, failures):
                raise
        else:
            check_cancel(before)
            return found
        await asyncio.sleep(pause(failures))


def is_reset(connection: Any) -> bool:
    """Whether the loop has seen the end of an idle connection; the library notices only an orderly one."""
    writer = connection._writer  # noqa: SLF001
    return writer is not None and bool(writer.is_closing())


def reply_limit(
    limit: float | None, commands: Commands, package: str, borrower: Borrower | None
) -> float | None:
    """The timeout of a reply; longer for a write, as an unknown outcome is worse than a wait."""
    if limit is None:
        return None
    if borrower is not None and not command_effects.only_reads(commands, package):
        limit = max(limit, min(borrower.reply, borrower.patience))
    limit += sum(map(command_effects.waits, commands))
    return None if limit == math.inf else limit


def no_retries(package: str) -> Any:
    """The `Retry` of a client that repeats nothing by itself."""
    retry = importlib.import_module(f"{package}.asyncio.retry")
    backoff = importlib.import_module(f"{package}.backoff")
    return retry.Retry(backoff.NoBackoff(), 0)


def options(package: str, pool: Any, kind: type) -> dict[str, Any]:
    """Those of a pool for connections of a class, without retries by the library."""
    given = cloned_options.of_pool(pool)
    return {k: v for k, v in given.items() if k in _options_of(kind)} | {"retry": no_retries(package)}


@cache
def _options_of(cls: type) -> frozenset[str]:
    """The options that a connection of the library takes and that mean the same for asyncio."""
    found: set[str] = set()
    for one in cls.__mro__:
        if "__init__" in one.__dict__:
            found |= inspect.signature(one.__init__).parameters.keys()  # type: ignore[misc]
    return frozenset(
        found - {"self", "args", "kwargs", "parser_class", "retry", "retry_on_error", "retry_on_timeout"}
        - {"maint_notifications_config", "event_dispatcher", "encoder_class", "connection_pool"}
    )  # fmt: skip
