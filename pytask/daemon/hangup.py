"""SIGHUP of a worker: tests the new code in a child process, then releases the tasks and starts it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

import gevent

from pytask.daemon.relaunch import REFUSED, Launch
from pytask.logger import get_logger
from pytask.runtime.health import HealthReporter
from pytask.runtime.tree import Service

log = get_logger(__name__)

STEP = 0.05  # seconds between polls of the check


class Hangup:
    """Handles SIGHUP.  Signals during a check count as one more."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._had_terminal = os.isatty(0)
        self._wanted = False
        self._checking = False
        self._end: Callable[[int], None] = lambda _: None  # until the worker starts
        self._health: HealthReporter | None = None

    def attach(self, end: Callable[[int], None], health: HealthReporter) -> None:
        """The worker starts: `end` ends it as that signal would; `health` is notified of the check."""
        self._end, self._health = end, health

    def __call__(self) -> None:
        """SIGHUP was received; called in the hub."""
        if self._had_terminal and not os.isatty(0):
            self._end(signal.SIGTERM)  # the terminal was closed, which ends this program
            return
        self._wanted = True
        if not self._checking:
            self._checking = True
            Service.spawn(self._run)

    def _run(self) -> None:
        try:
            while self._wanted:
                self._wanted = False
                if self._holds():
                    self._end(signal.SIGHUP)
                    return
        finally:
            self._checking = False

    def _holds(self) -> bool:
        log.info("signal received: checking the new code in a child process")
        if self._health is not None:
            self._health.reloading()
        check = self._launch.check(sys.argv[1:])
        try:
            while (failed := check.result()) is None:
                gevent.sleep(STEP)
        except BaseException:
            check.end()  # the worker is shutting down meanwhile
            raise
        if not failed:
            return True
        log.error(REFUSED, self._launch.folder, failed)
        if self._health is not None:
            self._health.refused()
        return False
