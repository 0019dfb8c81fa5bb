"""Tells where the greenlets and coroutines of a run are, when somebody asks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from types import FrameType
from typing import Any

from pytask import codec
from pytask.domain.messages import Event
from pytask.runtime.runs import threads
from pytask.runtime.runs.executor import Executor
from pytask.runtime.runs.run import Run

MOST = 50  # stacks of a run that are told
DEPTH = 30  # frames of a stack, the innermost


def tell(executor: Executor, task_id: str) -> None:
    """Answer with an event if the task runs here.

    It goes the way of all events, so that one of a run that has lost its task is not sent.  While more events
    wait for Redis than fit, nobody is answered: who asks asks again.
    """
    run = executor.living.get(task_id)
    if run is None or run.over or executor.committer.full:
        return
    found = list(islice(_stacks(run), MOST + 1))
    told = {"run": run.ref.run, "stacks": found[:MOST], "more": len(found) > MOST}
    executor.emit_later(run, codec.event(Event.STACKS, told))


def _stacks(run: Run) -> Iterator[dict[str, Any]]:
    for greenlet in reversed(run.alive()):  # that of `start()` first
        # A greenlet that was not switched to yet has no frame.
        frames = [] if greenlet.gr_frame is None else _above(greenlet.gr_frame)
        yield _stack(threads.named(greenlet), frames)
    if run.coroutines is not None and run.coroutines.alive:
        for name, frames in run.coroutines.stacks():
            yield _stack(f"coroutine {name}", frames[-DEPTH:])


def _above(innermost: FrameType) -> list[FrameType]:
    found: list[FrameType] = []
    frame: FrameType | None = innermost
    while frame is not None and len(found) < DEPTH:
        found.append(frame)
        frame = frame.f_back
    return found[::-1]


def _stack(name: str, frames: list[FrameType]) -> dict[str, Any]:
    """Its frames are [file, line, function], the innermost last."""
    return {
        "of": name, "frames": [[f.f_code.co_filename, f.f_lineno, f.f_code.co_qualname] for f in frames]
    }  # fmt: skip
