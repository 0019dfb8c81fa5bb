"""Sends the commands and scripts of a store to Redis, and translates errors."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, TypeVar

import attrs

from pytask.adapters.redis import clients, errors
from pytask.adapters.redis.fast_commands import direct
from pytask.adapters.redis.lua import ScriptCall
from pytask.domain.errors import Unavailable

R = TypeVar("R")
T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Durability:
    """The durability of writes: properties of the deployment, and settings."""

    alone: bool = True  # without Sentinel or Cluster no other server takes over
    replicas: int = 0  # replicas that must acknowledge a claim or a renewal
    wait: float = 1.0  # seconds to wait for them


class Connection:
    """One connection to Redis, for one greenlet.  Raises pytask errors."""

    def __init__(self, client: Any, durability: Durability | None = None) -> None:
        self.durability = durability or Durability()
        self.packs = clients.packs(client)
        self._direct = direct(client)
        self._stale = False

    def run(self, call: ScriptCall[R]) -> R:
        """The reply of a script."""
        try:
            try:
                reply = self._send.execute_command(*call.command())
            except Exception as error:
                if not no_script(error):
                    raise
                reply = self._send.execute_command(*call.command(whole=True))
        except Exception as error:
            raise self._translated(error, call) from error
        except BaseException:
            self.reset()  # an interrupted command leaves its reply in the connection
            raise
        return reply  # type: ignore[no-any-return]

    def drive(self, verb: Generator[ScriptCall[Any], Any, T]) -> T:
        """The result of a verb of several scripts."""
        try:
            call = next(verb)
            while True:
                call = verb.send(self.run(call))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def run_durably(self, calls: Sequence[ScriptCall[R]]) -> list[R]:
        """The replies of calls of one script that are sent together.

        With `durable_acks`, raises `Unavailable` unless enough replicas acknowledge them.  WAIT refers to the
        last writes of its connection, so it is sent in the same pipeline.  Calls may be repeated: use it only
        for scripts that allow this.
        """
        durability = self.durability
        if not durability.replicas and len(calls) == 1:
            return [self.run(calls[0])]
        wait = [("wait", durability.replicas, max(1, int(durability.wait * 1000)))]
        wait = wait if durability.replicas else []
        replies = self._pipeline([*(call.command() for call in calls), *wait])
        if any(no_script(reply) for reply in replies):
            replies = self._pipeline([*(call.command(whole=True) for call in calls), *wait])
        for reply in replies:
            if isinstance(reply, Exception):
                raise self._translated(reply, calls[0]) from reply
        if wait and (acks := replies.pop()) < durability.replicas:
            raise Unavailable(
                f"only {acks} of {durability.replicas} replicas acknowledged in {durability.wait:g} s"
                " (durable_acks): see `INFO replication` on the primary"
            )
        return replies

    def command(self, *words: Any) -> Any:
        """The reply of one command."""
        try:
            return self._send.execute_command(*words)
        except Exception as error:
            raise self._translated(error) from error
        except BaseException:
            self.reset()
            raise

    def pipeline(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The replies in order.  Raises the first error."""
        replies = self._pipeline(commands)
        for reply in replies:
            if isinstance(reply, Exception):
                raise self._translated(reply) from reply
        return replies

    def reset(self) -> None:
        """Drop the connection: its state is unknown."""
        self._stale = False
        self._direct.disconnect()

    def reconnect(self) -> None:
        """Open a new connection for the next command; a running one ends on its connection."""
        self._stale = True

    @property
    def _send(self) -> Any:
        if self._stale:  # only here, in the greenlet that uses the connection, no reply is awaited on it
            self.reset()
        return self._direct

    def _pipeline(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The replies in order, including errors."""
        if not commands:
            return []
        try:
            replies: list[Any] = self._send.send_all(commands)
        except Exception as error:
            raise self._translated(error) from error
        except BaseException:
            self.reset()
            raise
        return replies

    def _translated(self, error: Exception, call: ScriptCall[Any] | None = None) -> Exception:
        script = ("", "") if call is None else (call.script.name, call.script.source[0])
        ours = errors.translate(error, script)
        if ours is not error:
            self.reset()  # also after READONLY: find the primary again
        return ours


def no_script(reply: object) -> bool:
    """Whether the server lacks the script: redis-py removes the code from its errors, others do not."""
    return isinstance(reply, Exception) and (
        type(reply).__name__ == "NoScriptError" or "NOSCRIPT" in str(reply).upper()
    )
