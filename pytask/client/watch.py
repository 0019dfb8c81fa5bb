"""Watching tasks: events as they arrive, and waiting for a state.

Pub/sub keeps no messages: those published while the connection is down are lost.  Therefore a wait reads the
hash again after each subscription, and a watch yields a `Gap`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import msgspec

from pytask.client.operations import Give, Now, Op, Pause, Ping, Receive, Unsubscribe, ask, listen
from pytask.client.partitions import Partitions
from pytask.client.queries import get, read_one
from pytask.client.records import Event, Gap
from pytask.client.task_records import FINISHED, TaskInfo, states_of
from pytask.domain import lifecycle as life
from pytask.domain import messages
from pytask.domain.advice import see_why
from pytask.domain.errors import StoreError, TimedOut, Unavailable
from pytask.domain.lifecycle import State

READ = 1.0  # seconds of one read
PING_EVERY = 5.0  # seconds without a message after which the server is pinged
DEAF = 5.0  # seconds that it has for the reply
LOOK_EVERY = 5.0  # seconds between two reads of the hash, in case an event was lost
SETTLING = 0.2  # the same while the run started by a reload is unconfirmed: no event reports its confirmation
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 3.0  # seconds between two attempts to subscribe

LEADS_TO: dict[str, State] = {
    messages.Event.RUNNING: life.RUNNING,
    messages.Event.RELOADED: life.RUNNING,
    messages.Event.ENDED: life.ENDED,
    messages.Event.ERROR: life.ERROR,
    messages.Event.STOPPED: life.STOPPED,
    messages.Event.REQUEUED: life.WAIT,
    messages.Event.ROLLED_BACK: life.WAIT,
    messages.Event.QUEUED: life.WAIT,
    messages.Event.PARKED: life.WAIT,
}


class EventStream:
    """One subscription that detects a dead connection."""

    def __init__(self, partition: int, channels: tuple[str, ...], patterns: tuple[str, ...]) -> None:
        self._where = (partition, channels, patterns)
        self._handle: Any = None
        self._received_at = 0.0  # when the server last sent anything
        self._asked: float | None = None

    def open(self) -> Op[None]:
        """Subscribe.  Raises a `StoreError`."""
        yield from self.close()
        self._handle = yield from listen(*self._where)
        self._received_at = yield Now()
        self._asked = None

    def close(self) -> Op[None]:
        """End the subscription."""
        handle, self._handle = self._handle, None
        if handle is not None:
            yield Unsubscribe(handle)

    def receive(self, timeout: float) -> Op[list[tuple[str, bytes]]]:
        """The messages received within `timeout` seconds.  Raises `Unavailable` if the connection is dead."""
        found = yield Receive(self._handle, timeout)
        now = yield Now()
        if found:
            self._received_at, self._asked = now, None
        elif self._asked is not None and now - self._asked > DEAF:
            # A half-open connection causes no error.
            raise Unavailable(f"nothing was received from Redis for {now - self._received_at:.0f} s")
        elif self._asked is None and now - self._received_at > PING_EVERY:
            yield Ping(self._handle)
            self._asked = now
        return [(channel.decode(errors="replace"), data) for channel, data in found if channel]

    def silent(self) -> Op[float]:
        """Seconds since the server last sent anything."""
        now: float = yield Now()
        return now - self._received_at


def read_event(task_id: str, payload: bytes) -> Event | None:
    """A published event; None for other messages."""
    try:
        content = msgspec.json.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or not isinstance(content.get("event"), str):
        return None
    return Event(id=task_id, name=content["event"], data=content.get("data"))


# -- one task -----------------------------------------------------------------------------------------------


class TaskEventStream:
    """Watches one task by its events and by reads of its hash."""

    def __init__(self, partitions: Partitions, partition: int, task_id: str) -> None:
        self._partitions = partitions
        self._id = task_id
        self._events = EventStream(partition, (partitions.keys[partition].events(task_id),), ())

    def open(self) -> Op[None]:
        """Subscribe."""
        yield from self._events.open()

    def until(  # noqa: C901, PLR0912 - one loop, in the order of what happens
        self,
        reached: Callable[[TaskInfo], bool],
        timeout: float,
        *,
        lasting: bool = False,
        gone: bool = False,
        known: TaskInfo | None = None,
    ) -> Op[TaskInfo | None]:
        """The task once `reached` is true of it; None after `timeout` seconds, or (`gone`) without a hash.

        A task whose hash is deleted when it ends is judged by its last event.  With `lasting`, an event alone
        does not count while the hash exists: it may belong to an earlier run.  `known` is the task to which
        events are applied if no hash could be read.
        """
        began = yield Now()
        pause, look_at, broken = FIRST_PAUSE, began, False
        last = known
        while True:
            now = yield Now()
            left = began + timeout - now
            try:
                if broken:
                    yield from self._events.open()
                    broken, pause, look_at = False, FIRST_PAUSE, now
                if now >= look_at:
                    found = yield from read_one(self._partitions, self._id)
                    if found is not None and reached(found):
                        return found
                    if found is None and gone:
                        return None
                    unsettled = found is not None and (found.settling or found.on_trial)
                    every = SETTLING if unsettled else LOOK_EVERY
                    last, look_at = found or last, now + every
                if left <= 0:
                    return None
                messages = yield from self._events.receive(min(left, READ, max(0.01, look_at - now)))
            except Unavailable:
                if left <= 0:
                    raise
                broken = True
                yield Pause(min(pause, left))
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            for _, payload in messages:
                look_at = now
                event = read_event(self._id, payload)
                updated = None if event is None or last is None else _with_event(last, event)
                if updated is not None:
                    last = updated
                    if reached(updated):
                        # The hash has all fields, if it exists and its state has not changed since.
                        found = yield from read_one(self._partitions, self._id)
                        if found is not None and reached(found):
                            return found
                        if found is None or not lasting:
                            return updated


def _with_event(task: TaskInfo, event: Event) -> TaskInfo | None:
    """The task after a lifecycle event; None for other events."""
    state = LEADS_TO.get(event.name)
    if state is None:
        return None
    data = event.data if isinstance(event.data, dict) else {}
    run = data.get("run")
    changes: dict[str, Any] = {"state": state, "run": run if isinstance(run, str) else ""}
    if event.name == messages.Event.RUNNING:
        changes["attempts"] = task.attempts + 1
    if isinstance(data.get("epoch"), int):
        changes["epoch"] = data["epoch"]
    if state is life.ENDED and "output" in data:
        changes["raw_output"] = msgspec.json.encode(data["output"])
    if state is life.ERROR:
        changes["error"] = str(data.get("error", ""))
    return attrs.evolve(task, **changes)


def open_stream(partitions: Partitions, partition: int, task_id: str) -> Op[TaskEventStream]:
    """An open event stream for a task."""
    stream = TaskEventStream(partitions, partition, task_id)
    yield from stream.open()
    return stream


def wait(partitions: Partitions, task_id: str, for_state: Any, timeout: float) -> Op[TaskInfo]:
    """The task in one of the states, by default a final one.  Raises `NoSuchTask`, `TimedOut`."""
    wanted = states_of(for_state)
    stream = yield from open_stream(partitions, partitions.of(task_id), task_id)
    task = yield from get(partitions, task_id)
    if task.state in wanted:
        return task
    return (yield from in_time(partitions, stream, task, wanted, timeout))


def in_time(
    partitions: Partitions, stream: TaskEventStream, known: TaskInfo, wanted: Sequence[State], timeout: float
) -> Op[TaskInfo]:
    """Wait until the task, last read as `known`, is in one of the states.  Raises `TimedOut`."""
    task_id = known.id
    found = yield from stream.until(lambda one: one.state in wanted, timeout, known=known)
    if found is None:
        now = yield from read_one(partitions, task_id)
        goal = "finish" if set(wanted) == set(FINISHED) else f"become {' or '.join(wanted)}"
        text = (
            f"{task_id!r} did not {goal} within {timeout:.3g} s: it is {'gone' if now is None else now.state}"
        )
        raise TimedOut(text) if now is None else TimedOut(see_why(text, task_id), now.state)
    return found


# -- events -------------------------------------------------------------------------------------------------


def watch(partitions: Partitions, task_id: str | None, seconds: float | None) -> Op[None]:
    """Yields None once subscribed, then events of one task or of all for `seconds` (None: no limit), and a
    `Gap` whenever events may have been missed."""
    if task_id is None:
        starts = tuple(keys.channel for keys in partitions.keys)
        stream = EventStream(0, (), tuple(keys.event_pattern for keys in partitions.keys))
    else:
        partition = partitions.of(task_id)
        starts = (partitions.keys[partition].channel,)
        stream = EventStream(partition, (partitions.keys[partition].events(task_id),), ())
    yield from stream.open()  # the first error is raised
    yield Give(None)  # subscribed: no event is missed from here on
    began = now = yield Now()
    while seconds is None or now < began + seconds:
        left = READ if seconds is None else min(READ, began + seconds - now)
        try:
            messages = yield from stream.receive(left)
        except Unavailable as error:
            yield from _reopen(stream, partitions, task_id, str(error))
            messages = []
        for channel, payload in messages:
            event = _event_of(channel, payload, starts)
            if event is not None:
                yield Give(event)
        now = yield Now()


def _event_of(channel: str, payload: bytes, starts: tuple[str, ...]) -> Event | None:
    start = next((one for one in starts if channel.startswith(one)), None)
    if start is None:
        return None
    if channel.endswith("-control") and messages.is_control(payload):
        return None  # a control message; the events of a task with such an id are on the same channel
    return read_event(channel[len(start) :], payload)


def _reopen(stream: EventStream, partitions: Partitions, task_id: str | None, reason: str) -> Op[None]:
    pause = FIRST_PAUSE
    while True:
        silent = yield from stream.silent()
        try:
            yield from stream.open()
            task = (yield from read_one(partitions, task_id)) if task_id is not None else None
        except StoreError:
            yield Pause(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        else:
            yield Give(Gap(seconds=round(silent, 3), reason=reason, task=task))
            return


def find(partitions: Partitions, beginning: str, limit: int, steps: int) -> Op[tuple[list[str], bool]]:
    """Up to `limit` ids with this prefix, and whether all keys were scanned (at most `steps` SCANs)."""
    found: dict[str, None] = {}
    for partition, keys in enumerate(partitions.keys):
        cursor = 0
        while steps > 0:
            steps -= 1
            pattern = keys.matching(beginning)
            reply = yield from ask(
                partition, ("SCAN", cursor, "MATCH", pattern, "COUNT", 5000, "TYPE", "hash")
            )
            cursor = int(reply[0])
            names = (raw.decode(errors="replace").removeprefix(keys.namespace) for raw in reply[1])
            found.update(dict.fromkeys(name for name in names if not name.startswith("pytask:")))
            if not cursor or len(found) > limit:
                break
        if cursor or len(found) > limit:
            return sorted(found)[:limit], False
    return sorted(found)[:limit], True
