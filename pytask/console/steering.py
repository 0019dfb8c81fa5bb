"""Stop, start and reload from the command line: many at once, and what became of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from pytask.client import Outcome
from pytask.console.output import Column, Printer
from pytask.domain.errors import NoSuchTask, PytaskError, TaskRuns, TimedOut, Unheard

OUTCOMES = (Column("id", "id"), Column("outcome", "outcome"), Column("state", "state"))
STEP = 1000  # ids of one call
WORDS: dict[type[PytaskError], str] = {
    NoSuchTask: "no such task", TimedOut: "not yet", Unheard: "not heard", TaskRuns: "runs",
}  # fmt: skip

One = Callable[[str, float], Outcome]


def carry_out(
    printer: Printer,
    ids: Sequence[str],
    many: Callable[[Sequence[str]], list[Outcome]] | None,
    one: One | None = None,
    wait: float = 0,
) -> None:
    """Tell all, await each, print what became of them; then raise the worst that was met, if any."""
    outcomes: dict[str, Outcome] = {}
    errors: dict[str, PytaskError] = {}
    if many is not None:
        for at in range(0, len(ids), STEP):
            outcomes |= {outcome.id: outcome for outcome in many(ids[at : at + STEP])}
    until = time.monotonic() + wait
    for task_id in ids:
        known = outcomes.get(task_id)
        if one is None or (known is not None and (known.done or not wait or known.state is None)):
            continue
        try:
            outcomes[task_id] = one(task_id, max(0.01, until - time.monotonic()) if wait else 0)
        except (NoSuchTask, TimedOut, Unheard) as error:
            errors[task_id] = error
    errors |= {i: TaskRuns(outcome.refused) for i, outcome in outcomes.items() if outcome.refused}
    printer.rows("outcomes", [_row(i, outcomes.get(i), errors.get(i)) for i in ids], OUTCOMES)
    missing = [i for i, outcome in outcomes.items() if outcome.state is None and i not in errors]
    if missing:
        raise NoSuchTask(f"there is no task {', '.join(map(repr, missing[:5]))}")
    if errors:
        raise _worst(list(errors.values()))


def _row(task_id: str, outcome: Outcome | None, error: PytaskError | None) -> dict[str, Any]:
    if error is not None:
        word = WORDS[type(error)]
    elif outcome is None or outcome.state is None:
        word = "no such task"
    elif outcome.done:
        word = "done"
    else:
        word = "asked" if outcome.requested else "nothing to do"
    state = None if outcome is None or outcome.state is None else str(outcome.state)
    return {"id": task_id, "outcome": word, "state": state, "done": bool(outcome) and error is None}


def _worst(errors: Sequence[PytaskError]) -> PytaskError:
    first = next((error for error in errors if isinstance(error, NoSuchTask)), errors[0])
    if len(errors) > 1:
        first.add_note(f"  and {len(errors) - 1} more")
    return first


def told(word: str) -> Callable[[str, str], list[list[str]]]:
    """For `--explain`: the control message of a task."""
    return lambda space, task_id: [["PUBLISH", f"{space}task-{task_id}-control", word]]
