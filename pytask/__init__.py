"""pytask: asynchronous, IO-bound, above all long-running tasks on greenlets, their state in Redis.

`import pytask` loads neither gevent nor redis: names are resolved on first use.  A redis client that
is imported before gevent has patched the process keeps the unpatched `sleep`, and blocks everything.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pytask.domain.version import __version__

if TYPE_CHECKING:
    from pytask import aio as aio
    from pytask import errors as errors
    from pytask import testing as testing
    from pytask.app import PyTask as PyTask
    from pytask.client import Client as Client
    from pytask.domain.partition import namespace_of as namespace_of
    from pytask.domain.partition import partition_of as partition_of
    from pytask.domain.restarts import Restart as Restart
    from pytask.domain.task import Task as Task
    from pytask.domain.timing import Timing as Timing
    from pytask.runtime.loop import run_loop as run_loop
    from pytask.runtime.monitor import Monitor as Monitor
    from pytask.runtime.settings import Settings as Settings
    from pytask.runtime.thread_owners import shared as shared

__all__ = [
    "Client",
    "Monitor",
    "PyTask",
    "Restart",
    "Settings",
    "Task",
    "Timing",
    "__version__",
    "errors",
    "namespace_of",
    "partition_of",
    "run_loop",
    "shared",
]

DISTRIBUTION = "pytaskd"
"""By this `pytaskd` knows that this file is ours: PyPI's `pytask` overwrites it (see entry.py)."""

_MODULES = ("aio", "errors", "testing")  # public ones, also without an import of their own
_HOMES = {
    "Client": "pytask.client",
    "PyTask": "pytask.app",
    "Restart": "pytask.domain.restarts",
    "Task": "pytask.domain.task",
    "Timing": "pytask.domain.timing",
    "namespace_of": "pytask.domain.partition",
    "partition_of": "pytask.domain.partition",
    "Monitor": "pytask.runtime.monitor",
    "Settings": "pytask.runtime.settings",
    "run_loop": "pytask.runtime.loop",
    "shared": "pytask.runtime.thread_owners",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"pytask.{name}")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'pytask' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
