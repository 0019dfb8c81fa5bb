"""Waits for the queue without removing ids from it."""

from __future__ import annotations

import time
from typing import Any

from pytask.adapters.redis import errors
from pytask.adapters.redis.fast_commands import direct
from pytask.domain.messages import MAX_ID_BYTES


class RedisQueue:
    """Waits by a blocking move of the tail onto itself: it wakes every waiting worker, and loses nothing.

    The list is left as it was, so a lost reply loses no id.  Needs Redis 6.2.
    """

    def __init__(self, client: Any, key: str) -> None:
        self._send = direct(client)
        self._key = key
        self._blocks = True
        self._closed = False
        self._stale = False

    def wait(self, timeout: float) -> list[bytes] | None:
        """Up to `timeout` seconds: the next id (as `peek` shows it), [] in vain; None where none blocks."""
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
                return []  # cut short from outside, which the library meets with errors of all kinds
            ours = errors.translate(error)
            if ours is not error:
                self._send.disconnect()
            raise ours from error
        except BaseException:
            self._send.disconnect()
            raise
        if found is None and time.monotonic() - began < timeout / 2:
            self._blocks = False  # fakeredis answers at once
            return None
        return [] if found is None else [found[: MAX_ID_BYTES + 1]]

    def reconnect(self) -> None:
        """The next wait opens a new connection; one that is under way ends in its own time."""
        self._stale = True

    def close(self) -> None:
        """Drop the connection for good; a wait in another greenlet ends at once, with []."""
        self._closed = True
        self._send.disconnect()
