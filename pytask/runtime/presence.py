"""Shows this worker to others, and notices when nobody watches for dead ones."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from functools import cache

import gevent

from pytask.domain.errors import StoreError
from pytask.domain.policy import Timing
from pytask.domain.record import WorkerInfo
from pytask.domain.version import __version__, may_share
from pytask.runtime.courier import Courier
from pytask.runtime.executor import Executor

log = logging.getLogger(__name__)

LOOK_EVERY = 12  # heartbeats between two looks at the releases of the others


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
        self._shows = 0

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
            version=__version__,
            dropped=self._executor.dropped,
        )

    def show(self) -> None:
        """One entry; warns once when no monitor swept for 3T, or when a release does not fit ours."""
        info = self.info()
        since = self._courier.call(lambda store: store.announce(info))
        self._watch_monitors(since)
        if self._shows % LOOK_EVERY == 0:
            self.look()
        self._shows += 1

    def look(self) -> None:
        """Warn, once for each, of workers of a release that is not made to share a Redis with ours."""
        within = 3 * self._timing.heartbeat + 1  # the times there are whole seconds
        for other in self._courier.call(lambda store: store.crew(within)):
            if not may_share(__version__, other.version):
                _warn_of(other.version, other.name, other.host)

    def _watch_monitors(self, since: float | None) -> None:
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


@cache  # a worker looks again and again, and so does each of its lanes
def _warn_of(version: str, name: str, host: str) -> None:
    log.warning(
        "worker %r on %r runs pytask %r, and this one %s: releases whose first numbers differ may not"
        " understand each other's tasks. Let one release take over from the other soon, or give them"
        " namespaces of their own",
        name[:80], host[:80], version, __version__,
    )  # fmt: skip
