"""A child of the supervisor: the slot it is in, its process, and the line to it (a socket pair).

The supervisor's end of a line closes with the supervisor, however that ends, and its child then hands its
tasks back and ends too.
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


@attrs.frozen
class Command:
    """How children are started: the words before and behind the option that names the line."""

    words: Sequence[str]
    folder: str | None = None  # as given: a deploy may switch a link in it
    environ: Mapping[str, str] | None = None

    def with_line(self, option: str) -> list[str]:
        """The words of one child; the last two, `--` and the target, stand behind the option."""
        return [*self.words[:-2], option, *self.words[-2:]]


@attrs.define(eq=False)
class Slot:
    """The place of one child, and the process that is in it."""

    number: int
    process: subprocess.Popen[bytes] | None = None
    line: socket.socket | None = None
    heard: bytes = b""
    prefix: str = ""  # of the run ids of this very process
    began: float = 0.0
    young_deaths: int = 0
    due: float = 0.0  # when the next one is started
    left: bool = False  # the process said that it has handed all tasks back
    said: dict[str, Any] | None = None  # how it is, as it told last
    said_at: float = 0.0

    @property
    def ready(self) -> bool:
        """It takes tasks and listens."""
        return self.said is not None and bool(self.said.get("ready"))

    @property
    def drain(self) -> float:
        """Seconds that it lets its tasks run at the end."""
        return float((self.said or {}).get("drain", 0.0))

    def start(self, command: Command) -> None:
        """Start a process here.  Raises OSError."""
        ours, theirs = socket.socketpair()
        os.set_blocking(theirs.fileno(), True)  # where this very process is patched, it is not
        self.prefix = f"{secrets.token_hex(6)}."
        option = f"--supervised={theirs.fileno()}:{self.number}:{self.prefix}"
        try:
            # A process group of its own: Ctrl-C reaches the parent alone, which then tells the children.
            self.process = subprocess.Popen(
                command.with_line(option),
                stdin=subprocess.DEVNULL,
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
        self.line, self.heard, self.began = ours, b"", time.monotonic()
        self.said, self.said_at, self.left = None, self.began, False

    def tell(self, text: str) -> bool:
        """Send a line; False if nobody reads it any more."""
        try:
            if self.line is not None:
                self.line.send(f"{text}\n".encode())
        except OSError:
            return False
        return self.line is not None

    def hear(self) -> Iterator[list[str]]:
        """Take in what the child wrote; gives the words of each line that is for others than this slot."""
        try:
            fresh = self.line.recv(65536) if self.line is not None else b""
        except OSError:
            return
        *lines, self.heard = (self.heard + fresh).split(b"\n")
        for line in lines:
            if line.startswith(b"pulse "):
                self.said, self.said_at = _read(line[6:]), time.monotonic()
            elif line == b"left":
                self.left = True
            else:
                yield line.decode(errors="replace").split()

    @property
    def silent(self) -> bool:
        """Nothing more comes: a child that closed its end would make every `select` return at once."""
        if self.line is None:
            return True
        try:
            return self.line.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def empty(self) -> None:
        """The process is gone."""
        if self.line is not None:
            self.line.close()
        self.process, self.line, self.said = None, None, None


def how_it_ended(slot: Slot, code: int, now: float) -> str:
    """Such as "was killed by SIGKILL 3 s after it was last heard"."""
    if code >= 0:
        return f"ended with exit code {code}"
    how = f"was killed by {_signal_name(-code)}"
    if (
        -code == signal.SIGKILL and slot.said is not None
    ):  # the kernel's timer sends it, too, to one that was silent for long
        how += f" {now - slot.said_at:.0f} s after it was last heard"
    return how


def _read(text: bytes) -> dict[str, Any] | None:
    try:
        said = json.loads(text)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
