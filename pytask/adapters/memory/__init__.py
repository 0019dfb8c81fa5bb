"""The in-memory version of the Redis adapters: the specification of the scripts, and tests without Redis."""

from pytask.adapters.memory.backend import MemoryBackend as MemoryBackend

__all__ = ["MemoryBackend"]
