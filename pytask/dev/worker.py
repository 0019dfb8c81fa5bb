"""One worker process of `pytask dev`: it waits for a save, tries the code, takes over, and hands back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from urllib.parse import unquote

import attrs

from pytask.daemon.child import Command, Slot, how_it_ended
from pytask.dev.orphans import Orphans

KEPT = 100_000  # characters of the output of a worker that does not stand by yet
CHUNK = 65536
READS = 16  # in one turn: the others get theirs


@attrs.frozen
class Place:
    """Where the tasks of the code are."""

    namespace: str = ""
    partitions: int = 1


def place_of(text: str) -> tuple[Place, frozenset[str]]:
    """Where the tasks of a worker are, and what they are called, as it reports it."""
    said = json.loads(unquote(text))
    return Place(said["namespace"], said["partitions"]), frozenset(said["functions"])


class DevWorker:
    """A worker process, the line to it, and what it prints."""

    def __init__(self, command: Command, number: int, orphans: Orphans) -> None:
        self.slot = Slot(number)
        self._orphans = orphans
        self.place: Place | None = None  # once it stands by
        self.functions: frozenset[str] = frozenset()  # the names of its tasks
        self.blocked = ""  # which task blocks its event loop, and where
        self.blocked_at = 0.0  # since when that is known, on time.monotonic()
        self.loaded = False  # all but the code
        self.replies: list[list[str]] = []  # lines for the list of the dead
        self.printed = ""  # before it stood by
        self.asked_at = 0.0  # when it was told to stop, on time.monotonic()
        self.named = False  # whether its slow tasks have been named
        self.dumped = False  # whether its stack was asked for
        self.silent = False  # whether nobody can print any more
        self._rest = b""
        self._lines: list[str] = []
        self.output, theirs = os.pipe()
        os.set_blocking(self.output, False)
        try:
            self.slot.start(command, theirs)
        except BaseException:
            os.close(self.output)
            raise
        finally:
            os.close(theirs)
        orphans.note(self.process.pid)
        self.began = time.monotonic()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process."""
        assert self.slot.process is not None  # noqa: S101 - until `close`
        return self.slot.process

    @property
    def ended(self) -> str:
        """How it ended; "" while it runs."""
        code = self.process.poll()
        return "" if code is None else how_it_ended(self.slot, code, time.monotonic())

    def listen(self) -> bool:
        """Read its line; whether it has just reported to stand by."""
        before = self.place
        for words in self.slot.read_lines():
            if words[:1] == ["standby"]:
                self.place, self.functions = place_of(words[1])
            elif words[:1] == ["blocked"]:
                self.blocked, self.blocked_at = " at ".join(map(unquote, words[1:])), time.monotonic()
            elif words == ["loaded"]:
                self.loaded = True
            else:
                self.replies.append(words)
        return before is None and self.place is not None

    def read(self) -> None:
        """Read what it has printed."""
        with suppress(BlockingIOError):
            for _ in range(READS):
                fresh = os.read(self.output, CHUNK)
                self._rest += fresh
                self.silent = not fresh
        *lines, self._rest = self._rest.split(b"\n")
        if self._rest and self.process.poll() is not None:
            lines, self._rest = [*lines, self._rest], b""
        texts = [line.decode(errors="replace").rstrip("\r") for line in lines]
        if self.place is None and texts:
            self.printed = (self.printed + "\n".join(texts) + "\n")[-KEPT:]
        self._lines += texts

    def taken(self) -> list[str]:
        """The complete lines that were read since the last call."""
        lines, self._lines = self._lines, []
        return lines

    def taken_before(self, error: str) -> list[str]:
        """As `taken`, but from the first line that begins with `error` on they are kept."""
        at = next((number for number, line in enumerate(self._lines) if line.startswith(error)), None)
        lines, kept = self._lines[:at], self._lines[at:] if at is not None else []
        self._lines = kept
        return lines

    def begin(self) -> None:
        """Import the code, which is what it has waited for."""
        self.began = time.monotonic()
        self.slot.tell("begin")

    def stop(self) -> None:
        """Ask it to hand its tasks back and to exit."""
        self.asked_at = time.monotonic()
        self.slot.tell("stop")

    def dump(self) -> None:
        """Have it print the stack of its thread with the event loop, which needs no code of Python."""
        self.dumped = True
        self.process.send_signal(signal.SIGUSR2)

    def kill(self) -> None:
        """End it and what is in its process group, at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        """Its process has ended."""
        os.close(self.output)
        self._orphans.forget(self.process.pid)
        self.slot.empty()
