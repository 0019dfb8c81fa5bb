"""A small init process for PID 1 of a container, because no timer can kill PID 1.

The parent forwards signals, reaps orphans, and exits like its child; the kernel then ends the rest.  It is
imported before everything else, so it uses only the standard library.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

# Not `os`: gevent patches its fork and waitpid, and the parent has no running event loop.
from posix import WNOHANG, waitpid
from typing import NoReturn

FORWARDED = (
    signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2,
    signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH,
)  # fmt: skip
AWAITED = (*FORWARDED, signal.SIGCHLD)
HELD = (*AWAITED, signal.SIGTTOU)  # SIGTTOU would stop a process that puts itself into the foreground
MOST_DESCRIPTORS = 65536


def leave_init(fork: Callable[[], int] = os.fork) -> None:
    """If this process is PID 1, continue as its child; the parent never returns."""
    if os.getpid() != 1:
        return
    # Blocked signals between the fork and the loop are kept pending instead of dropped.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    child = fork()
    if child != 0:
        _be_init(child)
    _stand_alone()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def alone() -> bool:
    """Whether this process has only one native thread, so that a fork is safe."""
    try:
        return len(list(Path("/proc/self/task").iterdir())) == 1
    except OSError:
        return False  # unknown


def _stand_alone() -> None:
    """Give the child its own process group; otherwise it would receive Ctrl-C twice."""
    ours = os.getpgrp()
    os.setpgid(0, 0)
    with suppress(OSError):  # there is no terminal
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
        try:
            # 0 means a group of another namespace, which keeps the terminal.
            if ours != 0 and os.tcgetpgrp(terminal) == ours:
                os.tcsetpgrp(terminal, os.getpid())
        finally:
            os.close(terminal)
    if os.environ.get("WATCHDOG_PID") == "1":
        os.environ["WATCHDOG_PID"] = str(os.getpid())


def _be_init(child: int) -> NoReturn:
    os.closerange(3, MOST_DESCRIPTORS)  # connections and pipes must close when the child ends
    while True:
        number = signal.sigwait(AWAITED)
        if number == signal.SIGCHLD:
            status = _reap(child)
            if status is not None:
                os._exit(status if status >= 0 else 128 - status)
        else:
            with suppress(ProcessLookupError):
                os.kill(child, number)


def _reap(child: int) -> int | None:
    """Reap all ended children; returns the exit code of `child` (negative: its signal) if it ended.

    One SIGCHLD may represent several children.
    """
    with suppress(ChildProcessError):
        while (found := waitpid(-1, WNOHANG))[0] != 0:
            if found[0] == child:
                return os.waitstatus_to_exitcode(found[1])
    return None
