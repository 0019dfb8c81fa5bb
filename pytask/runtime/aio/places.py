"""Where coroutines are: the function and the line of the user's code, for messages."""

from __future__ import annotations

import asyncio
from types import FrameType
from typing import Any

from pytask.runtime.runs import threads

DEPTH = 100  # coroutines that wait for each other


def whereabouts(task: asyncio.Task[Any]) -> str:
    """The name of a task, and the innermost function of the user's in which it waits."""
    place = innermost(task)
    what = f"coroutine {task.get_name()}"
    return what if place is None else f"{what} (in {threads.place(place)})"


def innermost(task: asyncio.Task[Any]) -> FrameType | None:
    """The frame of the user's innermost coroutine; of any, if there is none."""
    frames = _frames(task)
    return next((one for one in reversed(frames) if threads.is_of_user(one)), frames[-1] if frames else None)


def _frames(task: asyncio.Task[Any]) -> list[FrameType]:
    """The frames of a task that waits, outermost first; it may go on meanwhile, in its own thread."""
    found: list[FrameType] = []
    code: Any = task.get_coro()
    for _ in range(DEPTH):
        frame = getattr(code, "cr_frame", None) or getattr(code, "gi_frame", None)
        if frame is None:
            break
        found.append(frame)
        code = getattr(code, "cr_await", None) or getattr(code, "gi_yieldfrom", None)
    return found
