"""A child of the supervisor: its slot, its process, and the line to it (a socket pair).

The supervisor's end of a line closes when the supervisor ends for any reason; the child then releases its
tasks and exits, too.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

YOUNG = 10.0  # seconds; a child that died younger is restarted with increasing delays


@attrs.frozen
class Command:
    """The command line of children: the words before and after the option that names the line."""

    words: Sequence[str]
    folder: str | None = None  # as given: a deploy may switch a symbolic link in it
    environ: Mapping[str, str] | None = None

    def with_line(self, option: str) -> list[str]:
        """The command line of one child; the option precedes the last two words, `--` and the target."""
        return [*self.words[:-2], option, *self.words[-2:]]


@attrs.define(eq=False)
class Slot:
    """The slot of one child, and its current process."""

    number: int
    process: subprocess.Popen[bytes] | None = None
    line: socket.socket | None = None
    unread: bytes = b""
    prefix: str = ""  # of the run ids of this process
    began: float = 0.0
    young_deaths: int = 0
    due: float = 0.0  # when the next one is started
    left: bool = False  # the process reported that it has released all tasks
    said: dict[str, Any] | None = None  # its last health report
    said_at: float = 0.0
    reported: bool = False  # whether its last process ever did
    deaf_since: float | None = None  # since when its process has closed its end of the line
    figures: list[dict[str, Any]] = attrs.Factory(list)  # its last ones, for each partition

    @property
    def ready(self) -> bool:
        """Whether it takes tasks and receives control requests."""
        return self.said is not None and bool(self.said.get("ready"))

    def died_young(self, now: float) -> bool:
        """Whether its process died soon after its start: on a busy machine that alone may take longer."""
        return not self.reported or now - self.began < YOUNG

    @property
    def drain(self) -> float:
        """Its drain time in seconds."""
        return float((self.said or {}).get("drain", 0.0))

    def start(self, command: Command, output: int | None = None) -> None:
        """Start a process in this slot; `output`: a descriptor for what it prints.  Raises OSError."""
        ours, theirs = socket.socketpair()
        os.set_blocking(theirs.fileno(), True)  # in a patched process it is non-blocking
        self.prefix = f"{secrets.token_hex(6)}."
        option = f"--supervised={theirs.fileno()}:{self.number}:{self.prefix}"
        try:
            # A process group of its own: Ctrl-C reaches only the parent, which then notifies the children.
            self.process = subprocess.Popen(
                command.with_line(option),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[theirs.fileno()],
                process_group=0,
                cwd=command.folder,
                env=command.environ,
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.settimeout(0)
        self.line, self.unread, self.began = ours, b"", time.monotonic()
        self.said, self.said_at, self.left, self.reported = None, self.began, False, False
        self.deaf_since = None

    def tell(self, text: str) -> bool:
        """Send a line; False if the child no longer reads."""
        try:
            if self.line is not None:
                self.line.send(f"{text}\n".encode())
        except OSError:
            return False
        return self.line is not None

    def read_lines(self) -> Iterator[list[str]]:
        """Read what the child wrote; yields the words of each line that is not handled by this slot."""
        try:
            fresh = self.line.recv(65536) if self.line is not None else b""
        except OSError:
            return
        *lines, self.unread = (self.unread + fresh).split(b"\n")
        for line in lines:
            if line.startswith(b"pulse "):
                self.said, self.said_at, self.reported = _read(line[6:]), time.monotonic(), True
            elif line.startswith(b"figures "):
                self.figures = _rows(line[8:])
            elif line == b"left":
                self.left = True
            else:
                yield line.decode(errors="replace").split()

    @property
    def silent(self) -> bool:
        """Whether nothing will come over the line: after its end every `select` would return at once."""
        if self.line is None:
            return True
        try:
            ended = self.line.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            ended = False
        except OSError:
            ended = True
        if ended and self.deaf_since is None:
            self.deaf_since = time.monotonic()
        return ended

    def empty(self) -> None:
        """The process has ended."""
        if self.line is not None:
            self.line.close()
        self.process, self.line, self.said, self.figures = None, None, None, []
        self.deaf_since = None


def how_it_ended(slot: Slot, code: int, now: float) -> str:
    """For example "was killed by SIGKILL (last report 3 s before)"."""
    if code >= 0:
        return f"ended with exit code {code}"
    how = f"was killed by {_signal_name(-code)}"
    # The kernel timer also sends SIGKILL, after a long silence.
    if -code == signal.SIGKILL and slot.said is not None:
        how += f" (last report {now - slot.said_at:.0f} s before)"
    return how


def _read(text: bytes) -> dict[str, Any] | None:
    try:
        said = json.loads(text)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _rows(text: bytes) -> list[dict[str, Any]]:
    try:
        sent = json.loads(text)
    except ValueError:
        return []
    return [one for one in sent if isinstance(one, dict)] if isinstance(sent, list) else []


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
