"""Draining: a worker that shuts down claims no more tasks and waits for the running ones."""

from __future__ import annotations

from pytask.domain.wording import counted
from pytask.logger import get_logger
from pytask.runtime.process.signals import Signals
from pytask.runtime.worker import Worker

log = get_logger(__name__)

STEP = 0.1  # seconds between checks


def drain(worker: Worker, signals: Signals, seconds: float) -> None:
    """Wait until no task from the queue runs, for at most `seconds`, or until another signal arrives."""
    until = worker.now() + seconds
    if seconds and _goes_on(worker, signals):
        worker.drain()
        log.info(
            "signal received: draining. Waiting for %s, up to %g s; another signal requeues what still runs",
            counted(worker.queued, "task"), seconds,
        )  # fmt: skip
    while _goes_on(worker, signals) and (left := until - worker.now()) > 0:
        signals.wait_again(min(STEP, left))
    signals.patient = False


def _goes_on(worker: Worker, signals: Signals) -> bool:
    ended = signals.hurried or signals.thrown is not None or worker.failed is not None
    return worker.queued > 0 and not ended
