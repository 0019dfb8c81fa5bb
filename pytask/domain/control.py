"""The control words, one row each: what becomes of a task that is told to stop, to start or to reload.

A new word is a row here, a script that carries it out (`pytask.adapters.redis.control_calls`, and its twin in
memory), what a client waits for (`pytask.client.control`), and a verb of the command line.
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
from pytask.domain.record import Verdict


class Wish(IntEnum):
    """Why a run is being stopped; of two, the larger wins."""

    MOVE = 1  # another worker has more room: WAIT, for any worker; nothing depends on it
    RELOAD = 2  # run again in place, with the data now in the hash
    HAND_BACK = 3  # the worker leaves, or lost Redis: WAIT, for any worker
    STOP = 4  # the operator's word: STOPPED
    FORGET = 5  # the hash is gone: clear the registry, write nothing else
    FENCED = 6  # a newer run owns the id: write nothing


def outweighs(new: Wish, current: Wish | None) -> bool:
    """Whether `new` replaces the wish that a run already has."""
    return current is None or new > current


def closing(wish: Wish | None, failed: bool) -> Trigger | None:
    """The trigger that a dead run is settled with; None where nothing may be written, or for RELOAD."""
    if wish is None:
        return Trigger.FAIL if failed else Trigger.END
    if wish is Wish.STOP:
        return Trigger.STOP
    return Trigger.RELEASE if wish in (Wish.MOVE, Wish.HAND_BACK, Wish.FORGET) else None


@attrs.frozen(kw_only=True)
class ControlWord:
    """One word of the control channels."""

    command: Command
    past: str  # what a task that obeyed was: "stopped"
    without_run: Trigger | None = None
    """The move of a task that has no run, made at once; None: such a task is left alone."""
    request: Verdict | None = None
    """For a task that runs: kept in the field `control` of its hash and told to its owner with each renewal,
    until that has obeyed.  None: a task that runs is left alone."""
    reason: Wish | None = None  # for which its owner stops the run
    idle_in: tuple[State, ...] = ()  # a task in one of these states is already where the word leads
    missing: Verdict = Verdict.NOHASH  # the answer where there is no such task


TABLE: Mapping[Command, ControlWord] = {
    word.command: word
    for word in (
        ControlWord(
            command=Command.STOP,
            past="stopped",
            without_run=Trigger.CANCEL,
            request=Verdict.STOP,
            reason=Wish.STOP,
            idle_in=life.RESTING,
        ),
        ControlWord(
            command=Command.START,
            past="run",
            without_run=Trigger.START,
            idle_in=(life.WAIT, life.RUNNING),
        ),
        ControlWord(
            command=Command.RELOAD,
            past="reloaded",
            request=Verdict.RELOAD,
            reason=Wish.RELOAD,
            missing=Verdict.STATE,
        ),
    )
}

REQUESTS: Mapping[bytes, Verdict] = {
    word.request.encode(): word.request for word in TABLE.values() if word.request is not None
}
"""What the field `control` of a hash may hold; anything else is of a newer release, or of a client."""

REASONS: Mapping[Verdict, Wish] = {
    **{word.request: word.reason for word in TABLE.values() if word.request and word.reason},
    Verdict.GONE: Wish.FORGET,
    Verdict.FENCED: Wish.FENCED,
}
"""Why a run is stopped for which a renewal had this answer."""


class Starts:
    """The `start` messages that one subscription heard lately, by task: tells stale stops from fresh ones.

    Every worker hears every message, in one order for all, but each at its own pace.  When a stop is
    carried out and Redis knows of a start that this worker has not heard yet, that start stands behind the
    stop in its stream: others are further, and the stop has been obeyed.  Carried out once more, it would
    undo the start.
    """

    def __init__(self, slack: float, limit: int = 10_000) -> None:
        self.slack = slack  # seconds that another worker may take to carry out what it heard
        self._limit = limit
        self._heard: OrderedDict[str, float] = OrderedDict()
        self._since = math.inf

    def listen(self, now: float) -> None:
        """A new subscription: what was published before is not known."""
        self._heard.clear()
        self._since = now

    def heard(self, task_id: str, now: float) -> None:
        """A start was heard."""
        self._heard[task_id] = now
        self._heard.move_to_end(task_id)
        if len(self._heard) > self._limit:
            self._since = max(self._since, self._heard.popitem(last=False)[1])

    def unheard(self, task_id: str, now: float) -> float:
        """Seconds: a start that Redis recorded within them is one that was not heard here so far."""
        return max(0.0, now - self._heard.get(task_id, self._since) - self.slack)
