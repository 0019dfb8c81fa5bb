"""Stop, start again, reload, remove: stored in Redis first, then sent to the worker, then awaited."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from pytask.adapters import decoding
from pytask.adapters.redis import scripts
from pytask.client import enqueue, watch
from pytask.client.goals import Goal, reloaded
from pytask.client.operations import Op, ask, ask_all
from pytask.client.partitions import Partitions
from pytask.client.queries import no_such_task, read_one
from pytask.client.records import Outcome
from pytask.client.task_records import TaskInfo, states_of
from pytask.client.verbs import CHUNK, control
from pytask.domain import lifecycle as life
from pytask.domain.advice import Advice, Call, see_why
from pytask.domain.control import TABLE
from pytask.domain.errors import NoListeners, TaskNotRunning, TaskRunning, TimedOut, WrongKeyType
from pytask.domain.lifecycle import destination
from pytask.domain.messages import LONGEST_NAME, Command
from pytask.domain.record import Verdict


def _goal(command: Command, before: TaskInfo | None) -> Goal:
    """The goal of a command for a task that was in state `before`.

    A stop is done when the task is at rest, but not if it is in the queue or in another run.  A newer run has
    a larger epoch, regardless of its state.
    """
    epoch = 0 if before is None else before.epoch
    return GOALS[command](epoch)


def _stopped(_epoch: int) -> Goal:
    return Goal(_finished, _finished)


def _started(epoch: int) -> Goal:
    def over(task: TaskInfo) -> bool:
        # It ran, and waits for its next try; or it was paused while it runs, until its owner has heard of it.
        return (_left_the_queue(task) and task.control != Command.START) or task.epoch > epoch

    return Goal(over, lambda task: task.state is life.RUNNING or task.epoch > epoch)


def _paused(_epoch: int) -> Goal:
    def done(task: TaskInfo) -> bool:
        return bool(task.paused) and not task.pausing

    return Goal(lambda task: task.finished or done(task), done)


GOALS: Mapping[Command, Callable[[int], Goal]] = {
    Command.STOP: _stopped,
    Command.START: _started,
    Command.RELOAD: reloaded,
    Command.PAUSE: _paused,
}


def _finished(task: TaskInfo) -> bool:
    return task.finished


def _left_the_queue(task: TaskInfo) -> bool:
    return task.state is not life.WAIT


def _ran(task: TaskInfo) -> bool:
    """Whether a queued task has started since."""
    stopped = task.state is life.STOPPED
    return not stopped or (bool(task.history) and task.history[-1].source == life.RUNNING)


RAN = Goal(_left_the_queue, _ran)


def steer(  # noqa: PLR0913 - what is asked, and for how long its effect is waited for
    partitions: Partitions, command: Command, task_id: str, wait: float, data: Any, *, fresh: bool = False
) -> Op[Outcome]:
    """One task.  Raises `NoSuchTask`, and with `wait` also `TimedOut` or `NoListeners`."""
    if data is not None:
        # What is refused leaves the data alone, too; one that is claimed only after this look has it.
        if fresh and command is Command.START:
            before = yield from read_one(partitions, task_id)
            if before is not None and before.state is life.RUNNING:
                return _not_fresh(task_id, paused=bool(before.paused))
        yield from enqueue.update_data(partitions, task_id, data, None)
    if not wait:
        (outcome,) = yield from steer_many(partitions, command, [task_id], fresh=fresh)
        return existing(outcome)
    partition = partitions.of(task_id)
    stream = yield from watch.open_stream(partitions, partition, task_id)
    before = yield from read_one(partitions, task_id)
    (outcome,) = yield from steer_many(partitions, command, [task_id], fresh=fresh)
    if existing(outcome).refused:
        return outcome
    if TABLE[command].request and not outcome.requested:
        return outcome
    return (yield from _awaited(partitions, command, outcome, stream, goal=_goal(command, before), wait=wait))


def await_run(partitions: Partitions, task_id: str, wait: float) -> Op[Outcome]:
    """Wait until a task that was just queued runs, or has run.  Raises `TimedOut` or `NoListeners`."""
    expected = Outcome(id=task_id, done=True, state=life.WAIT)
    return (yield from _after(partitions, Command.START, expected, RAN, wait))


def await_stop(partitions: Partitions, task_id: str, wait: float) -> Op[Outcome]:
    """Wait until a task has stopped.  Raises `TimedOut` or `NoListeners`.

    The request is not repeated: that might undo a start in between.
    """
    expected = Outcome(id=task_id, done=False, state=life.RUNNING, requested=True)
    return (yield from _after(partitions, Command.STOP, expected, _goal(Command.STOP, None), wait))


def await_pause(partitions: Partitions, task_id: str, wait: float) -> Op[Outcome]:
    """Wait until a greenlet of the run has reached a gate.

    Raises `TimedOut`, `NoListeners` or `TaskNotRunning`.
    """
    expected = Outcome(id=task_id, done=False, state=life.RUNNING, requested=True)
    return (yield from _after(partitions, Command.PAUSE, expected, _goal(Command.PAUSE, None), wait))


def _after(
    partitions: Partitions, command: Command, expected: Outcome, goal: Goal, wait: float
) -> Op[Outcome]:
    stream = yield from watch.open_stream(partitions, partitions.of(expected.id), expected.id)
    if (yield from read_one(partitions, expected.id)) is None:
        return attrs.evolve(expected, done=True, state=None)  # it ended, and its hash was not kept
    return (yield from _awaited(partitions, command, expected, stream, goal=goal, wait=wait))


def _awaited(  # noqa: PLR0913 - what is waited for, where, and for how long
    partitions: Partitions,
    command: Command,
    outcome: Outcome,
    stream: watch.TaskEventStream,
    *,
    goal: Goal,
    wait: float,
) -> Op[Outcome]:
    stop = command is Command.STOP
    task = yield from decided(partitions, command, outcome, stream, goal=goal, wait=wait)
    if task is None and stop:  # it ended, and its hash was not kept
        return attrs.evolve(outcome, done=True, state=None)
    if goal.done(task):
        return attrs.evolve(outcome, done=True, state=task.state)
    raise came_to_rest(command, outcome, task)


def decided(  # noqa: PLR0913 - see above
    partitions: Partitions,
    command: Command,
    outcome: Outcome,
    stream: watch.TaskEventStream,
    *,
    goal: Goal,
    wait: float,
) -> Op[Any]:
    """The task once the goal is decided; None for a stop of a task that is gone."""
    stop = command is Command.STOP
    task = yield from stream.until(goal.over, wait, lasting=True, gone=stop)
    if task is None:
        task = yield from read_one(partitions, outcome.id)
        if not (task is None and stop) and (task is None or not goal.over(task)):
            raise (yield from _late(partitions, command, outcome, task, wait))
    return task


def came_to_rest(command: Command, outcome: Outcome, task: TaskInfo) -> TaskNotRunning:
    """The error for a task that ended before the goal was reached."""
    past = TABLE[command].past
    return TaskNotRunning(f"{outcome.id!r} finished before it was {past}: it is {task.state}", task.state)


def steer_many(
    partitions: Partitions, command: Command, ids: Sequence[str], *, fresh: bool = False
) -> Op[list[Outcome]]:
    """Many tasks, without waiting; one that does not exist is `done=False, state=None`.

    `fresh`, of a start: without what earlier runs have saved; a task that runs is refused.  Of a reload: it
    repeats none that was answered.
    """
    found: dict[str, Outcome] = {}
    for partition, group in partitions.group(list(dict.fromkeys(ids))).items():
        for at in range(0, len(group), CHUNK):
            chunk = group[at : at + CHUNK]
            for outcome in (yield from _steer_chunk(partitions, partition, command, chunk, fresh=fresh)):
                found[outcome.id] = outcome
    return [found[task_id] for task_id in ids]


def _not_fresh(task_id: str, *, paused: bool) -> Outcome:
    """The outcome of a fresh start of a run, which changes nothing: what it has saved is its own."""
    stop = Call("stop", task_id, wait=30)
    if paused:
        text = (
            f"{task_id!r} runs, and is paused, so it was neither resumed nor was what it has saved removed: "
        )
        why = Advice(text, Call("start_again", task_id), " resumes it; or stop it first, ", stop)
    else:
        why = Advice(f"{task_id!r} is running, so what it has saved was not removed: stop it first, ", stop)
    return Outcome(id=task_id, done=False, state=life.RUNNING, refused=why)


def _steer_chunk(
    partitions: Partitions, partition: int, command: Command, ids: list[str], *, fresh: bool
) -> Op[list[Outcome]]:
    verdicts = yield from control(partitions, partition, command, ids, fresh=fresh)
    asked = [i for i, verdict in zip(ids, verdicts, strict=True) if verdict is Verdict.REQUESTED]
    listeners = (yield from _notify(partitions, partition, command, asked)) if asked else None
    states = yield from _states_of(partitions, partition, ids, verdicts, command)
    outcomes = []
    for i, verdict in zip(ids, verdicts, strict=True):
        state, paused = states.get(i, (None, False))
        if fresh and command is Command.START and state is life.RUNNING:
            outcomes.append(_not_fresh(i, paused=paused))
        else:
            outcomes.append(_outcome(command, i, verdict, state, listeners))
    return outcomes


def _notify(partitions: Partitions, partition: int, command: Command, ids: list[str]) -> Op[int]:
    """Notify the workers; returns how many of them are subscribed."""
    keys = partitions.keys[partition]
    words: list[tuple[int, tuple[Any, ...]]] = [
        (partition, ("PUBLISH", keys.control(i), command)) for i in ids
    ]
    replies = yield from ask_all([*words, (partition, _listeners(partitions, partition))])
    return int(replies[-1][1])


def _listeners(partitions: Partitions, partition: int) -> tuple[str, ...]:
    """Count subscribed workers by the channel of hints, which each of them subscribes to."""
    return ("PUBSUB", "NUMSUB", partitions.keys[partition].hint_channel)


def _states_of(
    partitions: Partitions, partition: int, ids: list[str], verdicts: Sequence[Verdict], command: Command
) -> Op[dict[str, tuple[life.State, bool]]]:
    """The states of tasks that were not changed, and of those that are paused, which wait or run.

    With each whether it is paused.
    """
    meant = (Verdict.STATE, Verdict.OK) if command is Command.PAUSE else (Verdict.STATE,)
    resting = [i for i, verdict in zip(ids, verdicts, strict=True) if verdict in meant]
    keys = partitions.keys[partition]
    found = yield from ask_all(
        [(partition, ("HMGET", keys.task(i), "state", "function", "paused")) for i in resting], tolerant=True
    )
    return {
        i: (life.State.read((fields[0] or b"").decode(errors="replace")), fields[2] is not None)
        for i, fields in zip(resting, found, strict=True)
        if isinstance(fields, list) and any(fields)
    }


def _outcome(
    command: Command, task_id: str, verdict: Verdict, state: life.State | None, listeners: int | None
) -> Outcome:
    if verdict is Verdict.BADTYPE:
        return _no_task(task_id)
    if verdict is Verdict.OK:
        moved = TABLE[command].without_run
        state = state or (None if moved is None else destination(moved))
        return Outcome(id=task_id, done=True, state=state)
    if verdict is Verdict.REQUESTED:
        return Outcome(id=task_id, done=False, state=life.RUNNING, requested=True, listeners=listeners)
    if verdict is Verdict.STATE:
        return Outcome(id=task_id, done=state in TABLE[command].idle_in, state=state)
    return Outcome(id=task_id, done=False, state=None)


def _no_task(task_id: str) -> Outcome:
    why = f"the key {task_id!r} is not a hash, so it is not a task: nothing was done"
    return Outcome(id=task_id, done=False, state=None, refused=why)


def existing(outcome: Outcome) -> Outcome:
    """The outcome, if there is such a task.  Raises `NoSuchTask`, `WrongKeyType`."""
    if outcome.state is None and outcome.refused:
        raise WrongKeyType(outcome.refused)
    if outcome.state is None:
        raise no_such_task(outcome.id)
    return outcome


def _late(
    partitions: Partitions, command: Command, outcome: Outcome, task: TaskInfo | None, wait: float
) -> Op[Exception]:
    """The error for a timeout, with the state and what will happen next."""
    task_id, state = outcome.id, None if task is None else task.state
    if task is not None and task.settling:
        text = f"{task_id!r} was restarted, but its start() has not run for a second within {wait:.3g} s"
        return TimedOut(see_why(text, task_id), state)
    listeners = outcome.listeners
    if listeners is None:
        partition = partitions.of(task_id)
        listeners = int((yield from ask(partition, _listeners(partitions, partition)))[1])
    queued = not TABLE[command].request
    if listeners == 0:
        kept = (
            f"{task_id!r} is queued and starts when a worker is available"
            if queued
            else f"the {command} request for {task_id!r} is stored; its worker, if there is one, reads it"
            " with its next renewal"
        )
        return NoListeners(f"no worker is subscribed: {kept}. See `pytask workers`", state)
    is_now = state or "gone"
    if queued:
        text = f"no worker claimed {task_id!r} within {wait:.3g} s: it is {is_now}"
        return TimedOut(see_why(text, task_id), state)
    stored = "remains" if task is not None and task.control == command else "is no longer"
    text = (
        f"{task_id!r} did not {command} within {wait:.3g} s: it is {is_now}, and the request {stored} stored"
    )
    return TimedOut(see_why(text, task_id), state)


def remove(partitions: Partitions, task_id: str) -> Op[bool]:
    """Delete a task that is not running; False if there was none.  Raises `TaskRunning`."""
    (outcome,) = yield from remove_many(partitions, [task_id])
    if outcome.refused:
        raise (TaskRunning if outcome.state is life.RUNNING else WrongKeyType)(outcome.refused)
    return outcome.done


def remove_many(
    partitions: Partitions, ids: Sequence[str], state: str | Iterable[str] | None = None
) -> Op[list[Outcome]]:
    """Delete tasks that are not running (with `state`: only in that state), 256 in two round trips.

    The outcome of an existing task is `done`.
    """
    states = () if state is None else states_of(state)
    found: dict[str, Outcome] = {}
    for partition, group in partitions.group(list(dict.fromkeys(ids))).items():
        for at in range(0, len(group), CHUNK):
            chunk = group[at : at + CHUNK]
            words = yield from _remove_chunk(partitions, partition, chunk, states)
            found |= {
                i: _removed(i, Verdict.read(word.decode())) for i, word in zip(chunk, words, strict=True)
            }
    return [found[task_id] for task_id in ids]


def _remove_chunk(
    partitions: Partitions, partition: int, ids: list[str], states: Sequence[life.State]
) -> Op[list[bytes]]:
    keys = partitions.keys[partition]
    hashes = [keys.task(i) for i in ids]
    functions = yield from ask(partition, scripts.functions(hashes=hashes, longest=LONGEST_NAME))
    words: list[bytes] = []
    while len(words) < len(ids):  # one call processes as many as it can within a few milliseconds
        left = len(words)
        script = scripts.remove(
            runs=keys.runs,
            queue=keys.queue,
            timers=keys.timers,
            paused=keys.paused,
            own=keys.own,
            parked=keys.parked,
            indexes=keys.indexes,
            hashes=hashes[left:],
            parkings=[keys.parking(decoding.text(name)) for name in functions[left:]],
            rings=[keys.log(i) for i in ids[left:]],
            states=states,
            ids=ids[left:],
        )
        words += yield from ask(partition, script)
    return words


def _removed(task_id: str, verdict: Verdict) -> Outcome:
    if verdict is Verdict.BADTYPE:
        return _no_task(task_id)
    if verdict is Verdict.STATE:
        why = Advice(
            f"{task_id!r} is running: stop it first, ", Call("stop", task_id, wait=30), ", then remove it"
        )
        return Outcome(id=task_id, done=False, state=life.RUNNING, refused=why)
    if verdict is Verdict.MOVED:
        return Outcome(id=task_id, done=False, state=life.WAIT)
    return Outcome(id=task_id, done=verdict is Verdict.OK, state=None)
