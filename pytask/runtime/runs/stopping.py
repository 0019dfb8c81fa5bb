"""Stopping a run: `stop()`, then repeated kills; and handling a run that survives them."""

from __future__ import annotations

from collections.abc import Callable

import gevent
from gevent import Timeout

from pytask import codec
from pytask.domain.control import StopReason, stop_word
from pytask.domain.leases import Lease
from pytask.domain.messages import Event
from pytask.domain.record import Change
from pytask.domain.task import Task
from pytask.logger import get_logger
from pytask.runtime.process.kill_timer import KillTimer
from pytask.runtime.runs import subprocesses, threads
from pytask.runtime.runs.committer import Committer
from pytask.runtime.runs.run import Run
from pytask.runtime.tree import StopGreenlet

log = get_logger(__name__)

KILLS = 64  # number of kills in the last third of the grace
LAST = 10  # fraction of the grace: for a coroutine that was cancelled twice
NAMED = 5  # greenlets of a run in a message
STUCK_SHOWN = 10  # tasks
MAY_STAY = (StopReason.MOVE, StopReason.RELOAD, StopReason.TIMEOUT, StopReason.STOP)
EXIT_STUCK = 70  # the process could not stop a run that it no longer owns


class Stopping:
    """Stops runs.  Its methods block; each run has a greenlet that calls them."""

    def __init__(
        self,
        *,
        lease: Lease,
        committer: Committer,
        kill_timer: KillTimer,
        clock: Callable[[], float],
        exit_process: Callable[[int], None],
    ) -> None:
        self._lease = lease
        self._committer = committer
        self._kill_timer = kill_timer
        self._clock = clock
        self._exit = exit_process
        self._unkilled: set[Run] = set()  # runs that survived a stop, which is retried
        self._hinted: set[type[Task]] = set()  # classes whose stop() has not ended a run

    @property
    def stuck(self) -> tuple[str, ...]:
        """Ids of tasks that survived a stop, up to a limit."""
        self._unkilled = {run for run in self._unkilled if not run.over}
        return tuple(sorted(run.id for run in self._unkilled)[:STUCK_SHOWN])

    def stop_and_kill(self, run: Run) -> bool:
        """Call stop(), then kill the whole tree repeatedly; returns whether it died within the grace."""
        if run.over:
            return True  # it ended by itself
        grace = self._lease.timing.grace
        until = self._clock() + grace
        stopper = run.stopper(stop_word(run.stop_reason, lost=self._lease.lost(self._clock())))
        if stopper is not None:
            self._wait_for_stop(run, stopper, grace / 2)
        run.over = self._kill_tree(run, until)
        return run.over

    def outlived(self, run: Run, *, leaving: bool) -> None:
        """The run survived: wait before the next attempt, or end the process; never requeue the task."""
        self._unkilled.add(run)
        where = run.whereabouts(NAMED)
        log.error("[PT042] task %s survives being killed (%s); its run stays registered", run.id, where)
        if not leaving and self._must_not_go_on(run):
            log.critical("task %s cannot be stopped but must not continue: ending this process", run.id)
            self._exit(EXIT_STUCK)
        elif run.stop_reason in (StopReason.STOP, StopReason.RELOAD, StopReason.TIMEOUT):
            seconds = self._lease.timing.grace
            event = codec.event(Event.STOP_TIMEOUT, {"seconds": seconds})
            self._committer.put(Change(run.ref.id, run.ref.run, event))
        if run.dead is not None:
            run.dead.wait(timeout=self._lease.timing.grace / 2)

    def _wait_for_stop(self, run: Run, stopper: StopGreenlet, seconds: float) -> None:
        """Wait for stop() and then for start(), for this time in total."""
        until = self._clock() + seconds
        stopper.join(timeout=seconds)
        if run.pause is not None:
            run.pause.leave()
        if not stopper.ready():
            log.warning(
                "[PT042] task %s: stop() did not return within %.1f s; killing its greenlets (%s)",
                run.id, seconds, threads.whereabouts(stopper),
            )  # fmt: skip
        elif stopper.value and run.dead is not None and not run.over:
            run.dead.wait(timeout=max(0.0, until - self._clock()))
            if not run.over:
                self._hint(run, seconds)

    def _hint(self, run: Run, seconds: float) -> None:
        """Say once per class that its stop() ends nothing: each stop and each deploy waits for it in vain."""
        alive = run.alive()
        if run.cls is None or run.cls in self._hinted or (alive and threads.only_threads(alive)):
            return
        self._hinted.add(run.cls)
        log.warning(
            "[PT179] task %s: stop() returned, and the task did not end within %.3g s, so it is killed now"
            " (%s). Each stop, reload and deploy of %s tasks waits this long: let stop() end start(), or do"
            " what it does in a `finally` of start() instead, without a stop()",
            run.id, seconds, run.whereabouts(NAMED), run.cls.__name__,
        )  # fmt: skip

    def _kill_tree(self, run: Run, until: float) -> bool:
        """Kill living greenlets repeatedly; returns whether all are dead."""
        subprocesses.end(run)  # signalled first, as a dying task may wait for one of them
        if run.coroutines is not None:
            run.coroutines.cancel()
        for share in (3, 2):
            self._kill(run, max(0.01, (until - self._clock()) / share))
        # A pool's greenlet treats a kill as the failure of one item and continues: kill it many times.
        for _ in range(KILLS):
            if not run.alive() or self._clock() >= until:
                break
            self._kill(run, self._lease.timing.grace / 3 / KILLS)
        return run.is_dead or self._end_coroutines(run, until)

    def _end_coroutines(self, run: Run, until: float) -> bool:
        """Wait for what was cancelled; cancel it again only at the end, since that cuts a `finally` off."""
        if run.coroutines is None or run.dead is None or run.alive():
            return False
        run.dead.wait(timeout=max(0.0, until - self._clock()))
        if not run.is_dead:
            run.coroutines.cancel(again=True)
            run.dead.wait(timeout=self._lease.timing.grace / LAST)
        return run.is_dead

    def _kill(self, run: Run, timeout: float) -> None:
        tree = run.alive()
        if not tree:
            return
        try:
            gevent.killall(tree, timeout=timeout)
        except Timeout:
            log.debug("task %s: %d greenlets survived a kill", run.id, len(run.alive()))

    def _must_not_go_on(self, run: Run) -> bool:
        """Whether another worker may start this task, or has started it.

        While its lease is valid, a run that should stop, reload or move, or that timed out, may stay.  A
        worker that shuts down first releases the others; remaining runs end with the process.
        """
        if not self._kill_timer.hard or run.stop_reason is None:
            return False
        return run.stop_reason not in MAY_STAY or self._lease.lost(self._clock())
