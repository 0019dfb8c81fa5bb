"""For tests of your own tasks: run them without a server, on virtual time, and with faults.

`app()` runs tasks in memory, and an hour takes a second; `recording()` is for a task that you construct
yourself.  Importing this package loads neither gevent nor redis, because pytest imports the plugin in every
project.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytask.adapters.memory import MemoryBackend as MemoryBackend
    from pytask.testing.faulty_world import World as World
    from pytask.testing.faulty_world import world as world
    from pytask.testing.looks import Looks as Looks
    from pytask.testing.memory_app import MemoryApp as MemoryApp
    from pytask.testing.memory_app import app as app
    from pytask.testing.recorder import Recorder as Recorder
    from pytask.testing.recorder import recording as recording

__all__ = ["Looks", "MemoryApp", "MemoryBackend", "Recorder", "World", "app", "recording", "world"]

_HOMES = {
    "Looks": "pytask.testing.looks",
    "MemoryApp": "pytask.testing.memory_app",
    "MemoryBackend": "pytask.adapters.memory",
    "Recorder": "pytask.testing.recorder",
    "World": "pytask.testing.faulty_world",
    "app": "pytask.testing.memory_app",
    "recording": "pytask.testing.recorder",
    "world": "pytask.testing.faulty_world",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'pytask.testing' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
