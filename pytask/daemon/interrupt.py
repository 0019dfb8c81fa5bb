"""Ctrl-C during the import of the command, when there is nothing to unwind."""

from __future__ import annotations

import os
import signal

INTERRUPTED = 130


def leave_at_once(*_: object) -> None:
    """Exit with the exit code of Ctrl-C, without a traceback."""
    os._exit(INTERRUPTED)


def guard_imports() -> None:
    """Until :func:`unwind_from_here`, Ctrl-C ends the process at once."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, leave_at_once)


def unwind_from_here() -> None:
    """From here on Ctrl-C raises KeyboardInterrupt, so that clean-up code runs."""
    if signal.getsignal(signal.SIGINT) is leave_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)
