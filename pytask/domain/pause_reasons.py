"""Why a paused task, or a task of a paused function, does not go on."""

from __future__ import annotations

from collections.abc import Iterator

from pytask.domain.advice import Typed
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


def of_a_wait(since: float) -> str:
    """A paused task that waits."""
    return f"it is paused since {at(since)}, and is not started until it is resumed"


def of_a_function(name: str) -> str:
    """A parked task whose function is paused."""
    return f"the function {name} is paused, so it is parked until that is resumed"


def of_a_function_ahead(name: str) -> str:
    """A task of a paused function that no worker has parked yet."""
    return f"the function {name} is paused, so it is not started until that is resumed"


def resume(name: str) -> Typed:
    """The command that resumes a function; without a name, that for all: each ends only its own pause."""
    return Typed(("pytask", "start", "--paused", *(("--name", name) if name else ("--all",))))
