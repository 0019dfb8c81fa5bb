"""Pauses of runs: the gate closes, the task is told, and Redis learns when a greenlet waits at it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice
from typing import Any, cast

from gevent import GreenletExit

from pytask.domain.errors import StoreError
from pytask.domain.leases import Lease
from pytask.domain.messages import Command
from pytask.domain.record import Confirmation, RunRef
from pytask.domain.task import Task
from pytask.logger import get_logger
from pytask.runtime.runs import threads
from pytask.runtime.runs.gate import Gate
from pytask.runtime.runs.run import Run
from pytask.runtime.runs.timeouts import Timeouts
from pytask.runtime.store_proxy import StoreProxy
from pytask.runtime.tree import RunGreenlet, Service
from pytask.runtime.until_answered import until_answered

log = get_logger(__name__)

BATCH = 256  # confirmations of one call
MOST_RUNS = 20  # runs that have not reached a gate, of which this worker publishes where they are
MOST_CHARACTERS = 500  # of each
NAMED = 2  # greenlets of a run
HOOKS = ("on_pause", "on_resume")


class HookGreenlet(RunGreenlet):
    """The greenlet of a task's `on_pause()` or `on_resume()`, which follows that of the call before."""

    def __init__(self, run: Run, name: str, before: Any) -> None:
        super().__init__(run)
        self._before, self._task, self._called = before, run.task, name

    def _run(self) -> None:
        run, task, before = cast("Run | None", self.pytask_run), self._task, self._before
        self._task = self._before = None
        if before is not None:
            before.join()
        try:
            if run is not None:
                run.call(getattr(task, self._called))
        except GreenletExit:
            raise
        except BaseException:
            about = {"pytask_run": run}
            name = "?" if run is None else run.id
            log.exception("task %s: %s() raised an exception; it is ignored", name, self._called, extra=about)
        self.pytask_run = None


class Pauses:
    """The paused runs of a worker."""

    def __init__(
        self,
        *,
        living: Mapping[str, Run],
        store_proxy: StoreProxy,
        lease: Lease,
        timeouts: Timeouts,
        has_sent: Callable[[int, float], bool],
    ) -> None:
        self._living = living
        self._store_proxy = store_proxy
        self._timeouts = timeouts
        self._has_sent = has_sent  # see Committer
        self._pause = lease.timing.call_timeout / 3  # seconds between attempts
        self._pausing: dict[Run, None] = {}  # no greenlet of these has reached a gate
        self._untold: dict[Run, Command] = {}  # what Redis is to be told
        self._sends = False

    # -- requests -------------------------------------------------------------------------------------

    def ask(self, task_id: str, word: Command) -> None:
        """Pause or resume the run of this id, if one lives here."""
        run = self._living.get(task_id)
        if run is not None:
            self._ask(run, word)

    def renewed(self, ref: RunRef, word: Command) -> None:
        """A renewal found this request for a run."""
        run = self._living.get(ref.id)
        if run is not None and run.ref.run == ref.run:
            self._ask(run, word)

    def recheck(self, run: Run) -> None:
        """A reload that has replaced such a request is over, and the run goes on: is it paused?"""
        if not run.over and run.actor is None:
            self._tell(run, Command.PAUSE if run.paused else Command.START)

    def again(self) -> None:
        """Another server may have lost a pause, or a resume: what its hash says holds.

        Without this, nobody would tell a run that waits at its gate, and `start` does nothing to a task that
        is not paused.
        """
        for run in self._living.values():
            if run.pause is not None and (run.pause.waiting or not run.pause.closed):
                self.recheck(run)

    def inherit(self, old: Run) -> None:
        """The run that replaces a paused one is paused."""
        if old.paused:
            self.ask(old.id, Command.PAUSE)

    def _ask(self, run: Run, word: Command) -> None:
        if run.over or run.actor is not None:
            return
        if word is Command.PAUSE:
            self._close(run)
        else:
            self._open(run)

    def _close(self, run: Run) -> None:
        gate = run.pause
        if gate is None:
            gate = run.pause = Gate(partial(self._reached, run))
        if not gate.closed:
            gate.close()
            self._timeouts.hold(run)
            self._pausing[run] = None
            self._call(run, gate, "on_pause")
        elif gate.waiting:
            self._reached(run)  # the reply got lost, or it was asked for again

    def _open(self, run: Run) -> None:
        gate = run.pause
        if gate is not None and gate.closed:
            gate.open()
            self._timeouts.go_on(run)
            self._pausing.pop(run, None)
            self._call(run, gate, "on_resume")
        self._tell(run, Command.START)

    def _reached(self, run: Run) -> None:
        self._pausing.pop(run, None)
        self._tell(run, Command.PAUSE)

    @staticmethod
    def _call(run: Run, gate: Gate, name: str) -> None:
        task = run.task
        ended = run.returned and not run.busy
        if task is None or ended or getattr(type(task), name) is getattr(Task, name):
            return
        gate.hook = greenlet = HookGreenlet(run, name, gate.hook)
        greenlet.name = f"{name} of task {run.id}"
        run.adopt(greenlet)
        greenlet.start()

    # -- what Redis is told ---------------------------------------------------------------------------

    def _tell(self, run: Run, word: Command) -> None:
        self._untold[run] = word
        if not self._sends:
            self._sends = True
            Service.spawn(self._send)

    def _send(self) -> None:
        try:
            while self._untold:
                batch = dict(islice(self._untold.items(), BATCH))
                self._send_batch(batch)
        finally:
            self._sends = False

    def _send_batch(self, batch: Mapping[Run, Command]) -> None:
        # What a run emitted before it reached its gate comes before `paused`.
        last = max((run.emitted for run, word in batch.items() if word is Command.PAUSE), default=0)
        while not self._has_sent(last, self._pause) and not all(run.over for run in batch):
            pass
        told = [Confirmation(run.ref.id, run.ref.run, word) for run, word in batch.items()]

        def give_up(error: StoreError) -> bool:
            log.debug("could not tell Redis of %d pauses: %s", len(told), error)
            return all(run.over for run in batch)

        answers = until_answered(
            lambda: self._store_proxy.call(lambda store: store.confirm(told)), give_up, self._pause
        )
        for run, word in batch.items():
            if self._untold.get(run) is word:
                del self._untold[run]
        for (run, word), answer in zip(batch.items(), answers or [], strict=False):
            # It was resumed, or paused again, before Redis was told; a newer request may be on its way, too.
            if isinstance(answer, Command) and answer is not word and run not in self._untold:
                self._ask(run, answer)

    # -- reports --------------------------------------------------------------------------------------

    @property
    def whereabouts(self) -> dict[str, str]:
        """By id: where runs are that have not reached a gate."""
        return {run.id: _place(run) for run in islice(self._pausing, MOST_RUNS)}

    def forget(self, run: Run) -> None:
        """The run is over."""
        self._pausing.pop(run, None)


def _place(run: Run) -> str:
    hook = run.pause.hook if run.pause is not None else None
    busy = [threads.whereabouts(one) for one in reversed(run.alive()) if one is not hook]
    if run.coroutines is not None:
        busy += run.coroutines.whereabouts()
    return "; ".join(busy[:NAMED])[:MOST_CHARACTERS]
