"""Ends what `pytask dev` has started, if it is killed: by a small process that notices the end of a pipe."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pytask.runtime.runs import orphan_reaper

PROGRAM = str(Path(orphan_reaper.__file__))
SECONDS = 10.0  # in which workers release their tasks to a server of the user's
PRIVATE_SECONDS = 0.5  # a private server ends, too: nothing can be released


class Orphans:
    """The process groups of the children, which end when this process does, for any reason."""

    def __init__(self, seconds: float) -> None:
        read, self._pipe = os.pipe()
        try:
            # In a session of its own, so that what is sent to our group or by a terminal does not reach it.
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", PROGRAM, f"{seconds:g}"],
                stdin=read,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(read)

    def note(self, group: int | None) -> None:
        """A process was started that leads this group."""
        self._write("+", group)

    def forget(self, group: int | None) -> None:
        """It has ended: its number may be given to another one."""
        self._write("-", group)

    def close(self) -> None:
        """All have ended."""
        os.close(self._pipe)
        self._process.wait()

    def _write(self, word: str, group: int | None) -> None:
        if group is not None:
            try:
                os.write(self._pipe, f"{word}{group}\n".encode())
            except BrokenPipeError:
                return  # it was killed: a kill of this process as well leaves its children
