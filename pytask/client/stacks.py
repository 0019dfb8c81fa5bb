"""Where the greenlets and coroutines of a run are: asked of its worker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pytask.client.operations import Now, Op, ask
from pytask.client.partitions import Partitions
from pytask.client.queries import get
from pytask.client.records import Frame, Stack, Stacks
from pytask.client.watch import EventStream, read_event
from pytask.domain import lifecycle as life
from pytask.domain import messages
from pytask.domain.advice import see_why
from pytask.domain.errors import TaskNotRunning, TimedOut

READ = 1.0  # seconds of one read, after which the worker is asked again


def stacks(partitions: Partitions, task_id: str, wait: float) -> Op[Stacks]:
    """Ask for them, and wait.  Raises `NoSuchTask`, `TaskNotRunning` or `TimedOut`."""
    partition = partitions.of(task_id)
    keys = partitions.keys[partition]
    stream = EventStream(partition, (keys.events(task_id),), ())
    yield from stream.open()  # before the worker is asked, or its answer may be lost
    task = yield from get(partitions, task_id)
    if task.state is not life.RUNNING:
        text = f"{task_id!r} is {task.state}, so no code of it is running"
        raise TaskNotRunning(see_why(text, task_id), task.state)
    now = yield Now()
    until = now + wait
    while now < until:
        # Again and again: a run that was just claimed is not known to its worker yet.
        yield from ask(partition, ("PUBLISH", keys.control(task_id), messages.STACKS))
        for _, payload in (yield from stream.receive(min(READ, until - now))):
            event = read_event(task_id, payload)
            if event is not None and event.name == messages.Event.STACKS:
                found = _read(event.data)
                if found:
                    return found
        now = yield Now()
    text = (
        f"no worker told within {wait:.3g} s where {task_id!r} is: its worker is dead or of an earlier"
        " release, does not hear messages, or code of a task blocks its event loop"
    )
    raise TimedOut(see_why(text, task_id), task.state)


def _read(data: Any) -> Stacks:
    """What a worker told; a task may emit events of that name, too."""
    told = data if isinstance(data, dict) else {}
    return Stacks(_each(told.get("stacks")), more=told.get("more") is True)


def _each(told: Any) -> Iterator[Stack]:
    for one in told if isinstance(told, list) else ():
        if isinstance(one, dict) and isinstance(one.get("frames"), list):
            frames = tuple(_frame(place) for place in one["frames"] if _is_place(place))
            yield Stack(of=str(one.get("of", "")), frames=frames)


def _is_place(place: Any) -> bool:
    return isinstance(place, list) and len(place) == len(Frame.__match_args__) and isinstance(place[1], int)


def _frame(place: list[Any]) -> Frame:
    return Frame(str(place[0]), place[1], str(place[2]))
