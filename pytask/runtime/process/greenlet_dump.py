"""Dumps the stacks of all greenlets and coroutines of this process with their tasks."""

from __future__ import annotations

import gc
import os
import sys
import time
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any

from gevent import Greenlet, getcurrent
from greenlet import greenlet

from pytask.domain.escaping import escaped
from pytask.domain.wording import at
from pytask.runtime.process.coroutine_frames import frames_of

Place = tuple[str, int, str]
OWN_FILE = __file__
FRAMES = 12  # of a stack, the innermost


def report() -> str:
    """All greenlets, and all asyncio tasks of runs, grouped by stack, with their task ids.

    It iterates over all objects: about a second for 100,000 tasks.
    """
    groups: dict[tuple[str, tuple[Place, ...]], list[str]] = {}
    for one in _living():
        run = getattr(one, "pytask_run", None)
        kind = f"task {run.claim.function}" if run is not None else _name(one)
        groups.setdefault((kind, _stack(one)), []).append(run.id if run is not None else "")
    count = sum(len(ids) for ids in groups.values())
    for task in coroutines():
        run = task.owner.run
        groups.setdefault((f"coroutine of task {run.claim.function}", _awaits(task)), []).append(run.id)
    more = sum(len(ids) for ids in groups.values()) - count
    coroutine_count = f" and {more} coroutines" if more else ""
    lines = [f"--- {count} greenlets{coroutine_count} of process {os.getpid()} at {at(time.time())}"]
    for (kind, stack), ids in sorted(groups.items(), key=lambda group: (-len(group[1]), group[0][0])):
        known = sorted(one for one in ids if one)
        lines.append(f"{len(ids)} x {kind}" + (f": {' '.join(known)}" if known else ""))
        lines += [f"    {file}:{line} in {function}" for file, line, function in stack]
    return "\n".join([*map(escaped, lines), "--- end of greenlets", ""])


def write(text: str) -> None:
    """Write to standard error, not to the log, whose locks the interrupted code may hold."""
    rest = escaped(text, keep="\n\t").encode(errors="backslashreplace")
    while rest:
        try:
            rest = rest[os.write(2, rest) :]
        except OSError:
            return


def _living() -> Iterator[Any]:
    for one in gc.get_objects():
        # type(), as some objects override isinstance().
        if issubclass(type(one), greenlet) and not one.dead and (one or isinstance(one, Greenlet)):
            yield one


def coroutines() -> list[Any]:
    """The asyncio tasks of runs that are not done; in any thread."""
    if "asyncio" not in sys.modules:
        return []
    from asyncio import Future

    return [one for one in gc.get_objects() if _is_of_run(one, Future)]


def _is_of_run(one: Any, future: type) -> bool:
    kind = type(one)
    return issubclass(kind, future) and "owner" in kind.__dict__ and not one.done()


def _awaits(task: Any) -> tuple[Place, ...]:
    """The functions that wait for each other, innermost last."""
    found = [(one.f_code.co_filename, one.f_lineno or 0, one.f_code.co_name) for one in frames_of(task)]
    return tuple(found[-FRAMES:])


def _name(one: Any) -> str:
    if one.parent is None:
        return "main greenlet"
    name = getattr(one, "name", None) or type(one).__name__
    return f"greenlet {name}"


def _stack(one: Any) -> tuple[Place, ...]:
    """The stack, innermost frame last; empty for a greenlet that has not started."""
    frame: FrameType | None = sys._getframe() if one is getcurrent() else one.gr_frame  # noqa: SLF001
    found = traceback.extract_stack(frame, limit=None) if frame is not None else []
    capacity = [(f.filename, f.lineno or 0, f.name) for f in found if f.filename != OWN_FILE]
    return tuple(capacity[-FRAMES:])
