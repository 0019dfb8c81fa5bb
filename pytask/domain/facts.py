"""What is known about a task: from its hash, from its worker, and from its surroundings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from pytask.domain.history import Transition
from pytask.domain.lifecycle import State
from pytask.domain.limit_reasons import Line
from pytask.domain.reload_reasons import Answered


@attrs.frozen(kw_only=True)
class Known:
    """The content of a task's hash."""

    id: str
    state: State
    function: str = ""
    worker: str = ""
    session: str = ""  # of the run's owner
    control: str = ""  # a pending control request
    paused: float = 0.0  # since when it is paused, seconds since 1970; 0: it is not
    crashes: int = 0
    attempts: int = 0
    last_update: float = 0.0  # seconds since 1970; for a run, its last renewal
    epoch: int = 0  # of the last run: milliseconds since 1970 at its claim, or slightly more
    error: str = ""
    history: tuple[Transition, ...] = ()
    again: bool = False  # pushed again after it had finished
    refusal: Answered | None = None  # of its last reload
    rolled_back: Answered | None = None  # its last reload
    on_trial: bool = False  # its new data may be rolled back
    reloaded_at: float = 0.0  # seconds since 1970: when its run last took new data in place; 0: never
    settling: bool = False  # its run was started by a reload less than a second ago
    not_before: float = 0.0  # seconds since 1970: no run starts before
    due: float | None = None  # when the timers queue it, seconds since 1970; None: it is not in them
    restarts: int = 0  # consecutive restarts by its policy
    restarts_since: float = 0.0  # seconds since 1970: the end of the first run that counts


@attrs.frozen(kw_only=True)
class Crew:
    """The published figures of a worker."""

    session: str
    host: str = ""
    pid: int = 0
    alive: bool = True  # it reported recently
    functions: tuple[str, ...] = ()
    restarts: Mapping[str, str] = attrs.Factory(dict)  # function -> its policy in words
    tasks: int | None = None
    max_tasks: int | None = None
    held: float = 0.0  # seconds without an accepted task result, or without an answered claim
    embargo: float = 0.0  # seconds for which it still claims nothing, as another server has answered
    kept_by: Mapping[str, str] = attrs.Factory(dict)  # id -> the threads that prevent its run from ending
    pausing: Mapping[str, str] = attrs.Factory(dict)  # id -> where its run is, which has not reached a gate


@attrs.frozen(kw_only=True)
class Facts:
    """The facts about a task outside its hash."""

    now: float  # of Redis, seconds
    workers: Sequence[Crew] = ()
    renewed: float | None = None  # seconds since its last renewal; None without a lease
    registered: bool = True  # the registry has its run
    place: int | None = None  # position in the queue, 0 is next; None if not found
    queued: int = 0
    queue: str = "new-task"  # its key
    parked: bool = False  # in the parking list of its function
    held: bool = False  # its function is paused by its name
    all_held: bool = False  # all functions are paused
    line: Line | None = None  # the waiting list of a limit that has it
    monitor: float | None = None  # seconds since a monitor swept
    policy: str = ""  # of its function, as a live worker publishes it: what it does after a failure

    @property
    def on_hold(self) -> bool:
        """No task of its function is started."""
        return self.held or self.all_held

    @property
    def alive(self) -> list[Crew]:
        """The workers that showed themselves lately."""
        return [worker for worker in self.workers if worker.alive]

    @property
    def knowing(self) -> set[str]:
        """The functions that live workers know."""
        return {name for worker in self.alive for name in worker.functions}
