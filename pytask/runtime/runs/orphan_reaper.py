"""Ends what the tasks of a dead worker have left running: a program of its own, beside the worker.

It reads numbers of process groups from standard input, `+123` for one that began and `-123` for one that is
gone.  The other end of that pipe is the worker's alone, so that the input ends when the worker does, however
that comes.  Then what is left gets SIGTERM and, after some seconds (the argument), SIGKILL.

Standard library only, and no other module of pytask: it starts in a few milliseconds.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable

STEP = 0.02
# Who stops a service or a terminal sends these to all of it; this process is to be the last one.
IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP)


def left(lines: Iterable[bytes]) -> list[int]:
    """The groups that are left at the end of the input."""
    groups: dict[int, None] = {}
    for line in lines:
        word, number = line[:1], line[1:].strip()
        if word == b"+":
            groups[int(number)] = None
        elif word == b"-":
            groups.pop(int(number), None)
    return list(groups)


def signalled(groups: Iterable[int], number: int) -> list[int]:
    """Those that are there, and got the signal."""
    found = []
    for group in groups:
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):  # the second: all its members are another user's
            continue
        found.append(group)
    return found


def end(groups: Iterable[int], seconds: float) -> None:
    """SIGTERM, and SIGKILL after so many seconds for what is there then."""
    groups = signalled(groups, signal.SIGTERM)
    until = time.monotonic() + seconds
    while groups and time.monotonic() < until:
        time.sleep(STEP)
        groups = signalled(groups, 0)
    signalled(groups, signal.SIGKILL)


def main() -> None:
    """Wait for the end of the worker."""
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    os.chdir("/")
    end(left(sys.stdin.buffer), float(sys.argv[1]))


if __name__ == "__main__":
    main()
