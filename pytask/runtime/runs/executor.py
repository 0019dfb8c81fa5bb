"""The table of runs: started from claims, stopped on request, settled when they are dead."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from typing import Any

import gevent

from pytask.domain.control import REASONS, StopReason, outweighs
from pytask.domain.crashes import CRASH_YOUNG, QUARANTINE_FROM
from pytask.domain.lifecycle import Trigger
from pytask.domain.limits import NO_RULE
from pytask.domain.messages import Command
from pytask.domain.record import Adoption, Answer, Claim, RunRef, Verdict
from pytask.domain.task_config import limits_of
from pytask.domain.timing import COMMIT_BATCH
from pytask.logger import get_logger
from pytask.runtime.monitor import MonitorPorts
from pytask.runtime.runs import leftover_sockets
from pytask.runtime.runs.actors import Actors
from pytask.runtime.runs.executor_ports import ExecutorPorts
from pytask.runtime.runs.hand_back import never_began
from pytask.runtime.runs.in_force import PACK_AFTER, Packer
from pytask.runtime.runs.lingering import Lingering
from pytask.runtime.runs.outcome import OutcomePorts, Outcomes
from pytask.runtime.runs.pausing import Pauses
from pytask.runtime.runs.reloads import Reloads
from pytask.runtime.runs.reports import Reports
from pytask.runtime.runs.run import Run
from pytask.runtime.runs.saving import Saving
from pytask.runtime.runs.stopping import Stopping
from pytask.runtime.runs.timeouts import Timeouts
from pytask.runtime.tree import RunGreenlet, Service

log = get_logger(__name__)

ASKED_AT_ONCE = 256  # runs that begin to stop in one iteration of the event loop

# The stop reason that settles a run whose reload failed; in all other cases a newer run owns the id.
# (The task of a paused run waits until it is resumed.)
UNRELOADED = {
    Verdict.GONE: StopReason.FORGET,
    Verdict.STOP: StopReason.STOP,
    Verdict.PAUSED: StopReason.HAND_BACK,
}


class Executor(Reports):
    """The table of this worker's runs: at most one living run per id, one operation at a time."""

    def __init__(self, ports: ExecutorPorts) -> None:
        super().__init__(ports)
        self.tasks = ports.tasks
        rules = {name: limits_of(cls) for name, cls in ports.tasks.items()}
        self.rules = {name: rule for name, rule in rules.items() if rule != NO_RULE}
        self.tally, self.tracing = ports.tally, ports.tracing
        self.asyncio = ports.asyncio
        self.living: dict[str, Run] = {}
        self.leaving = False
        self.lingering = Lingering(ports.lease.timing.grace / 2)
        self.stopping = Stopping(
            lease=ports.lease, committer=ports.committer, kill_timer=ports.kill_timer, clock=ports.clock,
            exit_process=ports.exit_process,
        )  # fmt: skip
        self.monitor_ports = MonitorPorts(
            lease=ports.lease, clock=ports.clock, store_proxy=ports.store_proxy,
            slow_sweep=ports.settings.slow_sweep, here=set(), samples=ports.settings.samples,
        )  # fmt: skip
        self._outcomes = Outcomes(_outcome_ports(ports))
        self.reloads = Reloads(
            store_proxy=ports.store_proxy, tasks=ports.tasks, settings=ports.settings, lease=ports.lease,
            clock=ports.clock,
        )  # fmt: skip
        self.saving = Saving(
            living=self.living, store_proxy=ports.store_proxy, lease=ports.lease, clock=ports.clock
        )  # fmt: skip
        self._actors = Actors(ports.lease.timing.grace, self._stop_loop, ports.asyncio)
        self._packer = Packer(self.living, ports.clock, PACK_AFTER * ports.lease.timing.scale)
        self.took_data: Callable[[Any], None] = self._packer.add
        self._turns = ports.turns
        self._timeouts = Timeouts(ports.tasks, self.stop_reason, ports.clock)
        self.pauses = Pauses(
            living=self.living, store_proxy=ports.store_proxy, lease=ports.lease, timeouts=self._timeouts,
            has_sent=ports.committer.has_sent,
        )  # fmt: skip
        self._store_proxy = ports.store_proxy
        self._kill_timer = ports.kill_timer
        self.backend = ports.backend
        self._ids = ports.ids
        self._clock = ports.clock
        self._on_place = ports.on_place
        self._on_local_over = ports.on_local_over
        self._crashed_before: set[Run] = set()
        self._locals = 0

    # -- starting -------------------------------------------------------------------------------------

    @property
    def occupied(self) -> int:
        """Slots in use: living runs and unacknowledged completions; pre-started tasks use none.

        Unacknowledged completions, up to one commit batch (256), do not count either; otherwise slots would
        idle for a round trip.  Further ones count, so that the backlog for a slow Redis stays bounded.
        """
        return self.queued + max(0, len(self._lease.settling) - COMMIT_BATCH)

    @property
    def queued(self) -> int:
        """Living runs that came from the queue, not pre-started."""
        return len(self.living) - self._locals

    def quarantine(self) -> int:
        """How many quarantined tasks may be claimed: one, until it has lived for a while."""
        after = self._clock() - CRASH_YOUNG * self._lease.timing.scale
        self._crashed_before = {run for run in self._crashed_before if not run.over and run.started > after}
        return 0 if self._crashed_before else 1

    def launch(self, claim: Claim, sent_at: float, *, local: bool = False, reloads: bool = False) -> None:
        """Start the run of a claim that was sent at `sent_at`; `reloads`: it replaces another run."""
        ref = RunRef(claim.id, claim.run)
        if claim.id in self.living:
            # A fenced run of this id is still being stopped here: do not start another beside it.
            log.warning(
                "task %s: claimed while an older run of it is still being stopped here; released", claim.id
            )
            gevent.spawn_later(self._lease.timing.heartbeat, self.give_back, ref)
            self._lease.settling.add(ref, sent_at)
            return
        if claim.function and claim.function not in self.tasks:
            self.give_back(ref, local=local)  # the next claim parks it
            if local:
                self._on_local_over(claim.id, StopReason.HAND_BACK, None)
            return
        run = Run(self, claim, ref, self.tasks.get(claim.function), self._clock())
        run.local = local
        if reloads:
            run.settling = True
        if claim.trial:
            run.trial = claim.run
        self._locals += local
        if claim.crashes >= QUARANTINE_FROM:
            self._crashed_before.add(run)
        self.living[claim.id] = run
        self.tally.launched(claim, reloads=reloads)
        self._lease.living.add(ref, sent_at)
        if not self._kill_timer.armed:
            self._kill_timer.arm(self._lease.kill_in(self._clock()))
        run.greenlet = greenlet = RunGreenlet(run)
        greenlet.start()

    def give_back(self, ref: RunRef, *, local: bool = False) -> None:
        """Release a claim whose run never began."""
        self.committer.put(never_began(ref, local=local))

    # -- calls by runs ----------------------------------------------------------------------------

    def wait_for_turn(self, run: Run) -> None:
        """Wait until the run may start, then start the clock of its timeout."""
        if self._turns.any and self._turns.wait(run.cls):
            run.began = self._clock()
        if self._timeouts.seconds:
            self._timeouts.begin(run)
        self.tally.starts.add(self._clock() - run.started)
        if self.tracing is not None:
            self.tracing.began(run)

    # -- requests -------------------------------------------------------------------------------------

    def renewed(self, ref: RunRef, answer: Answer) -> None:
        """Handle the answer of a renewal, other than OK, for a run of this worker."""
        if answer in (Command.PAUSE, Command.START):
            self.pauses.renewed(ref, Command(answer))
        run = self.living.get(ref.id)
        stop_reason = REASONS.get(answer)
        if run is None or run.ref.run != ref.run or stop_reason is None:
            return
        if run.over and stop_reason in (StopReason.FENCED, StopReason.FORGET):
            return  # it is being settled or replaced, which decides
        if stop_reason is StopReason.FORGET and self._outcomes.restorable(run):
            run.restore = True
        self.stop_reason(run, stop_reason)

    def adoptions(self, refs: Iterable[RunRef]) -> dict[RunRef, Adoption]:
        """The proofs with which Redis can restore those of these runs that live here."""
        found = {}
        for ref in refs:
            run = self.living.get(ref.id)
            if run is not None and run.ref == ref and not run.over:
                found[ref] = run.adoption
        return found

    def ask(self, task_id: str, stop_reason: StopReason) -> None:
        """Request to stop or reload the run of this id, if one lives here."""
        run = self.living.get(task_id)
        if run is not None:
            self.stop_reason(run, stop_reason)

    def stop_reason(self, run: Run, stop_reason: StopReason) -> None:
        """Record a stop reason; the first one starts the greenlet that stops the run."""
        if not outweighs(stop_reason, run.stop_reason):
            return
        if stop_reason is StopReason.RELOAD and run.fits is None:
            self.reloads.judge(run, self._reload, self.pauses.recheck)
            return
        run.stop_reason = stop_reason
        if run.actor is None and not run.over:
            # Before logging, whose handlers may switch greenlets: there must be only one.
            self._actors.start(run)
            if stop_reason in (StopReason.FENCED, StopReason.FORGET):
                log.warning("task %s: stopping its run on this worker: %s", run.id, stop_reason.name.lower())

    def _reload(self, run: Run) -> None:
        self.stop_reason(run, StopReason.RELOAD)

    def began(self, run: Run) -> None:
        """`start()` of a reloaded run is about to be called."""
        self.reloads.began(run)

    def fail(self, run: Run) -> None:
        """A run failed but has living greenlets: kill them, or it would never become an ERROR."""
        if run.actor is None and not run.over:
            run.stopping = True  # do not call stop(), which is for requested stops
            self._actors.start(run)

    def lingers(self, run: Run) -> None:
        """`start()` has returned and only threads are alive, which may be unintended."""
        self.lingering.watch(run)

    def hand_back_all(self) -> int:
        """Stop every run, to continue on another worker; returns how many were newly requested."""
        runs = [run for run in self.living.values() if outweighs(StopReason.HAND_BACK, run.stop_reason)]
        for number, run in enumerate(runs, 1):
            self.stop_reason(run, StopReason.HAND_BACK)
            if number % ASKED_AT_ONCE == 0:
                # A hundred thousand stops started at once would need a greenlet each, and time out before the
                # first of them was scheduled.
                gevent.sleep(0)
        return len(runs)

    def move(self, number: int, functions: Collection[str]) -> list[str]:
        """Release up to `number` runs of these functions, youngest first; returns their ids.

        Pre-started, quarantined and paused tasks are not released.
        """
        chosen = list(islice(_movable(reversed(self.living.values()), functions), number))
        for run in chosen:
            self.stop_reason(run, StopReason.MOVE)
        return [run.id for run in chosen]

    # -- stopping and reloading one run ---------------------------------------------------------------

    def _stop_loop(self, run: Run) -> None:
        while not self.stopping.stop_and_kill(run):
            self.stopping.outlived(run, leaving=self.leaving)
        if run.stop_reason is StopReason.RELOAD:
            self._replace(run)
        else:
            self._settle(run)

    def _replace(self, old: Run) -> None:
        """Replace a dead run with a new one, with the data now in the hash."""
        new = RunRef(old.id, self._ids.next_run())
        # The old run is dead: it has no deadline, but is renewed until it is replaced.
        self._lease.over(old.ref.run)
        self._lease.settling.add(old.ref, self._clock())
        self.flush(old, lambda: old.stop_reason is StopReason.RELOAD)
        claim, sent = self.reloads.replace(old, new)
        if claim is not None:
            self._lease.settling.remove(old.ref.run)
        if claim is not None and not claim.won:
            if claim.verdict is Verdict.UNRECOGNIZED:  # a newer script may have claimed it
                self.committer.unconfirmed([new], local=old.local)
            old.stop_reason = UNRELOADED.get(claim.verdict, StopReason.FENCED)
            self._settle(old)
            return
        if claim is None:  # Redis was lost: either run may be the registered one
            self._settle(old)
            if old.stop_reason is StopReason.STOP:
                self.committer.unconfirmed(
                    [new], Trigger.STOP, keep=self.settings.keep_stopped, local=old.local
                )
            else:
                self.committer.unconfirmed([new], local=old.local)
            return
        self._forget(old)
        if old.stop_reason is not StopReason.RELOAD:  # stopped or released meanwhile
            old.ref = new
            self._finish(old)
        elif not self._lease.claim_holds(sent, self._clock()):
            old.ref, old.stop_reason = new, StopReason.HAND_BACK  # the answer came too late to be used
            self._finish(old)
        else:
            self.launch(self.reloads.usable(old, claim), sent, local=old.local, reloads=True)
            self.pauses.inherit(old)

    # -- settling -------------------------------------------------------------------------------------

    def ended(self, run: Run) -> None:
        """Called once when a run is dead; may be called from the hub, so it never blocks."""
        if run.actor is None:
            self._settle(run)
        elif run.dead is not None:
            run.dead.set()
        elif run.stop_reason is StopReason.RELOAD:
            Service.spawn(self._replace, run)
        else:  # it was only cancelled
            self._settle(run)

    def _settle(self, run: Run) -> None:
        self._forget(run)
        self._finish(run)

    def _finish(self, run: Run) -> None:
        retry = None
        if run.restore:
            self._lease.settling.add(run.ref, self._clock())  # the worker does not exit before it is settled
            Service.spawn(self._outcomes.restore, run)
        else:
            retry = self._outcomes.close(run, run.stop_reason)
        if run.local:
            self._on_local_over(run.id, run.stop_reason, retry)

    def _forget(self, run: Run) -> None:
        if self._timeouts.timers:
            self._timeouts.forget(run)
        if run.pause is not None:
            self.pauses.forget(run)
        if self.journal.unfinished:
            self.journal.finish(run)
        if self.living.get(run.id) is run:
            del self.living[run.id]
            self.tally.over(run.claim)
            self._locals -= run.local
            self._on_place()
        self._lease.over(run.ref.run)
        if run.kept is not None:
            self.saving.forget(run)
        if self.lingering.kept_by:
            self.lingering.forget(run)
        if run.borrower is not None:
            self.backend.close_user_client(run.borrower)
            run.borrower = run.client_ = None
        if run.coroutines is not None:
            run.coroutines.forget()
        leftover_sockets.look_at(run)
        if not self.living:
            self._kill_timer.arm(None)


def _movable(runs: Iterable[Run], functions: Collection[str]) -> Iterator[Run]:
    return (
        run
        for run in runs
        if run.stop_reason is None and not run.over and not run.local
        and run.claim.function in functions and not run.claim.crashes and not run.paused
    )  # fmt: skip


def _outcome_ports(ports: ExecutorPorts) -> OutcomePorts:
    return OutcomePorts(
        settings=ports.settings, lease=ports.lease, committer=ports.committer, tally=ports.tally,
        tracing=ports.tracing, store_proxy=ports.store_proxy, tasks=ports.tasks, clock=ports.clock,
        uniform=ports.uniform,
    )  # fmt: skip
