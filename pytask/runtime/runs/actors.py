"""Who stops a run: a greenlet each; but what is only coroutines is cancelled first.

A greenlet for each of 50,000 coroutines that are stopped at once would cost more than they do.
"""

from __future__ import annotations

from collections.abc import Callable

import gevent
from gevent.event import Event as Flag

from pytask.domain.task import Task
from pytask.runtime.runs.coroutine_ports import CoroutineHost, Coroutines
from pytask.runtime.runs.run import Run
from pytask.runtime.tree import Service

SHARE = 8  # fraction of the grace: a cancelled run that goes on gets a greenlet after one or two of them
TOGETHER = 256  # runs whose coroutines are cancelled in one call of the asyncio loop


class Actors:
    """Starts what stops a run, once for each."""

    def __init__(self, grace: float, stop_loop: Callable[[Run], None], host: CoroutineHost) -> None:
        self._pause = grace / SHARE
        self._stop_loop = stop_loop
        self._host = host
        self._asked: list[Coroutines] = []  # to be cancelled in the next iteration of the event loop
        self._before: list[Run] = []  # that were cancelled
        self._since: list[Run] = []  # the same, after the watcher has looked
        self._watcher: Service | None = None

    def start(self, run: Run) -> None:
        """Stop a run: afterwards it has an actor."""
        kind = Task if run.cls is None else run.cls
        if run.coroutines is None or run.greenlet is not None or run.children or kind.stop is not Task.stop:
            self._insist(run)
            return
        if not self._asked:
            gevent.get_hub().loop.run_callback(self._cancel)
        self._asked.append(run.coroutines)
        self._since.append(run)
        if self._watcher is None:
            self._watcher = Service.spawn(self._watch)
        run.actor = self._watcher

    def _cancel(self) -> None:
        # All at once, and later than what asked for them: a call for each would wake the loop's thread each
        # time, and the two would hand the interpreter to and fro.
        several, self._asked = self._asked[:TOGETHER], self._asked[TOGETHER:]
        self._host.cancel(several)
        if self._asked:
            gevent.get_hub().loop.run_callback(self._cancel)

    def _watch(self) -> None:
        while self._since or self._before:
            gevent.sleep(self._pause)
            late, self._before, self._since = self._before, self._since, []
            for run in late:
                if not run.over:
                    self._insist(run)
        self._watcher = None

    def _insist(self, run: Run) -> None:
        run.dead = Flag()
        run.actor = Service.spawn(self._stop_loop, run)
