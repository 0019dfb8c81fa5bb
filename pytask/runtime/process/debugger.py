"""`breakpoint()` in a task at a terminal: disables the kernel timer while a debugger is used."""

from __future__ import annotations

import os
import sys
from typing import Any

from pytask.logger import get_logger
from pytask.runtime.process import kill_timer
from pytask.runtime.tree import current_run

log = get_logger(__name__)


def install() -> None:
    """Make `breakpoint()` disable the kernel timer first, if there is a terminal."""
    if sys.stdin is not None and sys.stdin.isatty() and sys.breakpointhook is sys.__breakpointhook__:
        sys.breakpointhook = _stop_here


def _stop_here(*args: Any, **kwargs: Any) -> Any:
    chosen = os.environ.get("PYTHONBREAKPOINT", "")
    if chosen == "0":  # Python's way to disable breakpoints
        return None
    if kill_timer.release():
        run = current_run()
        log.warning(
            "[PT144] breakpoint()%s: a debugger blocks all tasks of this worker, so its kernel timer is now"
            " disabled. After 60 s without renewals its tasks stop, and after 90 s other workers may run"
            " them: restart this worker afterwards",
            f" in task {run.id}" if run is not None else "",
        )
    if chosen or args or kwargs:
        return sys.__breakpointhook__(*args, **kwargs)  # noqa: T100 - and here
    import pdb  # noqa: T100 - what breakpoint() stands for

    pdb.Pdb().set_trace(sys._getframe(1))  # noqa: SLF001 - in the frame of the task, not in ours
    return None
