"""Reports the health of a worker to the service manager, to `pytask health` and to the supervisor.

All reports are sent from the event loop: a blocked loop sends no ping and answers no request.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from math import isfinite
from pathlib import Path
from typing import Any

import gevent
from gevent import socket

from pytask.domain.wording import counted
from pytask.logger import get_logger
from pytask.metrics import http
from pytask.runtime.metrics_server import MetricsServer, WorkerMetrics
from pytask.runtime.process.systemd import Notifier
from pytask.runtime.process.unix_socket import bind
from pytask.runtime.tree import AnyGreenlet, Service, end_services
from pytask.runtime.worker import Worker

log = get_logger(__name__)

TURN = 1.0  # seconds between two reports
PATIENCE = 30.0  # seconds by which a start extends its timeout with each report
ANSWER_SECONDS = 2.0  # timeout for a client that does not read


def vitals(worker: Worker) -> dict[str, Any]:
    """The health of a worker: `live`, `ready`, and `why` not."""
    why = []
    partitions = worker.partitions
    if worker.failed is not None:
        why.append(f"a service died: {worker.failed!r}")
    if any(partition.executor.leaving for partition in partitions):
        why.append("it is releasing its tasks")
    elif worker.draining:
        why.append("it is draining: it takes no more tasks and waits for the running ones")
    elif worker.capacity.closed:
        why.append("it takes no more tasks (SIGTSTP)")
    why += _of_redis(worker)
    held = max((partition.held for partition in partitions), default=0.0)
    if held > 2 * worker.settings.timing.heartbeat:
        why.append(
            f"for {held:.0f} s Redis has accepted no results and events of its tasks, or not answered its"
            " claims"
        )
    return {
        "pid": os.getpid(),
        "name": worker.settings.name,
        "live": worker.failed is None,
        "ready": not why,
        "why": why,
        "running": sum(len(partition.executor.living) for partition in partitions),
        "max_tasks": worker.settings.max_tasks,
        "drain": worker.settings.drain,
        "metrics": worker.settings.metrics,
    }


def _of_redis(worker: Worker) -> Iterator[str]:
    now = worker.now()
    leases = [partition.lease for partition in worker.partitions]
    where = f"Redis {worker.partitions[0].backend.describe()}"
    silent = now - min(lease.last_ok for lease in leases)
    rest = max(lease.embargo_until for lease in leases) - now
    lost = ""
    if silent > 2 * worker.settings.timing.heartbeat:
        lost = f"{where} has not answered {f'for {silent:.0f} s' if isfinite(silent) else 'yet'}"
    if rest > 0:
        yield (
            f"for {rest:.0f} s it takes no tasks: another server answered at {where}, and owners restore the"
            " runs that it lost"
        )
    if not all(lease.may_claim(now) for lease in leases) and (lost or rest <= 0):
        yield f"it takes no tasks: {lost or f'{where} does not answer'}"
        lost = ""  # it is said
    if not all(partition.controller.listening for partition in worker.partitions):
        yield f"it does not receive control messages{f': {lost}' if lost else ''}"


class HealthReporter:
    """Reports the health of the worker every second, and answers requests."""

    def __init__(
        self,
        worker: Worker,
        *,
        notifier: Notifier,
        path: Path | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._worker = worker
        self._notifier = notifier
        self._path = path
        self._tell = tell
        self._greenlets: list[AnyGreenlet] = []
        self._announced = False
        self._leaving = False
        self._status = ""
        self._asked_at = -PATIENCE
        watchdog = notifier.watchdog
        self._pause = min(TURN, watchdog / 3) if watchdog else TURN
        self._metrics = WorkerMetrics(worker)

    def start(self) -> None:
        """Start; if the socket cannot be bound, log it and continue without."""
        if self._tell is not None or self._notifier.wanted:
            self._greenlets.append(Service.spawn(self._run))
        address = self._worker.settings.metrics
        if address is not None and self._tell is None:  # else the supervisor serves it
            self._greenlets.append(MetricsServer(address, self._metrics).start())
        if self._path is None:
            return
        try:
            listener = _listen(self._path)
        except OSError as error:
            log.warning("`pytask health` will not find this worker: %s: %s", self._path, error)
            self._path = None  # do not remove a file of another process
            return
        self._greenlets.append(Service.spawn(self._serve, listener))

    def leave(self, *, reload: bool) -> None:
        """The shutdown begins: drain, if configured, then release the tasks."""
        self._leaving = True
        drain = self._worker.settings.drain
        if not reload:
            self._notifier.stopping()
        if drain:
            self._notifier.waiting("draining: takes no more tasks", drain + PATIENCE)

    def reloading(self) -> None:
        """A reload begins: the new code is tested."""
        self._notifier.reloading()

    def refused(self) -> None:
        """The new code cannot run; the old code keeps running."""
        self._notifier.ready("the new code cannot run; the old code keeps running")

    def end(self) -> None:
        """The worker has ended."""
        end_services(self._greenlets, timeout=1)
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)

    def turn(self) -> None:
        """One report."""
        seen = vitals(self._worker)
        if self._tell is not None:
            self._tell("pulse " + json.dumps(seen))
            self._tell("figures " + json.dumps(self._metrics.published()))
        if not self._notifier.wanted:
            return
        if self._notifier.watchdog and seen["live"]:
            self._notifier.alive()
        if self._leaving:
            return
        status = f"{counted(seen['running'], 'task')} running" if seen["ready"] else "; ".join(seen["why"])
        now = time.monotonic()
        if seen["ready"] and not self._announced:
            self._announced = True
            self._notifier.ready(status)
        elif not self._announced and now - self._asked_at > PATIENCE / 3:
            self._asked_at = now
            self._notifier.waiting(status, PATIENCE)
        elif status != self._status:
            self._notifier.send(f"STATUS={status}")
        self._status = status

    def _run(self) -> None:
        while True:
            try:
                self.turn()
            except Exception:
                log.exception("could not report the health of this worker")
            gevent.sleep(self._pause)

    def _serve(self, listener: Any) -> None:
        with listener:
            while True:
                line, _ = listener.accept()
                with line, contextlib.suppress(OSError):
                    if http.is_request(line):
                        http.answer(line, self._metrics.families)
                        continue
                    line.settimeout(ANSWER_SECONDS)
                    line.sendall(json.dumps(vitals(self._worker)).encode())


def _listen(path: Path) -> Any:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bind(listener, path)
    except BaseException:
        listener.close()
        raise
    return listener
