"""The overview: how many tasks there are, who runs them, and whether all is well."""

from __future__ import annotations

from typing import Any

import falcon

from pytask.client.records import FunctionInfo
from pytask.domain.lifecycle import State
from pytask.domain.wording import ago
from pytask.shown import fleet
from pytask.shown.overview import Tally, by_function, oldest_lease, takeovers
from pytask.shown.rows import worker_row
from pytask.web.drawing import bar
from pytask.web.pages import samples
from pytask.web.site import Site

ROWS = 8
FUNCTIONS = 50


def pages(site: Site) -> dict[str, Any]:
    """The routes."""
    return {"/": Overview(site)}


class Overview:
    """The first page."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show it."""
        values = self._site.read(("overview",), self._values)
        drawn = samples.drawn(self._site, samples.ring_of(req))
        self._site.show(req, resp, "overview", values | drawn)

    def _values(self) -> dict[str, Any]:
        site = self._site
        counted = site.count()
        sessions = site.workers()
        found = site.run(lambda partitions: fleet.read_fleet(partitions, counted, sessions))
        lease = site.run(oldest_lease)
        tallies = by_function(sessions)
        functions = site.functions()
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
            "functions": [_function(one, tallies.get(one.name, Tally())) for one in functions[:FUNCTIONS]],
            "takeovers": takeovers(sessions),
            "restarts": sum(one.restarts for one in tallies.values()),
            "backing_off": sum(one.backing_off or 0 for one in sessions if one.alive),
        }


def _function(one: FunctionInfo, tally: Tally) -> dict[str, Any]:
    return {
        "name": one.name, "workers": one.workers, "parked": one.parked, "paused": one.paused,
        "running": tally.running, "restarts": tally.restarts, "round": ago(tally.round_age),
    }  # fmt: skip


def _server(info: Any) -> str:
    if "valkey_version" in info:
        return f"Valkey {info['valkey_version']}"
    return f"Redis {info['redis_version']}" if "redis_version" in info else ""
