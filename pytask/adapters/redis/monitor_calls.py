"""Calls of the scripts of monitors and of presence; nothing is sent here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import attrs

from pytask.adapters import decoding
from pytask.adapters.redis import scripts
from pytask.adapters.redis.lua import ScriptCall
from pytask.adapters.redis.scope import Scope
from pytask.adapters.rules import EXPIRED, LOST, NOBODY, POISON, event
from pytask.domain.figures import WorkerInfo
from pytask.domain.lifecycle import State, Trigger, destination
from pytask.domain.messages import Event
from pytask.domain.record import Expiry
from pytask.domain.samples import Crew, Ring


def suspects(scope: Scope, ids: Sequence[str]) -> ScriptCall[list[object]]:
    """Read the runs of suspicious leases."""
    keys = scope.keys
    hashes = [keys.task(i) for i in ids]
    return scripts.suspects(runs=keys.runs, hashes=hashes, ids=ids)


def forget(scope: Scope, ids: Sequence[str]) -> ScriptCall[int]:
    """Delete leases without a run."""
    keys = scope.keys
    return scripts.forget(runs=keys.runs, leases=keys.leases, hashes=[keys.task(i) for i in ids], ids=ids)


def expire(scope: Scope, expiries: Sequence[Expiry], server: str) -> ScriptCall[list[bytes]]:
    """Expire dead runs."""
    keys = scope.keys
    return scripts.expire(
        runs=keys.runs,
        leases=keys.leases,
        queue=keys.queue,
        timers=keys.timers,
        paused=keys.paused,
        own=keys.own,
        indexes=keys.indexes,
        hashes=[keys.task(one.id) for one in expiries],
        channel=keys.channel,
        server=server,
        error=POISON,
        kept=scope.kept,
        waiting=destination(Trigger.EXPIRE),
        waiting_event=event(Event.REQUEUED, {"reason": EXPIRED}),
        waiting_line=_without_why(scope, Trigger.EXPIRE),
        stopped=destination(Trigger.EXPIRE_STOPPED),
        stopped_event=event(Event.STOPPED),
        stopped_line=_without_why(scope, Trigger.EXPIRE_STOPPED),
        stopped_drop=scope.drops(Trigger.EXPIRE_STOPPED),
        failed=destination(Trigger.POISON),
        failed_event=event(Event.ERROR, {"error": POISON}),
        failed_line=_without_why(scope, Trigger.POISON),
        failed_drop=scope.drops(Trigger.POISON),
        ids=[one.id for one in expiries],
        old_runs=[one.run for one in expiries],
        seen=[one.seen for one in expiries],
        crashes=[one.crashes for one in expiries],
        poison=[one.poison for one in expiries],
        proven=[one.proven for one in expiries],
    )


def _without_why(scope: Scope, trigger: Trigger) -> str:
    return scope.line(trigger)[:-1]  # what the script says begins in the place of "-"


def repair(scope: Scope, ids: Sequence[str], expiry: float) -> ScriptCall[list[Any]]:
    """Repair orphaned tasks."""
    keys = scope.keys
    waiting, stopped = destination(Trigger.REPAIR), destination(Trigger.EXPIRE_STOPPED)
    return scripts.repair(
        runs=keys.runs,
        leases=keys.leases,
        queue=keys.queue,
        timers=keys.timers,
        paused=keys.paused,
        own=keys.own,
        waiting_index=keys.index(waiting),
        stopped_index=keys.index(stopped),
        hashes=[keys.task(i) for i in ids],
        expiry=expiry,
        channel=keys.channel,
        kept=scope.kept,
        waiting=waiting,
        waiting_event=event(Event.REQUEUED, {"reason": NOBODY}),
        waiting_line=scope.line(Trigger.REPAIR, NOBODY),
        stopped=stopped,
        stopped_event=event(Event.STOPPED),
        stopped_line=scope.line(Trigger.EXPIRE_STOPPED, NOBODY),
        stopped_drop=scope.drops(Trigger.EXPIRE_STOPPED),
        ids=ids,
    )


def put_back(scope: Scope, ids: Sequence[str], names: Sequence[bytes]) -> ScriptCall[int]:
    """Queue those of some tasks that are in no place; `names` are those of their functions."""
    keys = scope.keys
    return scripts.put_back(
        runs=keys.runs,
        queue=keys.queue,
        timers=keys.timers,
        paused=keys.paused,
        own=keys.own,
        hashes=[keys.task(i) for i in ids],
        parkings=[keys.parking(decoding.text(name)) for name in names],
        space=scope.space,
        waiting=destination(Trigger.REPAIR),
        channel=keys.channel,
        event=event(Event.REQUEUED, {"reason": LOST}),
        funcs=names,
    )


def retire(scope: Scope, state: State, keep: int, ids: Sequence[str]) -> ScriptCall[int]:
    """Delete hashes whose retention time is over."""
    keys = scope.keys
    return scripts.retire(
        runs=keys.runs,
        queue=keys.queue,
        index=keys.index(state),
        hashes=[decoding.raw_of(keys.task(i)) for i in ids],
        state=state,
        keep=keep,
        ids=[decoding.raw_of(i) for i in ids],
    )


def tidy(scope: Scope, monitor: str, silent: float) -> ScriptCall[None]:
    """Record a sweep, and delete silent workers."""
    keys = scope.keys
    return scripts.tidy(
        workers=keys.workers, shown=keys.worker_info, monitors=keys.monitors, monitor=monitor, silent=silent
    )


def sample(scope: Scope, ring: Ring, crew: Crew | None) -> ScriptCall[int]:
    """Keep a sample; without the figures of the workers only look whether one is due."""
    keys = scope.keys
    return scripts.sample(
        ring=keys.samples(ring.name),
        leases=keys.leases,
        queue=keys.queue,
        timers=keys.timers,
        indexes=keys.indexes,
        step=ring.step,
        size=ring.size,
        crew="" if crew is None else " ".join(map(str, attrs.astuple(crew))),
    )


def announce(scope: Scope, info: WorkerInfo) -> ScriptCall[int]:
    """Publish the figures of this worker."""
    keys = scope.keys
    return scripts.announce(
        workers=keys.workers,
        shown=keys.worker_info,
        monitors=keys.monitors,
        session=info.session,
        info=json.dumps(attrs.asdict(info)),
    )
