"""SIGHUP of a worker: the new code is tried in a child process, then the worker hands back and starts it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

import gevent

from pytask.daemon.relaunch import REFUSED, Launch
from pytask.logger import get_logger
from pytask.runtime.health import Attendant
from pytask.runtime.tree import Service

log = get_logger(__name__)

STEP = 0.05  # seconds between looks at the check


class Hangup:
    """What the daemon does on SIGHUP.  Those that come during a check count as one more."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._had_terminal = os.isatty(0)
        self._wanted = False
        self._checking = False
        self._end: Callable[[int], None] = lambda _: None  # until the run begins
        self._health: Attendant | None = None

    def attach(self, end: Callable[[int], None], health: Attendant) -> None:
        """The run begins: `end` ends it, as if by that signal; `health` is told of the check."""
        self._end, self._health = end, health

    def __call__(self) -> None:
        """SIGHUP came; called in the hub."""
        if self._had_terminal and not os.isatty(0):
            self._end(
                signal.SIGTERM
            )  # that signal was the terminal going away, and this program goes with it
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
        log.info("signal received: a child process checks what would start now")
        if self._health is not None:
            self._health.reloading()
        check = self._launch.check(sys.argv[1:])
        try:
            while (failed := check.result()) is None:
                gevent.sleep(STEP)
        except BaseException:
            check.end()  # the worker ends meanwhile
            raise
        if not failed:
            return True
        log.error(REFUSED, self._launch.folder, failed)
        if self._health is not None:
            self._health.refused()
        return False
