"""Copies what tasks log, by any logger, to the journals of their runs."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import Any

from pytask.runtime.runs.run import running


class TaskLines(logging.Handler):
    """Gives what is logged inside of a task to the journal of its run; one for the whole process."""

    _users = 0
    _shared: TaskLines | None = None

    def __init__(self) -> None:
        super().__init__()
        self.pid = os.getpid()  # of the worker whose tasks it hears

    def handle(self, record: logging.LogRecord) -> bool:
        """As any handler, but without its lock: nothing here switches, and native threads have no runs."""
        passed: Any = self.filter(record)  # may be another record, from Python 3.12 on
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        """One line; what is logged outside of tasks, or in a forked child, is not ours."""
        # A service of pytask's says by itself which run its line is about.
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
        """Listen at the root logger, once however many workers ask for it."""
        cls._users += 1
        if cls._shared is None:
            cls._shared = cls()
            logging.root.addHandler(cls._shared)
        cls._shared.pid = os.getpid()  # a forked child may become a worker of its own

    @classmethod
    def remove(cls) -> None:
        """Listen no more, once all workers said so."""
        cls._users -= 1
        if cls._users == 0 and cls._shared is not None:
            logging.root.removeHandler(cls._shared)
            cls._shared = None
