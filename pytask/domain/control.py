"""The control words, one row each: what becomes of a task that is told to stop, to start or to reload.

A new word is a row here, a script that carries it out (`pytask.adapters.control_calls`, and its twin in
memory), what a client waits for (`pytask.client.steer`), and a verb of the command line.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from pytask.domain import lifecycle as life
from pytask.domain.lifecycle import State, Trigger
from pytask.domain.messages import Command
from pytask.domain.policy import Wish
from pytask.domain.record import Verdict


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
