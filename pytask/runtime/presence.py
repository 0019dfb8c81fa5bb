"""Shows this worker to others, and notices when nobody watches for dead ones."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable

import gevent

from pytask.domain.errors import StoreError
from pytask.domain.policy import Timing
from pytask.domain.record import WorkerInfo
from pytask.runtime.courier import Courier
from pytask.runtime.executor import Executor

log = logging.getLogger(__name__)


class Presence:
    """An entry in `pytask:workers` every H.  Information only."""

    def __init__(
        self, *, courier: Courier, executor: Executor, timing: Timing, session: Callable[[], str]
    ) -> None:
        self._courier = courier
        self._executor = executor
        self._timing = timing
        self._session = session
        self._ended = False
        self._began: float | None = None
        self._warned = False

    def run(self) -> None:
        """Show up until told to end."""
        while not self._ended:
            try:
                self.show()
            except StoreError as error:
                log.debug("could not show up: %s", error)
            except Exception:
                log.exception("could not show up")
            gevent.sleep(self._timing.heartbeat)

    def end(self) -> None:
        """Let the loop end after what it is doing."""
        self._ended = True

    def info(self) -> WorkerInfo:
        """What there is to show at this moment."""
        return WorkerInfo(
            session=self._session(),
            name=self._executor.settings.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            running=len(self._executor.living),
            functions=tuple(sorted(self._executor.tasks)),
            tasks=self._executor.queued,
            max_tasks=self._executor.settings.max_tasks,
        )

    def show(self) -> None:
        """One entry; warns once when no monitor swept for 3T."""
        info = self.info()
        since = self._courier.call(lambda store: store.announce(info))
        now = self._executor.now()
        self._began = now if self._began is None else self._began
        silent = now - self._began if since is None else since
        if silent <= 3 * self._timing.expiry:
            self._warned = False
        elif not self._warned:
            self._warned = True
            log.warning(
                "no monitor has been seen for %.0f s: tasks of a dead worker are not handed on. Start one:"
                " app.add_task(Monitor); app.pre_start_task('pytask/monitor')",
                silent,
            )

    def leave(self) -> None:
        """Take the entry away."""
        session = self._session()
        self._courier.call(lambda store: store.leave(session))
