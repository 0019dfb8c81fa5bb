"""The operations, imported at their first use: a command needs few of them, and must start fast."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = [
    "control", "enqueue", "fleet_metrics", "limits", "listing", "logs", "pausing", "queries", "reload",
    "requeue", "samples", "stacks", "timetable", "watch",
]  # fmt: skip

if TYPE_CHECKING:
    from pytask.client import (
        control,
        enqueue,
        fleet_metrics,
        limits,
        listing,
        logs,
        pausing,
        queries,
        reload,
        requeue,
        samples,
        stacks,
        timetable,
        watch,
    )
else:

    class Lazy:
        """A module of `pytask.client` that is imported at its first use."""

        def __init__(self, name: str) -> None:
            self._module = f"pytask.client.{name}"

        def __getattr__(self, name: str) -> Any:
            return getattr(import_module(self._module), name)

    control, enqueue, listing, logs = Lazy("control"), Lazy("enqueue"), Lazy("listing"), Lazy("logs")
    pausing, queries, reload, requeue = Lazy("pausing"), Lazy("queries"), Lazy("reload"), Lazy("requeue")
    limits, timetable, watch = Lazy("limits"), Lazy("timetable"), Lazy("watch")
    fleet_metrics, samples, stacks = Lazy("fleet_metrics"), Lazy("samples"), Lazy("stacks")
