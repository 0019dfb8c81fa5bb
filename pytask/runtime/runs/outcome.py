"""Reporting the outcome of a dead run to Redis."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
import gevent
from gevent import GreenletExit

from pytask import codec
from pytask.domain.control import StopReason, closing
from pytask.domain.errors import StoreError, TaskFailed
from pytask.domain.leases import Lease
from pytask.domain.lifecycle import Trigger
from pytask.domain.messages import Event
from pytask.domain.metrics import RestartReason
from pytask.domain.record import NO_FIELDS, Change, Verdict
from pytask.domain.restarts import GiveUp, Retry, decide, policy_of
from pytask.domain.task import Task
from pytask.domain.task_config import restart_policy, run_timeout, secret_fields
from pytask.logger import get_logger
from pytask.runtime.runs import restarting
from pytask.runtime.runs.committer import Committer
from pytask.runtime.runs.failure import frames_of_task, needs_traceback
from pytask.runtime.runs.hand_back import HANDED_BACK, STOPPED_EVENT
from pytask.runtime.runs.in_force import in_force
from pytask.runtime.runs.refusals import Refusals
from pytask.runtime.runs.reload_trial import after_trial, is_on_trial, rolled_back
from pytask.runtime.runs.run import Run
from pytask.runtime.runs.run_host import TracingPort
from pytask.runtime.runs.saving import carrying
from pytask.runtime.runs.tally import Tally
from pytask.runtime.settings import Settings
from pytask.runtime.store_proxy import StoreProxy
from pytask.runtime.until_answered import until_answered

log = get_logger(__name__)

# Each run ends with a look at these: to get a member from its class takes Python 3.11 as long as a call.
END, FAIL, RELEASE = Trigger.END, Trigger.FAIL, Trigger.RELEASE
RELOAD, TIMEOUT = StopReason.RELOAD, StopReason.TIMEOUT

ENDED_WITHOUT_OUTPUT = codec.event(Event.ENDED, {"output": None})
MOVED = codec.event(Event.REQUEUED, {"reason": "rebalanced"})


def ending(run: Run, trigger: Trigger, settings: Settings) -> Change:
    """The change that ends a run by this trigger."""
    ref = run.ref
    if trigger is END:
        if run.output is None:
            return Change(ref.id, ref.run, ENDED_WITHOUT_OUTPUT, trigger, keep=settings.keep_ended)
        event = b'{"event":"%b","data":{"output":%b}}' % (Event.ENDED.encode(), run.output)
        return Change(ref.id, ref.run, event, trigger, {"output": run.output}, settings.keep_ended)
    if trigger is Trigger.FAIL:
        error = run.failure or ""
        event = codec.event(Event.ERROR, {"error": error.partition("\n")[0]})
        return Change(ref.id, ref.run, event, trigger, _failed(run, error), settings.keep_error)
    if trigger is Trigger.STOP:
        return Change(ref.id, ref.run, STOPPED_EVENT, trigger, keep=settings.keep_stopped)
    # A pre-started task is deleted with its worker; any other is queued.
    event = STOPPED_EVENT if run.local else MOVED if run.stop_reason is StopReason.MOVE else HANDED_BACK
    return Change(ref.id, ref.run, event, Trigger.RELEASE, local=run.local)


def _failed(run: Run, error: str) -> dict[str, str | bytes]:
    fields: dict[str, str | bytes] = {"error": error}
    if run.output is not None:  # it ended, and its policy gave up
        fields["output"] = run.output
    if run.claim.fields is not None and run.claim.fields.restarts:
        # ERROR is final: a client that queues the task again starts a new count.
        fields |= {"restarts": "0", "restart_times": ""}
    return fields


def _of_schedule(run: Run, change: Change) -> Change:
    """The end of a run for which the next occurrence of its schedule may wait."""
    scheduled = None if change.trigger is Trigger.RELEASE else run.scheduled
    if scheduled is None or scheduled.schedule != run.id:  # one beside others: none waits
        return change
    return attrs.evolve(change, schedule=scheduled.schedule)


@attrs.frozen(kw_only=True)
class OutcomePorts:
    """The ports of the outcomes."""

    settings: Settings
    lease: Lease
    committer: Committer
    store_proxy: StoreProxy
    tasks: Mapping[str, type[Task]]
    clock: Callable[[], float]
    uniform: Callable[[float, float], float]
    tally: Tally
    tracing: TracingPort | None = None


class Outcomes:
    """Commits the outcomes of dead runs, and requeues tasks that Redis lost with its data."""

    def __init__(self, ports: OutcomePorts) -> None:
        self._settings = ports.settings
        self._lease = ports.lease
        self._committer = ports.committer
        self._store_proxy = ports.store_proxy
        self._clock = ports.clock
        self._uniform = ports.uniform
        self._tally = ports.tally
        self._tracing = ports.tracing
        policies = {cls: restart_policy(cls) for cls in ports.tasks.values()}
        self._policies = {cls: policy for cls, policy in policies.items() if policy is not None}

    def close(self, run: Run, stop_reason: StopReason | None) -> Retry | None:
        """Commit the outcome of a run after this stop reason.  Never blocks: may be called from the hub.

        Returns the restart that follows, if one does.
        """
        error, run.error = run.error, None  # its frames refer to the run
        if stop_reason is RELOAD:
            stop_reason = StopReason.HAND_BACK
        if stop_reason is TIMEOUT:
            error = None  # that of the kill
            _time_out(run)
        trigger = closing(stop_reason, run.failure is not None)
        if trigger is not END or self._tracing is not None:
            self._tell(run, trigger, error)
        if trigger is None:
            return None
        if trigger is FAIL and is_on_trial(run):
            self._roll_back(run, error)
            return None
        if run.claim.fields is not None or run.cls in self._policies:  # which few tasks have
            found = self._next(run, trigger, error)
            if isinstance(found, Retry):
                return self._retry(run, trigger, found)
            if isinstance(found, GiveUp):
                restarting.give_up(run, found)
                trigger = FAIL
        change = ending(run, trigger, self._settings)
        self._put(run, change if run.claim.fields is None else _of_schedule(run, change))
        if trigger is FAIL:
            _log_failure(run, error)
        return None

    def _tell(self, run: Run, trigger: Trigger | None, error: BaseException | None) -> None:
        """What became of a run, for its trace and for the figures."""
        if self._tracing is not None:
            self._tracing.over(run, trigger, error)
        if trigger is RELEASE and not run.local:
            moved = run.stop_reason is StopReason.MOVE
            why = RestartReason.MOVE if moved else RestartReason.RELEASE
            self._tally.restarted(run.claim.function, why)

    def _put(self, run: Run, change: Change) -> None:
        if run.kept is not None or is_on_trial(run):
            change = carrying(run, after_trial(run, change))
        self._committer.put(change, run.ref)

    def _next(self, run: Run, trigger: Trigger, error: BaseException | None) -> Retry | GiveUp | None:
        if trigger is not Trigger.FAIL and trigger is not Trigger.END:
            return None  # it was stopped, or handed back
        if restarting.is_final(run, error):
            return None
        fields = run.claim.fields
        policy = policy_of(None if run.cls is None else self._policies.get(run.cls), fields)
        return decide(policy, fields, restarting.over(run, trigger, self._clock()), self._uniform(0.0, 1.0))

    def _retry(self, run: Run, trigger: Trigger, retry: Retry) -> Retry:
        self._put(run, restarting.retrying(run, trigger, retry, self._clock()))
        restarting.log_retry(run, trigger, retry)
        why = RestartReason.FAILURE if trigger is Trigger.FAIL else RestartReason.END
        late = run.stop_reason is StopReason.TIMEOUT
        self._tally.restarted(run.claim.function, RestartReason.TIMEOUT if late else why)
        self._tally.put_off(retry.delay)
        return retry

    def _roll_back(self, run: Run, error: BaseException | None) -> None:
        self._committer.put(carrying(run, rolled_back(run, restarting.at(run, self._clock()))))
        self._tally.restarted(run.claim.function, RestartReason.ROLLBACK)
        _log_failure(run, error)
        text = (run.failure or "").partition("\n")[0]
        log.warning("[PT164] task %s: its reload is rolled back, because its run failed: %s", run.id, text)

    def restorable(self, run: Run) -> bool:
        """Whether the task of a run whose hash is gone is to be requeued: the data of Redis was lost."""
        return (
            self._settings.on_data_loss == "restore"
            and not run.local  # its worker starts a new one
            and run.stop_reason is not StopReason.STOP
            and bool(run.claim.function)
            and not run.claim.oversize
            and self._lease.lost_with_data(run.started, self._clock())
        )

    def restore(self, run: Run) -> None:
        """Requeue the task of a dead run with the data of its claim.  Blocks until Redis answers.

        Where all data is lost again meanwhile, it also waits for K: a call without an answer may have been
        carried out before, and a worker that cannot reach Redis may run the task that it has queued.
        """
        lease, marker = self._lease, self._marker
        while self._restored(run, marker) is Verdict.MOVED:
            while self._marker == marker or self._clock() - lease.lost_at < lease.timing.longest_kill:
                gevent.sleep(lease.timing.tick)
            marker = self._marker
        self.close(run, run.stop_reason)

    @property
    def _marker(self) -> str:
        return "" if self._lease.known is None else self._lease.known.id

    def _restored(self, run: Run, marker: str) -> Verdict | None:
        claim, force, refusals = run.claim, in_force(run), Refusals()
        fields = claim.fields or NO_FIELDS
        saved = (run.kept.raw or b"") if run.kept is not None else b""

        def give_up(error: StoreError) -> bool:
            log.warning("task %s: waiting to be restored: %s", run.id, error)
            if not refusals.refused(error, self._lease.last_ok, self._clock()):
                return False
            log.error("task %s: not restored because Redis refuses it: %s", run.id, error)
            return True

        verdict = until_answered(
            lambda: self._store_proxy.call(
                lambda store: store.restore(
                    claim.id,
                    force.function,
                    force.data,
                    saved,
                    paused=run.paused,
                    fields=fields,
                    marker=marker,
                )
            ),
            give_up,
            self._lease.timing.call_timeout / 3,
        )
        if verdict is Verdict.OK:
            log.warning("task %s: lost with the data of Redis; queued again", run.id)
        return verdict


def _time_out(run: Run) -> None:
    """Make the run a failure: what it did while it was being stopped is not its outcome."""
    seconds = None if run.cls is None else run_timeout(run.cls)
    run.failure, run.output = f"timed out after {seconds or 0:g} s", None


def _log_failure(run: Run, error: BaseException | None) -> None:
    text = (run.failure or "").partition("\n")[0]
    about = {"task": run.id, "function": run.claim.function, "epoch": run.epoch, "pytask_run": run}
    if error is None or isinstance(error, (TaskFailed, GreenletExit)):
        log.warning("task %s failed: %s", run.id, text, extra=about)
    elif not needs_traceback(error):
        log.error("task %s failed: %s", run.id, text, extra=about)
    elif run.cls is not None and secret_fields(run.cls):  # the traceback would quote secret values
        log.error("task %s failed: %s; the traceback is in its field `error`", run.id, text, extra=about)
    else:
        where = (type(error), error, frames_of_task(error) or error.__traceback__)
        log.error("task %s failed: %s", run.id, text, extra=about, exc_info=where)
