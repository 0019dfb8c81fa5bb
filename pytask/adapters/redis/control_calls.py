"""Calls of the scripts that control tasks; nothing is sent here."""

from __future__ import annotations

from collections.abc import Sequence

from pytask.adapters import decoding
from pytask.adapters.redis import scripts
from pytask.adapters.redis.lua import ScriptCall
from pytask.adapters.redis.scope import Scope
from pytask.adapters.rules import event
from pytask.domain.lifecycle import Trigger, destination, sources
from pytask.domain.messages import LONGEST_NAME, Command, Event

Dated = Sequence[tuple[str, float]]
"""Ids, each with the seconds within which a recorded start is newer than the request."""


def functions(scope: Scope, ids: Sequence[str]) -> ScriptCall[list[bytes]]:
    """The names of their functions."""
    return scripts.functions(hashes=[scope.keys.task(i) for i in ids], longest=LONGEST_NAME)


def stop(scope: Scope, dated: Dated, names: Sequence[bytes] | None) -> ScriptCall[list[bytes]]:
    """Stop tasks; `names` are those of the functions, None if they are not known."""
    keys = scope.keys
    hashes = [keys.task(task_id) for task_id, _ in dated]
    return scripts.stop(
        runs=keys.runs,
        queue=keys.queue,
        timers=keys.timers,
        paused=keys.paused,
        own=keys.own,
        indexes=keys.indexes,
        hashes=hashes,
        parkings=hashes if names is None else [keys.parking(decoding.text(name)) for name in names],
        channel=keys.channel,
        event=event(Event.STOPPED),
        stopped=destination(Trigger.CANCEL),
        drop=scope.drops(Trigger.CANCEL),
        asked_line=scope.line(Trigger.REQUEST, Command.STOP),
        line=scope.line_from(Trigger.CANCEL),
        kept=scope.kept,
        allowed=sources(Trigger.CANCEL),
        ids=[task_id for task_id, _ in dated],
        ages=[age for _, age in dated],
    )


def start(scope: Scope, dated: Dated, *, fresh: bool = False) -> ScriptCall[list[bytes]]:
    """Start tasks again; `fresh`: without what earlier runs have saved."""
    keys = scope.keys
    return scripts.start(
        runs=keys.runs,
        queue=keys.queue,
        timers=keys.timers,
        paused=keys.paused,
        indexes=keys.indexes,
        hashes=[keys.task(task_id) for task_id, _ in dated],
        channel=keys.channel,
        event=event(Event.QUEUED),
        waiting=destination(Trigger.START),
        line=scope.line_from(Trigger.START),
        now_line=scope.line_from(Trigger.START_NOW),
        resumed_line=scope.line_from(Trigger.RESUME),
        asked_line=scope.line(Trigger.REQUEST, Command.START),
        kept=scope.kept,
        fresh=fresh,
        allowed=sources(Trigger.START),
        ids=[task_id for task_id, _ in dated],
        ages=[age for _, age in dated],
    )


def request(
    scope: Scope, word: Command, ids: Sequence[str], *, fresh: bool, late: float = 0.0
) -> ScriptCall[list[bytes]]:
    """Store `word` in the field `control` of running tasks; `fresh`: it repeats none before."""
    keys = scope.keys
    return scripts.request(
        runs=keys.runs,
        hashes=[keys.task(i) for i in ids],
        request=word,
        fresh=fresh,
        late=late if word is Command.RELOAD else 0.0,
        line=scope.line(Trigger.REQUEST, word),
        kept=scope.kept,
        ids=ids,
    )
