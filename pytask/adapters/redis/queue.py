"""Waits for the queue without removing ids from it."""

from __future__ import annotations

import time
from typing import Any

from pytask.adapters.redis import errors
from pytask.adapters.redis.fast_commands import direct
from pytask.domain.messages import MAX_ID_BYTES


class RedisQueue:
    """Waits with a blocking move of the tail onto itself, which wakes every waiting worker.

    The list does not change, so a lost reply loses no id.  Needs Redis 6.2.
    """

    def __init__(self, client: Any, key: str) -> None:
        self._send = direct(client)
        self._key = key
        self._blocks = True
        self._closed = False
        self._stale = False

    def wait(self, timeout: float) -> list[bytes] | None:
        """Wait up to `timeout` seconds: the next id as in `peek`, [] without one; None if it cannot block."""
        if not self._blocks:
            return None
        if self._stale:
            self._stale = False
            self._send.disconnect()
        began = time.monotonic()
        try:
            found = self._send.execute_command("BLMOVE", self._key, self._key, "RIGHT", "RIGHT", timeout)
        except Exception as error:
            if self._closed:
                return []  # interrupted by `close`, for which the library raises various errors
            ours = errors.translate(error)
            if ours is not error:
                self._send.disconnect()
            raise ours from error
        except BaseException:
            self._send.disconnect()
            raise
        if found is None and time.monotonic() - began < timeout / 2:
            self._blocks = False  # fakeredis replies at once
            return None
        return [] if found is None else [found[: MAX_ID_BYTES + 1]]

    def reconnect(self) -> None:
        """Open a new connection for the next wait; a running wait is not interrupted."""
        self._stale = True

    def close(self) -> None:
        """Drop the connection for good; a wait in another greenlet ends at once, with []."""
        self._closed = True
        self._send.disconnect()
