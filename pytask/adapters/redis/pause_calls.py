"""Calls of the scripts that pause tasks and functions; nothing is sent here."""

from __future__ import annotations

from collections.abc import Sequence

from pytask.adapters import decoding
from pytask.adapters.redis import scripts
from pytask.adapters.redis.control_calls import Dated
from pytask.adapters.redis.lua import ScriptCall
from pytask.adapters.redis.scope import Scope
from pytask.adapters.rules import event
from pytask.domain.lifecycle import Trigger, destination, sources
from pytask.domain.messages import Command, Event
from pytask.domain.record import Confirmation


def pause(scope: Scope, dated: Dated, names: Sequence[bytes] | None) -> ScriptCall[list[bytes]]:
    """Pause tasks; `names` are those of the functions, None if they are not known."""
    keys = scope.keys
    hashes = [keys.task(task_id) for task_id, _ in dated]
    return scripts.pause(
        runs=keys.runs,
        queue=keys.queue,
        timers=keys.timers,
        paused=keys.paused,
        own=keys.own,
        indexes=keys.indexes,
        hashes=hashes,
        parkings=hashes if names is None else [keys.parking(decoding.text(name)) for name in names],
        channel=keys.channel,
        event=event(Event.PAUSED),
        waiting=destination(Trigger.PAUSE),
        asked_line=scope.line(Trigger.REQUEST, Command.PAUSE),
        line=scope.line_from(Trigger.PAUSE),
        kept=scope.kept,
        allowed=sources(Trigger.PAUSE),
        ids=[task_id for task_id, _ in dated],
        ages=[age for _, age in dated],
    )


def confirm(scope: Scope, confirmations: Sequence[Confirmation]) -> ScriptCall[list[bytes]]:
    """Tell that runs were paused or resumed."""
    keys = scope.keys
    return scripts.confirm(
        runs=keys.runs,
        hashes=[keys.task(one.id) for one in confirmations],
        space=scope.space,
        channel=keys.channel,
        paused_line=scope.line(Trigger.HOLD),
        resumed_line=scope.line(Trigger.GO_ON),
        kept=scope.kept,
        live_runs=[one.run for one in confirmations],
        told=[one.word for one in confirmations],
    )


def hold_functions(scope: Scope, names: Sequence[str], *, resume: bool) -> ScriptCall[list[int]]:
    """Pause or resume functions."""
    keys = scope.keys
    return scripts.hold_functions(
        paused_functions=keys.paused_functions,
        parked=keys.parked,
        hint_channel=keys.hint_channel,
        resume=resume,
        functions=[decoding.raw_of(name) for name in names],
    )


def tidy_paused(scope: Scope, ids: Sequence[bytes]) -> ScriptCall[int]:
    """Remove ids from the paused set that are not paused."""
    space = scope.keys.namespace.encode()
    return scripts.tidy_paused(
        paused=scope.keys.paused, hashes=[space + task_id for task_id in ids], space=scope.space
    )
