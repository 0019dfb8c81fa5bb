"""What both shells have in common: which step asks for what, and how replies and errors are read."""

from __future__ import annotations

import time
from typing import Any

from pytask.adapters.redis import errors
from pytask.client.operations import Listen, Now, Pause, Ping, Receive, Send, Unsubscribe, Words

MOST_MESSAGES = 1000  # messages of one read


class Driver:
    """Does one step.  In the asyncio shell, what takes time is an awaitable."""

    def do(self, step: Any, opened: list[Any]) -> Any:  # noqa: PLR0911 - one a kind of step
        """The answer to a step; `opened` are the subscriptions of its operation."""
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
                return time.monotonic()
        raise TypeError(f"no such step: {step!r}")

    def send(self, commands: list[tuple[int, Words]]) -> Any:
        """The replies, in order."""
        raise NotImplementedError

    def listen(self, step: Listen, opened: list[Any]) -> Any:
        """A new subscription, added to those that are opened."""
        raise NotImplementedError

    def pause(self, seconds: float) -> Any:
        """Sleep."""
        raise NotImplementedError


def messages_in(message: Any) -> list[tuple[bytes, bytes]]:
    """A message of a subscription as (channel, payload); a pong as empty bytes, others not at all."""
    if message["type"] == "pong":
        return [(b"", b"")]
    if message["type"] not in ("message", "pmessage"):
        return []
    return [(_raw(message["channel"]), _raw(message["data"]))]


def _raw(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def translated(error: Exception) -> Exception:
    """Our own error, caused by the library's."""
    ours = errors.translate(error)
    if ours is not error:
        ours.__cause__ = error
    return ours
