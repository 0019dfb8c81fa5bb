"""Reload: sent to the worker, then awaited until it is carried out, refused or rolled back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from pytask.client import enqueue, watch
from pytask.client.control import came_to_rest, decided, existing, steer_many
from pytask.client.goals import of_reload, reloaded
from pytask.client.operations import Now, Op, ask_all
from pytask.client.partitions import Partitions
from pytask.client.queries import read_one
from pytask.client.records import Outcome
from pytask.domain import lifecycle as life
from pytask.domain.errors import ConfigError, NoListeners, RunFailed, TaskNotRunning, TimedOut
from pytask.domain.messages import Command


@attrs.frozen
class Reloading:
    """A reload that is waited for: of a run of this epoch, until its new data is no longer on trial."""

    epoch: int
    settled: bool = attrs.field(default=False, kw_only=True)


def await_reload(partitions: Partitions, task_id: str, aim: Reloading, wait: float) -> Op[Outcome]:
    """Wait until a reload is complete.

    Raises `TimedOut`, `NoListeners`, `TaskNotRunning`, `RunFailed`.
    """
    expected = Outcome(id=task_id, done=False, state=life.RUNNING, requested=True)
    stream = yield from watch.open_stream(partitions, partitions.of(task_id), task_id)
    if (yield from read_one(partitions, task_id)) is None:
        return attrs.evolve(expected, done=True, state=None)  # it ended, and its hash was not kept
    return (yield from _awaited(partitions, expected, stream, aim, wait))


def _awaited(
    partitions: Partitions, outcome: Outcome, stream: watch.TaskEventStream, aim: Reloading, wait: float
) -> Op[Outcome]:
    goal = reloaded(aim.epoch, settled=aim.settled)
    task = yield from decided(partitions, Command.RELOAD, outcome, stream, goal=goal, wait=wait)
    found = of_reload(outcome, task, aim.epoch, done=goal.done(task))
    if found is None:
        raise came_to_rest(Command.RELOAD, outcome, task)
    return found


def _check(wait: float, *, settled: bool) -> None:
    if settled and not wait:
        raise ConfigError(
            "reload(settled=True) needs wait=SECONDS, more than 10: new data must live for 10 s"
        )


def ask(partitions: Partitions, ids: Sequence[str], *, written: bool = False) -> Op[list[Outcome]]:
    """Request reloads, without waiting.

    `written`: their data was written just before, which removed the answer to an earlier request.  An answer
    that is there by now is one for this data: a worker was quicker, as somebody else asked for a reload.
    """
    return (yield from steer_many(partitions, Command.RELOAD, ids, fresh=not written))


def reload(partitions: Partitions, task_id: str, data: Any, wait: float, *, settled: bool) -> Op[Outcome]:
    """One task.  Raises `NoSuchTask`, and with `wait` what `await_reload` raises."""
    _check(wait, settled=settled)
    if data is not None:
        yield from enqueue.update_data(partitions, task_id, data, None)
    if not wait:
        (outcome,) = yield from ask(partitions, [task_id], written=data is not None)
        return existing(outcome)
    stream = yield from watch.open_stream(partitions, partitions.of(task_id), task_id)
    before = yield from read_one(partitions, task_id)
    (outcome,) = yield from ask(partitions, [task_id], written=data is not None)
    existing(outcome)
    if not outcome.requested:
        return outcome
    aim = Reloading(0 if before is None else before.epoch, settled=settled)
    return (yield from _awaited(partitions, outcome, stream, aim, wait))


def epochs_of(partitions: Partitions, ids: Iterable[str]) -> Op[dict[str, int]]:
    """The epochs of tasks; 0 if there is no such task."""
    found = yield from _field_of(partitions, ids, "epoch")
    return {i: int(raw) if raw.isdigit() else 0 for i, raw in found.items()}


def kinds_of(partitions: Partitions, ids: Iterable[str]) -> Op[dict[str, tuple[str, life.State]]]:
    """The functions and states of tasks; "" and WAIT if there is no such task, or it may not be read."""
    names = list(dict.fromkeys(ids))
    functions = yield from _field_of(partitions, names, "function")
    states = yield from _field_of(partitions, names, "state")
    return {
        i: (functions[i].decode(errors="replace"), life.State.read(states[i].decode(errors="replace")))
        for i in names
    }


def _field_of(partitions: Partitions, ids: Iterable[str], field: str) -> Op[dict[str, bytes]]:
    """A field of their hashes; b"" where it cannot be read."""
    names = list(dict.fromkeys(ids))
    words = [(partitions.of(i), ("HGET", partitions.keys[partitions.of(i)].task(i), field)) for i in names]
    found = yield from ask_all(words, tolerant=True)
    return {i: raw if isinstance(raw, bytes) else b"" for i, raw in zip(names, found, strict=True)}


def reload_many(
    partitions: Partitions, ids: Sequence[str], wait: float, *, settled: bool = False
) -> Op[list[Outcome]]:
    """Send all requests, then (with `wait`) wait; errors of a task are reported in its outcome."""
    _check(wait, settled=settled)
    epochs = (yield from epochs_of(partitions, ids)) if wait else {}
    outcomes = yield from ask(partitions, ids)
    until = (yield Now()) + wait
    found = []
    for outcome in outcomes:
        if wait and outcome.requested:
            left = max(0.01, until - (yield Now()))
            aim = Reloading(epochs[outcome.id], settled=settled)
            outcome = yield from _gently(partitions, outcome, aim, left)  # noqa: PLW2901
        found.append(outcome)
    return found


def _gently(partitions: Partitions, outcome: Outcome, aim: Reloading, wait: float) -> Op[Outcome]:
    try:
        return (yield from await_reload(partitions, outcome.id, aim, wait))
    except (TimedOut, NoListeners) as error:
        return attrs.evolve(outcome, state=_state_of(error))
    except (TaskNotRunning, RunFailed) as error:
        return attrs.evolve(outcome, state=_state_of(error), requested=False, refused=error.args[0])


def _state_of(error: TimedOut | NoListeners | TaskNotRunning | RunFailed) -> life.State | None:
    return None if error.state is None else life.State(error.state)
