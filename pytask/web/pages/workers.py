"""The workers: what runs where, and what becomes of the tasks of silent ones."""

from __future__ import annotations

from typing import Any

import falcon

from pytask.client.records import Worker
from pytask.domain.session_marks import expiry_of
from pytask.domain.timing import Timing
from pytask.domain.wording import ago
from pytask.shown import fleet
from pytask.shown.rows import worker_row
from pytask.web.site import Site

SHOWN = 200


def pages(site: Site) -> dict[str, Any]:
    """The routes."""
    return {"/workers": Workers(site)}


class Workers:
    """The table of workers."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show it."""
        self._site.show(req, resp, "workers", self._site.read(("workers page",), self._values))

    def _values(self) -> dict[str, Any]:
        counted, sessions = self._site.count(), self._site.workers()
        found = self._site.run(lambda partitions: fleet.read_fleet(partitions, counted, sessions))
        ordered = sorted(found.workers, key=lambda worker: (worker.alive, -worker.running))
        monitored = found.swept_lately or any(worker.monitor for worker in found.alive)
        return {
            "rows": [_row(worker, monitored=monitored) for worker in ordered[:SHOWN]],
            "more": max(0, len(ordered) - SHOWN),
            "alive": len(found.alive),
            "monitor": ago(found.monitor),
        }


def _row(worker: Worker, *, monitored: bool) -> dict[str, Any]:
    share = None if not worker.max_tasks else min(1.0, worker.running / worker.max_tasks)
    return worker_row(worker) | {
        "fate": "" if worker.alive else fate(worker, monitored=monitored),
        "share": share,
        "draining": worker.alive and worker.max_tasks == 0,
    }


def fate(worker: Worker, *, monitored: bool) -> str:
    """When the tasks of a silent worker go elsewhere."""
    if not worker.running:
        return "it had no tasks"
    if not monitored:
        return "no monitor is running: its tasks go elsewhere once a worker with one starts"
    timing = Timing()
    expiry = expiry_of(worker.session, worker.expiry or timing.expiry)
    left = expiry + timing.sweep - worker.silent
    if left > 0:
        return f"its tasks go elsewhere in about {ago(left)}, unless it comes back"
    return "its tasks have gone elsewhere, or go with the next sweep of a monitor"
