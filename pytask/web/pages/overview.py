"""The overview: how many tasks there are, who runs them, and whether all is well."""

from __future__ import annotations

from typing import Any

import falcon

from pytask.domain.lifecycle import State
from pytask.domain.wording import ago
from pytask.shown import fleet
from pytask.shown.overview import oldest_lease
from pytask.shown.rows import worker_row
from pytask.web.drawing import bar
from pytask.web.site import Site

ROWS = 8


def pages(site: Site) -> dict[str, Any]:
    """The routes."""
    return {"/": Overview(site)}


class Overview:
    """The first page."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show it."""
        self._site.show(req, resp, "overview", self._site.read(("overview",), self._values))

    def _values(self) -> dict[str, Any]:
        site = self._site
        found = site.run(fleet.read_fleet)
        lease = site.run(oldest_lease)
        functions = site.client.functions()
        busiest = sorted(found.alive, key=lambda worker: -worker.running)
        slots = [worker.max_tasks for worker in found.alive]
        held = [worker for worker in found.workers if not worker.alive]
        return {
            "states": [(str(state), found.count.states[state]) for state in State],
            "bar": bar([(str(state), found.count.states[state]) for state in State]),
            "total": found.count.total,
            "exact": found.count.exact,
            "count": found.count,
            "parked": sum(found.count.parked.values()),
            "alive": len(found.alive),
            "silent": len(held),
            "used": sum(
                worker.tasks if worker.tasks is not None else worker.running for worker in found.alive
            ),
            "slots": sum(number or 0 for number in slots),
            "lag": max((worker.lag or 0.0 for worker in found.alive), default=0.0),
            "lease": lease,
            "lease_text": ago(lease),
            "monitor": ago(found.monitor),
            "monitored": found.monitor is not None,
            "round_trip": found.seconds,
            "memory": found.server.get("used_memory_human", ""),
            "server": _server(found.server),
            "rate": site.hub.rate,
            "workers": [worker_row(worker) for worker in busiest[:ROWS]],
            "functions": functions[:50],
        }


def _server(info: Any) -> str:
    if "valkey_version" in info:
        return f"Valkey {info['valkey_version']}"
    return f"Redis {info['redis_version']}" if "redis_version" in info else ""
