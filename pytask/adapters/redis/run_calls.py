"""Calls of the scripts that renew and end runs; nothing is sent here."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import NamedTuple

from pytask.adapters import decoding
from pytask.adapters.redis import scripts
from pytask.adapters.redis.lua import ScriptCall
from pytask.adapters.redis.packing import Packed
from pytask.adapters.redis.scope import UNKNOWN, Scope, run_event
from pytask.adapters.redis.scripts import ChangeKind, SavedValue
from pytask.adapters.rules import IN_PLACE, PRESTARTED, RESTORED, carried, event, refusal, reloaded_in_place
from pytask.domain.leases import Chunk, stamps
from pytask.domain.lifecycle import Trigger, destination
from pytask.domain.messages import Command, Event
from pytask.domain.record import Adoption, Change, Claim, InForce, Notes, RunRef, Save, StartFields

RENEW_CALL = 250  # runs a call of a renewal, about 1.5 ms of Redis: other commands wait no longer

# -- renewals -----------------------------------------------------------------------------------------


class Renewed(NamedTuple):
    """The arguments for the runs of one renewal call, see `scripts.renew`."""

    hashes: Sequence[str] | Packed
    session: str
    rests: str | Packed


def renewals(
    scope: Scope, refs: Sequence[RunRef], saves: Mapping[str, Save], *, alone: bool, packs: bool
) -> list[ScriptCall[list[object]]]:
    """Renew runs, in calls of 250; one call even without runs.  `saves`: what runs have saved, by run."""
    keys, marker = scope.keys, uuid.uuid4().hex
    return [
        scripts.renew(
            runs=keys.runs,
            leases=keys.leases,
            incarnation=keys.incarnation,
            own=keys.own,
            hashes=one.hashes,
            marker=marker,
            alone=alone,
            space=scope.space,
            session=one.session,
            rests=one.rests,
            stamps=stamps(refs),
            saves=_saved(refs, number * RENEW_CALL, saves) if saves else (),
        )
        for number, one in enumerate(_renewed(scope, refs, packs=packs))
    ]


def _saved(refs: Sequence[RunRef], first: int, saves: Mapping[str, Save]) -> list[SavedValue]:
    """The values of one call, whose runs begin at `first`."""
    found = ((place, saves.get(ref.run)) for place, ref in enumerate(refs[first : first + RENEW_CALL], 1))
    return [SavedValue(place, one.number, one.value) for place, one in found if one is not None]


def save(scope: Scope, one: Save, server: str) -> ScriptCall[bytes]:
    """Store what a task saves, at once."""
    keys = scope.keys
    return scripts.save(
        runs=keys.runs,
        leases=keys.leases,
        hash=keys.task(one.id),
        id=one.id,
        run=one.run,
        nth=one.number,
        value=one.value,
        server=server,
    )


def _renewed(scope: Scope, refs: Sequence[RunRef], *, packs: bool) -> list[Renewed]:
    """Packed once for runs that are renewed together repeatedly."""
    if not isinstance(refs, Chunk) or not packs:
        return [Renewed(*part) for part in _parts(scope, refs)]
    if not isinstance(refs.kept, list):
        refs.kept = [
            Renewed(Packed(hashes), session, Packed([rests]))
            for hashes, session, rests in _parts(scope, refs)
        ]
    return refs.kept


def _parts(scope: Scope, refs: Sequence[RunRef]) -> Iterator[tuple[list[str], str, str]]:
    for at in range(0, len(refs) or 1, RENEW_CALL):
        part = refs[at : at + RENEW_CALL]
        session = part[0].run.rpartition(":")[0] + ":" if part else ""
        rests = [_rest(ref.run, session) for ref in part]
        yield [scope.keys.task(ref.id) for ref in part], session, " ".join(rests)


def _rest(run: str, session: str) -> str:
    return run[len(session) :] if run.startswith(session) else f"={run}"


Alike = tuple[object, ...]  # the common part of a change, by which changes are grouped

# -- ends and events ----------------------------------------------------------------------------------


def commit(scope: Scope, changes: Sequence[Change]) -> ScriptCall[bytes]:
    """Commit ends and events in order."""
    keys = scope.keys
    kinds: list[ChangeKind] = []
    fields: list[str | bytes] = []
    known: dict[Alike, str] = {}
    numbers: list[str] = []
    before: Alike | None = None
    for one in changes:
        alike = (one.event, one.trigger, one.keep, one.local, one.delay, one.trial, *one.fields.items())
        if alike != before:  # rare, and hashing costs more than comparing
            before, number = alike, known.get(alike, "")
            if not number:
                kinds += _kinds_of(scope, one, len(kinds) + 1)
                fields += chain.from_iterable(one.fields.items())
                number = known[alike] = str(len(kinds))
        numbers.append(number)
    return scripts.commit(
        runs=keys.runs,
        leases=keys.leases,
        queue=keys.queue,
        timers=keys.timers,
        paused=keys.paused,
        own=keys.own,
        indexes=keys.indexes,
        hashes=[keys.namespace + change.id for change in changes],  # a call for each would take as long again
        channel=keys.channel,
        space=scope.space,
        kept=scope.kept,
        kinds=kinds,
        fields=fields,
        change_runs=[change.run for change in changes],
        change_kinds=numbers,
    )


def _kinds_of(scope: Scope, change: Change, number: int) -> list[ChangeKind]:
    """The kind of a change; if a stop may arrive meanwhile, preceded by the kind of that end, `number`."""
    state, mode = _ending(change.trigger, change.local)
    words = str(2 * len(change.fields)) if change.fields else ""
    if mode in ("queue", "timer"):
        stopped, rest = _ending(Trigger.STOP, local=False)
        payload, line = event(Event.STOPPED), scope.line(Trigger.STOP)
        instead = ChangeKind(payload, stopped, rest, scope.drops(Trigger.STOP), line)
        again = ChangeKind(
            change.event, state, mode,
            line=scope.ending(change), instead=str(number), words=words, detail=_detail(change, mode),
        )  # fmt: skip
        return [instead, again]
    drop = state != "" and mode != "delete" and change.keep == 0
    return [ChangeKind(change.event, state, mode, drop, scope.ending(change), "", words)]


def _detail(change: Change, mode: str) -> str | bytes:
    if mode == "timer":
        return str(math.ceil(change.delay * 1000))
    if change.trial is None:
        return ""
    good = change.trial.good
    return b"%b %d %b" % (change.trial.rejected.encode(), good is not None, good or b"")


@cache
def _ending(trigger: Trigger | None, local: bool) -> tuple[str, str]:
    """(new state, mode) of a change, as commit.lua expects them."""
    if trigger is None:
        return "", ""
    state = destination(trigger)
    if trigger is Trigger.RELEASE:
        return state, "delete" if local else "queue"
    if trigger is Trigger.ROLL_BACK:
        return state, "queue"
    if trigger is Trigger.RETRY:
        return state, "timer"
    return state, "done" if trigger is Trigger.END else "rest"


def note(scope: Scope, notes: Sequence[Notes], lines: int, keep: int) -> ScriptCall[bytes]:
    """Store log lines and progress."""
    keys = scope.keys
    return scripts.note(
        runs=keys.runs,
        hashes=[keys.task(one.id) for one in notes],
        rings=[keys.log(one.id) for one in notes],
        space=scope.space,
        channel=keys.channel,
        most=lines,
        seconds=str(keep),
        live_runs=[one.run for one in notes],
        progress=[one.progress for one in notes],
        events=[one.event for one in notes],
        line_counts=[len(one.lines) for one in notes],
        lines=list(chain.from_iterable(one.lines for one in notes)),
    )


# -- other runs ---------------------------------------------------------------------------------------


def adopt(scope: Scope, adoptions: Sequence[Adoption], worker: str) -> ScriptCall[list[bytes]]:
    """Restore lost runs."""
    keys = scope.keys
    return scripts.adopt(
        runs=keys.runs,
        leases=keys.leases,
        queue=keys.queue,
        timers=keys.timers,
        paused=keys.paused,
        own=keys.own,
        indexes=keys.indexes,
        hashes=[keys.task(one.id) for one in adoptions],
        worker=worker,
        channel=keys.channel,
        kept=scope.kept,
        event=run_event(Event.RUNNING, worker),
        ids=[one.id for one in adoptions],
        new_runs=[one.run for one in adoptions],
        epochs=[one.epoch for one in adoptions],
        held_runs=[one.paused for one in adoptions],
        groups=[one.group for one in adoptions],
        crash_counts=[one.crashes for one in adoptions],
        restart_counts=[one.restarts for one in adoptions],
        restart_times=[one.failed for one in adoptions],
    )


def restore(  # noqa: PLR0913 - those of the verb
    scope: Scope,
    task_id: str,
    function: str,
    data: bytes | None,
    saved: bytes,
    *,
    paused: bool,
    fields: StartFields,
    marker: str,
) -> ScriptCall[bytes]:
    """Recreate a task whose hash was lost."""
    keys, waiting = scope.keys, destination(Trigger.RELEASE)
    return scripts.restore(
        runs=keys.runs,
        queue=keys.queue,
        timers=keys.timers,
        paused=keys.paused,
        waiting_index=keys.index(waiting),
        hash=keys.task(task_id),
        incarnation=keys.incarnation,
        known_marker=marker,
        id=task_id,
        func=decoding.raw_of(function),
        waiting=waiting,
        channel=keys.events(task_id),
        event=event(Event.REQUEUED, {"reason": RESTORED}),
        line=scope.line(Trigger.RELEASE, RESTORED),
        kept=scope.kept,
        has_data=data is not None,
        data=data or b"",
        on_hold=paused,
        saved=saved,
        more=list(chain.from_iterable(carried(fields).items())),
    )


def reload(  # noqa: PLR0913 - both runs, what the new one begins with, and what it may go back to
    scope: Scope,
    old: RunRef,
    new: RunRef,
    worker: str,
    max_data: int,
    *,
    saved: bytes,
    lived: InForce | None,
) -> ScriptCall[list[object]]:
    """Replace a dead run with a new one."""
    keys = scope.keys
    return scripts.reload(
        runs=keys.runs,
        leases=keys.leases,
        hash=keys.task(old.id),
        id=old.id,
        old_run=old.run,
        new_run=new.run,
        worker=worker,
        max_data=max_data,
        saved=saved,
        channel=keys.events(old.id),
        line=scope.line(Trigger.RELOAD, who=worker),
        kept=scope.kept,
        event=run_event(Event.RELOADED, worker),
        known=lived is not None,
        lived=_data_of(lived),
        on_trial=lived is not None and lived.on_trial,
    )


def accept(
    scope: Scope, judged: Claim, mark: str, worker: str, lived: InForce | None
) -> ScriptCall[list[object]]:
    """Record a reload in place."""
    keys = scope.keys
    return scripts.accept(
        runs=keys.runs,
        hash=keys.task(judged.id),
        id=judged.id,
        run=judged.run,
        func=decoding.raw_of(judged.function),
        data=judged.data or b"",
        request=Command.RELOAD,
        mark=mark,
        channel=keys.events(judged.id),
        event=event(Event.RELOADED, reloaded_in_place(judged, worker)),
        line=scope.line(Trigger.RELOAD, IN_PLACE, who=worker),
        kept=scope.kept,
        known=lived is not None,
        lived=_data_of(lived),
        on_trial=lived is not None and lived.on_trial,
    )


def _data_of(lived: InForce | None) -> bytes:
    return (lived.data if lived is not None else None) or b""


def preview(scope: Scope, ref: RunRef, max_data: int) -> ScriptCall[list[object]]:
    """The data that a reload would start with."""
    keys = scope.keys
    return scripts.preview(runs=keys.runs, hash=keys.task(ref.id), id=ref.id, run=ref.run, max_data=max_data)


def refuse(scope: Scope, judged: Claim, path: str, reason: str, force: InForce) -> ScriptCall[bytes]:
    """Refuse a reload."""
    keys = scope.keys
    return scripts.refuse(
        runs=keys.runs,
        hash=keys.task(judged.id),
        id=judged.id,
        run=judged.run,
        func=decoding.raw_of(judged.function),
        data=judged.data or b"",
        unread=judged.oversize,
        good_func=decoding.raw_of(force.function),
        good=_data_of(force),
        request=Command.RELOAD,
        refusal=refusal(path, reason),
        channel=keys.events(judged.id),
        event=event(Event.REFUSED, {"path": path, "reason": reason, "epoch": judged.epoch}),
        line=scope.line(Trigger.REFUSE, f"{path}: {reason}"),
        kept=scope.kept,
    )


def settle(scope: Scope, ref: RunRef, mark: str, *, repeated: bool) -> ScriptCall[bytes]:
    """Confirm a reloaded run."""
    keys, request = scope.keys, Command.RELOAD if repeated else ""
    return scripts.settle(
        runs=keys.runs, hash=keys.task(ref.id), id=ref.id, run=ref.run, mark=mark, request=request
    )


def open_local(
    scope: Scope, ref: RunRef, function: str, data: bytes, worker: str
) -> ScriptCall[list[object]]:
    """Create the hash and the run of a pre-started task."""
    keys = scope.keys
    return scripts.open_local(
        runs=keys.runs,
        leases=keys.leases,
        hash=keys.task(ref.id),
        id=ref.id,
        new_run=ref.run,
        func=function,
        data=data,
        worker=worker,
        session=ref.run.rpartition(":")[0],
        channel=keys.events(ref.id),
        line=f"{UNKNOWN}{scope.line_from(Trigger.CLAIM, PRESTARTED, who=worker)}",
        kept=scope.kept,
        event=run_event(Event.RUNNING, worker),
    )
