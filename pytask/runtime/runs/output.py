"""Copies the standard output and error of tasks to their task logs."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from types import FrameType
from typing import Any

from pytask.runtime import coroutine_owner
from pytask.runtime.runs.run import running
from pytask.runtime.runs.task_log import OUTPUT

LOGGING = logging.__file__
FRAMES = 12  # between a handler that writes a record and the stream


class Copied:
    """A stream that also copies text written inside a task to its task log."""

    def __init__(self, stream: Any, name: str) -> None:
        self._stream = stream
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: Any) -> Any:
        """As the stream's own, which may fail."""
        owner = coroutine_owner.here()
        if owner is not None and not _by_logging() and os.getpid() == _pid:
            with suppress(Exception):
                owner.output(self._name, text)
            return self._stream.write(text)
        run = running()
        if run is not None and not _by_logging() and os.getpid() == _pid:
            with suppress(Exception):  # an argument of another type: the stream's own call raises
                run.host.journal.output(run, self._name, text)
        return self._stream.write(text)

    def writelines(self, lines: Any) -> None:
        """As the stream's own."""
        for line in lines:
            self.write(line)


def _by_logging() -> bool:
    """Whether a log handler is writing: the record is copied separately."""
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001 - as logging itself looks for its caller
    for _ in range(FRAMES):
        if frame is None or frame.f_code.co_filename == LOGGING:
            return frame is not None
        frame = frame.f_back
    return False


_installed: list[Copied] = []
_users = 0
_pid = 0  # of the worker: a forked child has the task's code, but not its run


def install() -> None:
    """Replace both streams, once for all workers."""
    global _users, _pid  # noqa: PLW0603 - the streams are the process's
    _users += 1
    _pid = os.getpid()
    if _users > 1:
        return
    for name in OUTPUT:
        stream = getattr(sys, name)
        if stream is not None:
            _installed.append(Copied(stream, name))
            setattr(sys, name, _installed[-1])


def remove() -> None:
    """Restore the streams when all workers have uninstalled it; streams replaced by others are kept."""
    global _users  # noqa: PLW0603
    _users -= 1
    if _users:
        return
    while _installed:
        copied = _installed.pop()
        if getattr(sys, copied._name) is copied:  # noqa: SLF001
            setattr(sys, copied._name, copied._stream)  # noqa: SLF001
