"""The in-memory twin of the Redis adapters: what the scripts are to do, and tests without a server."""

from pytask.adapters.memory.backend import MemoryBackend as MemoryBackend

__all__ = ["MemoryBackend"]
