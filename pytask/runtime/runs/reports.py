"""What runs report through their worker: events and progress."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from pytask.domain.errors import PytaskError, WrongThread
from pytask.domain.record import Change
from pytask.runtime.runs.executor_ports import ExecutorPorts
from pytask.runtime.runs.run import Run


class Reports:
    """The part of a worker that takes what its runs report."""

    def __init__(self, ports: ExecutorPorts) -> None:
        self.settings = ports.settings
        self.native = ports.native
        self.committer = ports.committer
        self.journal = ports.committer.journal
        self._lease = ports.lease
        self._pid = os.getpid()

    def emit(self, run: Run, event: bytes) -> None:
        """An event of a run, fenced like everything it writes."""
        self.check_caller(run)
        run.emitted = self.committer.emit(Change(run.ref.id, run.ref.run, event))

    def emit_later(self, run: Run, event: bytes) -> None:
        """As `emit`, without the wait: for a coroutine, which waits in its own thread."""
        run.emitted = self.committer.add(Change(run.ref.id, run.ref.run, event))

    def flush(self, run: Run, needed: Callable[[], bool]) -> None:
        """Wait until Redis has the events of a run, while `needed()`.

        They go through the committer: without this, what is stored by another call might overtake them.
        Those of a run that has been replaced would be fenced, and lost.
        """
        while needed() and not self.committer.has_sent(run.emitted, self._lease.timing.heartbeat):
            pass

    def progress(self, run: Run, progress: dict[str, Any]) -> None:
        """The progress of a run; only the newest report is sent."""
        self.check_caller(run)
        if self.settings.progress:
            self.journal.progress(run, progress)

    def check_caller(self, run: Run) -> None:
        """Raise unless called in the process and the thread of the event loop.

        A forked child has the task's code, but the run belongs to the parent.
        """
        if self.native.is_home:
            return
        if os.getpid() != self._pid:
            raise PytaskError("this process was forked from a worker: it is not a worker and owns no tasks")
        raise WrongThread(run.id)
