"""Waits for the queue without removing ids from it; and claims, without a round trip between."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any, NoReturn

from pytask.adapters.redis import errors, queue_calls, replies
from pytask.adapters.redis.connection import no_script
from pytask.adapters.redis.fast_commands import Direct, direct
from pytask.adapters.redis.lua import ScriptCall
from pytask.adapters.redis.scope import Scope
from pytask.domain.errors import Unavailable
from pytask.domain.messages import MAX_ID_BYTES
from pytask.domain.record import Claim, ClaimRequest

EARLY = 2  # waits in a row that end at once, where a server does not block
POLLED = 15.0  # seconds until such a server is tried again


class RedisQueue:
    """Waits with a blocking move of the tail onto itself, which wakes every waiting worker.

    The list does not change, so a lost reply loses no id.  Needs Redis 6.2.
    """

    def __init__(self, client: Any, scope: Scope, *, claims: bool = False) -> None:
        self.ahead: list[bytes] | None = None
        self._send = direct(client)
        self._scope = scope
        self._key = scope.keys.queue
        self._claims = claims and isinstance(self._send, Direct)
        self._early = 0  # waits in a row that ended at once
        self._polls_until = -math.inf
        self._closed = False
        self._stale = False

    @property
    def claims(self) -> bool:
        """Whether a claim can be sent behind a wait."""
        return self._claims and not self._polls()

    def wait(self, timeout: float) -> list[bytes] | None:
        """Wait up to `timeout` seconds: the next id as in `peek`, [] without one; None if it cannot block."""
        if self._polls():
            return None
        try:
            (found,) = self._sent([self._words(timeout)], timeout)
        except BaseException as error:  # noqa: BLE001 - it is raised again
            if self._closed and isinstance(error, Exception):
                return []  # interrupted by `close`, for which the library raises various errors
            self._failed(error)
        if self._polls():
            return None
        return [] if found is None else [found[: MAX_ID_BYTES + 1]]

    def claim(self, request: ClaimRequest, timeout: float) -> list[Claim]:
        """Wait up to `timeout` seconds, and claim what stands at the tail then, also nothing.

        Both are sent in one packet, so the server executes the claim as soon as the wait has ended.  Raises
        `StoreError`; the claim may then have been applied, or be applied later.
        """
        self.ahead = None
        tail, functions = request.tail, tuple(request.functions)
        assert tail is not None, "a claim behind a wait does not know the ids"  # noqa: S101 - for mypy, too
        call = queue_calls.claim(self._scope, request, functions)
        try:
            waited, reply = self._sent([self._words(timeout), call.command()], timeout)
            if no_script(reply):  # it was not applied
                reply = self._send.execute_command(*call.command(whole=True))
            found = replies.tail_claims(tail, functions, reply)
            if isinstance(waited, Exception) and not found[0]:
                # What was claimed all the same counts: released, it would be claimed so again and again.
                raise waited  # noqa: TRY301
        except BaseException as error:
            if self._closed and isinstance(error, Exception):
                raise Unavailable("the worker has ended the wait") from error
            self._failed(error, call)
        claims, self.ahead = found
        return claims

    def _polls(self) -> bool:
        """Whether the caller must poll for now, because the server does not block.

        Not after one wait that has ended early: somebody may have unblocked it, or set the server's clock.
        And not for good after two: that may have happened twice, and a poll finds a task up to a second late.
        """
        return time.monotonic() < self._polls_until

    def _words(self, timeout: float) -> tuple[Any, ...]:
        return ("BLMOVE", self._key, self._key, "RIGHT", "RIGHT", timeout)

    def _sent(self, commands: Sequence[tuple[Any, ...]], timeout: float) -> list[Any]:
        """The replies of a wait, and of what was sent behind it.  Raises the last error but NOSCRIPT."""
        if self._stale:
            self._stale = False
            self._send.disconnect()
        began = time.monotonic()
        if len(commands) == 1:
            found = [self._send.execute_command(*commands[0])]
        else:
            found = self._send.send_all(commands)
        if isinstance(found[-1], Exception) and not no_script(found[-1]):
            raise found[-1]
        now = time.monotonic()
        early = found[0] is None and now - began < timeout / 2  # fakeredis replies at once
        self._early = self._early + 1 if early else 0
        if self._early >= EARLY:
            self._polls_until = now + POLLED
        return found

    def _failed(self, error: BaseException, call: ScriptCall[Any] | None = None) -> NoReturn:
        """Drop the connection, on which replies may be on their way, and raise the error of pytask."""
        self._send.disconnect()
        if not isinstance(error, Exception):
            raise error
        script = ("", "") if call is None else (call.script.name, call.script.source[0])
        ours = errors.translate(error, script)
        raise ours from (None if ours is error else error)

    def reconnect(self) -> None:
        """Open a new connection for the next wait; a running wait is not interrupted."""
        self._stale = True

    def close(self) -> None:
        """Drop the connection for good; a wait in another greenlet ends at once, with [] or an error."""
        self._closed = True
        self._send.disconnect()
