"""What a run tells of itself while it works: lines of its log, and how far it is.

A line is kept as one JSON object in the ring of its task: `n` (1 is the first of its run, so that a reader
sees where some are missing), `at` (seconds since 1970, by the worker's clock), `level`, `logger`, `text`,
`epoch` (of the run).  One about progress has the level `progress`, and `done`, `total`, `note` as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pytask.domain.errors import BadData

PROGRESS = "progress"
"""The event, the field of the hash, and the level of such a line."""
RING_MOST = 10_000  # lines of a task that can be kept
CUT = "\n...\n"
TEXT_MOST = 2048  # characters of a line's text
NAME_MOST = 80  # characters of a logger's name
NOTE_MOST = 200  # characters of a note
LARGEST = 2.0**53  # what every JSON reader counts exactly


def shortened(text: str, most: int = TEXT_MOST) -> str:
    """`text`, or its beginning and its end: the end of a traceback tells what happened."""
    if len(text) <= most:
        return text
    half = (most - len(CUT)) // 2
    return text[:half] + CUT + text[-half:]


def progress_of(done: Any, total: Any = None, note: Any = None) -> dict[str, Any]:
    """The members of a progress that are there.  Raises :class:`BadData` for what is none."""
    found = {"done": _amount("done", done)}
    if total is not None:
        found["total"] = _amount("total", total)
    if note is None:
        return found
    if not isinstance(note, str):
        raise BadData(f"progress(note=...) is a text for people, not {note!r}")
    return found | {"note": note.encode(errors="replace").decode()[:NOTE_MOST]}


def amounts(progress: Mapping[str, Any]) -> str:
    """A progress for people, such as `3/10 (30 %) resize`."""
    done, total, note = progress["done"], progress.get("total"), progress.get("note", "")
    told = f"{done:g}" if total is None else f"{done:g}/{total:g}"
    if total:
        told += f" ({100 * done / total:.0f} %)"
    return f"{told} {note}".rstrip()


def _amount(name: str, value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and math.isfinite(value) and 0 <= value < LARGEST:
        return value
    raise BadData(f"progress({name}=...) is a number from 0 on, such as progress(3, 10), not {value!r}")
