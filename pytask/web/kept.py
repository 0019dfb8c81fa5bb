"""Small things that the next request of a browser asks for, under a token that only it knows."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """At most `most` of them; the oldest is forgotten first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._known: OrderedDict[str, T] = OrderedDict()

    def put(self, value: T) -> str:
        """Keep it; returns its token."""
        token = secrets.token_urlsafe(16)
        with self._lock:
            self._known[token] = value
            while len(self._known) > self._most:
                self._known.popitem(last=False)
        return token

    def look(self, token: str | None) -> T | None:
        """What has this token; it stays."""
        with self._lock:
            return self._known.get(token or "")

    def take(self, token: str | None) -> T | None:
        """What has this token; it is forgotten."""
        with self._lock:
            return self._known.pop(token or "", None)
