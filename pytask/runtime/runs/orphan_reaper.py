"""A separate program that ends the processes left by the tasks of a dead worker.

It reads numbers of process groups from standard input, `+123` for a new and `-123` for an ended group.  Only
the worker has the other end of that pipe, so the input ends when the worker ends, for any reason.  Then the
remaining groups get SIGTERM and, after some seconds (the argument), SIGKILL.

It imports only the standard library and no other module of pytask, to start in a few milliseconds.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable

STEP = 0.02
KILL_SECONDS = 1.0  # for the kernel to carry out SIGKILL
# Service managers and terminals send these to all processes; this process must be the last one.
IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP)


def left(lines: Iterable[bytes]) -> list[int]:
    """The groups that remain at the end of the input."""
    groups: dict[int, None] = {}
    for line in lines:
        word, number = line[:1], line[1:].strip()
        if word == b"+":
            groups[int(number)] = None
        elif word == b"-":
            groups.pop(int(number), None)
    return list(groups)


def signalled(groups: Iterable[int], number: int) -> list[int]:
    """Signal the groups; returns those that exist."""
    found = []
    for group in groups:
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):  # the second: all its members belong to another user
            continue
        found.append(group)
    return found


def end(groups: Iterable[int], seconds: float) -> None:
    """SIGTERM, and SIGKILL after `seconds` for the remaining ones."""
    groups = signalled(groups, signal.SIGTERM)
    until = time.monotonic() + seconds
    while groups and time.monotonic() < until:
        time.sleep(STEP)
        groups = signalled(groups, 0)
    groups = signalled(groups, signal.SIGKILL)
    # The lock of the worker, which this process may hold, is freed when they are dead.
    until = time.monotonic() + KILL_SECONDS
    while groups and time.monotonic() < until:
        time.sleep(STEP)
        groups = signalled(groups, 0)


def main() -> None:
    """Wait for the end of the worker."""
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    os.chdir("/")
    end(left(sys.stdin.buffer), float(sys.argv[1]))


if __name__ == "__main__":
    main()
