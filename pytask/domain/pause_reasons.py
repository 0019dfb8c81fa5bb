"""Why a paused task, or a task of a paused function, does not go on."""

from __future__ import annotations

from collections.abc import Iterator

from pytask.domain.advice import Advice, Typed
from pytask.domain.facts import Facts
from pytask.domain.messages import Command
from pytask.domain.wording import at

REQUEST = Command.PAUSE


def of_a_run(since: float, control: str, place: str | None) -> Iterator[str]:
    """A paused run; `place` is where it is, as its worker publishes it while no gate has been reached."""
    if control != REQUEST:
        yield f"paused since {at(since)}: it waits at a gate"
        return
    where = f": {place}" if place else ""
    yield f"pausing since {at(since)}: it has not reached a gate (self.gate(), or a round of run_loop){where}"


def of_a_wait(since: float, not_before: float, now: float) -> Iterator[str]:
    """A paused task that waits, also for a time."""
    yield f"it is paused since {at(since)}, and is not started until it is resumed"
    if not_before > now:
        yield f"resumed before {at(not_before)}, it starts then"


def of_a_function(name: str, facts: Facts) -> str:
    """A parked task whose function is paused, by its name or with all."""
    paused, resumed = _what(name, facts)
    return f"{paused}, so it is parked until {resumed}"


def of_a_function_ahead(name: str, facts: Facts) -> str:
    """A task of a paused function that no worker has parked yet."""
    paused, resumed = _what(name, facts)
    return f"{paused}, so it is not started until {resumed}"


def _what(name: str, facts: Facts) -> tuple[str, str]:
    """What is paused, and what has to happen: each of the two pauses ends by itself only."""
    if not facts.all_held:
        return f"the function {name} is paused", "that is resumed"
    if not facts.held:
        return "all functions are paused", "they are resumed"
    return f"all functions are paused, and {name} also by its name", "both pauses end"


def advice(name: str, facts: Facts) -> Iterator[Advice]:
    """The commands that end the pauses of a function."""
    if facts.all_held:
        yield Advice("to resume all functions: ", resume(""))
    if facts.held:
        yield Advice("to resume the function: ", resume(name))


def resume(name: str) -> Typed:
    """The command that resumes a function; without a name, that for all: each ends only its own pause."""
    return Typed(("pytask", "start", "--paused", *(("--name", name) if name else ("--all",))))
