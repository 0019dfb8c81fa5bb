"""The stack of a coroutine that waits: its frames do not refer to each other."""

from __future__ import annotations

from types import FrameType
from typing import Any

DEPTH = 100  # coroutines that wait for each other


def frames_of(task: Any) -> list[FrameType]:
    """The frames of an asyncio task, outermost first; it may go on meanwhile, in its own thread."""
    found: list[FrameType] = []
    code = task.get_coro()
    for _ in range(DEPTH):
        frame = getattr(code, "cr_frame", None) or getattr(code, "gi_frame", None)
        if frame is None:
            break
        found.append(frame)
        code = getattr(code, "cr_await", None) or getattr(code, "gi_yieldfrom", None)
    return found
