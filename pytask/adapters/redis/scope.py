"""Where a store works, and under which name: what the calls of its scripts have in common."""

from __future__ import annotations

from functools import cache, lru_cache

import attrs

from pytask.adapters.keys import Keys
from pytask.adapters.rules import Retention, ending_why, event
from pytask.domain import history
from pytask.domain import lifecycle as life
from pytask.domain.lifecycle import Trigger, destination
from pytask.domain.messages import Event
from pytask.domain.record import Change

UNKNOWN = life.State.read(None)  # the state of a hash that has no other


@attrs.define
class Scope:
    """One namespace, and what of it is kept for how long."""

    keys: Keys
    retention: Retention = attrs.Factory(Retention)
    who: str = ""  # the name under which what is done stands in the history of tasks
    space: int = attrs.field(
        init=False
    )  # bytes of the namespace, which is in front of an id in its hash's key
    kept: int = attrs.field(init=False)  # lines of a task's history that are kept

    def __attrs_post_init__(self) -> None:
        self.space = len(self.keys.namespace.encode())
        self.kept = self.retention.history

    def drops(self, trigger: Trigger) -> bool:
        """Whether a hash that comes to the state `trigger` leads to is deleted at once."""
        return self.retention.of(trigger) == 0

    def line(self, trigger: Trigger, why: str = "", who: str | None = None) -> str:
        """A line of the history of a task that runs."""
        return _line(life.RUNNING, trigger, self.who if who is None else who, why)

    def ending(self, change: Change) -> str:
        """The line for the end of a run; "" for an event, which moves nothing."""
        return "" if change.trigger is None else self.line(change.trigger, ending_why(change))

    def line_from(self, trigger: Trigger, why: str = "", who: str | None = None) -> str:
        """A line behind the state that the task was in, which only the script knows."""
        return _line("", trigger, self.who if who is None else who, why)


@lru_cache(maxsize=1024)
def _line(source: str, trigger: Trigger, who: str, why: str) -> str:
    return history.tail(source, destination(trigger), trigger, who, why)


@cache
def run_event(name: Event, worker: str) -> tuple[str, str, str]:
    """The parts of an event around the run and its epoch, which only Redis knows."""
    head = event(name, {"worker": worker, "run": ""})
    return head[: -len('"}}')], '","epoch":', "}}"
