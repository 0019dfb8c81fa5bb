"""The transitions of a task as sentences: what happened, by whom, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import attrs

from pytask.domain.history import Transition
from pytask.domain.lifecycle import Trigger
from pytask.domain.wording import at


class Phrase(NamedTuple):
    """What happened to a task ("requeued by yew") and the cause, "" if there is none."""

    what: str
    why: str = ""
    joint: str = " because "  # between the two, within a sentence

    def __str__(self) -> str:
        return f"{self.what}{self.joint}{self.why}" if self.why else self.what


def transition_lines(moves: Sequence[Transition], *, failed: bool = False) -> list[str]:
    """One line per transition; `failed`: leave out the error of the last one, which is shown elsewhere."""
    lines = list(map(transition_line, moves))
    if failed and lines and moves[-1].trigger == Trigger.FAIL:
        lines[-1] = transition_line(attrs.evolve(moves[-1], why=""))
    return lines


def transition_line(move: Transition) -> str:
    """A transition as a line."""
    phrase = phrase_of(move)
    return f"{at(move.at)} {phrase.what}{f': {phrase.why}' if phrase.why else ''}"


def phrase_of(move: Transition, asker: str = "") -> Phrase:
    """A transition as a part of a sentence; `asker` is who requested it, if known."""
    phrase = PHRASES.get(move.trigger)
    if phrase is not None:
        return phrase(move, asker)
    # An unknown trigger of a newer release.
    return Phrase(f"{move.trigger}{_by(move)}, from {move.source} to {move.target}", move.why, ": ")


def asker_of(moves: Sequence[Transition], stop_reason: str) -> str:
    """Who sent this control request to the last run among `moves`; "" if unknown."""
    for move in reversed(moves):
        if move.trigger == Trigger.REQUEST and move.why == stop_reason:
            return move.who
        if move.trigger == Trigger.CLAIM:
            break
    return ""


def _by(move: Transition) -> str:
    return f" by {move.who}" if move.who else ""


def _on(move: Transition) -> str:
    return f" on {move.who}" if move.who else ""


def _silence(why: str) -> str:
    """The reason of expire.lua (`history.expired_because`, `died_because`) as a sentence."""
    if why.startswith("death of "):
        return f"{why.removeprefix('death of ')} had died"
    lease, silent, seconds = why.rpartition(" silent for ")
    if not silent or not lease.startswith("lease of "):
        return why
    owner = lease.removeprefix("lease of ")
    return f"{owner} had no lease" if seconds == "? s" else f"the {lease} was not renewed for {seconds}"


def _claimed(move: Transition, _: str) -> Phrase:
    if move.why == "pre-started":
        return Phrase(f"started with its worker {move.who}".rstrip())
    return Phrase(f"claimed{_by(move)}")


def _stopped(move: Transition, asker: str) -> Phrase:
    # A worker that receives the word on a channel stores the request itself: the sender is unknown.
    if asker and asker != move.who:
        return Phrase(f"stopped by {asker}{f', on {move.who}' if move.who else ''}")
    return Phrase(f"stopped on request{_on(move)}")


def _released(move: Transition, _: str) -> Phrase:
    handed = f"requeued{_by(move)}"
    if move.why == "rebalanced":
        return Phrase(handed, "other workers had more room")
    if move.why == "restored after a loss of data":
        return Phrase(handed, "Redis had lost its data")
    if move.why == "handed back":
        return Phrase(handed, "it was shutting down or had lost Redis")
    return Phrase(handed, move.why, ": ")


def _expired(move: Transition, _: str) -> Phrase:
    why = _silence(move.why)
    # The text of a newer release may not be a clause.
    return Phrase(f"requeued{_by(move)}", why, ": " if why == move.why else Phrase._field_defaults["joint"])


def _expired_stopped(move: Transition, asker: str) -> Phrase:
    asked = f"{asker or 'a client'} had requested a stop"
    return Phrase(f"stopped{_by(move)}", f"{asked} and {_silence(move.why)}")


def _poisoned(move: Transition, _: str) -> Phrase:
    died = "too many workers died while running it"
    return Phrase(f"marked as poison{_by(move)}", f"{died}: {_silence(move.why)}" if move.why else died)


def _parked(move: Transition, _: str) -> Phrase:
    return Phrase(
        f"parked{_by(move)}", move.why.replace("no such task on the worker: ", "it knows no task named ", 1)
    )


PHRASES: dict[str, Callable[[Transition, str], Phrase]] = {
    Trigger.CLAIM: _claimed,
    Trigger.END: lambda move, _: Phrase(f"ended by itself{_on(move)}"),
    Trigger.FAIL: lambda move, _: Phrase(f"failed{_on(move)}", move.why, ": "),
    Trigger.STOP: _stopped,
    Trigger.RELEASE: _released,
    Trigger.EXPIRE: _expired,
    Trigger.EXPIRE_STOPPED: _expired_stopped,
    Trigger.POISON: _poisoned,
    Trigger.RELOAD: lambda move, _: Phrase(
        f"reloaded{_by(move)}{f' {move.why}' if move.why else ''} with the data from its hash"
    ),
    Trigger.REFUSE: lambda move, _: Phrase(
        f"reload refused{_on(move)}", f"the data does not fit: {move.why.removeprefix('$: ')}", ": "
    ),
    Trigger.ROLL_BACK: lambda move, _: Phrase(
        f"failed{_on(move)} soon after a reload, and was rolled back", move.why, ": "
    ),
    Trigger.CANCEL: lambda move, _: Phrase(f"stopped{_by(move)} before it ran"),
    Trigger.START: lambda move, _: Phrase(f"started again{_by(move)}"),
    Trigger.REQUEST: lambda move, _: Phrase(f"{move.why or 'control'} requested{_by(move)}"),
    Trigger.ADOPT: lambda move, _: Phrase(f"restored{_by(move)}", "Redis had lost the run"),
    Trigger.PARK: _parked,
    Trigger.SCHEDULE: lambda move, _: Phrase(f"started by {move.why or 'a schedule'}"),
    Trigger.DELAY: lambda move, _: Phrase(f"delayed{_by(move)} until its time"),
    Trigger.LIMIT: lambda move, _: Phrase(f"held back{_by(move)}", f"no slot of {move.why or '?'} was free"),
    Trigger.RETRY: lambda move, _: Phrase(
        f"{'failed' if move.why else 'ended'}{_on(move)}, and is restarted by its policy", move.why, ": "
    ),
    Trigger.START_NOW: lambda move, _: Phrase(f"started before its time{_by(move)}"),
    Trigger.PAUSE: lambda move, _: Phrase(f"paused{_by(move)} while it waited"),
    Trigger.RESUME: lambda move, _: Phrase(f"resumed{_by(move)}: it is in the queue again"),
    Trigger.HOLD: lambda move, _: Phrase(f"paused{_on(move)}: it waits at a gate"),
    Trigger.GO_ON: lambda move, _: Phrase(f"resumed{_on(move)}"),
    Trigger.REPAIR: lambda move, _: Phrase(f"requeued{_by(move)}", "it had no registered run"),
}
