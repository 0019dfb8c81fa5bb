"""SIGHUP of a supervisor: tests the new code, then replaces one child after the other.

The next child is replaced when the previous successor takes tasks.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence

from pytask.daemon.child import Slot
from pytask.daemon.relaunch import REFUSED, Check
from pytask.daemon.supervisor_health import SupervisorHealth
from pytask.logger import get_logger

log = get_logger(__name__)


class RollingRestart:
    """Idle until `begin`; each `turn` is one step."""

    def __init__(
        self,
        slots: Sequence[Slot],
        health: SupervisorHealth,
        check: Callable[[], Check] | None = None,
        folder: str | None = None,
    ) -> None:
        self._slots = slots
        self._health = health
        self._check = check  # starts the check of the new code
        self._folder = folder
        self._checking: Check | None = None
        self._left: list[Slot] = []  # children to replace; the first is being replaced
        self._before: subprocess.Popen[bytes] | None = None  # the old process of the first one

    @property
    def idle(self) -> bool:
        """Whether another rolling restart may begin."""
        return not self._left and self._checking is None

    @property
    def replacing(self) -> bool:
        """Whether children are being replaced."""
        return bool(self._left)

    @property
    def checking(self) -> bool:
        """Whether the check is running: its end wakes `turn` through SIGCHLD, except for a timeout."""
        return self._checking is not None

    def asked(self, process: subprocess.Popen[bytes]) -> bool:
        """Whether this is the process that is being replaced."""
        return self.replacing and process is self._before

    def begin(self) -> None:
        """Start the check of the new code."""
        log.info("signal received: checking the new code in a child process")
        self._health.reload(done=False)
        self._checking = self._check() if self._check is not None else None
        if self._checking is None:
            self._replace()

    def turn(self) -> None:
        """One step, if a rolling restart is active."""
        self._look_at_check()
        while self._left and self._left[0].process is not self._before and self._left[0].ready:
            del self._left[0]
            self._replace_next()

    def give_up(self) -> None:
        """Do not replace the remaining children: the new code cannot run after all."""
        self._left.clear()
        self._health.reload(done=True)

    def end(self) -> None:
        """The supervisor shuts down."""
        self._left.clear()
        if self._checking is not None:
            self._checking.end()
            self._checking = None

    def _look_at_check(self) -> None:
        failed = self._checking.result() if self._checking is not None else None
        if failed is None:
            return
        self._checking = None
        if not failed:
            self._replace()
            return
        log.error(REFUSED, self._folder, failed)
        self._health.reload(done=True, how="the new code cannot run; the old code keeps running")

    def _replace(self) -> None:
        log.info("replacing the children one after the other")
        self._left = list(self._slots)
        self._replace_next()

    def _replace_next(self) -> None:
        if not self._left:
            log.info("all children have been replaced")
            self._health.reload(done=True)
            return
        self._before = self._left[0].process
        self._left[0].tell("stop")
