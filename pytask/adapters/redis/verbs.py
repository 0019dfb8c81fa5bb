"""Verbs shared by the store of a worker and the clients: generators that yield scripts and are sent replies.

Each verb thus exists once, independent of the kind of connection.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, TypeVar

from pytask.adapters.redis import control_calls, monitor_calls, pause_calls, replies
from pytask.adapters.redis.control_calls import Dated
from pytask.adapters.redis.lua import ScriptCall
from pytask.adapters.redis.scope import Scope
from pytask.adapters.rules import LATE
from pytask.domain.control import TABLE
from pytask.domain.messages import Command
from pytask.domain.record import Expiry, Verdict

T = TypeVar("T")
NAMELESS = b"NAME"  # the answer where a function is needed
Verb = Generator[ScriptCall[Any], Any, T]


def control(
    scope: Scope, command: Command, ids: Sequence[str], ages: Sequence[float] = (), *, fresh: bool = False
) -> Verb[list[Verdict]]:
    """Control a batch; `ages` are the seconds since each was requested.

    `fresh`, of a start: without what earlier runs have saved; of a reload: it repeats none that was answered.
    """
    if fresh and command is Command.START:
        dated = list(zip(ids, ages or [0.0] * len(ids), strict=True))
        return replies.verdicts((yield control_calls.start(scope, dated, fresh=True)))
    if command not in OWN_SCRIPT and TABLE[command].request:
        return replies.verdicts(
            (yield control_calls.request(scope, command, ids, fresh=fresh, late=LATE if ages else 0.0))
        )
    dated = list(zip(ids, ages or [0.0] * len(ids), strict=True))
    return replies.verdicts((yield from OWN_SCRIPT[command](scope, dated, bool(ages))))


def expire(scope: Scope, expiries: Sequence[Expiry], server: str = "") -> Verb[list[Verdict]]:
    """Expire a batch of dead runs."""
    return replies.verdicts((yield monitor_calls.expire(scope, expiries, server)))


def _stop(scope: Scope, dated: Dated, heard: bool) -> Verb[list[bytes]]:
    return (yield from _where_they_wait(control_calls.stop, scope, dated, heard=heard))


def _pause(scope: Scope, dated: Dated, heard: bool) -> Verb[list[bytes]]:
    return (yield from _where_they_wait(pause_calls.pause, scope, dated, heard=heard))


def _where_they_wait(
    script: Callable[[Scope, Dated, Sequence[bytes] | None], ScriptCall[list[bytes]]],
    scope: Scope,
    dated: Dated,
    *,
    heard: bool,
) -> Verb[list[bytes]]:
    """A script that takes tasks out of where they wait, for which it needs the names of their functions.

    `heard`: of a message, which is for tasks that run. Only where one waits after all is its name read.
    """
    found: list[bytes] = []
    if heard and dated:
        found = yield script(scope, dated, None)
        # It answers for the first ids only where it had long lists to look through.
        waits = [at for at in range(len(dated)) if at >= len(found) or found[at] == NAMELESS]
        if not waits:
            return found
        found += [b""] * (len(dated) - len(found))
        answers = yield from _where_they_wait(script, scope, [dated[at] for at in waits], heard=False)
        for at, answer in zip(waits, answers, strict=True):
            found[at] = answer
        return found
    names = yield control_calls.functions(scope, [task_id for task_id, _ in dated])
    while len(found) < len(dated):  # one call processes as many as it can within a few milliseconds
        left = len(found)
        found += yield script(scope, dated[left:], names[left:])
    return found


def _start(scope: Scope, dated: Dated, _heard: bool) -> Verb[list[bytes]]:
    found: list[bytes] = yield control_calls.start(scope, dated)
    return found


OWN_SCRIPT: Mapping[Command, Callable[[Scope, Dated, bool], Verb[list[bytes]]]] = {
    Command.STOP: _stop,
    Command.START: _start,
    Command.PAUSE: _pause,
}
"""Words that change tasks without a run; any other is a request to the owner of the run."""
