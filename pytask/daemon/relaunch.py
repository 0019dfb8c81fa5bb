"""How this process was started, with paths as given: a deploy may switch a symbolic link in them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NoReturn, Self

import attrs

from pytask.daemon.program import program
from pytask.runtime.process.systemd import take_from

CHECK_SECONDS = 60.0  # timeout for the import of the new code
SHOWN = 4000  # last characters of the output of a failed check
REFUSED = (
    "[PT124] SIGHUP: the new code cannot run; the old code keeps running, nothing was changed. In %s, %s"
    " Fix: correct that, then send SIGHUP again"
)


@attrs.frozen
class Launch:
    """Working directory and program of this process, as given; recorded before the target is imported."""

    folder: str
    program: tuple[str, ...]

    @classmethod
    def recorded(cls) -> Self:
        """Those of this process."""
        return cls(logical_folder(), tuple(_program()))

    def check(self, words: Sequence[str]) -> Check:
        """Start to check whether a worker with this command line (`run TARGET ...`) can start."""
        return Check([*self.program, *words[:1], "--check", *words[1:]], self.folder)

    def again(self, words: Sequence[str]) -> NoReturn:
        """Replace this process with that command, under the same process id.

        SIGHUP is blocked until the new image has its handlers, and stays pending meanwhile.
        """
        os.chdir(self.folder)
        command = [*self.program, *words]
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        environ = {**os.environ, "PWD": self.folder}
        os.execve(command[0], command, environ)  # noqa: S606 - our own command line, without a shell


class Check:
    """A child process that imports the target and exits."""

    def __init__(self, command: Sequence[str], folder: str, limit: float = CHECK_SECONDS) -> None:
        self._limit = limit
        self._until = time.monotonic() + limit
        self._said = _file()
        self._process: subprocess.Popen[bytes] | None = None
        self._failed = ""
        try:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=_environment(folder),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._said,
                process_group=0,
            )
        except OSError as error:
            self._failed = str(error)

    def result(self) -> str | None:
        """None while it runs; then why the new code cannot run, or an empty string."""
        if self._process is None:
            self._said.close()
            return self._failed
        code = self._process.poll()
        if code is None and time.monotonic() < self._until:
            return None
        if code is None:
            self.end()
            return f"the check took more than {self._limit:g} s"
        self._said.seek(0)
        said = self._said.read().decode(errors="replace").strip()[-SHOWN:]
        self.end()
        return f"the check ended with {code}: {said}" if code else ""

    def end(self) -> None:
        """End the child and the processes that it started."""
        self._said.close()
        if self._process is None:
            return
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return  # the whole group has ended
        finally:
            self._process.wait()


def _file() -> IO[bytes]:
    """A file for the child's output; a process started by the target would keep a pipe open."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("pytask-check"), "w+b")  # works without a writable directory
    return tempfile.TemporaryFile()


def _environment(folder: str) -> Mapping[str, str]:
    environ = {**os.environ, "PWD": folder}
    take_from(environ)  # the check must not notify the service manager
    return environ


def logical_folder() -> str:
    """The working directory as $PWD, if it is the same directory; else the resolved path."""
    given = os.environ.get("PWD", "")
    try:
        if Path(given).is_absolute() and Path(given).samefile("."):
            return given
        return str(Path.cwd())
    except OSError:  # it is gone
        return given or "."


def _program() -> list[str]:
    """The program without arguments: the script itself if it was called through its shebang."""
    count, words = len(sys.argv) - 1, sys.orig_argv
    if count and words[-count:] != sys.argv[1:]:
        return program()  # called from other code
    own = words[: len(words) - count]
    if _called_by_first_line(own):
        return own[1:]  # the script of another release names that release's interpreter
    return [own[0] if os.sep in own[0] else sys.executable, *own[1:]]


def _called_by_first_line(own: Sequence[str]) -> bool:
    if len(own) != 2 or not os.access(own[1], os.X_OK):
        return False
    try:
        with Path(own[1]).open("rb") as script:
            first = script.readline().decode(errors="replace").strip()
    except OSError:
        return False
    # For long paths installers write #!/bin/sh and a line that calls the interpreter.
    return first in (f"#!{own[0]}", "#!/bin/sh")
