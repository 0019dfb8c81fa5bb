"""Copies the log records of tasks, of any logger, to their task logs."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import Any

from pytask.runtime.runs.run import running


class TaskLines(logging.Handler):
    """Copies a record logged inside a task to its task log; one handler per process."""

    _users = 0
    _shared: TaskLines | None = None

    def __init__(self) -> None:
        super().__init__()
        self.pid = os.getpid()  # of the worker

    def handle(self, record: logging.LogRecord) -> bool:
        """As any handler, but without its lock: no code here switches, and native threads have no runs."""
        passed: Any = self.filter(record)  # may be another record, from Python 3.12 on
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        """Copy one record; records outside tasks, or of a forked child, are ignored."""
        # Services of pytask name the run in the record itself.
        run = getattr(record, "pytask_run", None) or running()
        if run is None or os.getpid() != self.pid:
            return
        try:
            run.host.journal.log(run, record)
        except Exception:  # noqa: BLE001 - as all handlers of logging do
            with suppress(Exception):  # it writes to standard error, which may be closed
                self.handleError(record)

    @classmethod
    def install(cls) -> None:
        """Add the handler to the root logger, once for all workers."""
        cls._users += 1
        if cls._shared is None:
            cls._shared = cls()
            logging.root.addHandler(cls._shared)
        cls._shared.pid = os.getpid()  # a forked child may become a worker of its own

    @classmethod
    def remove(cls) -> None:
        """Remove the handler when all workers have uninstalled it."""
        cls._users -= 1
        if cls._users == 0 and cls._shared is not None:
            logging.root.removeHandler(cls._shared)
            cls._shared = None
