"""Calls of the scripts of schedules; nothing is sent here."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pytask.adapters import decoding
from pytask.adapters.redis.lua import ScriptCall
from pytask.adapters.redis.scope import Scope
from pytask.adapters.redis.scripts import timetable
from pytask.adapters.redis.scripts.timetable import StartRecord
from pytask.adapters.rules import event
from pytask.domain.firing import READ, Definition, Firing
from pytask.domain.lifecycle import Trigger, destination
from pytask.domain.messages import Event
from pytask.domain.record import Verdict
from pytask.domain.schedules import DEFINITION, KEPT, LONGEST_FIELD, NEVER, Overlap


def due(scope: Scope, limit: int, ended: Sequence[str]) -> ScriptCall[list[bytes]]:
    """The names of those that are due."""
    keys = scope.keys
    return timetable.due_schedules(
        schedules=keys.schedules,
        hashes=[keys.schedule(name) for name in ended],
        never=NEVER,
        most=limit,
        ended=[decoding.raw_of(name) for name in ended],
    )


def read(scope: Scope, names: Sequence[str]) -> ScriptCall[list[object]]:
    """What they say."""
    hashes = [scope.keys.schedule(name) for name in names]
    return timetable.read_schedules(hashes=hashes, longest=LONGEST_FIELD, fields=READ)


def fire(scope: Scope, firing: Firing) -> ScriptCall[bytes]:
    """What is due of one schedule."""
    keys, name = scope.keys, firing.name
    ids = [one.id for one in firing.starts] if firing.overlap is Overlap.ALLOW else [name]
    return timetable.fire(
        schedules=keys.schedules,
        schedule=keys.schedule(name),
        occurrences=keys.occurrences(name),
        runs=keys.runs,
        queue=keys.queue,
        timers=keys.timers,
        indexes=keys.indexes,
        hashes=[decoding.raw_of(keys.task(task_id)) for task_id in ids],
        name=decoding.raw_of(name),
        quoted=decoding.raw_of(json.dumps(name, ensure_ascii=False)),
        score=firing.score,
        paused=firing.paused,
        overlap=firing.overlap,
        next=firing.next,
        recheck=firing.recheck,
        most=KEPT,
        waiting=destination(Trigger.SCHEDULE),
        channel=keys.channel,
        event=event(Event.QUEUED),
        line=scope.line_from(Trigger.SCHEDULE, f"schedule {name}"),
        asked_line=scope.line(Trigger.REQUEST, Verdict.STOP),
        kept=scope.kept,
        starts=[
            StartRecord(one.id, json.dumps(one.id, ensure_ascii=False), one.at, one.missed, one.not_before)
            for one in firing.starts
        ],
        skips=firing.skipped,
    )


def fault(scope: Scope, name: str, score: float, text: str) -> ScriptCall[bytes]:
    """One that cannot be used."""
    return timetable.fault(
        schedules=scope.keys.schedules,
        schedule=scope.keys.schedule(name),
        name=decoding.raw_of(name),
        score=score,
        never=str(NEVER),
        error_text=text,
    )


def define(scope: Scope, definition: Definition) -> ScriptCall[bytes]:
    """A new one, or other fields of one."""
    return timetable.define_schedule(
        schedules=scope.keys.schedules,
        schedule=scope.keys.schedule(definition.name),
        occurrences=scope.keys.occurrences(definition.name),
        incarnation=scope.keys.incarnation,
        name=definition.name,
        data=definition.data,
        origin=definition.origin,
        lost=definition.lost,
        known_marker=definition.marker,
        most=KEPT,
        values=[definition.fields.get(field, "") for field in DEFINITION],
    )


def pause(scope: Scope, name: str, *, paused: bool) -> ScriptCall[bytes]:
    """Pause or resume one."""
    keys = scope.keys
    return timetable.pause_schedule(
        schedules=keys.schedules,
        schedule=keys.schedule(name),
        occurrences=keys.occurrences(name),
        name=decoding.raw_of(name),
        paused=paused,
        most=KEPT,
    )


def remove(scope: Scope, name: str) -> ScriptCall[bytes]:
    """Delete one."""
    keys = scope.keys
    return timetable.remove_schedule(
        schedules=keys.schedules,
        schedule=keys.schedule(name),
        occurrences=keys.occurrences(name),
        name=decoding.raw_of(name),
    )
