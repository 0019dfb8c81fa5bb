"""Explains why a task is in its state, from the facts known about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

import attrs

from pytask.domain import lifecycle as life
from pytask.domain import limit_reasons, pause_reasons, reload_reasons
from pytask.domain.advice import Advice, Typed
from pytask.domain.crashes import possible_pause
from pytask.domain.facts import Facts, Known
from pytask.domain.history import Transition
from pytask.domain.lifecycle import Trigger
from pytask.domain.session_marks import expiry_of
from pytask.domain.timing import Timing
from pytask.domain.transition_text import Phrase, asker_of, phrase_of, transition_lines
from pytask.domain.wording import ago, at, counted, verb

LOOK = 100_000  # queue entries that are searched
START_A_WORKER = "start a worker: pytask run TARGET"
LATE = 15.0  # seconds; timers that are later are no longer just a slow look of a worker
MOVES = 5  # transitions of the history that are shown


@attrs.frozen(kw_only=True)
class Account:
    """Why a task is in its state."""

    since: float | None  # seconds since 1970: when it entered its state; None if unknown
    story: str  # one sentence: the state, since when, the cause, and what it waits for
    notes: tuple[str, ...] = ()  # further information and advice
    moves: tuple[str, ...] = ()  # its last transitions, newest last

    @property
    def lines(self) -> list[str]:
        """All lines, most important first."""
        return [self.story, *self.notes, *self.moves]


def account(task: Known, facts: Facts) -> Account:
    """Explain a task."""
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


# -- the cause of the state --------------------------------------------------------------------------------


def _led_here(task: Known) -> tuple[Transition, ...]:
    """The transitions since it entered its state, oldest first; none if the last one led to another state."""
    moves = task.history
    if not moves or moves[-1].target != task.state:
        return ()  # another program wrote the state, or it was only claimed and ended, which is not recorded
    first = len(moves) - 1
    while first and moves[first].source == task.state and moves[first - 1].target == task.state:
        first -= 1
    return moves[first:]


def _since(task: Known, led: Sequence[Transition]) -> float | None:
    if task.again:
        return None  # the hash describes the previous run
    if led and (task.state is not life.RUNNING or led[0].source != task.state):
        return led[0].at
    # Each renewal of a run writes `last_update`.
    return (task.epoch / 1000 if task.state is life.RUNNING else task.last_update) or None


def _before(task: Known, led: Sequence[Transition]) -> Sequence[Transition]:
    return task.history[: len(task.history) - len(led)]


def _cause(task: Known, led: Sequence[Transition]) -> Iterator[str]:
    """How it entered its state."""
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
        # A pause that is over does not explain the state; who ended it does.
        over = led[0].trigger == Trigger.PAUSE and not task.paused
        resumed = (move for move in reversed(led) if over and move.trigger == Trigger.RESUME)
        yield _asked(task, _before(task, led), next(resumed, led[0]))


def _asked(task: Known, before: Sequence[Transition], move: Transition) -> str:
    phrase = phrase_of(move, asker_of(before, "stop"))
    if task.state is life.ERROR and move.trigger == Trigger.FAIL:
        phrase = Phrase(phrase.what, _text(task), ": ")  # the whole text: the history truncates it
    return str(phrase)


def _taken(task: Known, led: Sequence[Transition]) -> Iterator[str]:
    """Who claimed it, and how it had entered the queue."""
    if not led or led[0].source == task.state:  # the claim is not in the history
        if task.worker:
            yield f"claimed by {task.worker}"
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


# -- what it does or waits for now ------------------------------------------------------------------------


def _now(task: Known, facts: Facts) -> Iterator[str]:
    if task.state is life.RUNNING:
        yield from _running(task, facts)
    elif task.state is life.WAIT:
        if task.paused and facts.place is None:
            yield from pause_reasons.of_a_wait(task.paused, task.not_before, facts.now)
            if facts.on_hold:
                yield pause_reasons.of_a_function_ahead(task.function, facts)
        else:
            line = facts.line
            yield from limit_reasons.waiting(line, idle=not facts.alive) if line else _waiting(task, facts)
            if facts.on_hold and not facts.parked:
                yield pause_reasons.of_a_function_ahead(task.function, facts)
        yield from reload_reasons.of_any(task, facts.now)


def _running(task: Known, facts: Facts) -> Iterator[str]:
    timing = Timing()
    owner = next((w for w in facts.workers if w.session == task.session), None)
    where = f"its worker{f' on {owner.host} (pid {owner.pid})' if owner else ''}"
    if facts.renewed is None:
        yield _unleased(facts, timing)
    elif facts.renewed <= 3 * timing.heartbeat:
        yield f"{where} renewed its lease {ago(facts.renewed)} ago"
    else:
        yield f"{where} is silent: its last renewal was {ago(facts.renewed)} ago"
        yield _hand_on(task, facts, timing)
    if owner is not None and owner.held > 2 * timing.heartbeat:
        yield f"for {ago(owner.held)} Redis has accepted no task result from its worker, or answered no claim"
    if owner is not None and task.id in owner.kept_by:
        yield f"start() has returned; the run ends when its threads end: {owner.kept_by[task.id]}"
    yield from reload_reasons.of_a_run(task, facts.now)
    if task.paused:
        yield from pause_reasons.of_a_run(
            task.paused, task.control, None if owner is None else owner.pausing.get(task.id)
        )
    if task.control and not (task.paused and task.control == pause_reasons.REQUEST):
        by = asker_of(task.history, task.control)
        yield f"{task.control} requested{f' by {by}' if by else ''}, not carried out yet"


def _unleased(facts: Facts, timing: Timing) -> str:
    if not facts.registered:
        return (
            "its run has neither a lease nor a registry entry, so no monitor requeues it if its worker is"
            " dead"
        )
    if _unwatched(facts, timing):
        return "it has no lease, and no monitor is running to create one"
    return "it has no lease; the next sweep of a monitor creates one"


def _hand_on(task: Known, facts: Facts, timing: Timing) -> str:
    if _unwatched(facts, timing):
        return "no monitor is running to requeue it"
    expiry = expiry_of(task.session, timing.expiry)
    left = max(0.0, expiry + timing.sweep - (facts.renewed or 0.0))
    # Whether it is blamed also depends on the other runs of its worker, so the pause is only possible.
    pause = possible_pause(task.last_update - task.epoch / 1000, task.crashes, expiry)
    later = f", or {ago(pause)} later, because it crashed before" if pause else ""
    return f"a monitor requeues it {f'in about {ago(left)}' if left else 'with its next sweep'}{later}"


def _unwatched(facts: Facts, timing: Timing) -> bool:
    # A monitor is a task of a worker, and three periods are the time of a slow one.
    limit = timing.unwatched if facts.alive else timing.unwatched / 3
    return facts.monitor is None or facts.monitor > limit


def _waiting(task: Known, facts: Facts) -> Iterator[str]:
    if task.due is not None and facts.place is None:
        yield from _in_timers(task, facts, task.due)
        return
    if task.not_before > facts.now:
        yield f"it starts in {ago(task.not_before - facts.now)} at the earliest, at {at(task.not_before)}"
    if facts.place is not None:
        ahead = f"{counted(facts.place, 'task')} {verb(facts.place, 'is', 'are')} ahead of it"
        yield f"{ahead} in the queue" if facts.place else "it is next in the queue"
    elif facts.parked:
        yield from _parked(task, facts)
        return
    elif facts.queued > LOOK:
        yield f"more than {LOOK} tasks are ahead of it in the queue"
    else:
        yield "it is in no queue, so no worker will claim it: the hash was written, but the id was not pushed"
        return
    yield from _claims(task, facts)


def _claims(task: Known, facts: Facts) -> Iterator[str]:
    """What keeps the workers from claiming what is in the queue."""
    if not facts.alive:
        yield "no worker is running"
    elif task.function not in facts.knowing:
        yield _unknown(task, facts)
    elif rest := min(worker.embargo for worker in facts.alive):
        yield (
            f"another Redis server answered (a restart or a failover): for about {ago(rest)} no worker claims"
            " tasks, while owners restore the runs that it lost"
        )
    elif all(worker.held > 2 * Timing().heartbeat for worker in facts.alive):
        yield "Redis answers no claims of the workers, or accepts no task results, although they renew"
    elif _full(facts):
        number = len(facts.alive)
        yield "the only worker is full" if number == 1 else f"all {number} workers are full"


def _in_timers(task: Known, facts: Facts, due: float) -> Iterator[str]:
    left = due - facts.now
    if task.restarts:
        often = f"failed {counted(task.restarts, 'time')}" if task.error else f"restart {task.restarts}"
        span = ago(facts.now - task.restarts_since) if task.restarts_since else None
        yield f"{often} in {span}" if span else f"{often} in a row"
    what = "its next run starts" if task.restarts else "it starts"
    if left > 0:
        yield f"{what} in {_span(left)}, at {at(due)}{f' ({facts.policy})' if facts.policy else ''}"
    elif left > -LATE:
        yield f"{what} now"
    else:
        yield f"its time came {ago(-left)} ago, and no worker has moved it to the queue"
    if not facts.alive:
        yield "no worker is running"


def _span(seconds: float) -> str:
    """A time span; less than a second is not 0 s."""
    return f"{seconds:.1f}s" if seconds < 1 else str(ago(seconds))


def _parked(task: Known, facts: Facts) -> Iterator[str]:
    if facts.on_hold:
        yield pause_reasons.of_a_function(task.function, facts)
    elif not facts.alive:
        yield f"it is parked until a worker knows `{task.function}`, and no worker is running"
    elif task.function not in facts.knowing:
        yield f"{_unknown(task, facts)}, so it is parked"
    else:
        yield "it was parked, but a worker now knows its function and claims it within 10 s"


def _unknown(task: Known, facts: Facts) -> str:
    near = get_close_matches(task.function, sorted(facts.knowing), n=1, cutoff=0.6)
    return f"no live worker knows `{task.function}`{f' (did you mean {near[0]}?)' if near else ''}"


def _full(facts: Facts) -> bool:
    return all(w.max_tasks is not None and (w.tasks or 0) >= w.max_tasks for w in facts.alive)


# -- further information -----------------------------------------------------------------------------


def _advice(task: Known, facts: Facts) -> Iterator[str]:
    if task.state is life.RUNNING:
        yield from _advice_for_a_run(task, facts)
    elif task.state is life.ERROR:
        if task.error.count("\n"):
            yield Advice("the traceback: ", _verb("show", task))
        yield Advice("to run it again: ", _verb("start", task))
    elif task.state is life.STOPPED:
        yield Advice("to run it again: ", _verb("start", task))
    elif task.state is life.WAIT:
        line = None if task.paused or facts.on_hold else facts.line
        yield from limit_reasons.advice(line) if line else _advice_for_a_wait(task, facts)
        if line and not facts.alive:
            yield START_A_WORKER


def _advice_for_a_wait(task: Known, facts: Facts) -> Iterator[str]:
    if task.paused:
        yield Advice("to resume it: ", _verb("start", task))
    if facts.on_hold:
        yield from pause_reasons.advice(task.function, facts)
    elif task.paused:
        return
    elif task.due is not None:
        yield Advice("to run it now: ", _verb("start", task))
    elif facts.place is None and not facts.parked and facts.queued <= LOOK:
        yield Advice("push it: ", _push(task, facts))
    elif not facts.alive:
        yield START_A_WORKER
    elif task.function not in facts.knowing:
        yield Advice(
            f"start a worker that has a class with NAME = {task.function!r}, or delete the task: ",
            _verb("rm", task),
        )
    elif not facts.parked and _full(facts):
        yield "start another worker, or raise max_tasks"


def _advice_for_a_run(task: Known, facts: Facts) -> Iterator[str]:
    timing = Timing()
    if facts.renewed is None and not facts.registered:
        # A living worker registers it again with its next renewal; claim.lua shows what a push does.
        yield Advice("push it, so that a monitor requeues it: ", _push(task, facts), " (or slow_sweep=True)")
    elif (facts.renewed is None or facts.renewed > 3 * timing.heartbeat) and _unwatched(facts, timing):
        start = "start a worker without --no-monitor"
        if facts.renewed is not None and facts.renewed <= expiry_of(task.session, timing.expiry):
            yield start  # `requeue` would refuse it
        else:
            yield Advice(f"{start}, or requeue it now: ", _verb("requeue", task))
    if task.paused:
        yield Advice("to resume it: ", _verb("start", task))
    elif task.control and facts.renewed is not None and facts.renewed <= 3 * timing.heartbeat:
        yield "its stop() may be slow or hang"
    if task.refusal is not None:
        yield Advice(
            "to try again, write data that it takes: ",
            Typed(("pytask", "reload", task.id, "--data", "JSON")),
        )


def _verb(word: str, task: Known) -> Typed:
    return Typed(("pytask", word, task.id))


def _push(task: Known, facts: Facts) -> Typed:
    return Typed(("redis-cli", "LPUSH", facts.queue, task.id))


def _asides(task: Known) -> Iterator[str]:
    if task.crashes:
        yield (
            f"{counted(task.crashes, 'worker')} died while running it: retries become less frequent, and"
            " after a few more crashes it is marked as poison"
        )
    if task.attempts > 1:
        yield f"it was started {task.attempts} times"
