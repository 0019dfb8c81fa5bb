"""Waiting for the queue without taking from it."""

from __future__ import annotations

import time
from typing import Any

from pytask.adapters import client as clients


class RedisQueue:
    """Waits by a blocking move of the tail onto itself: it wakes every waiting worker, and loses nothing.

    The list is left as it was, so a lost reply loses no id.  Needs Redis 6.2.
    """

    def __init__(self, client: Any, key: str) -> None:
        self._client = client
        self._key = key
        self._blocks = True

    def wait(self, timeout: float) -> bool | None:
        """Up to `timeout` seconds: True when an id waits, False when not, None where it cannot block."""
        if not self._blocks:
            return None
        began = time.monotonic()
        try:
            found = self._client.execute_command("BLMOVE", self._key, self._key, "RIGHT", "RIGHT", timeout)
        except Exception as error:
            ours = clients.translate(error)
            if ours is not error:
                self.close()
            raise ours from error
        except BaseException:
            self.close()
            raise
        if found is None and time.monotonic() - began < timeout / 2:
            self._blocks = False  # fakeredis answers at once
            return None
        return found is not None

    def close(self) -> None:
        """Drop the connection."""
        clients.disconnect(self._client)
