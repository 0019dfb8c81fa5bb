"""Stop, start, reload and the like from the command line: many at once, and what became of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from pytask.cli.messages import in_words
from pytask.cli.printer import Column, Printer
from pytask.client import Outcome
from pytask.client.queries import no_such_task
from pytask.domain import errors
from pytask.domain.advice import Advice, Call, Typed
from pytask.domain.errors import NoSuchTask, PytaskError

if TYPE_CHECKING:
    from pytask.cli.connection import Remote
    from pytask.cli.selection import Batch

OUTCOMES = (
    Column("id", "id"),
    Column("_outcome", "outcome"),
    Column("state", "state"),
    Column("reason", "why", wide=True),
)
WORDS: dict[type[PytaskError], str] = {
    NoSuchTask: "no such task",
    errors.AmbiguousId: "ambiguous",
    errors.BadData: "no task",
    errors.WrongKeyType: "no task",
    errors.TaskRuns: "runs",
    errors.TaskRests: "does not run",
    errors.ReloadRefused: "refused",
    errors.TimedOut: "not yet",
    errors.Unheard: "not heard",
    errors.RunFailed: "failed",
}

Found = Outcome | PytaskError
Act = Callable[[list[str]], Mapping[str, Found]]
Await = Callable[[str, float], Outcome]


@attrs.frozen
class Verb:
    """What is done to the tasks that were chosen."""

    act: Act  # tells all of a batch, and says what became of each
    finish: Await | None = None  # waits for one that has not got there, for so many seconds
    wait: float = 0
    done: str = "done"
    leaves_a_state: bool = True


def carry_out(printer: Printer, batches: Iterable[Batch], verb: Verb) -> None:
    """Tell all, await each, print what became of them; then raise the worst that was met, if any."""
    faults = Faults()
    columns = [column for column in OUTCOMES if column.field != "state" or verb.leaves_a_state]
    printer.listing("outcomes", _rows(batches, verb, faults), columns)
    faults.raise_worst()


def each(one: Callable[[str], Outcome]) -> Act:
    """For a verb that knows one task at a time; what goes wrong with one keeps it from no other."""

    def act(ids: list[str]) -> dict[str, Found]:
        return {task_id: _tried(one, task_id) for task_id in ids}

    return act


def together(many: Callable[[list[str]], list[Outcome]]) -> Act:
    """For a verb of the client that takes many."""
    return lambda ids: {outcome.id: outcome for outcome in many(ids)}


def running(act: Act, *, written: bool) -> Act:
    """For a verb that needs a run: one that has none is a fault, which names the verb for it."""

    def checked(ids: list[str]) -> dict[str, Found]:
        return {task_id: _run_of(one, written=written) for task_id, one in act(ids).items()}

    return checked


def _run_of(found: Found, *, written: bool) -> Found:
    from pytask.domain import lifecycle as life

    if (
        isinstance(found, PytaskError)
        or found.done
        or found.requested
        or found.state is None
        or found.refused
    ):
        return found
    data = "; the new data is written down" if written else ""
    fix: tuple[str | Call, ...] = (": use ", Call("start_again", found.id))
    if found.state is life.WAIT:
        fix = (", and begins with the data that is in its hash as soon as a worker takes it",)
    return errors.TaskRests(
        Advice(f"{found.id!r} does not run{data}: it is {found.state}", *fix), found.state
    )


def started(remote: Remote) -> Await:
    """Waits until a task that was just queued runs, or has run."""
    from pytask.client.control import await_run
    from pytask.domain import lifecycle as life

    def wait(task_id: str, seconds: float) -> Outcome:
        found = remote.shell.run(await_run(remote.places, task_id, seconds))
        if found.state is life.ERROR:
            text = f"{task_id!r} ran, and failed: "
            raise errors.RunFailed(Advice(text, Typed(("pytask", "why", task_id))), found.state)
        return found

    return wait


def stopped(remote: Remote) -> Await:
    """Waits until a task that was told to stop has stopped."""
    from pytask.client.control import await_stop

    return lambda task_id, seconds: remote.shell.run(await_stop(remote.places, task_id, seconds))


def reloaded(remote: Remote, epochs: Mapping[str, int]) -> Await:
    """Waits until a reload is over, of a task that was in one of these epochs before."""
    from pytask.client.control import await_reload

    return lambda task_id, seconds: remote.shell.run(
        await_reload(remote.places, task_id, epochs[task_id], seconds)
    )


def _rows(batches: Iterable[Batch], verb: Verb, faults: Faults) -> Iterator[dict[str, Any]]:
    """All are told before any is awaited.  Of a bulk, only those that are awaited are kept until then."""
    finish = verb.finish if verb.wait else None
    late: list[str] = []
    until = 0.0

    def awaited(name: str, wait: Await) -> dict[str, Any]:
        found = _tried(lambda i: wait(i, max(0.01, until - time.monotonic())), name)
        return _row(name, found, verb, faults)

    for batch in batches:
        found = {**batch.faults, **verb.act(batch.ids)} if batch.ids else batch.faults
        until = time.monotonic() + verb.wait  # telling them may take long: a dead worker's lease is watched
        for name in batch.names:
            if finish is None or not _pending(found[name]):
                yield _row(name, found[name], verb, faults)
            elif batch.last:
                yield awaited(name, finish)
            else:
                late.append(name)
    if finish is not None:
        yield from (awaited(name, finish) for name in late)


def _pending(one: Found) -> bool:
    """Whether there is something to wait for: a wish that is not carried out, or a place in the queue."""
    from pytask.domain import lifecycle as life

    if isinstance(one, PytaskError) or one.refused:
        return False
    return one.requested if not one.done else one.state is life.WAIT


def _tried(one: Callable[[str], Outcome], task_id: str) -> Found:
    try:
        return one(task_id)
    except tuple(WORDS) as error:
        return error


def _row(name: str, found: Found, verb: Verb, faults: Faults) -> dict[str, Any]:
    error = found if isinstance(found, PytaskError) else _fault_of(found)
    state = (
        found.state
        if isinstance(found, Outcome | errors.TaskRests | errors.TimedOut | errors.Unheard | errors.RunFailed)
        else None
    )
    word, done = verb.done, True
    if error is not None:
        word, done = next(text for kind, text in WORDS.items() if isinstance(error, kind)), False
        faults.add(error)
    elif isinstance(found, Outcome) and not found.done:
        left = "does not run" if verb.leaves_a_state else "waits again"
        word, done = "asked" if found.requested else left, False
    near = getattr(error, "near", "")
    refusal = {"path": found.refusal.path} if isinstance(found, Outcome) and found.refusal else {}
    return refusal | {
        "id": name,
        "outcome": word,
        "_outcome": word + (f" (did you mean {near}?)" if near else ""),
        "state": None if state is None else str(state),
        "done": done,
        "reason": in_words(error.args[0]) if error is not None else None,
    }


def _fault_of(found: Outcome) -> PytaskError | None:
    if found.refusal is not None:
        return errors.ReloadRefused(found.refused, found.state)
    if found.refused:
        return (errors.TaskRuns if found.state is not None else errors.WrongKeyType)(found.refused)
    if found.state is None and not found.done:
        return no_such_task(found.id)
    return None


class Faults:
    """What went wrong: the first of each kind, and how many there were."""

    def __init__(self) -> None:
        self._first: dict[type[PytaskError], PytaskError] = {}
        self._count = 0

    def add(self, error: PytaskError) -> None:
        """One more."""
        self._first.setdefault(type(error), error)
        self._count += 1

    def raise_worst(self) -> None:
        """The error that decides the exit code, with the others as notes: one that is missing before all."""
        if not self._first:
            return
        rank = {NoSuchTask: 0, errors.AmbiguousId: 2}
        worst, *others = sorted(self._first.values(), key=lambda error: rank.get(type(error), 1))
        for error in others:
            worst.add_note(f"  [{error.code}] {in_words(error.args[0])}")
        if self._count > len(self._first):
            worst.add_note(f"  and {self._count - len(self._first)} more")
        raise worst
