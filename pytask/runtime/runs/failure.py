"""The text of a failure, as the field `error` has it."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from types import TracebackType

from pytask.domain.errors import PytaskError, TaskFailed
from pytask.domain.secrets import hide

ERROR_BYTES = 8192
OURS = "pytask.runtime."  # modules that call the code of a task


def describe(error: BaseException, hidden: Sequence[str] = ()) -> str:
    """The `error` field: the text, then the traceback, at most 8 KiB, without `hidden` values."""
    if isinstance(error, TaskFailed):
        return _cut(hide(_text(error), hidden), ERROR_BYTES)
    # Check the class: SystemExit and many other exceptions also have a `code`.
    text = _cut(hide(_named(error), hidden), 2048)
    frames = frames_of_task(error)
    if frames is None or not needs_traceback(error):
        return text
    trace = hide("".join(traceback.format_exception(type(error), error, frames)), hidden)
    room = ERROR_BYTES - len(text.encode(errors="replace")) - 8
    tail = trace.encode(errors="replace")[-room:].decode(errors="ignore")
    return f"{text}\n{tail}" if len(tail) == len(trace) else f"{text}\n...\n{tail}"


def frames_of_task(error: BaseException) -> TracebackType | None:
    """The traceback from the first frame of the task on; None if none of its frames is there."""
    frames = error.__traceback__
    while frames is not None and _is_ours(frames):
        frames = frames.tb_next
    return frames


def _is_ours(frames: TracebackType) -> bool:
    name = frames.tb_frame.f_globals.get("__name__")  # whatever code of a task has made of it
    return isinstance(name, str) and name.startswith(OURS)


def needs_traceback(error: BaseException) -> bool:
    """Whether code of the task took part; errors of pytask alone, as for unfit data, need only their text."""
    if isinstance(error, TaskFailed):
        return False
    modules = (frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__))
    return not isinstance(error, PytaskError) or any(not name.startswith("pytask.") for name in modules)


def _named(error: BaseException) -> str:
    text = _text(error) if isinstance(error, PytaskError) else f"{type(error).__name__}: {_text(error)}"
    if not isinstance(error, BaseExceptionGroup):
        return text
    # A group says only how many there are, as that of a TaskGroup.
    leaf: BaseException = error
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    return f"{text}, first {_named(leaf)}"


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a user's __str__; the run must be settled all the same
        return "(its __str__ failed)"


def _cut(text: str, limit: int) -> str:
    raw = text.encode(errors="replace")
    return raw.decode() if len(raw) <= limit else raw[: limit - 4].decode(errors="ignore") + " ..."
