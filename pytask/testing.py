"""For tests of your own tasks: run them without a server.

`PyTask(MemoryBackend())` keeps its state in memory, by the rules that the scripts have in Redis.
"""

from pytask.adapters.memory import MemoryBackend

__all__ = ["MemoryBackend"]
