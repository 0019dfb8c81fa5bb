"""Runs: started from claims, stopped by wishes, settled when they are dead."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice
from typing import Any, Protocol

import gevent
from gevent import GreenletExit, Timeout
from gevent.event import Event as Flag

from pytask import codec
from pytask.domain.errors import PytaskError, Refused, StoreError, TaskFailed
from pytask.domain.lifecycle import Trigger
from pytask.domain.messages import Event
from pytask.domain.policy import (
    COMMIT_BATCH,
    CRASH_YOUNG,
    QUARANTINE_FROM,
    Lease,
    Wish,
    closing,
    outweighs,
)
from pytask.domain.ports import Backend, Borrower
from pytask.domain.record import Adoption, Change, Claim, RunRef, Verdict
from pytask.domain.task import Task
from pytask.logger import get_logger
from pytask.runtime import leftovers, threads
from pytask.runtime.committer import Committer
from pytask.runtime.courier import Courier
from pytask.runtime.deadman import Deadman
from pytask.runtime.process import exit_now
from pytask.runtime.ramp import Turns
from pytask.runtime.refusals import LARGE, Refusals
from pytask.runtime.reloads import Reloads
from pytask.runtime.run import Run
from pytask.runtime.settings import Settings
from pytask.runtime.tree import RunGreenlet, Service, StopGreenlet

log = get_logger(__name__)

ASKED_AT_ONCE = 256  # runs that begin to stop in one turn of the event loop
KILLS = 64  # in the last third of the time that a run has to die
NAMED = 5  # greenlets of a run, in a message
HELD_MOST = 20  # runs whose threads this worker shows
HELD_CHARACTERS = 500  # of each
STUCK_SHOWN = 10  # tasks
EXIT_STUCK = 70  # the process could not stop a run that it no longer owns
ENDED_WITHOUT_OUTPUT = codec.event(Event.ENDED, {"output": None})
HANDED_BACK = codec.event(Event.REQUEUED, {"reason": "handed back"})
MOVED = codec.event(Event.REQUEUED, {"reason": "rebalanced"})
STOPPED_EVENT = codec.event(Event.STOPPED)
WISHES = {
    Verdict.STOP: Wish.STOP,
    Verdict.RELOAD: Wish.RELOAD,
    Verdict.GONE: Wish.FORGET,
    Verdict.FENCED: Wish.FENCED,
}
LINGERS = (
    "[PT045] task %s: start() returned %g s ago, and the task ends when its threads do: %s. Fix: end them"
    " before start() returns; what is meant for all tasks is made at import, or in `with pytask.shared():`"
)

# Why a run is settled that could not be reloaded; in all other cases a newer run owns the id.
UNRELOADED = {Verdict.GONE: Wish.FORGET, Verdict.STOP: Wish.STOP}


class Ids(Protocol):
    """Makes the run ids of a worker session."""

    def next_run(self) -> str:
        """A run id that was never used."""


class Executor:
    """The table of this worker's runs: at most one living run an id, one thing at a time for each."""

    def __init__(
        self,
        *,
        settings: Settings,
        lease: Lease,
        committer: Committer,
        courier: Courier,
        deadman: Deadman,
        tasks: Mapping[str, type[Task]],
        backend: Backend,
        ids: Ids,
        clock: Callable[[], float],
        exit_process: Callable[[int], None] = exit_now,
        turns: Turns | None = None,
    ) -> None:
        self.turns = turns or Turns(tasks, clock)
        self.settings = settings
        self.tasks = tasks
        self.living: dict[str, Run] = {}
        self.leaving = False
        self.kept_by: dict[str, str] = {}  # by id: the threads that keep runs from ending, for `pytask why`
        self.monitors: set[str] = set()  # ids of the monitors that run here
        self.on_local_over: Callable[[str, Wish | None], None] = lambda _id, _wish: None
        self.on_place: Callable[[], None] = lambda: None  # a run is over, and its place free
        self.journal = committer.journal
        self._lease = lease
        self._committer = committer
        self._courier = courier
        self._deadman = deadman
        self._backend = backend
        self._ids = ids
        self._clock = clock
        self._exit = exit_process
        self._pid = os.getpid()
        self.reloads = Reloads(courier=courier, tasks=tasks, settings=settings, lease=lease, clock=clock)
        self._crashed_before: set[Run] = set()
        self._locals = 0
        self._unkilled: set[Run] = set()  # they outlived a stop, and are tried again

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

    @property
    def stuck(self) -> tuple[str, ...]:
        """Ids of tasks that outlived being stopped, a few of them."""
        self._unkilled = {run for run in self._unkilled if not run.over}
        return tuple(sorted(run.id for run in self._unkilled)[:STUCK_SHOWN])

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
                self.on_local_over(claim.id, Wish.HAND_BACK)
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
        event = STOPPED_EVENT if local else HANDED_BACK
        self._committer.put(Change(ref.id, ref.run, event, Trigger.RELEASE, local=local))

    # -- what runs ask for ----------------------------------------------------------------------------

    def emit(self, run: Run, event: bytes) -> None:
        """An event of a run, fenced like everything it writes."""
        self._check_process()
        self._committer.emit(Change(run.ref.id, run.ref.run, event))

    def progress(self, run: Run, progress: dict[str, Any]) -> None:
        """How far a run is; only the newest is sent."""
        self._check_process()
        if self.settings.progress:
            self.journal.progress(run, progress)

    def user_client(self, current: Callable[[], Borrower | None]) -> Any:
        """A Redis client for a run's own use."""
        self._check_process()
        return self._backend.user_client(current)

    def _check_process(self) -> None:
        # A forked child has the task's code, but its run is the parent's.
        if os.getpid() != self._pid:
            raise PytaskError("this process was forked from a worker: it is not one, and owns no tasks")

    @property
    def dropped(self) -> int:
        """Events of tasks that were dropped, as Redis did not take them fast enough."""
        return self._committer.dropped

    @property
    def courier(self) -> Courier:
        """For the Monitor: calls to the store that survive the caller's being killed."""
        return self._courier

    @property
    def lease(self) -> Lease:
        """What this worker may do."""
        return self._lease

    def now(self) -> float:
        """The worker's steady clock."""
        return self._clock()

    # -- wishes ---------------------------------------------------------------------------------------

    def heard(self, ref: RunRef, verdict: Verdict) -> None:
        """A renewal (or a control message) brought something for a run of ours."""
        run = self.living.get(ref.id)
        wish = WISHES.get(verdict)
        if run is None or run.ref.run != ref.run or wish is None:
            return
        if run.over and wish in (Wish.FENCED, Wish.FORGET):
            return  # it is being settled, or replaced; that verdict decides
        if wish is Wish.FORGET and self._restorable(run):
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

    def _restorable(self, run: Run) -> bool:
        return (
            self.settings.on_data_loss == "restore"
            and not run.local  # its worker makes a new one
            and run.wish is not Wish.STOP
            and bool(run.claim.function)
            and not run.claim.oversize
            and self._lease.lost_with_data(run.started, self._clock())
        )

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

    def fail(self, run: Run) -> None:
        """A run failed, and greenlets of it live on: they are killed, or it would never become an ERROR."""
        if run.actor is None and not run.over:
            run.stopping = True  # stop() is for tasks that are asked to stop
            self._start_actor(run)

    def lingers(self, run: Run) -> None:
        """`start()` has returned, and only threads live on, which nobody may have meant to be waited for."""
        Service.spawn_later(self._lease.timing.grace / 2, self._name_threads, run)

    def _name_threads(self, run: Run) -> None:
        alive = run.alive()
        if run.over or run.actor is not None or not threads.only_threads(alive):
            return
        names = "; ".join(map(threads.whereabouts, alive[:NAMED]))
        if len(self.kept_by) < HELD_MOST:
            self.kept_by[run.id] = names[:HELD_CHARACTERS]
        log.warning(LINGERS, run.id, self._lease.timing.grace / 2, names)

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
        while not self._ladder(run):
            self._go_on(run)
        if run.wish is Wish.RELOAD:
            self._replace(run)
        else:
            self._settle(run)

    def _ladder(self, run: Run) -> bool:
        """stop(), then kill the whole tree, three times; whether it is dead within the grace."""
        if run.over:
            return True  # it ended by itself
        grace = self._lease.timing.grace
        until = self._clock() + grace
        stopper = run.stopper()
        if stopper is not None:
            self._wait_for_stop(run, stopper, grace / 2)
        run.over = self._kill_tree(run, until)
        return run.over

    def _wait_for_stop(self, run: Run, stopper: StopGreenlet, seconds: float) -> None:
        """Give stop(), and then start() that it may have asked to end, this time together."""
        until = self._clock() + seconds
        stopper.join(timeout=seconds)
        if not stopper.ready():
            log.warning(
                "[PT042] task %s: stop() did not return in %.1f s; its greenlets are killed (%s)",
                run.id, seconds, threads.whereabouts(stopper),
            )  # fmt: skip
        elif stopper.value and run.dead is not None and not run.over:
            run.dead.wait(timeout=max(0.0, until - self._clock()))

    def _kill_tree(self, run: Run, until: float) -> bool:
        """Kill what lives, then again and again; whether all of it is dead."""
        for share in (3, 2):
            self._kill(run, max(0.01, (until - self._clock()) / share))
        # A pool's greenlet takes a kill for the failure of one item and goes on with the next: many kills.
        for _ in range(KILLS):
            if not run.alive() or self._clock() >= until:
                break
            self._kill(run, self._lease.timing.grace / 3 / KILLS)
        return not run.alive()

    def _kill(self, run: Run, timeout: float) -> None:
        tree = run.alive()
        if not tree:
            return
        try:
            gevent.killall(tree, timeout=timeout)
        except Timeout:
            log.debug("task %s: %d greenlets outlived a kill", run.id, len(run.alive()))

    def _go_on(self, run: Run) -> None:
        """A run that will not die: wait and try again, or end the process; never hand it on."""
        self._unkilled.add(run)
        names = "; ".join(map(threads.whereabouts, run.alive()[:NAMED]))
        log.error("[PT042] task %s ignores being killed (%s); its run stays registered", run.id, names)
        if self._must_not_go_on(run):
            log.critical("task %s cannot be stopped and must not go on: this process ends", run.id)
            self._exit(EXIT_STUCK)
        elif run.wish in (Wish.STOP, Wish.RELOAD):
            seconds = self._lease.timing.grace
            event = codec.event(Event.STOP_TIMEOUT, {"seconds": seconds})
            self._committer.put(Change(run.ref.id, run.ref.run, event))
        if run.dead is not None:
            run.dead.wait(timeout=self._lease.timing.grace / 2)

    def _must_not_go_on(self, run: Run) -> bool:
        """Whether somebody else may begin this task, or has begun it.

        While its lease holds, a run that was asked to stop, to reload or to move may as well stay. A worker
        that leaves first hands the others back; what then still runs ends with the process.
        """
        if not self._deadman.hard or run.wish is None or self.leaving:
            return False
        stays = run.wish in (Wish.STOP, Wish.RELOAD, Wish.MOVE)
        return not stays or self._lease.lost(self._clock())

    def _replace(self, old: Run) -> None:
        """E8: a new instance in place of the dead one, with the data that is in the hash now."""
        new = RunRef(old.id, self._ids.next_run())
        # The old run is dead and acts no more: no deadline counts for it, but it stays ours until then.
        self._lease.over(old.ref.run)
        self._lease.settling.add(old.ref, self._clock())
        claim, sent = self._ask_replacement(old, new)
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

    def _ask_replacement(self, old: Run, new: RunRef) -> tuple[Claim | None, float]:
        """The answer, and when the first call was sent that can have brought it."""
        sent, refusals, most = self._clock(), Refusals(), self.settings.max_data
        while True:
            try:
                return self._courier.call(
                    lambda store, most=most: store.reload(old.ref, new, self.settings.name, most)  # type: ignore[misc]
                ), sent
            except StoreError as error:
                if refusals.refused(error, self._lease.last_ok, self._clock()):
                    most = min(most, LARGE)  # what is over that is left out of the answer, and fails the run
                log.warning("task %s: reload waits for Redis: %s", old.id, error)
                if old.wish is not Wish.RELOAD:
                    return None, sent
                if isinstance(error, Refused):
                    sent = self._clock()  # a refused call did nothing
                gevent.sleep(self._lease.timing.call_timeout / 3)

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
            Service.spawn(self._restore, run)
        else:
            self._close(run, run.wish)
        if run.local:
            self.on_local_over(run.id, run.wish)

    def _restore(self, run: Run) -> None:
        """Queue a dead run's task again, from what it was claimed with."""
        claim, refusals, verdict = run.claim, Refusals(), None
        while True:
            try:
                verdict = self._courier.call(
                    lambda store: store.restore(claim.id, claim.function, claim.data)
                )
                break
            except StoreError as error:
                log.warning("task %s: waits to be restored: %s", run.id, error)
                if refusals.refused(error, self._lease.last_ok, self._clock()):
                    log.error("task %s: is not restored, Redis refuses it: %s", run.id, error)
                    break
                gevent.sleep(self._lease.timing.call_timeout / 3)
        if verdict is Verdict.OK:
            log.warning("task %s: was lost with the data of Redis; it is queued again", run.id)
        self._close(run, run.wish)

    def _forget(self, run: Run) -> None:
        if self.journal.unfinished:
            self.journal.finish(run)
        if self.living.get(run.id) is run:
            del self.living[run.id]
            self._locals -= run.local
            self.on_place()
        self._lease.over(run.ref.run)
        self.kept_by.pop(run.id, None)
        if run.borrower is not None:
            self._backend.close_user_client(run.borrower)
            run.borrower = run.client_ = None
        leftovers.look_at(run)
        if not self.living:
            self._deadman.arm(None)

    def _close(self, run: Run, wish: Wish | None) -> None:
        error, run.error = run.error, None  # its frames refer to the run
        if wish is Wish.RELOAD:
            wish = Wish.HAND_BACK
        trigger = closing(wish, run.failure is not None)
        if trigger is None:
            return
        self._committer.put(self._ending(run, trigger))
        if trigger is Trigger.FAIL:
            self._log_failure(run, error)

    def _log_failure(self, run: Run, error: BaseException | None) -> None:
        text = (run.failure or "").partition("\n")[0]
        about = {"task": run.id, "function": run.claim.function, "epoch": run.epoch}
        if error is None or isinstance(error, (TaskFailed, GreenletExit)):
            log.warning("task %s failed: %s", run.id, text, extra=about)
        else:
            log.error("task %s failed: %s", run.id, text, extra=about, exc_info=error)

    def _ending(self, run: Run, trigger: Trigger) -> Change:
        ref, settings = run.ref, self.settings
        if trigger is Trigger.END:
            if run.output is None:
                return Change(ref.id, ref.run, ENDED_WITHOUT_OUTPUT, trigger, keep=settings.keep_ended)
            event = b'{"event":"%b","data":{"output":%b}}' % (Event.ENDED.encode(), run.output)
            return Change(ref.id, ref.run, event, trigger, {"output": run.output}, settings.keep_ended)
        if trigger is Trigger.FAIL:
            error = run.failure or ""
            event = codec.event(Event.ERROR, {"error": error.partition("\n")[0]})
            return Change(ref.id, ref.run, event, trigger, {"error": error}, settings.keep_error)
        if trigger is Trigger.STOP:
            return Change(ref.id, ref.run, STOPPED_EVENT, trigger, keep=settings.keep_stopped)
        # A pre-started task goes with its worker; any other waits for the next one.
        event = STOPPED_EVENT if run.local else MOVED if run.wish is Wish.MOVE else HANDED_BACK
        return Change(ref.id, ref.run, event, Trigger.RELEASE, local=run.local)
