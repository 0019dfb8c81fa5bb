"""The part that both drivers share: executing steps, and translating replies and errors."""

from __future__ import annotations

import time
from typing import Any

from pytask.adapters.redis import errors
from pytask.client.operations import Listen, Now, Pause, Ping, Receive, Send, Unsubscribe, Words

MOST_MESSAGES = 1000  # messages of one read


class Driver:
    """Executes one step.  The asyncio driver returns awaitables for steps that take time."""

    def do(self, step: Any, opened: list[Any]) -> Any:  # noqa: PLR0911 - one for each kind of step
        """The result of a step; `opened` are the subscriptions of its operation."""
        match step:
            case Send(commands):
                return self.send(list(commands))
            case Receive(handle, timeout):
                return handle.receive(timeout)
            case Listen():
                return self.listen(step, opened)
            case Ping(handle):
                return handle.ping()
            case Unsubscribe(handle):
                opened.remove(handle)
                return handle.close()
            case Pause(seconds):
                return self.pause(seconds)
            case Now():
                return self.now()
        raise TypeError(f"no such step: {step!r}")

    def send(self, commands: list[tuple[int, Words]]) -> Any:
        """The replies in order."""
        raise NotImplementedError

    def listen(self, step: Listen, opened: list[Any]) -> Any:
        """A new subscription, also added to `opened`."""
        raise NotImplementedError

    def pause(self, seconds: float) -> Any:
        """Sleep."""
        raise NotImplementedError

    def now(self) -> float:
        """A monotonic time in seconds."""
        return time.monotonic()


def messages_in(message: Any) -> list[tuple[bytes, bytes]]:
    """A message as (channel, payload), a pong as empty bytes; other kinds are dropped."""
    if message["type"] == "pong":
        return [(b"", b"")]
    if message["type"] not in ("message", "pmessage"):
        return []
    return [(_raw(message["channel"]), _raw(message["data"]))]


def _raw(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def translated(error: Exception) -> Exception:
    """The pytask error for an error of the Redis library."""
    ours = errors.translate(error)
    if ours is not error:
        ours.__cause__ = error
    return ours
