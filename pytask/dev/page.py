"""The page of `pytask dev --web`: a process of its own, on a free port of loopback."""

from __future__ import annotations

import subprocess

from pytask.daemon.child import Command
from pytask.daemon.program import program
from pytask.dev.orphans import Orphans
from pytask.dev.worker import Place
from pytask.domain.errors import PytaskError


class Page:
    """`pytask web` for the tasks of the code."""

    def __init__(self, worker: Command, orphans: Orphans) -> None:
        self._worker = worker  # whose program and environment it shares
        self._orphans = orphans
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, place: Place) -> str:
        """Start it, or another one; returns its address.  Raises `PytaskError` if it does not start."""
        self.close()
        words = [*program(), "web", "--port", "0", f"--namespace={place.namespace}"]
        self._process = subprocess.Popen(
            [*words, f"--partitions={place.partitions}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            cwd=self._worker.folder,
            env=self._worker.environ,
            process_group=0,  # Ctrl-C reaches only the parent
        )
        self._orphans.note(self._process.pid)
        assert self._process.stdout is not None  # noqa: S101 - for the type checker
        told = self._process.stdout.readline().decode(errors="replace")
        if "http" not in told:
            raise PytaskError("the page did not start: see above, or try `pytask web`")
        return told.rpartition(" ")[2].strip()

    def close(self) -> None:
        """End it; it keeps nothing."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._orphans.forget(self._process.pid)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None
