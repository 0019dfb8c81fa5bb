"""Logins: who is logged in, and how often somebody may try."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

import attrs

from pytask.web.access import Passwords, User

IDLE = 12 * 3600.0  # seconds after which an unused login is over
MOST = 10_000  # logins, and names or addresses whose failures are remembered
FREE = 5  # failures without a wait
LONGEST_WAIT = 60.0  # seconds


@attrs.define
class Session:
    """One login."""

    name: str
    mark: str  # of the user's line at the login
    used: float


class Sessions:
    """The logins of this process; they are over when it ends."""

    def __init__(self, passwords: Passwords, clock: Callable[[], float] = time.monotonic) -> None:
        self._passwords = passwords
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Session] = OrderedDict()

    def open(self, name: str, mark: str) -> str:
        """A new login; returns the token that its browser keeps."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._known[_key(token)] = Session(name, mark, self._clock())
            while len(self._known) > MOST:
                self._known.popitem(last=False)
        return token

    def user(self, token: str | None) -> User | None:
        """Who has this token; None if the login is over, or the user's line has changed since."""
        if not token:
            return None
        key, now = _key(token), self._clock()
        with self._lock:
            session = self._known.get(key)
            if session is None or now - session.used > IDLE:
                self._known.pop(key, None)
                return None
            session.used = now
            self._known.move_to_end(key)
        entry = self._passwords.entry(session.name)
        return entry.user if entry is not None and entry.mark == session.mark else None

    def close(self, token: str | None) -> None:
        """Log out."""
        with self._lock:
            self._known.pop(_key(token or ""), None)


def _key(token: str) -> str:
    # A copy of this process's memory has no tokens that a browser would take.
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


@attrs.define
class _Failures:
    count: int
    until: float


class Throttle:
    """Slows down those who guess: after 5 failures each try waits, twice as long each time, up to a minute.

    Failures count for the name and for the address.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failed: OrderedDict[str, _Failures] = OrderedDict()

    def wait(self, *keys: str) -> float:
        """Seconds until the next try may be made; 0 for now."""
        now = self._clock()
        with self._lock:
            return max((self._failed[key].until - now for key in keys if key in self._failed), default=0.0)

    def failed(self, *keys: str) -> None:
        """Count a failure."""
        now = self._clock()
        with self._lock:
            for key in keys:
                one = self._failed.setdefault(key, _Failures(0, now))
                one.count += 1
                one.until = now + (min(LONGEST_WAIT, 2.0 ** (one.count - FREE)) if one.count >= FREE else 0)
                self._failed.move_to_end(key)
            while len(self._failed) > MOST:
                self._failed.popitem(last=False)

    def passed(self, *keys: str) -> None:
        """Forget the failures."""
        with self._lock:
            for key in keys:
                self._failed.pop(key, None)
