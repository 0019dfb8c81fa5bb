"""The names of all keys and channels.  With the empty namespace they are the documented ones."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from pytask.adapters import decoding
from pytask.domain.lifecycle import RESTING, State

DIGITS = 10  # more than any db number has


@attrs.frozen
class Keys:
    """Every key of one namespace, which also prefixes channels: pub/sub ignores db numbers."""

    namespace: str = ""

    queue: str = attrs.field(init=False)
    runs: str = attrs.field(init=False)
    leases: str = attrs.field(init=False)
    incarnation: str = attrs.field(init=False)
    workers: str = attrs.field(init=False)
    worker_info: str = attrs.field(init=False)
    monitors: str = attrs.field(init=False)
    rejected: str = attrs.field(init=False)
    parked: str = attrs.field(init=False)
    timers: str = attrs.field(init=False)
    paused: str = attrs.field(init=False)
    paused_functions: str = attrs.field(init=False)
    schedules: str = attrs.field(init=False)
    own: str = attrs.field(init=False)
    """The prefix of pytask's own keys, behind which scripts find those of limits (see slots.lua)."""
    limits: str = attrs.field(init=False)
    slotted: str = attrs.field(init=False)
    groups: str = attrs.field(init=False)
    runners: str = attrs.field(init=False)
    woken: str = attrs.field(init=False)
    limited: str = attrs.field(init=False)
    building: str = attrs.field(init=False)
    rates: str = attrs.field(init=False)
    channel: str = attrs.field(init=False)
    hint_channel: str = attrs.field(init=False)
    indexes: tuple[str, str, str, str] = attrs.field(init=False)
    """The indexes of all resting states, in the order the scripts expect."""

    def __attrs_post_init__(self) -> None:
        """Build the fixed names once; they are used for every task."""
        own = f"{self.namespace}pytask:"
        fixed = {
            "queue": f"{self.namespace}new-task",
            "runs": f"{own}runs",
            "leases": f"{own}leases",
            "incarnation": f"{own}incarnation",
            "workers": f"{own}workers",
            "worker_info": f"{own}workers:info",
            "monitors": f"{own}monitors",
            "rejected": f"{own}rejected",
            "parked": f"{own}parked",
            "timers": f"{own}timers",
            "paused": f"{own}paused",
            "paused_functions": f"{own}paused:functions",
            "schedules": f"{own}schedules",
            "own": own,
            "limits": f"{own}limits",
            "slotted": f"{own}slotted",
            "groups": f"{own}groups",
            "runners": f"{own}runners",
            "woken": f"{own}woken",
            "limited": f"{own}limited",
            "building": f"{own}building",
            "rates": f"{own}rates",
            "channel": f"{self.namespace}task-",
            "hint_channel": f"{own}hint",
        }
        for name, value in fixed.items():
            object.__setattr__(self, name, value)
        first, second, third, fourth = map(self.index, RESTING)
        object.__setattr__(self, "indexes", (first, second, third, fourth))

    def task(self, task_id: str) -> str:
        """The hash of a task."""
        return self.namespace + task_id

    def index(self, state: State) -> str:
        """The ids in a resting state, by the time of that transition.  RUNNING's index is the leases."""
        return f"{self.namespace}pytask:index:{state}"

    def parking(self, function: str) -> bytes:
        """The list of ids that wait for a worker which knows `function` (surrogates encode invalid bytes)."""
        return f"{self.namespace}pytask:parked:{function}".encode(errors="surrogateescape")

    def schedule(self, name: str) -> bytes:
        """The hash of a schedule (surrogates encode invalid bytes)."""
        return f"{self.namespace}pytask:schedule:{name}".encode(errors="surrogateescape")

    def occurrences(self, name: str) -> bytes:
        """The list of the last occurrences of a schedule and their results, the newest first."""
        return f"{self.namespace}pytask:occurrences:{name}".encode(errors="surrogateescape")

    def slots(self, entry: str) -> bytes:
        """The ids whose runs hold a slot of a group or function, such as `group:a`."""
        return f"{self.own}slots:{entry}".encode(errors="surrogateescape")

    def line(self, entry: str) -> bytes:
        """The ids that wait for such a slot."""
        return f"{self.own}group:{entry}".encode(errors="surrogateescape")

    def rated(self, function: str) -> bytes:
        """The ids in the timers that wait until the rate of their function lets them start."""
        return f"{self.own}rated:{function}".encode(errors="surrogateescape")

    def claimed(self, session: str) -> str:
        """What the last claim of a session took from the tail of the queue (see claim.lua)."""
        return f"{self.own}claimed:{session}"

    def samples(self, ring: str) -> str:
        """The ring of samples of the fleet's figures (hash): the hour's or the day's."""
        return f"{self.own}samples:{ring}"

    def log(self, task_id: str) -> str:
        """The ring of the lines that a task's runs logged, the newest last."""
        return f"{self.namespace}pytask:log:{task_id}"

    def source(self, function: str | None) -> str | bytes:
        """The queue for None, else the parking list of `function`."""
        return self.queue if function is None else self.parking(function)

    def events(self, task_id: str) -> str:
        """The channel of a task's events."""
        return self.channel + task_id

    def control(self, task_id: str) -> str:
        """The channel for control messages of a task: stop, start or reload."""
        return f"{self.channel}{task_id}-control"

    @property
    def event_pattern(self) -> str:
        """The pattern for the events of all tasks, which also matches their control messages."""
        return f"{_literal(self.channel)}*"

    def matching(self, beginning: str) -> str:
        """The pattern of the keys of tasks whose id has this prefix."""
        return f"{_literal(self.namespace + beginning)}*"

    def ping_channel(self, session: str) -> str:
        """The channel on which a worker receives its own messages."""
        return f"{self.namespace}pytask:ping:{session}"

    def database_channel(self, number: int) -> str:
        """The channel on which workers of a db number are visible to those of other db numbers."""
        return f"{self.namespace}pytask:db:{number}"

    @property
    def database_pattern(self) -> str:
        """The pattern of these channels."""
        return f"{_literal(self.namespace)}pytask:db:*"

    def databases_of(self, channels: Iterable[bytes | str]) -> list[int]:
        """The db numbers in the names of such channels."""
        numbers = (decoding.text(channel).rpartition(":")[2] for channel in channels)
        return sorted({int(number) for number in numbers if number.isdecimal() and len(number) < DIGITS})

    @property
    def control_pattern(self) -> str:
        """The pattern for the control messages of all tasks."""
        return f"{_literal(self.channel)}*-control"

    def task_of_control(self, channel: str) -> str:
        """The task id in the name of a control channel."""
        return channel[len(self.channel) : -len("-control")]


def _literal(text: str) -> str:
    return "".join("\\" + c if c in "\\*?[]" else c for c in text)
