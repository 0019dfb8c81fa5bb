"""What a client waits for, and what came of a reload."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from pytask.client.records import Outcome
from pytask.client.task_records import TaskInfo
from pytask.domain import lifecycle as life
from pytask.domain.advice import Advice, Typed
from pytask.domain.errors import RunFailed
from pytask.domain.messages import Command

Reached = Callable[[TaskInfo], bool]


@attrs.frozen
class Goal:
    """The goal of a wait: when it is decided, and whether it is then reached."""

    over: Reached
    done: Reached


def reloaded(epoch: int, *, settled: bool = False) -> Goal:
    """The goal of a reload of a run of `epoch`.

    It is complete when its new run is confirmed (or has ended), when the run took the data in place, or when
    it was refused or rolled back.  With `settled` new data must also have passed its trial.

    Workers of wire protocol 1.0 refuse no reload and confirm no run: with them it is complete when the new
    run is registered.
    """

    def over(task: TaskInfo) -> bool:
        if is_refused(task) or is_rolled_back(task, epoch):
            return True
        if task.finished or task.state is not life.RUNNING:
            return task.finished
        new = task.epoch > epoch or is_in_place(task)
        return new and not task.settling and not (settled and task.on_trial)

    def done(task: TaskInfo) -> bool:
        if is_refused(task) or is_rolled_back(task, epoch):
            return False
        return task.epoch > epoch or is_in_place(task)

    return Goal(over, done)


def is_refused(task: TaskInfo) -> bool:
    """Whether the last requested reload was refused: its request is gone, but the run is not.

    A request to stop the run may have come since: after that nothing would tell of the refusal any more.
    """
    return task.refusal is not None and task.state is life.RUNNING and task.control != Command.RELOAD


def is_in_place(task: TaskInfo) -> bool:
    """Whether the last requested reload was carried out in place."""
    return bool(task.reloaded_at) and task.state is life.RUNNING and task.control != Command.RELOAD


def is_rolled_back(task: TaskInfo, epoch: int) -> bool:
    """Whether a reload of the run of this epoch was rolled back.

    A reload that is carried out removes the record of an earlier one.
    """
    found = task.rolled_back
    return found is not None and found.epoch >= epoch and (not task.control or task.epoch > found.epoch)


def of_reload(outcome: Outcome, task: TaskInfo, epoch: int, *, done: bool) -> Outcome | None:
    """The outcome of a reload; None if the task came to rest before.  Raises `RunFailed`."""
    if done and task.state is life.ERROR:
        text = f"{outcome.id!r} was reloaded, and its new run failed at once: {task.reason}. See "
        raise RunFailed(Advice(text, Typed(("pytask", "why", outcome.id))), task.state)
    if done:
        in_place = task.epoch == epoch
        return attrs.evolve(outcome, done=True, state=task.state, in_place=in_place)
    if is_refused(task) and task.refusal is not None:
        why = f"{outcome.id!r} was not reloaded and continues with its current data: {task.refusal.reason}"
        return attrs.evolve(outcome, state=task.state, requested=False, refused=why, refusal=task.refusal)
    if is_rolled_back(task, epoch) and task.rolled_back is not None:
        why = (
            f"{outcome.id!r} was reloaded, failed, and was rolled back to its previous data:"
            f" {task.rolled_back.reason}"
        )
        return attrs.evolve(
            outcome, state=task.state, requested=False, refused=why, rolled_back=task.rolled_back
        )
    return None
