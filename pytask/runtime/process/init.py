"""PID 1 of a container is a small parent: the worker must not be the one process that no timer can kill.

The parent does what an init does: it forwards signals, reaps whatever was orphaned, and ends as its child
does, with which the kernel ends the rest.  Imported before everything else, so only the standard library.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

# Not `os`: gevent replaces fork and waitpid there, and in the parent no event loop turns any more.
from posix import WNOHANG, waitpid
from typing import NoReturn

FORWARDED = (
    signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2,
    signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH,
)  # fmt: skip
AWAITED = (*FORWARDED, signal.SIGCHLD)
HELD = (*AWAITED, signal.SIGTTOU)  # the last, as it would stop who makes itself the foreground
MOST_DESCRIPTORS = 65536


def leave_init(fork: Callable[[], int] = os.fork) -> None:
    """Where this process is PID 1, go on as its child; the parent stays and never returns."""
    if os.getpid() != 1:
        return
    # Held back, a signal that comes between the fork and the loop waits there, instead of being dropped.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    child = fork()
    if child != 0:
        _be_init(child)
    _stand_alone()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def alone() -> bool:
    """Whether this process has one native thread, so that a fork leaves none behind."""
    try:
        return len(list(Path("/proc/self/task").iterdir())) == 1
    except OSError:
        return False  # not known


def _stand_alone() -> None:
    """A process group of the child's own: else Ctrl-C reaches it twice, directly and from its parent."""
    ours = os.getpgrp()
    os.setpgid(0, 0)
    with suppress(OSError):  # there is no terminal
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
        try:
            # 0 stands for a group of another namespace, whose terminal is not ours to take.
            if ours != 0 and os.tcgetpgrp(terminal) == ours:
                os.tcsetpgrp(terminal, os.getpid())
        finally:
            os.close(terminal)
    if os.environ.get("WATCHDOG_PID") == "1":
        os.environ["WATCHDOG_PID"] = str(os.getpid())


def _be_init(child: int) -> NoReturn:
    os.closerange(3, MOST_DESCRIPTORS)  # connections and pipes end with the child, not with us
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
    """Collect all that ended; the exit code of `child` (negative: its signal) if it is among them.

    One SIGCHLD may stand for several.
    """
    with suppress(ChildProcessError):
        while (found := waitpid(-1, WNOHANG))[0] != 0:
            if found[0] == child:
                return os.waitstatus_to_exitcode(found[1])
    return None
