"""Log lines and progress of a run.

A line is stored as one JSON object in the log of its task: `n` (1 is the first of its run, so that readers
detect missing lines), `at` (seconds since 1970, by the worker's clock), `level`, `logger`, `text`, `epoch`
(of the run).  A progress line has the level `progress`, and also `done`, `total` and `note`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pytask.domain.errors import BadData
from pytask.domain.secrets import hide

PROGRESS = "progress"
"""The event, the hash field, and the level of a progress line."""
RING_MOST = 10_000  # the maximum of stored lines per task
CUT = "\n...\n"
TEXT_MOST = 2048  # characters of a line's text
NAME_MOST = 80  # characters of a logger's name
NOTE_MOST = 200  # characters of a note
LARGEST = 2.0**53  # integers up to this are exact in every JSON reader


def shortened(text: str, most: int = TEXT_MOST) -> str:
    """`text`, or its beginning and its end if too long: the end of a traceback has the error."""
    if len(text) <= most:
        return text
    half = (most - len(CUT)) // 2
    return text[:half] + CUT + text[-half:]


def progress_of(done: Any, total: Any = None, note: Any = None) -> dict[str, Any]:
    """The given members of a progress report; its note is not cut.  Raises :class:`BadData` for invalid ones.

    Secret values must be masked first: half a value would not be recognized.
    """
    found = {"done": _amount("done", done)}
    if total is not None:
        found["total"] = _amount("total", total)
    if note is None:
        return found
    if not isinstance(note, str):
        raise BadData(f"progress(note=...) must be a string, not {note!r}")
    return found | {"note": note.encode(errors="replace").decode()}


def with_short_note(progress: Mapping[str, Any], hidden: Sequence[str] = ()) -> dict[str, Any]:
    """A progress report with the values `hidden` masked in its note, and the note cut."""
    found = dict(progress)
    if "note" in found:
        found["note"] = hide(found["note"], hidden)[:NOTE_MOST]
    return found


def amounts(progress: Mapping[str, Any]) -> str:
    """A progress report as text, such as `3/10 (30 %) resize`."""
    done, total, note = progress["done"], progress.get("total"), progress.get("note", "")
    text = f"{done:g}" if total is None else f"{done:g}/{total:g}"
    if total:
        text += f" ({100 * done / total:.0f} %)"
    return f"{text} {note}".rstrip()


def _amount(name: str, value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and math.isfinite(value) and 0 <= value < LARGEST:
        return value
    raise BadData(
        f"progress({name}=...) must be a number of 0 or more, such as progress(3, 10), not {value!r}"
    )
