"""Runs: started from claims, stopped by wishes, settled when they are dead."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice
from typing import Any, Protocol

import attrs
import gevent
from gevent.event import Event as Flag

from pytask.domain.control import Wish, outweighs
from pytask.domain.crashes import CRASH_YOUNG, QUARANTINE_FROM
from pytask.domain.errors import PytaskError, WrongThread
from pytask.domain.leases import Lease
from pytask.domain.lifecycle import Trigger
from pytask.domain.ports import Backend, Borrower
from pytask.domain.record import Adoption, Change, Claim, RunRef, Verdict
from pytask.domain.task import Task
from pytask.domain.timing import COMMIT_BATCH
from pytask.logger import get_logger
from pytask.runtime.monitor import MonitorPorts
from pytask.runtime.process.host import exit_now
from pytask.runtime.process.kill_timer import Deadman
from pytask.runtime.runs import leftover_sockets
from pytask.runtime.runs.committer import Committer
from pytask.runtime.runs.lingering import Lingering
from pytask.runtime.runs.native_threads import NativePool
from pytask.runtime.runs.outcome import Outcomes, never_began
from pytask.runtime.runs.reloads import Reloads
from pytask.runtime.runs.run import Run
from pytask.runtime.runs.start_rate import Turns
from pytask.runtime.runs.stopping import Stopping
from pytask.runtime.settings import Settings
from pytask.runtime.store_proxy import Courier
from pytask.runtime.tree import RunGreenlet, Service

log = get_logger(__name__)

ASKED_AT_ONCE = 256  # runs that begin to stop in one turn of the event loop
WISHES = {
    Verdict.STOP: Wish.STOP,
    Verdict.RELOAD: Wish.RELOAD,
    Verdict.GONE: Wish.FORGET,
    Verdict.FENCED: Wish.FENCED,
}

# Why a run is settled that could not be reloaded; in all other cases a newer run owns the id.
UNRELOADED = {Verdict.GONE: Wish.FORGET, Verdict.STOP: Wish.STOP}


class Ids(Protocol):
    """Makes the run ids of a worker session."""

    def next_run(self) -> str:
        """A run id that was never used."""


@attrs.frozen(kw_only=True)
class ExecutorPorts:
    """What an executor works with."""

    settings: Settings
    lease: Lease
    committer: Committer
    courier: Courier
    deadman: Deadman
    tasks: Mapping[str, type[Task]]
    turns: Turns
    native: NativePool
    backend: Backend
    ids: Ids
    clock: Callable[[], float]
    on_place: Callable[[], None]  # a run is over and its place is free
    on_local_over: Callable[[str, Wish | None], None]  # a pre-started task is over: id, last wish
    exit_process: Callable[[int], None] = exit_now


class Executor:
    """The table of this worker's runs: at most one living run an id, one thing at a time for each."""

    def __init__(self, ports: ExecutorPorts) -> None:
        self.settings = ports.settings
        self.tasks = ports.tasks
        self.turns = ports.turns
        self.native = ports.native
        self.living: dict[str, Run] = {}
        self.leaving = False
        self.lingering = Lingering(ports.lease.timing.grace / 2)
        self.journal = ports.committer.journal
        self.stopping = Stopping(
            lease=ports.lease, committer=ports.committer, deadman=ports.deadman, clock=ports.clock,
            exit_process=ports.exit_process,
        )  # fmt: skip
        self.monitor_ports = MonitorPorts(
            lease=ports.lease, clock=ports.clock, courier=ports.courier, slow_sweep=ports.settings.slow_sweep,
            here=set(),
        )  # fmt: skip
        self._outcomes = Outcomes(
            settings=ports.settings, lease=ports.lease, committer=ports.committer, courier=ports.courier,
            clock=ports.clock,
        )  # fmt: skip
        self.reloads = Reloads(
            courier=ports.courier, tasks=ports.tasks, settings=ports.settings, lease=ports.lease,
            clock=ports.clock,
        )  # fmt: skip
        self._lease = ports.lease
        self._committer = ports.committer
        self._courier = ports.courier
        self._deadman = ports.deadman
        self._backend = ports.backend
        self._ids = ports.ids
        self._clock = ports.clock
        self._on_place = ports.on_place
        self._on_local_over = ports.on_local_over
        self._pid = os.getpid()
        self._crashed_before: set[Run] = set()
        self._locals = 0

    # -- starting -------------------------------------------------------------------------------------

    @property
    def occupied(self) -> int:
        """Places in use: runs that live, and ends that are not acknowledged; pre-started tasks need none.

        The ends of one commit need none either: a place that waited for the answer would stand empty for
        as long.  Those beyond do, so that what waits for a slow Redis stays bounded.
        """
        return self.queued + max(0, len(self._lease.settling) - COMMIT_BATCH)

    @property
    def queued(self) -> int:
        """Living runs that came from the queue, not pre-started."""
        return len(self.living) - self._locals

    def quarantine(self) -> int:
        """How many tasks that crashed before may be taken: one, until it has lived a while."""
        after = self._clock() - CRASH_YOUNG * self._lease.timing.scale
        self._crashed_before = {run for run in self._crashed_before if not run.over and run.started > after}
        return 0 if self._crashed_before else 1

    def launch(self, claim: Claim, sent_at: float, *, local: bool = False, reloads: bool = False) -> None:
        """Start the run of a claim that was sent at `sent_at`; `reloads`: in the place of another."""
        ref = RunRef(claim.id, claim.run)
        if claim.id in self.living:
            # A run of this id that was fenced off is still dying here: not beside it.
            log.warning("task %s: claimed while an older run of it is dying here; handed back", claim.id)
            gevent.spawn_later(self._lease.timing.heartbeat, self.give_back, ref)
            self._lease.settling.add(ref, sent_at)
            return
        if claim.function and claim.function not in self.tasks:
            self.give_back(ref, local=local)  # it goes to the parking list at the next claim
            if local:
                self._on_local_over(claim.id, Wish.HAND_BACK)
            return
        run = Run(self, claim, ref, self.tasks.get(claim.function), self._clock())
        run.local, run.settling = local, reloads
        self._locals += local
        if claim.crashes >= QUARANTINE_FROM:
            self._crashed_before.add(run)
        self.living[claim.id] = run
        self._lease.living.add(ref, sent_at)
        if not self._deadman.armed:
            self._deadman.arm(self._lease.kill_in(self._clock()))
        run.greenlet = greenlet = RunGreenlet(run)
        greenlet.start()

    def give_back(self, ref: RunRef, *, local: bool = False) -> None:
        """Release a claim whose run never began."""
        self._committer.put(never_began(ref, local=local))

    # -- what runs ask for ----------------------------------------------------------------------------

    def emit(self, run: Run, event: bytes) -> None:
        """An event of a run, fenced like everything it writes."""
        self.check_caller(run)
        self._committer.emit(Change(run.ref.id, run.ref.run, event))

    def progress(self, run: Run, progress: dict[str, Any]) -> None:
        """How far a run is; only the newest is sent."""
        self.check_caller(run)
        if self.settings.progress:
            self.journal.progress(run, progress)

    def user_client(self, current: Callable[[], Borrower | None]) -> Any:
        """A Redis client for a run's own use."""
        return self._backend.user_client(current)

    def check_caller(self, run: Run) -> None:
        """Raise unless this is the process and the thread of the event loop.

        A forked child has the task's code, but its run is the parent's.
        """
        if self.native.is_home:
            return
        if os.getpid() != self._pid:
            raise PytaskError("this process was forked from a worker: it is not one, and owns no tasks")
        raise WrongThread(run.id)

    # -- wishes ---------------------------------------------------------------------------------------

    def heard(self, ref: RunRef, verdict: Verdict) -> None:
        """A renewal (or a control message) brought something for a run of ours."""
        run = self.living.get(ref.id)
        wish = WISHES.get(verdict)
        if run is None or run.ref.run != ref.run or wish is None:
            return
        if run.over and wish in (Wish.FENCED, Wish.FORGET):
            return  # it is being settled, or replaced; that verdict decides
        if wish is Wish.FORGET and self._outcomes.restorable(run):
            run.restore = True
        self.wish(run, wish)

    def adoptions(self, refs: Iterable[RunRef]) -> dict[RunRef, Adoption]:
        """What proves to a Redis that forgot them that these runs live here; without those that do not."""
        found = {}
        for ref in refs:
            run = self.living.get(ref.id)
            if run is not None and run.ref == ref and not run.over:
                found[ref] = Adoption(ref.id, ref.run, run.epoch)
        return found

    def ask(self, task_id: str, wish: Wish) -> None:
        """A wish for whatever run of the id lives here."""
        run = self.living.get(task_id)
        if run is not None:
            self.wish(run, wish)

    def wish(self, run: Run, wish: Wish) -> None:
        """Note a wish; the first one makes the run's actor."""
        if not outweighs(wish, run.wish):
            return
        if wish is Wish.RELOAD and run.fits is None:
            self.reloads.judge(run, self._reload)
            return
        run.wish = wish
        if run.actor is None and not run.over:
            self._start_actor(run)  # before the log, whose handlers may switch: there is one actor only
            if wish in (Wish.FENCED, Wish.FORGET):
                log.warning("task %s: its run here is stopped: %s", run.id, wish.name.lower())

    def _reload(self, run: Run) -> None:
        self.wish(run, Wish.RELOAD)

    def began(self, run: Run) -> None:
        """`start()` of a run that a reload began is about to be called."""
        self.reloads.began(run)

    def fail(self, run: Run) -> None:
        """A run failed, and greenlets of it live on: they are killed, or it would never become an ERROR."""
        if run.actor is None and not run.over:
            run.stopping = True  # stop() is for tasks that are asked to stop
            self._start_actor(run)

    def lingers(self, run: Run) -> None:
        """`start()` has returned, and only threads live on, which nobody may have meant to be waited for."""
        self.lingering.watch(run)

    def _start_actor(self, run: Run) -> None:
        run.dead = Flag()
        run.actor = Service.spawn(self._act, run)

    def hand_back_all(self) -> int:
        """Every run down the ladder, to go on elsewhere; returns how many were newly asked."""
        runs = [run for run in self.living.values() if outweighs(Wish.HAND_BACK, run.wish)]
        for number, run in enumerate(runs, 1):
            self.wish(run, Wish.HAND_BACK)
            if number % ASKED_AT_ONCE == 0:
                # A hundred thousand ladders begun at once would need a greenlet each, and run out of time
                # before the first of them had its turn.
                gevent.sleep(0)
        return len(runs)

    def move(self, number: int, functions: Collection[str]) -> list[str]:
        """Hand back up to `number` runs of these functions, the youngest first; their ids.

        Pre-started ones stay, and those that crashed before, which are taken one at a time.
        """
        fit = (
            run
            for run in reversed(self.living.values())
            if run.wish is None and not run.over and not run.local
            and run.claim.function in functions and not run.claim.crashes
        )  # fmt: skip
        chosen = list(islice(fit, number))
        for run in chosen:
            self.wish(run, Wish.MOVE)
        return [run.id for run in chosen]

    # -- the actor of one run -------------------------------------------------------------------------

    def _act(self, run: Run) -> None:
        while not self.stopping.stop_and_kill(run):
            self.stopping.outlived(run, leaving=self.leaving)
        if run.wish is Wish.RELOAD:
            self._replace(run)
        else:
            self._settle(run)

    def _replace(self, old: Run) -> None:
        """E8: a new instance in place of the dead one, with the data that is in the hash now."""
        new = RunRef(old.id, self._ids.next_run())
        # The old run is dead and acts no more: no deadline counts for it, but it stays ours until then.
        self._lease.over(old.ref.run)
        self._lease.settling.add(old.ref, self._clock())
        claim, sent = self.reloads.replace(old, new)
        if claim is not None:
            self._lease.settling.remove(old.ref.run)
        if claim is not None and not claim.won:
            if claim.verdict is Verdict.FOREIGN:  # a newer script may have made it ours
                self._committer.doubt([new], local=old.local)
            old.wish = UNRELOADED.get(claim.verdict, Wish.FENCED)
            self._settle(old)
            return
        if claim is None:  # lost Redis on the way: one of the two is the live one
            self._settle(old)
            if old.wish is Wish.STOP:
                self._committer.doubt([new], Trigger.STOP, keep=self.settings.keep_stopped, local=old.local)
            else:
                self._committer.doubt([new], local=old.local)
            return
        self._forget(old)
        if old.wish is not Wish.RELOAD:  # stopped, or handed back, meanwhile
            old.ref = new
            self._finish(old)
        elif not self._lease.claim_holds(sent, self._clock()):
            old.ref, old.wish = new, Wish.HAND_BACK  # the answer came too late to be used
            self._finish(old)
        else:
            self.launch(self.reloads.usable(old, claim), sent, local=old.local, reloads=True)

    # -- settling -------------------------------------------------------------------------------------

    def ended(self, run: Run) -> None:
        """Called once when nothing of a run is left; may be called from the hub, so never blocks."""
        if run.actor is None:
            self._settle(run)
        elif run.dead is not None:
            run.dead.set()

    def _settle(self, run: Run) -> None:
        self._forget(run)
        self._finish(run)

    def _finish(self, run: Run) -> None:
        if run.restore:
            self._lease.settling.add(run.ref, self._clock())  # the worker does not leave before it is done
            Service.spawn(self._outcomes.restore, run)
        else:
            self._outcomes.close(run, run.wish)
        if run.local:
            self._on_local_over(run.id, run.wish)

    def _forget(self, run: Run) -> None:
        if self.journal.unfinished:
            self.journal.finish(run)
        if self.living.get(run.id) is run:
            del self.living[run.id]
            self._locals -= run.local
            self._on_place()
        self._lease.over(run.ref.run)
        if self.lingering.kept_by:
            self.lingering.forget(run)
        if run.borrower is not None:
            self._backend.close_user_client(run.borrower)
            run.borrower = run.client_ = None
        leftover_sockets.look_at(run)
        if not self.living:
            self._deadman.arm(None)
