"""The restart of a run that failed or ended: whether and when, and what is written to Redis."""

from __future__ import annotations

from pytask import codec
from pytask.domain.errors import is_fatal
from pytask.domain.lifecycle import Trigger
from pytask.domain.messages import Event
from pytask.domain.record import Change
from pytask.domain.restarts import GiveUp, Over, Retry
from pytask.logger import get_logger
from pytask.runtime.runs.run import Run

log = get_logger(__name__)


def is_final(run: Run, error: BaseException | None) -> bool:
    """Whether another run of the task would fail in the same way."""
    return run.unfit or is_fatal(error)


def over(run: Run, trigger: Trigger, now: float) -> Over:
    """The facts of a dead run, for its policy."""
    return Over(failed=trigger is Trigger.FAIL, lived=now - run.began, at=at(run, now))


def at(run: Run, now: float) -> float:
    """Seconds since 1970 by the clock of Redis: the time of the claim, and what has passed here since."""
    return run.epoch / 1e3 + now - run.started


def give_up(run: Run, found: GiveUp) -> None:
    """Make the run a failure that says how often its task was restarted."""
    last = "the last run ended" if run.failure is None else f"the last failure: {run.failure}"
    run.failure = f"[PT163] {found.reason}; {last}"


def retrying(run: Run, trigger: Trigger, retry: Retry, now: float) -> Change:
    """The change that ends a run whose task runs again."""
    failed, ref = trigger is Trigger.FAIL, run.ref
    text = (run.failure or "").partition("\n")[0] if failed else None
    details = {"attempt": retry.attempt, "delay": round(retry.delay, 3), "error": text}
    event = codec.event(Event.RETRYING, details)
    if run.local:  # it is deleted, and its worker starts another
        return Change(ref.id, ref.run, event, Trigger.RELEASE, local=True)
    fields: dict[str, str | bytes] = {"restarts": str(retry.restarts), "restart_times": retry.times}
    if run.claim.crashes:
        fields["crashes"] = "0"  # its worker survived this run: crashes are counted in a row
    if failed:
        fields |= {"error": run.failure or "", "failed_at": f"{at(run, now):.3f}"}
    elif run.output is not None:
        fields["output"] = run.output
    return Change(ref.id, ref.run, event, Trigger.RETRY, fields, delay=retry.delay)


def log_retry(run: Run, trigger: Trigger, retry: Retry) -> None:
    """One line for each restart; the traceback is in the hash."""
    about = {"task": run.id, "function": run.claim.function, "epoch": run.epoch, "pytask_run": run}
    text = (run.failure or "").partition("\n")[0]
    did = f"failed: {text}" if trigger is Trigger.FAIL else "ended"
    log.warning("task %s %s; attempt %d in %.1f s", run.id, did, retry.attempt, retry.delay, extra=about)
