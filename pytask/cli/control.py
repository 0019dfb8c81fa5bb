"""Stop, start, reload and similar commands: many tasks at once, with a result for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
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
    errors.UnfitData: "refused",
    errors.BadData: "no task",
    errors.WrongKeyType: "no task",
    errors.TaskRunning: "runs",
    errors.TaskNotRunning: "does not run",
    errors.ReloadRefused: "refused",
    errors.ReloadRolledBack: "rolled back",
    errors.TimedOut: "not yet",
    errors.NoListeners: "no worker",
    errors.RunFailed: "failed",
}

Found = Outcome | PytaskError
Act = Callable[[list[str]], Mapping[str, Found]]
Await = Callable[[str, float], Outcome]


@attrs.frozen
class Verb:
    """The operation on the selected tasks."""

    act: Act  # sends the requests of a batch and returns the result of each
    finish: Await | None = None  # waits for one task, up to a number of seconds
    wait: float = 0
    done: str = "done"
    leaves_a_state: bool = True


def carry_out(
    printer: Printer, batches: Iterable[Batch], verb: Verb, *, before: Iterable[dict[str, Any]] = ()
) -> None:
    """Send all requests, wait for each, print the results; then raise the worst error, if any.

    `before`: results that come first.
    """
    faults = Faults()
    columns = [column for column in OUTCOMES if column.field != "state" or verb.leaves_a_state]
    printer.listing("outcomes", chain(before, _rows(batches, verb, faults)), columns)
    faults.raise_worst()


def each(one: Callable[[str], Outcome]) -> Act:
    """Wrap an operation on one task; a failure of one does not affect the others."""

    def act(ids: list[str]) -> dict[str, Found]:
        return {task_id: _tried(one, task_id) for task_id in ids}

    return act


def together(many: Callable[[list[str]], list[Outcome]]) -> Act:
    """Wrap an operation of the client on many tasks."""
    return lambda ids: {outcome.id: outcome for outcome in many(ids)}


def running(act: Act, *, written: bool) -> Act:
    """Wrap an operation that needs a running task; any other is an error that names the right command."""

    def checked(ids: list[str]) -> dict[str, Found]:
        return {task_id: _run_of(one, written=written) for task_id, one in act(ids).items()}

    return checked


def fitting(act: Act, remote: Remote, data: Any) -> Act:
    """Wrap an operation that writes data: a task whose workers would all refuse it stays unchanged."""
    from pytask.client.reload import kinds_of
    from pytask.shown.data_checks import check_data

    known: dict[str, errors.UnfitData | None] = {"": None}

    def fault_of(function: str) -> errors.UnfitData | None:
        if function not in known:
            known[function] = None
            try:
                check_data(remote.tasks, function, data)
            except errors.UnfitData as error:
                known[function] = error
        return known[function]

    def checked(ids: list[str]) -> dict[str, Found]:
        kinds = remote.driver.run(kinds_of(remote.partitions, ids))
        faults = {i: f.of(state) for i, (name, state) in kinds.items() if (f := fault_of(name)) is not None}
        fit = [i for i in ids if i not in faults]
        return {**faults, **(act(fit) if fit else {})}

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
    data = "; the new data is stored" if written else ""
    fix: tuple[str | Call, ...] = (": use ", Call("start_again", found.id))
    if found.state is life.WAIT:
        fix = (", and starts with the data in its hash as soon as a worker claims it",)
    return errors.TaskNotRunning(
        Advice(f"{found.id!r} is not running{data}: it is {found.state}", *fix), found.state
    )


def started(remote: Remote) -> Await:
    """Wait until a task that was just queued runs, or has run."""
    from pytask.client.control import await_run
    from pytask.domain import lifecycle as life

    def wait(task_id: str, seconds: float) -> Outcome:
        found = remote.driver.run(await_run(remote.partitions, task_id, seconds))
        if found.state is life.ERROR:
            text = f"{task_id!r} ran and failed: "
            raise errors.RunFailed(Advice(text, Typed(("pytask", "why", task_id))), found.state)
        return found

    return wait


def stopped(remote: Remote) -> Await:
    """Wait until a task has stopped."""
    from pytask.client.control import await_stop

    return lambda task_id, seconds: remote.driver.run(await_stop(remote.partitions, task_id, seconds))


def paused(remote: Remote) -> Await:
    """Wait until a run has reached a gate."""
    from pytask.client.control import await_pause

    return lambda task_id, seconds: remote.driver.run(await_pause(remote.partitions, task_id, seconds))


def reloaded(remote: Remote, epochs: Mapping[str, int], *, settled: bool) -> Await:
    """Wait until a reload is complete; the epochs are those before the reload."""
    from pytask.client.reload import Reloading, await_reload

    return lambda task_id, seconds: remote.driver.run(
        await_reload(remote.partitions, task_id, Reloading(epochs[task_id], settled=settled), seconds)
    )


def _rows(batches: Iterable[Batch], verb: Verb, faults: Faults) -> Iterator[dict[str, Any]]:
    """Send all requests before waiting for any.  Of a bulk, only the awaited ones are kept in memory."""
    finish = verb.finish if verb.wait else None
    late: list[str] = []
    until = 0.0

    def awaited(name: str, wait: Await) -> dict[str, Any]:
        found = _tried(lambda i: wait(i, max(0.01, until - time.monotonic())), name)
        return _row(name, found, verb, faults)

    for batch in batches:
        found = {**batch.faults, **verb.act(batch.ids)} if batch.ids else batch.faults
        until = time.monotonic() + verb.wait  # sending may take long: the lease of a dead worker is observed
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
    """Whether there is something to wait for: a pending control request, or a place in the queue."""
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
    state = getattr(found, "state", None)
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
    if found.rolled_back is not None:
        return errors.ReloadRolledBack(found.refused, found.state)
    if found.refusal is not None:
        return errors.ReloadRefused(found.refused, found.state)
    if found.refused:
        return (errors.TaskRunning if found.state is not None else errors.WrongKeyType)(found.refused)
    if found.state is None and not found.done:
        return no_such_task(found.id)
    return None


class Faults:
    """The errors: the first of each kind, and the total number."""

    def __init__(self) -> None:
        self._first: dict[type[PytaskError], PytaskError] = {}
        self._count = 0

    def add(self, error: PytaskError) -> None:
        """Add an error."""
        self._first.setdefault(type(error), error)
        self._count += 1

    def raise_worst(self) -> None:
        """The error that decides the exit code, with the others as notes; a missing task comes first."""
        if not self._first:
            return
        rank = {NoSuchTask: 0, errors.AmbiguousId: 2}
        worst, *others = sorted(self._first.values(), key=lambda error: rank.get(type(error), 1))
        for error in others:
            worst.add_note(f"  [{error.code}] {in_words(error.args[0])}")
        if self._count > len(self._first):
            worst.add_note(f"  and {self._count - len(self._first)} more")
        raise worst
