"""The moves of a task in plain words: what was done, by whom, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import attrs

from pytask.domain.history import Transition
from pytask.domain.lifecycle import Trigger
from pytask.domain.wording import at


class Phrase(NamedTuple):
    """What became of a task ("requeued by yew"), and the cause, "" where there is none to tell."""

    what: str
    why: str = ""
    joint: str = " as "  # between the two, within a sentence

    def __str__(self) -> str:
        return f"{self.what}{self.joint}{self.why}" if self.why else self.what


def transition_lines(moves: Sequence[Transition], *, failed: bool = False) -> list[str]:
    """Moves, a line each; `failed`: why the last one failed is told elsewhere."""
    lines = list(map(told, moves))
    if failed and lines and moves[-1].trigger == Trigger.FAIL:
        lines[-1] = told(attrs.evolve(moves[-1], why=""))
    return lines


def told(move: Transition) -> str:
    """A move on a line of its own."""
    phrase = phrase_of(move)
    return f"{at(move.at)} {phrase.what}{f': {phrase.why}' if phrase.why else ''}"


def phrase_of(move: Transition, asker: str = "") -> Phrase:
    """A move as a part of a sentence; `asker` is who had asked for it, where somebody had."""
    tell = TELL.get(move.trigger)
    if tell is not None:
        return tell(move, asker)
    # A newer release knows more of them.
    return Phrase(f"{move.trigger}{_by(move)}, from {move.source} to {move.target}", move.why, ": ")


def asker_of(moves: Sequence[Transition], stop_reason: str) -> str:
    """Who asked the last run among `moves` for that; "" where it is not known."""
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
    """What expire.lua says (`history.expired_because`), as a sentence."""
    lease, silent, seconds = why.rpartition(" silent for ")
    if not silent or not lease.startswith("lease of "):
        return why
    owner = lease.removeprefix("lease of ")
    return f"{owner} held no lease" if seconds == "? s" else f"the {lease} was silent for {seconds}"


def _claimed(move: Transition, _: str) -> Phrase:
    if move.why == "pre-started":
        return Phrase(f"started with its worker {move.who}".rstrip())
    return Phrase(f"taken{_by(move)}")


def _stopped(move: Transition, asker: str) -> Phrase:
    # A worker that heard the word on a channel writes down the wish itself: who said it is not known.
    if asker and asker != move.who:
        return Phrase(f"stopped by {asker}{f', on {move.who}' if move.who else ''}")
    return Phrase(f"stopped on request{_on(move)}")


def _released(move: Transition, _: str) -> Phrase:
    handed = f"handed back{_by(move)}"
    if move.why == "rebalanced":
        return Phrase(handed, "others had more room")
    if move.why == "restored after a loss of data":
        return Phrase(f"put back{_by(move)}", "Redis had lost its data")
    return Phrase(handed, "it left, or had lost Redis" if move.why == "handed back" else move.why)


def _expired_stopped(move: Transition, asker: str) -> Phrase:
    asked = f"{asker or 'somebody'} had asked to stop it"
    return Phrase(f"stopped{_by(move)}", f"{asked} and {_silence(move.why)}")


def _poisoned(move: Transition, _: str) -> Phrase:
    died = "too many workers died under it"
    return Phrase(f"given up{_by(move)}", f"{died}: {_silence(move.why)}" if move.why else died)


def _parked(move: Transition, _: str) -> Phrase:
    return Phrase(
        f"parked{_by(move)}", move.why.replace("no such task on the worker: ", "it knows no task named ", 1)
    )


TELL: dict[str, Callable[[Transition, str], Phrase]] = {
    Trigger.CLAIM: _claimed,
    Trigger.END: lambda move, _: Phrase(f"ended by itself{_on(move)}"),
    Trigger.FAIL: lambda move, _: Phrase(f"failed{_on(move)}", move.why, ": "),
    Trigger.STOP: _stopped,
    Trigger.RELEASE: _released,
    Trigger.EXPIRE: lambda move, _: Phrase(f"requeued{_by(move)}", _silence(move.why)),
    Trigger.EXPIRE_STOPPED: _expired_stopped,
    Trigger.POISON: _poisoned,
    Trigger.RELOAD: lambda move, _: Phrase(f"begun anew{_by(move)}, with the data of that time"),
    Trigger.REFUSE: lambda move, _: Phrase(
        f"not reloaded{_on(move)}", f"its data does not fit: {move.why}", ": "
    ),
    Trigger.CANCEL: lambda move, _: Phrase(f"stopped{_by(move)} before it ran"),
    Trigger.START: lambda move, _: Phrase(f"started again{_by(move)}"),
    Trigger.REQUEST: lambda move, _: Phrase(f"asked to {move.why or 'do something'}{_by(move)}"),
    Trigger.ADOPT: lambda move, _: Phrase(f"put back{_by(move)}", "Redis had forgotten the run"),
    Trigger.PARK: _parked,
    Trigger.REPAIR: lambda move, _: Phrase(f"put back into the queue{_by(move)}", "nobody ran it"),
}
