"""The page of metrics of one worker, on the address of the setting `metrics`."""

from __future__ import annotations

from typing import Any

import gevent

from pytask.domain.metrics import Family, listen_address
from pytask.domain.worker_metrics import Entry, Totals, published
from pytask.logger import get_logger
from pytask.metrics import http
from pytask.runtime.tree import AnyGreenlet, Service
from pytask.runtime.worker import Worker

log = get_logger(__name__)

AGAIN = 5.0  # seconds until an address that was in use is tried again


class WorkerMetrics:
    """The metrics of a worker, with an entry for each of its partitions."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._totals = Totals()

    def families(self) -> list[Family]:
        """What its page shows now."""
        infos = (partition.presence.info() for partition in self._worker.partitions)
        return self._totals.families(Entry(info, at) for at, info in enumerate(infos))

    def published(self) -> list[dict[str, Any]]:
        """What a supervisor makes its page from."""
        return [published(partition.presence.info()) for partition in self._worker.partitions]


class MetricsServer:
    """Serves a page.  Tasks matter more: an address that cannot be used does not end the worker."""

    def __init__(self, address: str, metrics: WorkerMetrics) -> None:
        self._place = listen_address(address)
        self._metrics = metrics

    def start(self) -> AnyGreenlet:
        """Start; the greenlet to end it with."""
        return Service.spawn(self._run)

    def _run(self) -> None:
        with self._listen() as listener:
            log.info("metrics at %s", http.url(listener))
            while True:
                line, _ = listener.accept()
                with line:
                    http.answer(line, self._metrics.families)

    def _listen(self) -> Any:
        warned = False
        while True:
            try:
                return http.listen(*self._place)
            except OSError as error:
                if not warned:
                    log.error("[PT206] no metrics at %s:%d, retrying: %s", *self._place, error)
                warned = True
                gevent.sleep(AGAIN)
