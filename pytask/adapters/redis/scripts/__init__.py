"""The scripts: the keys and the arguments of each, by the names that they have in it.

The head of each script says what it does and returns; the modules `*_calls` make the calls.
`Keys`, `Texts`, `Numbers` and `Flags` have an entry for each hash, in the order of the hashes.
"""

# Not `from __future__ import annotations`: the annotations are read when a script is declared.

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

from pytask.adapters.redis.lua import (
    AnyTexts,
    Flag,
    Flags,
    FourKeys,
    Key,
    Keys,
    Number,
    Numbers,
    Text,
    Texts,
    ThreeTexts,
    records,
    script,
)
from pytask.adapters.redis.scripts.limits import RuleRecord as RuleRecord
from pytask.adapters.redis.scripts.limits import limit as limit
from pytask.adapters.redis.scripts.limits import mend as mend
from pytask.adapters.redis.scripts.limits import serve as serve
from pytask.adapters.redis.scripts.pausing import confirm as confirm
from pytask.adapters.redis.scripts.pausing import hold_functions as hold_functions
from pytask.adapters.redis.scripts.pausing import pause as pause
from pytask.adapters.redis.scripts.pausing import tidy_paused as tidy_paused
from pytask.adapters.redis.scripts.reloading import accept as accept
from pytask.adapters.redis.scripts.reloading import preview as preview
from pytask.adapters.redis.scripts.reloading import refuse as refuse
from pytask.adapters.redis.scripts.reloading import reload as reload
from pytask.adapters.redis.scripts.reloading import settle as settle
from pytask.adapters.redis.scripts.saving import SavedValue as SavedValue
from pytask.adapters.redis.scripts.saving import save as save
from pytask.adapters.redis.scripts.steering import functions as functions
from pytask.adapters.redis.scripts.steering import remove as remove
from pytask.adapters.redis.scripts.steering import request as request
from pytask.adapters.redis.scripts.steering import start as start
from pytask.adapters.redis.scripts.steering import stop as stop
from pytask.adapters.redis.scripts.timetable import define_schedule as define_schedule
from pytask.adapters.redis.scripts.timetable import due_schedules as due_schedules
from pytask.adapters.redis.scripts.timetable import fault as fault
from pytask.adapters.redis.scripts.timetable import fire as fire
from pytask.adapters.redis.scripts.timetable import pause_schedule as pause_schedule
from pytask.adapters.redis.scripts.timetable import read_schedules as read_schedules
from pytask.adapters.redis.scripts.timetable import remove_schedule as remove_schedule
from pytask.adapters.redis.scripts.upkeep import announce as announce
from pytask.adapters.redis.scripts.upkeep import expire as expire
from pytask.adapters.redis.scripts.upkeep import forget as forget
from pytask.adapters.redis.scripts.upkeep import put_back as put_back
from pytask.adapters.redis.scripts.upkeep import repair as repair
from pytask.adapters.redis.scripts.upkeep import retire as retire
from pytask.adapters.redis.scripts.upkeep import sample as sample
from pytask.adapters.redis.scripts.upkeep import suspects as suspects
from pytask.adapters.redis.scripts.upkeep import tidy as tidy

# Parameters of many scripts:
#
#   runs, leases      the registry: id -> run (hash), and id -> time of renewal (zset)
#   queue, source     the queue; the list an id is in, which may be a parking list
#   indexes           an index (zset: id by time) for each of the resting states
#   timers            ids that wait for their time (zset: id by milliseconds)
#   paused            ids of paused tasks, whether they wait or run (set)
#   own               the prefix of the keys of limits, see slots.lua
#   rules             the limits that the classes of a worker declare
#   waiting, stopped, failed    names of states
#   channel           of a task's events; with many tasks, the prefix before their ids
#   space             bytes of the namespace, the prefix of the id in the key of a hash
#   server            the replication id that the caller knows of; "" is not checked
#   event             the text to publish; for a new run three parts around its id and its epoch
#   line, kept        for the history of a task: the line without its time (where the script alone knows the
#                     state the task was in, without that, too), and how many lines are kept
#   drop              the hash is deleted at once instead of kept at rest (see retire.lua)


# -- the queue ----------------------------------------------------------------------------------------


@script
def peek(
    *,
    source: Key,
    most: Number,
) -> list[bytes]: ...


@script
def claim(
    *,
    runs: Key,
    leases: Key,
    source: Key,
    queue: Key,
    timers: Key,
    paused: Key,  # ids of paused tasks (set)
    paused_functions: Key,  # names (set)
    own: Key,
    indexes: FourKeys,
    hashes: Keys,
    worker: Text,
    max_data: Number,  # bytes, of one task and of the batch
    max_saved: Number,  # bytes, of what a task has saved
    places: Number,  # for tasks that crashed before
    channel: Text,
    server: Text,
    space: Number,
    look: Number,  # how many ids behind the batch are returned
    session: Text,  # "": the hashes are named; else none is, and what stands at the tail is claimed
    base: Number,
    take: Number,
    quiet: Flag,  # where nothing stands there, no record is left
    line: Text,
    kept: Number,
    event: ThreeTexts,
    rules: Annotated[Sequence[RuleRecord], records(RuleRecord)],
    functions: AnyTexts,
    new_runs: Texts,
) -> list[bytes]: ...


@script
def reject(
    *,
    source: Key,
    rejected: Key,
    hashes: Keys,  # the one of the id; none for an id that cannot be a key
    raw: Text,  # the id as it is in the list, or its beginning (long)
    note_head: Text,  # JSON, around the time
    note_tail: Text,
    most: Number,  # notes that are kept
    # "" nothing, none (no such key), other (not a hash), local; or long: the first from the tail that begins
    # with the id is meant.
    still: Text,
    channel: Text,  # "" for none
    event: Text,
) -> bytes: ...


@script
def park(
    *,
    runs: Key,
    source: Key,
    timers: Key,
    paused_functions: Key,
    parking: Key,
    parked: Key,  # names of parked functions (set)
    indexes: FourKeys,
    hash: Key,
    id: Text,
    func: Text,
    waiting: Text,
    channel: Text,
    event: Text,
    hint_channel: Text,
    line: Text,
    kept: Number,
    held: Flag,  # the function is known, but paused
) -> bytes: ...


@script
def due(
    *,
    runs: Key,
    queue: Key,
    timers: Key,
    schedules: Key,
    own: Key,
    hashes: Keys,  # of ids that an earlier call found due
    space: Number,
    most: Number,
    every: Number,  # seconds between two looks at a waiting list
) -> list[Any]: ...


@script
def unpark(*, parked: Key, parking: Key, func: Text) -> int: ...


@script
def enqueue(
    *,
    queue: Key,
    own: Key,
    hashes: Keys,
    space: Number,
    func: Text,
    check: Flag,  # an id may be taken
    finished: AnyTexts,  # states
    data: Texts,  # JSON, "" for none
    # For each hash when it starts ("" at once, +seconds, or seconds since 1970), `restart` ("": its class
    # decides), `group` ("": none) and `traceparent`; none where all start at once and have none of these.
    starts: AnyTexts,
) -> list[Any]: ...


@script
def update(*, hash: Key, data: Text) -> bytes: ...


# -- runs ---------------------------------------------------------------------------------------------


@script
def renew(
    *,
    runs: Key,
    leases: Key,
    incarnation: Key,
    own: Key,
    hashes: Keys,
    marker: Text,  # the id for a new one
    alone: Flag,  # no other server takes over from this one
    space: Number,
    # Nearly all runs are of one session, which would be most of what is sent: it precedes each of
    # `rests`, which have blanks between; "=" is in front of a whole run.
    session: Text,
    rests: Text,
    stamps: Flag,  # `last_update` is written
    saves: Annotated[Sequence[SavedValue], records(SavedValue)],
) -> list[Any]: ...


@script
def adopt(
    *,
    runs: Key,
    leases: Key,
    queue: Key,
    timers: Key,
    paused: Key,
    own: Key,
    indexes: FourKeys,
    hashes: Keys,
    worker: Text,
    channel: Text,
    kept: Number,
    event: ThreeTexts,
    ids: Texts,
    new_runs: Texts,
    epochs: Numbers,
    held_runs: Flags,  # their owner has paused them
    groups: Texts,  # "" for none
    crash_counts: Numbers,  # as their claims have read them, like the two below
    restart_counts: Numbers,
    restart_times: Texts,
) -> list[bytes]: ...


@script
def restore(
    *,
    runs: Key,
    queue: Key,
    timers: Key,
    paused: Key,
    waiting_index: Key,
    hash: Key,
    incarnation: Key,
    id: Text,
    func: Text,
    waiting: Text,
    channel: Text,
    event: Text,
    line: Text,
    kept: Number,
    known_marker: Text,  # only in the data with this marker; "" for any
    has_data: Flag,
    data: Text,
    on_hold: Flag,  # it was paused
    saved: Text,  # "" for nothing
    more: AnyTexts,  # field, value, ...: others that it had
) -> bytes: ...


class ChangeKind(NamedTuple):
    """The common part of many changes of a batch, sent once."""

    event: Text  # "" for none
    state: Text = ""  # the new one; "" for an event only
    mode: Text = ""  # done | rest | queue | timer | delete
    drop: Flag = False
    line: Text = ""
    instead: Text = ""  # the kind (from 1) that applies if the hash has a stop; "" for this one
    words: Text = ""  # how many of `fields`; "" for none
    detail: Text = ""  # for a timer its milliseconds; in the queue: a failed trial, see prelude.lua


@script
def commit(
    *,
    runs: Key,
    leases: Key,
    queue: Key,
    timers: Key,
    paused: Key,
    own: Key,
    indexes: FourKeys,
    hashes: Keys,
    channel: Text,
    space: Number,
    kept: Number,
    kinds: Annotated[Sequence[ChangeKind], records(ChangeKind)],
    fields: AnyTexts,  # field, value, ... of all kinds
    # For each change:
    change_runs: Texts,
    change_kinds: Texts,  # from 1
) -> bytes: ...


@script
def note(
    *,
    runs: Key,
    hashes: Keys,
    rings: Keys,  # of a task's lines (lists)
    space: Number,
    channel: Text,
    most: Number,  # lines that a ring keeps
    seconds: Text,  # that it is kept after the last one
    live_runs: Texts,
    progress: Texts,  # "" for none
    events: Texts,  # of that
    line_counts: Numbers,
    lines: AnyTexts,  # of all runs
) -> bytes: ...


@script
def open_local(
    *,
    runs: Key,
    leases: Key,
    hash: Key,
    id: Text,
    new_run: Text,
    func: Text,
    data: Text,
    worker: Text,
    session: Text,
    channel: Text,
    line: Text,
    kept: Number,
    event: ThreeTexts,
) -> list[Any]: ...
