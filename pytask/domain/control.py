"""The control words, one row each: what stop, start, reload and pause do to a task.

A new word needs a member of `Command`, a row here, a goal that a client waits for (`pytask.client.control`),
methods of the clients (`pytask.client.control_methods`), and a command.  Stores and workers read this table.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from enum import IntEnum

import attrs

from pytask.domain import lifecycle as life
from pytask.domain.lifecycle import State, Trigger
from pytask.domain.messages import Command
from pytask.domain.record import Answer, Verdict


class StopReason(IntEnum):
    """Why a run is being stopped; the larger of two reasons wins."""

    MOVE = 1  # another worker has more room: WAIT, for any worker; optional
    RELOAD = 2  # run again in place, with the data now in the hash
    TIMEOUT = 3  # it lived longer than `Config.TIMEOUT`: a failure
    HAND_BACK = 4  # the worker shuts down, or lost Redis: WAIT, for any worker
    STOP = 5  # requested by an operator: STOPPED
    FORGET = 6  # the hash was deleted: clear the registry, write nothing else
    FENCED = 7  # a newer run owns the id: write nothing


STOP_WORDS: Mapping[StopReason, str] = {
    StopReason.MOVE: "release",
    StopReason.RELOAD: "reload",
    StopReason.TIMEOUT: "timeout",
    StopReason.HAND_BACK: "release",
    StopReason.STOP: "stop",
    StopReason.FORGET: "lost",
    StopReason.FENCED: "lost",
}
"""The word for `stop(reason)` of a task."""


def stop_word(stop_reason: StopReason | None, *, lost: bool) -> str:
    """Why a run stops, in the word for its task; `lost`: Redis does not acknowledge its lease."""
    if stop_reason is None or (lost and stop_reason is StopReason.HAND_BACK):
        return "lost"
    return STOP_WORDS[stop_reason]


def outweighs(new: StopReason, current: StopReason | None) -> bool:
    """Whether `new` replaces the stop reason that a run already has."""
    return current is None or new > current


# Each run ends with a look at these: to get a member from its class takes Python 3.11 as long as a call.
_FAIL, _END = Trigger.FAIL, Trigger.END


def closing(stop_reason: StopReason | None, failed: bool) -> Trigger | None:
    """The trigger that settles a dead run; None if nothing may be written, or for RELOAD."""
    if stop_reason is None:
        return _FAIL if failed else _END
    if stop_reason is StopReason.TIMEOUT:
        return Trigger.FAIL
    if stop_reason is StopReason.STOP:
        return Trigger.STOP
    return (
        Trigger.RELEASE if stop_reason in (StopReason.MOVE, StopReason.HAND_BACK, StopReason.FORGET) else None
    )


@attrs.frozen(kw_only=True)
class ControlWord:
    """One word of the control channels."""

    command: Command
    past: str  # the past participle: "stopped"
    without_run: Trigger | None = None
    """The immediate transition of a task without a run; None: such a task is not changed."""
    request: bool = False
    """For a running task: the word is stored in the field `control` of its hash, and returned to its owner by
    each renewal until it is carried out.  False: a running task is not changed."""
    confirmed: bool = False
    """For a running task: its owner carries the word out without ending the run, and confirms that; a `start`
    is a request only to a task that is paused."""
    reason: StopReason | None = None  # with which its owner stops the run
    idle_in: tuple[State, ...] = ()  # the word has no effect on a task in one of these states
    missing: Verdict = Verdict.NOHASH  # the verdict if there is no such task


TABLE: Mapping[Command, ControlWord] = {
    word.command: word
    for word in (
        ControlWord(
            command=Command.STOP,
            past="stopped",
            without_run=Trigger.CANCEL,
            request=True,
            reason=StopReason.STOP,
            idle_in=life.RESTING,
        ),
        ControlWord(
            command=Command.START,
            past="run",
            without_run=Trigger.START,
            confirmed=True,
            idle_in=(life.WAIT, life.RUNNING),
        ),
        ControlWord(
            command=Command.RELOAD,
            past="reloaded",
            request=True,
            reason=StopReason.RELOAD,
            missing=Verdict.STATE,
        ),
        ControlWord(
            command=Command.PAUSE,
            past="paused",
            without_run=Trigger.PAUSE,
            request=True,
            confirmed=True,
            idle_in=(life.STOPPED, life.ENDED, life.ERROR),
        ),
    )
}

REQUESTS: Mapping[bytes, Command] = {
    word.command.encode(): word.command for word in TABLE.values() if word.request or word.confirmed
}
"""Valid values of the hash field `control`; any other comes from a newer release or a client."""

REASONS: Mapping[Answer, StopReason] = {
    **{word.command: word.reason for word in TABLE.values() if word.reason},
    Verdict.GONE: StopReason.FORGET,
    Verdict.FENCED: StopReason.FENCED,
}
"""The reason to stop a run for which a renewal had this answer, or a control message this word."""


class Starts:
    """The `start` messages that one subscription received recently, by task: they identify stale stops.

    Every worker receives every message in the same order, but at its own pace.  If Redis records a start that
    this worker has not received yet, that start follows the stop in its stream: other workers are ahead and
    have already carried out the stop.  Carrying it out again would undo the start.
    """

    def __init__(self, slack: float, limit: int = 10_000) -> None:
        self.slack = slack  # seconds that another worker may take to carry out a message
        self._limit = limit
        self._received: OrderedDict[str, float] = OrderedDict()
        self._since = math.inf

    def listen(self, now: float) -> None:
        """Reset for a new subscription: earlier messages are unknown."""
        self._received.clear()
        self._since = now

    def received(self, task_id: str, now: float) -> None:
        """Record a received start."""
        self._received[task_id] = now
        self._received.move_to_end(task_id)
        if len(self._received) > self._limit:
            self._since = max(self._since, self._received.popitem(last=False)[1])

    def not_received(self, task_id: str, now: float) -> float:
        """Seconds; a start that Redis recorded within them has not been received here yet."""
        return max(0.0, now - self._received.get(task_id, self._since) - self.slack)
