"""Stop, start again, reload, remove: recorded in Redis first, then told to the worker, then awaited."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pytask.client import follow, produce
from pytask.client.look import read_one
from pytask.client.own import by_store
from pytask.client.places import Places
from pytask.client.records import Outcome, TaskInfo
from pytask.client.wire import Op, Script, ask, ask_all
from pytask.domain import lifecycle as life
from pytask.domain.errors import NoSuchTask, TaskRuns, TimedOut, Unheard, WrongKeyType
from pytask.domain.lifecycle import Trigger, destination
from pytask.domain.messages import STARTED, Command
from pytask.domain.record import Verdict

CHUNK = 256  # ids of one script
Reached = Callable[[TaskInfo], bool]


def steer(places: Places, command: Command, task_id: str, wait: float, data: Any) -> Op[Outcome]:
    """One task.  Raises `NoSuchTask`, and with `wait` also `TimedOut` or `Unheard`."""
    if data is not None:
        yield from produce.update_data(places, task_id, data, None)
    if not wait:
        (outcome,) = yield from steer_many(places, command, [task_id])
        return existing(outcome)
    place = places.of(task_id)
    ear = yield from follow.open_ear(places, place, task_id)
    before = yield from read_one(places, task_id)
    (outcome,) = yield from steer_many(places, command, [task_id])
    existing(outcome)
    if command is not Command.START and not outcome.requested:
        return outcome
    task = yield from ear.until(_goal(command, before), wait)
    if task is None:
        raise _late(command, outcome, wait)
    return Outcome(id=task_id, done=True, state=task.state, requested=outcome.requested, heard=outcome.heard)


def steer_many(places: Places, command: Command, ids: Sequence[str]) -> Op[list[Outcome]]:
    """Many tasks, without waiting; one that does not exist is `done=False, state=None`."""
    found: dict[str, Outcome] = {}
    for place, group in places.group(list(dict.fromkeys(ids))).items():
        for at in range(0, len(group), CHUNK):
            chunk = group[at : at + CHUNK]
            for outcome in (yield from _steer_chunk(places, place, command, chunk)):
                found[outcome.id] = outcome
    return [found[task_id] for task_id in ids]


def _steer_chunk(places: Places, place: int, command: Command, ids: list[str]) -> Op[list[Outcome]]:
    keys = places.keys[place]
    if command is Command.START:
        # Before the script: whoever hears a stop after this knows that it is newer than our start.
        yield from ask_all([(place, ("PUBLISH", keys.control(i), STARTED)) for i in ids])
    verdicts = yield from by_store(places, place, lambda store: store.control(command, ids))
    asked = [i for i, verdict in zip(ids, verdicts, strict=True) if verdict is Verdict.REQUESTED]
    heard = (yield from _tell(places, place, command, asked)) if asked else None
    states = yield from _states_of(places, place, ids, verdicts)
    return [
        _outcome(command, i, verdict, states.get(i), heard) for i, verdict in zip(ids, verdicts, strict=True)
    ]


def _tell(places: Places, place: int, command: Command, ids: list[str]) -> Op[int]:
    """Wake the workers up; how many of them listen, whoever else does."""
    keys = places.keys[place]
    words: list[tuple[int, tuple[Any, ...]]] = [(place, ("PUBLISH", keys.control(i), command)) for i in ids]
    # A worker's subscription has the channel of hints, too.
    replies = yield from ask_all([*words, (place, ("PUBSUB", "NUMSUB", keys.hint_channel))])
    return int(replies[-1][1])


def _states_of(places: Places, place: int, ids: list[str], verdicts: Sequence[Verdict]) -> Op[dict[str, Any]]:
    """The states of those for which there was nothing to do."""
    resting = [i for i, verdict in zip(ids, verdicts, strict=True) if verdict is Verdict.STATE]
    keys = places.keys[place]
    found = yield from ask_all(
        [(place, ("HMGET", keys.task(i), "state", "function")) for i in resting], tolerant=True
    )
    return {
        i: life.State.read((fields[0] or b"").decode(errors="replace"))
        for i, fields in zip(resting, found, strict=True)
        if isinstance(fields, list) and any(fields)
    }


def _outcome(
    command: Command, task_id: str, verdict: Verdict, state: life.State | None, heard: int | None
) -> Outcome:
    if verdict is Verdict.BADTYPE:
        raise WrongKeyType(f"the key {task_id!r} is no hash, so it is no task")
    if verdict is Verdict.OK:
        trigger = Trigger.CANCEL if command is Command.STOP else Trigger.START
        return Outcome(id=task_id, done=True, state=destination(trigger))
    if verdict is Verdict.REQUESTED:
        return Outcome(id=task_id, done=False, state=life.RUNNING, requested=True, heard=heard)
    if verdict is Verdict.STATE:
        wanted = {Command.STOP: life.RESTING, Command.START: (life.WAIT, life.RUNNING)}.get(command, ())
        return Outcome(id=task_id, done=state in wanted, state=state)
    return Outcome(id=task_id, done=False, state=None)


def existing(outcome: Outcome) -> Outcome:
    """The outcome, where there is such a task.  Raises `NoSuchTask`."""
    if outcome.state is None:
        raise NoSuchTask(
            f"there is no task {outcome.id!r}: hashes of finished tasks are deleted after a while (settings"
            " keep_ended, keep_error, keep_stopped)"
        )
    return outcome


def _goal(command: Command, before: TaskInfo | None) -> Reached:
    """Whether a task has got where the command sends it; a newer run than `before` counts, too."""
    attempts, run = (before.attempts, before.run) if before is not None else (0, "")
    if command is Command.STOP:
        return lambda task: task.state is not life.RUNNING or run not in ("", task.run)
    if command is Command.START:
        return lambda task: task.state is life.RUNNING or task.attempts > attempts
    return lambda task: task.run != run


def _late(command: Command, outcome: Outcome, wait: float) -> Exception:
    if outcome.heard == 0:
        return Unheard(
            f"no worker listens: the wish to {command} {outcome.id!r} is written down, and its worker reads"
            " it with its next renewal, if there is one. See `pytask workers`"
        )
    return TimedOut(
        f"{outcome.id!r} was told to {command}, and has not done so within {wait:g} s; the wish stays"
        " written down"
    )


def remove(places: Places, task_id: str) -> Op[bool]:
    """Delete a task that does not run; False if there was none.  Raises `TaskRuns`."""
    place = places.of(task_id)
    keys = places.keys[place]
    (function,) = yield from ask(place, Script("functions", [keys.task(task_id)], [512]))
    names = [keys.runs, keys.queue, *keys.indexes, keys.task(task_id)]
    parking = keys.parking(function.decode(errors="surrogateescape"))
    (word,) = yield from ask(
        place, Script("remove", [*names, parking, keys.log(task_id)], [life.RUNNING, task_id])
    )
    verdict = Verdict.read(word.decode())
    if verdict is Verdict.STATE:
        raise TaskRuns(f"{task_id!r} runs: stop it first, stop({task_id!r}, wait=30), then remove it")
    if verdict is Verdict.BADTYPE:
        raise WrongKeyType(f"the key {task_id!r} is no hash, so it is no task: nothing was removed")
    return verdict is Verdict.OK
