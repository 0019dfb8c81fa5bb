"""Where coroutines are: the function and the line of the user's code, for messages."""

from __future__ import annotations

import asyncio
from types import FrameType
from typing import Any

from pytask.runtime.process.coroutine_frames import frames_of
from pytask.runtime.runs import threads


def whereabouts(task: asyncio.Task[Any]) -> str:
    """The name of a task, and the innermost function of the user's in which it waits."""
    place = innermost(task)
    what = f"coroutine {task.get_name()}"
    return what if place is None else f"{what} (in {threads.place(place)})"


def innermost(task: asyncio.Task[Any]) -> FrameType | None:
    """The frame of the user's innermost coroutine; of any, if there is none."""
    frames = frames_of(task)
    return next((one for one in reversed(frames) if threads.is_of_user(one)), frames[-1] if frames else None)
