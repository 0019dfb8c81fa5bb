"""A worker that has started but takes no tasks yet, because its predecessor runs them."""

from __future__ import annotations

import os
from contextlib import suppress

from gevent.event import Event as Flag


class Standby:
    """What a worker on standby waits for.

    Tasks of the queue may be taken while the predecessor stops them one by one, because an id has one run at
    a time.  Pre-started tasks get new ids, so they wait until all tasks of the predecessor have stopped.
    """

    def __init__(self) -> None:
        self.alone = Flag()  # whether the tasks of the predecessor have stopped


def await_begin(fd: int) -> bool:
    """Report `loaded`, and block the process until the other end of the line says `begin`.

    Returns False if it is gone.  Only that line is read, so whoever takes over the line misses nothing.
    """
    line = b""
    with suppress(OSError):  # the other end is gone: the next read says so
        os.write(fd, b"loaded\n")
    while not line.endswith(b"\n"):
        fresh = os.read(fd, 1)
        if not fresh:
            return False
        line += fresh
    return True
