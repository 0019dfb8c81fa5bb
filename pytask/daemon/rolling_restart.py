"""SIGHUP of a supervisor: the new code is tried, then one child after the other is replaced.

The next one follows when the successor takes tasks.
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
    """Idle until `begin`; each `turn` is one look."""

    def __init__(
        self,
        slots: Sequence[Slot],
        health: SupervisorHealth,
        check: Callable[[], Check] | None = None,
        folder: str | None = None,
    ) -> None:
        self._slots = slots
        self._health = health
        self._check = check  # begins to try the new code
        self._folder = folder
        self._checking: Check | None = None
        self._left: list[Slot] = []  # to be replaced, the first is at it
        self._before: subprocess.Popen[bytes] | None = None  # the process that the first one had

    @property
    def idle(self) -> bool:
        """Whether another one may begin."""
        return not self._left and self._checking is None

    @property
    def replacing(self) -> bool:
        """Whether children are replaced at this moment."""
        return bool(self._left)

    @property
    def checking(self) -> bool:
        """Whether the new code is being tried: its end wakes `turn` by SIGCHLD, but for the time limit."""
        return self._checking is not None

    def asked(self, process: subprocess.Popen[bytes]) -> bool:
        """Whether this is the process that is being replaced."""
        return self.replacing and process is self._before

    def begin(self) -> None:
        """Try the new code."""
        log.info("signal received: a child process checks what would start now")
        self._health.reload(done=False)
        self._checking = self._check() if self._check is not None else None
        if self._checking is None:
            self._replace()

    def turn(self) -> None:
        """Go on, if there is something to go on with."""
        self._look_at_check()
        while self._left and self._left[0].process is not self._before and self._left[0].ready:
            del self._left[0]
            self._replace_next()

    def give_up(self) -> None:
        """Leave the others as they are: the new code cannot run after all."""
        self._left.clear()
        self._health.reload(done=True)

    def end(self) -> None:
        """The supervisor ends."""
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
        self._health.reload(done=True, how="the new code was refused; the old goes on")

    def _replace(self) -> None:
        log.info("the children are replaced, one after the other")
        self._left = list(self._slots)
        self._replace_next()

    def _replace_next(self) -> None:
        if not self._left:
            log.info("all children are replaced")
            self._health.reload(done=True)
            return
        self._before = self._left[0].process
        self._left[0].tell("stop")
