"""Imports redis-py without unneeded parts, whose import takes longer than most commands."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any


class _Later(ModuleType):
    """A package that is loaded on first attribute access; its modules may be imported before."""

    def __getattr__(self, name: str) -> Any:
        self.__class__ = ModuleType  # type: ignore[assignment]
        if self.__spec__ is not None and self.__spec__.loader is not None:
            self.__spec__.loader.exec_module(self)
        return getattr(self, name)


def import_redis() -> None:
    """`import redis`, with its asyncio half loaded on first use, and without OpenTelemetry."""
    if "redis" in sys.modules:
        return
    package = find_spec("redis")
    origin = package.origin if package is not None else None
    if origin is None:
        return
    file = Path(origin).with_name("asyncio") / "__init__.py"
    spec = spec_from_file_location("redis.asyncio", file, submodule_search_locations=[str(file.parent)])
    if spec is None or not file.is_file():
        return
    module = module_from_spec(spec)
    module.__class__ = _Later
    sys.modules["redis.asyncio"] = module
    with without_opentelemetry():
        import redis  # noqa: F401 - for its effect


@contextmanager
def without_opentelemetry() -> Iterator[None]:
    """While this is open, OpenTelemetry seems not to be installed, unless it is imported already.

    redis-py imports it for its own metrics, which nobody reads of a process as short as a command.
    """
    if "opentelemetry" in sys.modules:
        yield
        return
    sys.modules["opentelemetry"] = None  # type: ignore[assignment]  # then its import fails
    try:
        yield
    finally:
        del sys.modules["opentelemetry"]
