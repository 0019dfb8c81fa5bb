"""Why a task is where it is: what is known of it, and the sentences that follow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

import attrs

from pytask.domain import lifecycle as life
from pytask.domain.history import Transition
from pytask.domain.lifecycle import State
from pytask.domain.policy import Timing
from pytask.domain.times import ago, at

LOOK = 100_000  # places of the queue that are looked through
MOVES = 5  # of the history that are told


@attrs.frozen(kw_only=True)
class Known:
    """What a task's hash tells."""

    id: str
    state: State
    function: str = ""
    worker: str = ""
    session: str = ""  # that owns the run
    control: str = ""  # a wish that was not carried out yet
    crashes: int = 0
    attempts: int = 0
    last_update: float = 0.0  # seconds since 1970
    error: str = ""
    history: tuple[Transition, ...] = ()


@attrs.frozen(kw_only=True)
class Crew:
    """What a worker shows of itself."""

    session: str
    host: str = ""
    pid: int = 0
    alive: bool = True  # it showed itself lately
    functions: tuple[str, ...] = ()
    tasks: int | None = None
    max_tasks: int | None = None


@attrs.frozen(kw_only=True)
class Facts:
    """What is known of a task beside its hash."""

    now: float  # of Redis, seconds
    workers: Sequence[Crew] = ()
    renewed: float | None = None  # seconds since its last renewal; None without a lease
    place: int | None = None  # in the queue, 0 is next; None if it was not found there
    queued: int = 0
    parked: bool = False  # in the parking list of its function
    monitor: float | None = None  # seconds since a monitor swept

    @property
    def alive(self) -> list[Crew]:
        """The workers that showed themselves lately."""
        return [worker for worker in self.workers if worker.alive]

    @property
    def knowing(self) -> set[str]:
        """The functions that living workers know."""
        return {name for worker in self.alive for name in worker.functions}


def reasons(task: Known, facts: Facts) -> list[str]:
    """One sentence each, the most important first."""
    tell = {life.RUNNING: _running, life.WAIT: _waiting, life.ERROR: _failed}.get(task.state, _resting)
    return [*tell(task, facts), *_asides(task), *_moves(task)]


def _since(task: Known, facts: Facts) -> str:
    return f" for {ago(facts.now - task.last_update)}" if task.last_update else ""


def _running(task: Known, facts: Facts) -> Iterator[str]:
    timing = Timing()
    owner = next((w for w in facts.workers if w.session == task.session), None)
    where = f"{task.worker or 'an unnamed worker'}" + (f" on {owner.host} (pid {owner.pid})" if owner else "")
    if facts.renewed is None:
        yield f"it says that it runs on {where}, and has no lease: nobody renews it"
        yield "a monitor with slow_sweep=True puts it back into the queue; or push it again"
        return
    if facts.renewed <= 3 * timing.heartbeat:
        yield f"it runs on {where}, its lease renewed {ago(facts.renewed)} ago"
    else:
        yield f"its worker {where} is silent: the lease was renewed {ago(facts.renewed)} ago"
        yield from _hand_on(task.id, facts, timing)
    if task.control:
        yield f"it was asked to {task.control}, and has not done so yet: its stop() may take long, or hang"


def _hand_on(task_id: str, facts: Facts, timing: Timing) -> Iterator[str]:
    if facts.monitor is None or facts.monitor > 3 * timing.expiry:
        yield "no monitor is there to hand it on: start a worker without --no-monitor"
        yield f"or put it back now: pytask requeue {task_id}"
    else:
        left = max(0.0, timing.expiry + timing.sweep - (facts.renewed or 0.0))
        yield f"a monitor hands it on {f'in about {ago(left)}' if left else 'with its next sweep'}"


def _waiting(task: Known, facts: Facts) -> Iterator[str]:
    if facts.place is not None:
        ahead = "it is the next" if facts.place == 0 else f"{facts.place} tasks are before it"
        yield f"it waits in the queue{_since(task, facts)}: {ahead}"
    elif facts.parked:
        yield f"it is parked{_since(task, facts)}, as no worker knew its function {task.function!r}"
    elif facts.queued > LOOK:
        yield f"it waits{_since(task, facts)}, behind more than {LOOK} others"
    else:
        yield "it is in no queue, so that nobody will take it: the hash was written, and the id not pushed"
        yield f"push it:  redis-cli LPUSH new-task {task.id}"
        return
    yield from _nobody(task, facts)


def _nobody(task: Known, facts: Facts) -> Iterator[str]:
    if not facts.alive:
        yield "no worker is there: start one with `pytask run`"
        return
    if task.function not in facts.knowing:
        near = get_close_matches(task.function, sorted(facts.knowing), n=1, cutoff=0.6)
        meant = f" (did you mean {near[0]}?)" if near else ""
        yield f"no live worker knows {task.function!r}{meant}"
        return
    if facts.parked:
        yield "a worker knows it now, and takes it within 10 s"
    full = [w for w in facts.alive if w.max_tasks is not None and (w.tasks or 0) >= w.max_tasks]
    if len(full) == len(facts.alive):
        yield f"all {len(full)} workers are full: start another, or raise max_tasks"


def _failed(task: Known, facts: Facts) -> Iterator[str]:
    yield f"it failed{_ago(task, facts)}: {task.error.partition(chr(10))[0] or 'without a text'}"
    if task.error.count("\n"):
        yield f"the traceback: pytask show {task.id}"
    yield f"to run it again: pytask start {task.id}"


def _resting(task: Known, facts: Facts) -> Iterator[str]:
    word = "was stopped on request" if task.state is not life.ENDED else "ended by itself"
    yield f"it {word}{_ago(task, facts)}"


def _ago(task: Known, facts: Facts) -> str:
    where = f" on {task.worker}" if task.worker else ""
    return where + (f", {ago(facts.now - task.last_update)} ago" if task.last_update else "")


def _asides(task: Known) -> Iterator[str]:
    if task.crashes:
        yield (
            f"{task.crashes} workers died under it: after a few it counts as poison, and is tried more and"
            " more rarely"
        )
    if task.attempts > 1:
        yield f"it was begun {task.attempts} times"


def _moves(task: Known) -> Iterator[str]:
    """The last moves that its hash tells of, the newest last."""
    return map(told, task.history[-MOVES:])


def told(move: Transition) -> str:
    """A move of a task, as people read it."""
    who = f" by {move.who}" if move.who else ""
    why = f": {move.why}" if move.why else ""
    return f"{at(move.at)} {move.source} -> {move.target}, {move.trigger}{who}{why}"
