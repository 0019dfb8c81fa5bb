"""Modules of the client, imported at their first use: a command needs few, and must answer at once."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class Late:
    """Stands for a module of `pytask.client`."""

    def __init__(self, name: str) -> None:
        self._module = f"pytask.client.{name}"

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self._module), name)
