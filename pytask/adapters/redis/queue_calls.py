"""Calls of the scripts for lists of ids; nothing is sent here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pytask.adapters import decoding
from pytask.adapters.redis import limit_calls, scripts
from pytask.adapters.redis.lua import ScriptCall
from pytask.adapters.redis.scope import Scope, run_event
from pytask.adapters.rules import HELD, KEEP_REJECTED, event, parked_why
from pytask.domain import limits
from pytask.domain.lifecycle import Trigger, destination
from pytask.domain.messages import MAX_ID_BYTES, Event, IdFault
from pytask.domain.record import ClaimRequest, Tail

# What must hold as an id is rejected, in the words of reject.lua.
STILL = {
    IdFault.NO_HASH: "none",
    IdFault.WRONG_TYPE: "other",
    IdFault.LOCAL: "local",
    IdFault.LONG: "long",
}

NO_TAIL = Tail("", 0, 0)  # the ids are named


def peek(scope: Scope, limit: int, source: str | None) -> ScriptCall[list[bytes]]:
    """The ids at the tail."""
    return scripts.peek(source=scope.keys.source(source), most=limit)


def claim(scope: Scope, request: ClaimRequest, functions: Sequence[str]) -> ScriptCall[list[bytes]]:
    """Claim a batch; `functions` are those of the request, in the order of their counts in the answer."""
    keys, tail = scope.keys, request.tail or NO_TAIL
    return scripts.claim(
        runs=keys.runs,
        leases=keys.leases,
        source=keys.source(request.source),
        queue=keys.queue,
        timers=keys.timers,
        paused=keys.paused,
        paused_functions=keys.paused_functions,
        own=keys.own,
        indexes=keys.indexes,
        hashes=[keys.task(ref.id) for ref in request.refs],
        worker=request.worker,
        max_data=request.max_data,
        max_saved=request.max_saved,
        places=request.quarantine,
        channel=keys.channel,
        server=request.server,
        space=scope.space,
        look=1 if tail.session else request.look,
        session=tail.session,
        base=tail.base,
        take=tail.count,
        quiet=tail.quiet,
        line=scope.line_from(Trigger.CLAIM, who=request.worker),
        kept=scope.kept,
        event=run_event(Event.RUNNING, request.worker),
        rules=limit_calls.records(request.rules) if request.rules else (),
        functions=functions,
        new_runs=[ref.run for ref in request.refs],
    )


def reject(scope: Scope, raw: bytes, reason: IdFault, source: str | None) -> ScriptCall[bytes]:
    """Reject an id."""
    keys = scope.keys
    id_hex = raw[: MAX_ID_BYTES + 1].hex()
    note = json.dumps({"id_hex": id_hex, "reason": reason, "at": 0}, separators=(",", ":"))
    still = STILL.get(reason, "")
    task_id = raw.decode() if still and reason is not IdFault.LONG else None
    return scripts.reject(
        source=keys.source(source),
        rejected=keys.rejected,
        hashes=[] if task_id is None else [keys.task(task_id)],
        raw=raw,
        note_head=note[:-2],
        note_tail=note[-1:],
        most=KEEP_REJECTED,
        still=still,
        channel="" if task_id is None else keys.events(task_id),
        event=event(Event.REJECTED, {"reason": reason}),
    )


def park(  # noqa: PLR0913 - those of the verb
    scope: Scope, task_id: str, function: str, published: bytes, source: str | None, *, held: bool = False
) -> ScriptCall[bytes]:
    """Park a task; `held`: its function is known, but paused."""
    keys = scope.keys
    return scripts.park(
        runs=keys.runs,
        source=keys.source(source),
        timers=keys.timers,
        paused_functions=keys.paused_functions,
        parking=keys.parking(function),
        parked=keys.parked,
        indexes=keys.indexes,
        hash=keys.task(task_id),
        id=task_id,
        func=decoding.raw_of(function),
        waiting=destination(Trigger.PARK),
        channel=keys.events(task_id),
        event=published,
        hint_channel=keys.hint_channel,
        line=scope.line_from(Trigger.PARK, HELD if held else parked_why(function, published)),
        kept=scope.kept,
        held=held,
    )


def due(scope: Scope, ids: Sequence[bytes], most: int) -> ScriptCall[list[Any]]:
    """Move ids that were found due, and find the next ones."""
    keys, space = scope.keys, scope.keys.namespace.encode()
    return scripts.due(
        runs=keys.runs,
        queue=keys.queue,
        timers=keys.timers,
        schedules=keys.schedules,
        own=keys.own,
        hashes=[space + task_id for task_id in ids],
        space=scope.space,
        most=most,
        every=limits.LOOK,
    )


def unpark(scope: Scope, function: str) -> ScriptCall[int]:
    """Forget the name of a function with an empty parking list."""
    keys = scope.keys
    return scripts.unpark(parked=keys.parked, parking=keys.parking(function), func=decoding.raw_of(function))
