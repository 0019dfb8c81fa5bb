"""Why a task is where it is: what is known of it, and the story that follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Protocol

import attrs

from pytask.domain import lifecycle as life
from pytask.domain.advice import Advice, Typed
from pytask.domain.history import Transition
from pytask.domain.lifecycle import State, Trigger
from pytask.domain.timing import Timing
from pytask.domain.transition_text import Phrase, asker_of, phrase_of, transition_lines
from pytask.domain.wording import ago, at, counted, verb

LOOK = 100_000  # places of the queue that are looked through
MOVES = 5  # of the history that are told


class Refused(Protocol):
    """A reload that was refused."""

    @property
    def reason(self) -> str:
        """Why."""

    @property
    def at(self) -> float:
        """Seconds since 1970."""


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
    last_update: float = 0.0  # seconds since 1970; of a run, when it was renewed last
    epoch: int = 0  # of the last run: milliseconds since 1970 at its claim, or a little more
    error: str = ""
    history: tuple[Transition, ...] = ()
    again: bool = False  # pushed again after it had come to rest
    refusal: Refused | None = None  # of its last reload
    settling: bool = False  # a reload began its run, which has not lived for a second so far


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
    held: float = 0.0  # seconds for which Redis has not taken ends of its tasks, or not answered its claims
    kept_by: Mapping[str, str] = attrs.Factory(dict)  # id -> the threads that keep its run from ending


@attrs.frozen(kw_only=True)
class Facts:
    """What is known of a task beside its hash."""

    now: float  # of Redis, seconds
    workers: Sequence[Crew] = ()
    renewed: float | None = None  # seconds since its last renewal; None without a lease
    registered: bool = True  # the registry has its run
    place: int | None = None  # in the queue, 0 is next; None if it was not found there
    queued: int = 0
    queue: str = "new-task"  # its key
    parked: bool = False  # in the parking list of its function
    monitor: float | None = None  # seconds since a monitor swept

    @property
    def alive(self) -> list[Crew]:
        """The workers that reported recently."""
        return [worker for worker in self.workers if worker.alive]

    @property
    def knowing(self) -> set[str]:
        """The functions that living workers know."""
        return {name for worker in self.alive for name in worker.functions}


@attrs.frozen(kw_only=True)
class Account:
    """Why a task is where it is."""

    since: float | None  # seconds since 1970: when it came into its state; None where that is not known
    story: str  # one sentence: the state, since when, what led there, and what it waits for
    notes: tuple[str, ...] = ()  # what else there is to know, and to do
    moves: tuple[str, ...] = ()  # the last of its moves, the newest last

    @property
    def lines(self) -> list[str]:
        """All of it, the most important first."""
        return [self.story, *self.notes, *self.moves]


def account(task: Known, facts: Facts) -> Account:
    """What there is to tell of a task."""
    led = _led_here(task)
    since = _since(task, led)
    head = f"{task.state} since {at(since)}" if since else str(task.state)
    parts = [*_cause(task, led), *_now(task, facts)]
    return Account(
        since=since,
        story=f"{head}: {'; '.join(parts)}" if parts else head,
        notes=(*_advice(task, facts), *_asides(task)),
        moves=tuple(transition_lines(task.history[-MOVES:], failed=task.state is life.ERROR)),
    )


# -- what led into the state --------------------------------------------------------------------------------


def _led_here(task: Known) -> tuple[Transition, ...]:
    """The moves since it came into its state, that one first; none where the last ended elsewhere."""
    moves = task.history
    if not moves or moves[-1].target != task.state:
        return ()  # somebody else wrote the state, or a plain life, of which no moves are kept
    first = len(moves) - 1
    while first and moves[first].source == task.state and moves[first - 1].target == task.state:
        first -= 1
    return moves[first:]


def _since(task: Known, led: Sequence[Transition]) -> float | None:
    if task.again:
        return None  # the hash tells of the run before
    if led and (task.state is not life.RUNNING or led[0].source != task.state):
        return led[0].at
    # Each renewal of a run writes `last_update`.
    return (task.epoch / 1000 if task.state is life.RUNNING else task.last_update) or None


def _before(task: Known, led: Sequence[Transition]) -> Sequence[Transition]:
    return task.history[: len(task.history) - len(led)]


def _cause(task: Known, led: Sequence[Transition]) -> Iterator[str]:
    """What brought it here."""
    if task.again:
        yield "pushed again"
    elif task.state is life.RUNNING:
        yield from _taken(task, led)
    elif not led:
        yield from _from_fields(task)
    elif led[0].trigger == Trigger.PARK:
        if led[0].source != task.state:
            yield "pushed again"
    else:
        yield _asked(task, _before(task, led), led[0])


def _asked(task: Known, before: Sequence[Transition], move: Transition) -> str:
    phrase = phrase_of(move, asker_of(before, "stop"))
    if task.state is life.ERROR and move.trigger == Trigger.FAIL:
        phrase = Phrase(phrase.what, _text(task), ": ")  # the whole text: history keeps its beginning
    return str(phrase)


def _taken(task: Known, led: Sequence[Transition]) -> Iterator[str]:
    """Who took it, and before that, how it came into the queue."""
    if not led or led[0].source == task.state:  # the claim is not among the moves
        if task.worker:
            yield f"taken by {task.worker}"
    else:
        earlier = [move for move in _before(task, led) if move.trigger != Trigger.PARK]
        waited = earlier and earlier[-1].target == led[0].source == life.WAIT
        yield f"{phrase_of(earlier[-1])}, then {phrase_of(led[0])}" if waited else str(phrase_of(led[0]))
    again = next((m for m in reversed(led) if m.trigger in (Trigger.RELOAD, Trigger.ADOPT)), None)
    if again is not None:
        yield str(phrase_of(again))


def _from_fields(task: Known) -> Iterator[str]:
    where = f" on {task.worker}" if task.worker else ""
    if task.state is life.ERROR:
        yield f"failed{where}: {_text(task)}"
    elif task.state is life.ENDED:
        yield f"ended by itself{where}"
    elif task.state is life.STOPPED:
        yield "stopped on request" + where


def _text(task: Known) -> str:
    return task.error.partition("\n")[0] or "without a text"


# -- what it does, or waits for, now ------------------------------------------------------------------------


def _now(task: Known, facts: Facts) -> Iterator[str]:
    if task.state is life.RUNNING:
        yield from _running(task, facts)
    elif task.state is life.WAIT:
        yield from _waiting(task, facts)


def _running(task: Known, facts: Facts) -> Iterator[str]:
    timing = Timing()
    owner = next((w for w in facts.workers if w.session == task.session), None)
    where = f"its worker{f' on {owner.host} (pid {owner.pid})' if owner else ''}"
    if facts.renewed is None:
        yield _unleased(facts, timing)
    elif facts.renewed <= 3 * timing.heartbeat:
        yield f"{where} renewed its lease {ago(facts.renewed)} ago"
    else:
        yield f"{where} is silent: it renewed its lease {ago(facts.renewed)} ago"
        yield _hand_on(facts, timing)
    if owner is not None and owner.held > 2 * timing.heartbeat:
        yield f"Redis has taken no end of a task from its worker, or answered no claim, for {ago(owner.held)}"
    if owner is not None and task.id in owner.kept_by:
        yield f"start() has returned, and it ends when its threads do: {owner.kept_by[task.id]}"
    if task.refusal is not None:
        when = ago(max(0.0, facts.now - task.refusal.at))
        yield f"its last reload was refused {when} ago, and it goes on as it was: {task.refusal.reason}"
    if task.settling:
        yield "a reload began this run, and its start() has not run for a second so far"
    if task.control:
        by = asker_of(task.history, task.control)
        yield f"asked to {task.control}{f' by {by}' if by else ''}, it has not done so yet"


def _unleased(facts: Facts, timing: Timing) -> str:
    if not facts.registered:
        return (
            "neither a lease nor the registry tells of its run, so nobody hands it on if its worker is dead"
        )
    if _unwatched(facts, timing):
        return "it has no lease, and no monitor is there to give it one"
    return "it has no lease: the next sweep of a monitor gives it one"


def _hand_on(facts: Facts, timing: Timing) -> str:
    if _unwatched(facts, timing):
        return "no monitor is there to hand it on"
    left = max(0.0, timing.expiry + timing.sweep - (facts.renewed or 0.0))
    return f"a monitor hands it on {f'in about {ago(left)}' if left else 'with its next sweep'}"


def _unwatched(facts: Facts, timing: Timing) -> bool:
    return facts.monitor is None or facts.monitor > 3 * timing.expiry


def _waiting(task: Known, facts: Facts) -> Iterator[str]:
    if facts.place is not None:
        ahead = f"{counted(facts.place, 'task')} {verb(facts.place, 'is', 'are')} before it"
        yield f"{ahead} in the queue" if facts.place else "it is the next in the queue"
    elif facts.parked:
        yield from _parked(task, facts)
        return
    elif facts.queued > LOOK:
        yield f"more than {LOOK} tasks are before it in the queue"
    else:
        yield "it is in no queue, so that nobody will take it: the hash was written, and the id not pushed"
        return
    if not facts.alive:
        yield "no worker is there"
    elif task.function not in facts.knowing:
        yield _unknown(task, facts)
    elif all(worker.held > 2 * Timing().heartbeat for worker in facts.alive):
        yield "Redis answers no claim of a worker, or takes no end of its tasks, though they renew"
    elif _full(facts):
        number = len(facts.alive)
        yield "the only worker is full" if number == 1 else f"all {number} workers are full"


def _parked(task: Known, facts: Facts) -> Iterator[str]:
    if not facts.alive:
        yield f"it is parked until a worker knows `{task.function}`, and no worker is there"
    elif task.function not in facts.knowing:
        yield f"{_unknown(task, facts)}, so it is parked"
    else:
        yield "it was parked, and a worker knows it now, which takes it within 10 s"


def _unknown(task: Known, facts: Facts) -> str:
    near = get_close_matches(task.function, sorted(facts.knowing), n=1, cutoff=0.6)
    return f"no live worker knows `{task.function}`{f' (did you mean {near[0]}?)' if near else ''}"


def _full(facts: Facts) -> bool:
    return all(w.max_tasks is not None and (w.tasks or 0) >= w.max_tasks for w in facts.alive)


# -- what else there is to know -----------------------------------------------------------------------------


def _advice(task: Known, facts: Facts) -> Iterator[str]:
    """What to do."""
    if task.state is life.RUNNING:
        yield from _advice_for_a_run(task, facts)
    elif task.state is life.ERROR:
        if task.error.count("\n"):
            yield Advice("the traceback: ", _verb("show", task))
        yield Advice("to run it again: ", _verb("start", task))
    elif task.state is life.STOPPED:
        yield Advice("to run it again: ", _verb("start", task))
    elif task.state is life.WAIT:
        if facts.place is None and not facts.parked and facts.queued <= LOOK:
            yield Advice("push it: ", _push(task, facts))
        elif not facts.alive:
            yield "start a worker: pytask run TARGET"
        elif task.function in facts.knowing and not facts.parked and _full(facts):
            yield "start another worker, or raise max_tasks"


def _advice_for_a_run(task: Known, facts: Facts) -> Iterator[str]:
    timing = Timing()
    if facts.renewed is None and not facts.registered:
        # A living worker registers it again with its next renewal; see claim.lua for what a push does.
        yield Advice("push it, and a monitor hands it on: ", _push(task, facts), " (or slow_sweep=True)")
    elif (facts.renewed is None or facts.renewed > 3 * timing.heartbeat) and _unwatched(facts, timing):
        yield Advice("start a worker without --no-monitor, or put it back now: ", _verb("requeue", task))
    if task.control:
        yield "its stop() may take long, or hang"
    if task.refusal is not None:
        yield Advice(
            "the next run begins with what is in the hash: write data that fits, ",
            Typed(("pytask", "reload", task.id, "--data", "JSON")),
        )


def _verb(word: str, task: Known) -> Typed:
    return Typed(("pytask", word, task.id))


def _push(task: Known, facts: Facts) -> Typed:
    return Typed(("redis-cli", "LPUSH", facts.queue, task.id))


def _asides(task: Known) -> Iterator[str]:
    if task.crashes:
        yield (
            f"{counted(task.crashes, 'worker')} died under it: after a few it counts as poison, and is tried"
            " more and more rarely"
        )
    if task.attempts > 1:
        yield f"it was begun {task.attempts} times"
