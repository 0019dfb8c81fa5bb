"""The in-memory version of the Redis adapters: the same verbs and verdicts, for tests without a server.

It passes the same contract tests.  All it keeps is in this process, so it suits neither two workers in
two processes nor anything that must outlive them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from pytask.adapters.memory.state import MemoryState, Published, encoded
from pytask.adapters.memory.store import MemoryStore
from pytask.adapters.rules import Retention
from pytask.domain.errors import ConfigError, Unavailable
from pytask.domain.messages import MAX_ID_BYTES, STACKS, STARTED, read_command
from pytask.domain.ports import Borrower, CoroutineRedis
from pytask.domain.record import Claim, ClaimRequest, Notice, Risk

FEED_BATCH = 256


class MemoryQueue:
    """Cannot block: the caller polls."""

    claims = False

    def __init__(self, state: MemoryState, store: MemoryStore) -> None:
        self.ahead: list[bytes] | None = None
        self._state = state
        self._store = store

    def wait(self, timeout: float) -> list[bytes] | None:  # noqa: ARG002 - the port's own
        """The next id, or None at once: the timeout (seconds) has no effect."""
        return [self._state.queue[-1][: MAX_ID_BYTES + 1]] if self._state.queue else None

    def claim(self, request: ClaimRequest, timeout: float) -> list[Claim]:
        """The wait ends, and what was asked for before it is claimed."""
        self.wait(timeout)
        claims = self._store.claim(request)
        self.ahead = self._store.ahead
        return claims

    def reconnect(self) -> None:
        """Nothing to drop."""

    def close(self) -> None:
        """Nothing to drop."""


class MemoryFeed:
    """Control messages and hints, kept until they are read."""

    behind = False
    database = None

    def __init__(self, state: MemoryState, session: str) -> None:
        self._state = state
        self._ping = state.keys.ping_channel(session)
        self._inbox: deque[Notice] | None = None

    def open(self) -> None:
        """Start reading."""
        self.close()
        self._inbox = deque()
        self._state.listeners.append(self._hear)

    def read(self, timeout: float) -> list[Notice]:  # noqa: ARG002 - the port's own
        """What arrived so far, at most 256; never waits: the timeout (seconds) has no effect."""
        if self._inbox is None:
            raise Unavailable("not subscribed")
        found = [self._inbox.popleft() for _ in range(min(FEED_BATCH, len(self._inbox)))]
        self.behind = bool(self._inbox)
        return found

    def reconnect(self) -> None:
        """Does nothing: no other server exists."""

    def close(self) -> None:
        """Stop listening; unread messages are dropped."""
        if self._inbox is not None:
            self._inbox = None
            self._state.listeners.remove(self._hear)

    def _hear(self, channel: str, payload: bytes) -> None:
        keys = self._state.keys
        notice: Notice | None = None
        if channel == self._ping:
            notice = Notice("ping")
        elif channel == keys.hint_channel:
            notice = Notice("parked", payload.decode(errors="replace"))
        elif channel.startswith(keys.channel) and channel.endswith("-control"):
            command, task_id = read_command(payload), keys.task_of_control(channel)
            notice = Notice("control", task_id, command) if command else None
            notice = Notice("started", task_id) if payload == STARTED else notice
            notice = Notice("stacks", task_id) if payload == STACKS else notice
        if notice is not None and self._inbox is not None:
            self._inbox.append(notice)


class MemoryBackend:
    """Stores, queues and feeds over one shared state, and what a Redis client would do in a test.

    `pytask.Client(backend)` works on it.  `now` replaces Redis TIME: seconds since 1970, which a test may
    move by hand.  `clock` and `sleep` are those of clients that wait: seconds of a monotonic clock.
    """

    cooperative = False

    def __init__(
        self,
        *,
        now: Callable[[], float] = time.time,
        retention: Retention | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.state = MemoryState(now)
        self.clock = clock
        self.sleep = sleep
        self._retention = retention or Retention()

    def store(self) -> MemoryStore:
        """Create a store; all stores of one backend share the same tasks."""
        return MemoryStore(self.state, self._retention)

    def queue(self) -> MemoryQueue:
        """Create the waiter for the queue."""
        return MemoryQueue(self.state, self.store())

    def feed(self, session: str) -> MemoryFeed:
        """Create the feed of a session."""
        return MemoryFeed(self.state, session)

    def user_client(self, current: Callable[[], Borrower | None]) -> Any:  # noqa: ARG002 - the port's own
        """Raises :class:`ConfigError`: a memory store has no client."""
        raise ConfigError(
            "the in-memory backend has no Redis client for `self.redis`: run this task on"
            " fakeredis.FakeRedis() or on a server instead"
        )

    @property
    def coroutines(self) -> CoroutineRedis:
        """The same: raises :class:`ConfigError`."""
        found: CoroutineRedis = self.user_client(lambda: None)
        return found

    def close_user_client(self, borrower: Borrower) -> None:
        """Nothing to drop."""

    def close(self) -> None:
        """Nothing to drop."""

    def partitions(self, count: int) -> Sequence[MemoryBackend]:
        """Only one: raises :class:`ConfigError` for more."""
        if count > 1:
            raise ConfigError(
                f"partitions={count}: the in-memory backend has one; partitions spread tasks over the nodes"
                " of a Redis Cluster, so leave the setting out in tests"
            )
        return [self]

    def describe(self) -> str:
        """The text for logs, instead of an address."""
        return "memory"

    def check(self) -> None:
        """Always healthy."""

    def risks(self, max_data: int) -> list[Risk]:  # noqa: ARG002 - the port's own
        """An empty list: a memory store has no server."""
        return []

    # -- what a client does ---------------------------------------------------------------------------

    def push(self, task_id: str, function: str, data: str | bytes | None = None) -> None:
        """`HMSET task_id function ... data ...` and `LPUSH new-task task_id`."""
        self.state.write(task_id, function=function, **({} if data is None else {"data": data}))
        self.state.queue.insert(0, task_id.encode())

    def publish(self, channel: str, payload: str | bytes) -> None:
        """`PUBLISH channel payload`, such as `publish("task-1-control", "stop")`."""
        self.state.publish(channel, encoded(payload))

    def subscribe(self, listener: Callable[[str, bytes], None]) -> Callable[[], None]:
        """Call `listener(channel, payload)` for each message, until the returned function is called."""
        self.state.listeners.append(listener)
        return lambda: self.state.listeners.remove(listener)

    def hash(self, task_id: str) -> dict[str, str]:
        """`HGETALL task_id`, as text."""
        return {name: value.decode(errors="replace") for name, value in self.state.fields(task_id).items()}

    def delete(self, task_id: str) -> None:
        """`DEL task_id`."""
        self.state.delete(task_id)

    def queued(self) -> list[str]:
        """The ids in the queue, the next one first."""
        return [raw.decode(errors="replace") for raw in reversed(self.state.queue)]

    def events(self, task_id: str | None = None) -> list[Published]:
        """The events published so far, of all tasks or of one."""
        return [found for found in self.state.events if task_id in (None, found.task_id)]
