"""The namespace and the name of a store: shared by all calls of its scripts."""

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

UNKNOWN = life.State.read(None)  # the state of a hash without one


@attrs.define
class Scope:
    """One namespace, and its retention times."""

    keys: Keys
    retention: Retention = attrs.Factory(Retention)
    who: str = ""  # recorded in the history of tasks
    space: int = attrs.field(init=False)  # bytes of the namespace, the prefix of the key of a hash
    kept: int = attrs.field(init=False)  # lines kept of a task's history

    def __attrs_post_init__(self) -> None:
        self.space = len(self.keys.namespace.encode())
        self.kept = self.retention.history

    def drops(self, trigger: Trigger) -> bool:
        """Whether a hash is deleted at once after `trigger`."""
        return self.retention.of(trigger) == 0

    def line(self, trigger: Trigger, why: str = "", who: str | None = None) -> str:
        """A history line of a running task."""
        return _line(life.RUNNING, trigger, self.who if who is None else who, why)

    def ending(self, change: Change) -> str:
        """The history line for the end of a run; "" for an event."""
        return "" if change.trigger is None else self.line(change.trigger, ending_why(change))

    def line_from(self, trigger: Trigger, why: str = "", who: str | None = None) -> str:
        """A history line without the source state, which only the script knows."""
        return _line("", trigger, self.who if who is None else who, why)


@lru_cache(maxsize=1024)
def _line(source: str, trigger: Trigger, who: str, why: str) -> str:
    return history.tail(source, destination(trigger), trigger, who, why)


@cache
def run_event(name: Event, worker: str) -> tuple[str, str, str]:
    """The parts of an event around the run and its epoch; only Redis knows the epoch."""
    head = event(name, {"worker": worker, "run": ""})
    return head[: -len('"}}')], '","epoch":', "}}"
