"""The data of the in-memory store: hashes, lists, leases and channels, as plain Python objects."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Any

import attrs

from pytask.adapters.keys import Keys
from pytask.adapters.memory.slots import Slots
from pytask.adapters.rules import RECORD_KEPT
from pytask.domain import lifecycle as life
from pytask.domain.figures import WorkerInfo
from pytask.domain.history import added
from pytask.domain.lifecycle import RESTING, State
from pytask.domain.limits import ARRIVALS, LONGEST_GROUP
from pytask.domain.messages import LONGEST_NAME

Fields = dict[str, bytes]
Listener = Callable[[str, bytes], None]

KEEP_EVENTS = 100_000
EXACT = 2.0**53 - 2
LONGEST_RUN = 128
REACH = 1024  # how far from the tail an id is looked for


@attrs.frozen
class Published:
    """One event as a watcher of `task-<id>` receives it."""

    task_id: str
    event: str
    data: Any = None


def encoded(value: object) -> bytes:
    """`value` as Redis would keep it."""
    return value if isinstance(value, bytes) else str(value).encode()


def text(fields: Fields, name: str) -> str | None:
    """A field as text; None if it is absent."""
    value = fields.get(name)
    return None if value is None else value.decode(errors="surrogateescape")


def named(fields: Fields) -> str:
    """The function's name; "" if it is missing or not a valid name."""
    raw = fields.get("function", b"")
    return (text(fields, "function") or "") if len(raw) <= LONGEST_NAME else ""


def plausible(run: str) -> bool:
    """Whether `run` looks like a run id: only then is a value from a client copied to the registry."""
    return 0 < len(run) <= LONGEST_RUN and all("!" <= char <= "~" for char in run)


def number(fields: Fields, name: str) -> int:
    """A field as a whole number; 0 if it is absent or invalid."""
    try:
        value = float(fields.get(name, b"0"))
    except ValueError:
        return 0
    # Only numbers that the Lua scripts can count with, too.
    return int(value) if 0 <= value <= EXACT else 0


def in_seconds(ms: int) -> str:
    """A time of the timers as `not_before` has it."""
    return f"{ms / 1000:.3f}"


class MemoryState:
    """One "database", shared by all stores, queues and feeds of a backend.  For one thread."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.keys = Keys()
        self.values: dict[str, Fields | bytes] = {}  # task hashes; bytes is a key of another type
        self.expires: dict[str, float] = {}
        self.queue: list[bytes] = []  # pushed at the head (0), taken from the tail
        self.parking: dict[str, list[bytes]] = {}
        self.timers: dict[str, int] = {}  # id -> milliseconds
        self.paused: set[str] = set()  # ids of paused tasks, whether they wait or run
        self.paused_functions: set[str] = set()
        self.slots = Slots()
        self.schedules: dict[str, float] = {}  # name -> milliseconds; their hashes are among the values
        self.rejected: list[bytes] = []
        self.runs: dict[str, str] = {}
        self.leases: dict[str, int] = {}  # microseconds
        self.server = "memory"  # replaces the replication id; another value means a failover
        self.safe = True  # whether that server has all writes that this one acknowledged
        self.claimed: dict[str, tuple[int, list[str], float]] = {}  # session -> base, ids, until when
        self.incarnation: dict[str, Any] = {}
        self.index: dict[State, dict[str, float]] = {state: {} for state in RESTING}
        self.occurrences: dict[str, list[bytes]] = {}  # their results, the newest first
        self.rings: dict[str, tuple[list[bytes], float]] = {}  # a task's lines, and until when they are kept
        self.workers: dict[str, float] = {}
        self.infos: dict[str, WorkerInfo] = {}
        self.monitors: dict[str, float] = {}
        self.samples: dict[str, dict[int, bytes]] = {}  # a ring's places
        self.events: deque[Published] = deque(maxlen=KEEP_EVENTS)
        self.listeners: list[Listener] = []

    # -- time -----------------------------------------------------------------------------------------

    def micros(self) -> int:
        """The clock in microseconds, as leases keep it."""
        return round(self.now() * 1e6)

    def stamp(self) -> str:
        """The clock as `last_update` keeps it."""
        seconds, micros = divmod(self.micros(), 1_000_000)
        return f"{seconds}.{micros:06d}"

    def millis(self) -> int:
        """The clock in milliseconds, as timers and epochs keep it."""
        return self.micros() // 1000

    def has_marker(self, marker: str) -> bool:
        """Whether the data is that of a marker, or "" is asked for, which is any."""
        return not marker or self.incarnation.get("id") == marker

    # -- what claims took from the tail -----------------------------------------------------------------

    def last_claim(self, session: str) -> tuple[int, list[str]]:
        """The base of the last one of a session, -1 for none, and the ids that it took."""
        base, ids, until = self.claimed.get(session, (-1, [], 0.0))
        return (base, ids) if until > self.now() else (-1, [])

    def note_claim(self, session: str, base: int, ids: list[str]) -> None:
        """Record a claim, instead of the last one of its session."""
        self.claimed[session] = base, ids, self.now() + RECORD_KEPT

    def keep_claim(self, session: str, seconds: float) -> None:
        """Keep the record of a session only for so long."""
        if session in self.claimed:
            base, ids, _ = self.claimed[session]
            self.claimed[session] = base, ids, self.now() + seconds

    # -- hashes ---------------------------------------------------------------------------------------

    def value(self, key: str) -> Fields | bytes | None:
        """The value of `key`, None if there is none; an expired key is deleted first."""
        if self.expires.get(key, self.now() + 1) <= self.now():
            self.delete(key)
        return self.values.get(key)

    def fields(self, key: str) -> Fields:
        """The hash at `key`; empty if it does not exist."""
        value = self.value(key)
        return value if isinstance(value, dict) else {}

    def write(self, key: str, **changes: object) -> None:
        """Set fields; a missing hash is created."""
        value = self.value(key)
        if isinstance(value, bytes):
            raise TypeError(f"{key!r} holds a string, not a hash")
        self.values[key] = (value or {}) | {name: encoded(new) for name, new in changes.items()}

    def erase(self, key: str, *names: str) -> None:
        """Drop fields; a hash without fields is deleted, as in Redis."""
        fields = self.fields(key)
        for name in names:
            fields.pop(name, None)
        if not fields and isinstance(self.value(key), dict):
            self.delete(key)

    def delete(self, key: str) -> None:
        """Delete the key, as DEL does."""
        self.values.pop(key, None)
        self.expires.pop(key, None)

    # -- runs -----------------------------------------------------------------------------------------

    def register(self, task_id: str, run: str) -> None:
        """Add an entry to the registry, with a lease from now."""
        self.runs[task_id] = run
        self.leases[task_id] = self.micros()

    def unregister(self, task_id: str) -> None:
        """Remove a run that is over from the registry."""
        self.runs.pop(task_id, None)
        self.leases.pop(task_id, None)

    def next_epoch(self, task_id: str) -> int:
        """Larger than the last, and than that of a hash that was lost before."""
        return max(number(self.fields(task_id), "epoch") + 1, self.millis())

    def resting(self, word: str | None) -> State:
        """The state of a hash that no run owns: RUNNING then counts as an unknown word, too."""
        state = State.read(word)
        return state if state in RESTING else State.read(None)

    def leave(self, task_id: str) -> None:
        """Remove a task from the index of the resting state that it leaves."""
        self.index[self.resting(text(self.fields(task_id), "state"))].pop(task_id, None)

    def rest(self, task_id: str, state: State, **changes: object) -> None:
        """Set a task to the resting state `state`, in its hash and in the index."""
        self.write(task_id, state=state, last_update=self.stamp(), **changes)
        self.index[state][task_id] = self.now()

    def run(self, task_id: str, run: str, worker: str, **changes: object) -> int:
        """Start a run of the task; returns its epoch."""
        epoch = self.next_epoch(task_id)
        changes |= {"run": run, "worker": worker, "epoch": epoch, "last_update": self.stamp()}
        self.write(task_id, state=life.RUNNING, **changes)
        self.register(task_id, run)
        return epoch

    def note(self, key: str, line: str, kept: int, *, plain: bool = False) -> None:
        """Add a line to the history of a task; a plain transition does not start one."""
        old = self.fields(key).get("history", b"")
        if kept and (not plain or "history" in self.fields(key)):
            self.write(key, history=added(old, self.millis(), line, kept))

    # -- lists ----------------------------------------------------------------------------------------

    def waiting(self, function: str | None) -> list[bytes]:
        """The queue, or the parking list of `function`."""
        return self.queue if function is None else self.parking.get(function, [])

    def take(self, raw: bytes, source: str | None) -> bool:
        """Remove the copy of `raw` nearest to a list's tail; whether there was one within reach."""
        ids = self.waiting(source)
        first = max(0, len(ids) - REACH)
        for place in range(len(ids) - 1, first - 1, -1):
            if ids[place] == raw:
                del ids[place]
                return True
        return False

    def ring(self, task_id: str) -> list[bytes]:
        """The lines of a task's log, the oldest first."""
        lines, until = self.rings.get(task_id, ([], 0.0))
        return lines if until > self.now() else []

    def places(self, task_id: str) -> list[str]:
        """The lists and timers that contain the task."""
        parked = self.parking.get(text(self.fields(task_id), "function") or "", [])
        there = {
            "queue": task_id.encode() in self.queue,
            "parked": task_id.encode() in parked,
            "timers": task_id in self.timers,
            "paused": task_id in self.paused,
            "lines": any(task_id in line for line in self.slots.lines.values()),
        }
        return [name for name, found in there.items() if found]

    def leave_places(self, task_id: str) -> None:
        """Remove a task from each place where it may wait: queue, parking list, timers, paused set, lines."""
        self.timers.pop(task_id, None)
        self.paused.discard(task_id)
        function = text(self.fields(task_id), "function") or ""
        self.leave_lines(task_id, task_id.encode() in self.queue)
        for ids in (self.queue, self.parking.get(function, [])):
            ids[:] = [raw for raw in ids if raw != task_id.encode()]

    def unpause(self, task_id: str) -> None:
        """Take away what makes a task a paused one."""
        if task_id in self.paused:
            self.paused.discard(task_id)
            self.erase(task_id, "paused")

    def wait_again(self, task_id: str, *, next_one: bool = False) -> None:
        """Into the queue, `next_one` to its tail; or into the paused set, if the task is paused."""
        self.timers.pop(task_id, None)
        if "paused" in self.fields(task_id):
            self.paused.add(task_id)
        else:
            self.queue.insert(len(self.queue) if next_one else 0, task_id.encode())

    # -- slots ----------------------------------------------------------------------------------------

    def wake(self, entry: str) -> str | None:
        """Put the next id that waits for a slot into the queue: see slots.lua."""
        kind, _, name = entry.partition(":")
        while (first := self.slots.first(entry)) is not None:
            task_id, arrival = first
            fields = self.fields(task_id)
            waits = text(fields, "state") in (None, life.WAIT)
            if text(fields, kind) == name and waits:
                self.queue.insert(len(self.queue) if arrival < 0 else 0, task_id.encode())
                self.slots.woken[task_id] = arrival
                return task_id
        return None

    def lead(self, group: str) -> None:
        """The id that went to the queue for its group left it: the next one goes."""
        task_id = self.wake(f"group:{group}")
        if task_id is None:
            self.slots.runners.pop(group, None)
        else:
            self.slots.runners[group] = task_id

    def give_back(self, task_id: str, *, stays: bool = False) -> None:
        """The slots of a run that has left the registry go to the ids that wait for them."""
        for entry in self.slots.free(task_id):
            if stays:
                self.slots.woken[task_id] = -ARRIVALS  # the first of all
            else:
                self.wake(entry)

    def leave_lines(self, task_id: str, queued: bool) -> None:
        """Out of the waiting lists; if it was in the queue, the next of its group follows."""
        if queued:  # handed back, it had a turn, also where nobody waits
            self.slots.woken.pop(task_id, None)
        if not self.slots.groups and not self.slots.runners:
            return
        fields = self.fields(task_id)
        group, function = text(fields, "group"), text(fields, "function")
        if group:
            self.slots.lines.get(f"group:{group}", {}).pop(task_id, None)
            if queued:
                self.lead(group)
        if function is not None:
            self.slots.lines.get(f"function:{function}", {}).pop(task_id, None)
            if queued:
                self.wake(f"function:{function}")

    def take_slots(self, task_id: str, group: str | None, function: str | None) -> None:
        """Give a run its slots, whether or not they are free: it lives."""
        fits = group if group and len(group.encode(errors="surrogateescape")) <= LONGEST_GROUP else ""
        self.slots.take(task_id, fits, function if function in self.slots.limited else "")

    # -- channels -------------------------------------------------------------------------------------

    def publish(self, channel: str, payload: bytes) -> None:
        """Notify every listener."""
        for listener in list(self.listeners):
            listener(channel, payload)

    def emit(self, task_id: str, payload: str | bytes) -> None:
        """Publish an event of a task, and record it."""
        parsed = json.loads(payload)
        self.events.append(Published(task_id, parsed.get("event", ""), parsed.get("data")))
        self.publish(self.keys.events(task_id), encoded(payload))
