"""Logins: who is logged in, and how often somebody may try."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from ipaddress import ip_address, ip_network

import attrs

from pytask.web.access import Passwords, User

IDLE = 12 * 3600.0  # seconds after which an unused login is over
MOST = 10_000  # logins, and names or addresses whose failures are remembered
FREE, FREE_OF_ADDRESS = 5, 20  # failures without a wait: for a name from an address; from an address
LONGEST_WAIT = 60.0  # seconds
FORGOTTEN = 600.0  # seconds after a wait: failures then count from 1 again
ALL, SPAN = 60, 60.0  # failures of all together, and the seconds in which no more are allowed


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

    These count for a name from an address.  An address that tries many names waits after 20 failures, and all
    addresses together have 60 failures a minute; but a name that has logged in from an address waits for its
    own failures only, so that nobody keeps it out by guessing.  Of IPv6, the first 64 bits are an address.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failed: OrderedDict[tuple[str, ...], _Failures] = OrderedDict()
        self._times: deque[float] = deque(maxlen=ALL)  # of the last failures of all
        self._at_home: OrderedDict[tuple[str, ...], None] = OrderedDict()  # who has logged in where

    def wait(self, name: str, address: str) -> float:
        """Seconds until the next try may be made; 0 for now."""
        now, keys = self._clock(), _keys(name, address)
        with self._lock:
            alone = self._is_at_home(keys)
            known = [self._failed[key] for key in [*keys][: 1 if alone else None] if key in self._failed]
            everyone = self._times[0] + SPAN if len(self._times) == ALL and not alone else 0.0
            return max(0.0, everyone - now, *(one.until - now for one in known))

    def failed(self, name: str, address: str, *, again: bool = False) -> None:
        """Count a failure; `again`: with the same password as before, which is no guess."""
        now, keys = self._clock(), _keys(name, address)
        with self._lock:
            alone = again or self._is_at_home(keys)
            if not alone:
                self._times.append(now)
            for key, free in [*keys.items()][: 1 if alone else None]:
                one = self._failed.setdefault(key, _Failures(0, now))
                one.count = one.count + 1 if now - one.until < FORGOTTEN else 1
                one.until = now + (_seconds(one.count - free) if one.count >= free else 0)
                self._failed.move_to_end(key)
            while len(self._failed) > MOST:
                self._failed.popitem(last=False)

    def passed(self, name: str, address: str) -> None:
        """Forget the failures of this name from this address, where it is at home from now on."""
        key = next(iter(_keys(name, address)))
        with self._lock:
            self._failed.pop(key, None)
            self._at_home[key] = None
            self._at_home.move_to_end(key)
            while len(self._at_home) > MOST:
                self._at_home.popitem(last=False)

    def _is_at_home(self, keys: Iterable[tuple[str, ...]]) -> bool:
        return next(iter(keys)) in self._at_home


def _seconds(more: int) -> float:
    """The wait after so many failures more than are free."""
    return LONGEST_WAIT if more > 10 else min(LONGEST_WAIT, 2.0**more)


def _keys(name: str, address: str) -> dict[tuple[str, ...], int]:
    """What a failure counts for, the name first, and how many are free."""
    with suppress(ValueError):  # a socket of Unix has none
        if ip_address(address).version == 6:  # who has one of them has 2**64
            address = str(ip_network((address, 64), strict=False))
    return {(address, name): FREE, (address,): FREE_OF_ADDRESS}
