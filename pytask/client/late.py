"""The operations, imported at their first use: a command needs few of them, and must answer at once."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ["follow", "logs", "look", "pages", "produce", "requeue", "steer"]

if TYPE_CHECKING:
    from pytask.client import follow, logs, look, pages, produce, requeue, steer
else:

    class Late:
        """Stands for a module of `pytask.client`."""

        def __init__(self, name: str) -> None:
            self._module = f"pytask.client.{name}"

        def __getattr__(self, name: str) -> Any:
            return getattr(import_module(self._module), name)

    follow, logs, look, pages = Late("follow"), Late("logs"), Late("look"), Late("pages")
    produce, requeue, steer = Late("produce"), Late("requeue"), Late("steer")
