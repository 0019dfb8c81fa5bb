"""The driver for the in-memory backend: the same operations, without a server."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from pytask.adapters.memory.commands import Commands, matcher
from pytask.adapters.memory.scripts import Scripts
from pytask.client.driver import MOST_MESSAGES
from pytask.client.operations import Listen, Words
from pytask.client.partitions import Partitions
from pytask.client.sync_driver import SyncDriver
from pytask.domain.errors import ConfigError

if TYPE_CHECKING:
    from pytask.adapters.memory.backend import MemoryBackend

LOOK = 0.02  # seconds between two looks at the messages


class MemorySubscription:
    """What is published on some channels."""

    def __init__(self, backend: MemoryBackend, step: Listen) -> None:
        self._backend = backend
        self._fits = [*(channel.__eq__ for channel in step.channels), *map(matcher, step.patterns)]
        self._inbox: deque[tuple[bytes, bytes]] = deque()
        self._leave = backend.subscribe(self._hear)
        self._left = False

    def _hear(self, channel: str, payload: bytes) -> None:
        if any(fits(channel) for fits in self._fits):
            self._inbox.append((channel.encode(errors="surrogateescape"), payload))

    def receive(self, timeout: float) -> list[tuple[bytes, bytes]]:
        """The messages received within `timeout` seconds."""
        backend = self._backend
        until = backend.clock() + timeout
        while not self._inbox and (left := until - backend.clock()) > 0:
            backend.sleep(min(left, LOOK))
        return [self._inbox.popleft() for _ in range(min(MOST_MESSAGES, len(self._inbox)))]

    def ping(self) -> None:
        """Answered at once."""
        self._inbox.append((b"", b""))

    def close(self) -> None:
        """Hear no more."""
        if not self._left:
            self._left = True
            self._leave()


class MemoryDriver(SyncDriver):
    """Executes operations on the data of a `MemoryBackend`."""

    def __init__(self, backend: MemoryBackend, partitions: Partitions) -> None:
        if partitions.namespace or len(partitions.keys) > 1:
            raise ConfigError(
                "the in-memory backend has one partition and no namespace: leave `namespace` and `partitions`"
                " out of this client"
            )
        self.clustered = False
        self._backend = backend
        self._commands = Commands(backend.state)
        self._scripts = Scripts(backend.state)

    def send(self, commands: list[tuple[int, Words]]) -> list[Any]:
        """The replies in order; what goes wrong is one of them."""
        return [self._reply(words) for _, words in commands]

    def _reply(self, words: Words) -> Any:
        try:
            if words[0] == "EVALSHA":
                return self._scripts.run(words[1], words[2], words[3:])
            return self._commands.run(words)
        except Exception as error:  # noqa: BLE001 - as a server answers each command of a pipeline
            return error

    def listen(self, step: Listen, opened: list[Any]) -> Any:
        """A subscription."""
        opened.append(MemorySubscription(self._backend, step))
        return opened[-1]

    def pause(self, seconds: float) -> None:
        """Sleep, as the backend does."""
        self._backend.sleep(seconds)

    def now(self) -> float:
        """The clock of the backend."""
        return self._backend.clock()

    def close(self) -> None:
        """Nothing to drop."""
