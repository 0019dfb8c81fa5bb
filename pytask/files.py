"""How many files and sockets this process may open, with some kept back for the worker's own connections.

Tasks that open all they can would otherwise leave none for the connection that renews them, once that has to
be opened again.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

resource: Any
try:
    resource = import_module("resource")
except ImportError:  # no POSIX system
    resource = None

if TYPE_CHECKING:
    Base = Any
else:
    Base = object

RESERVE = 64  # descriptors that are kept back
MOST = 65_536  # at the least, where the system allows more: some programs go through all that are allowed
_reserved = 0  # connections that are being opened from the reserve


def raise_limit(wanted: int) -> None:
    """Raise the soft limit towards the hard one, to `wanted` or more, and keep the reserve back."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    top = max(MOST, wanted) if hard == resource.RLIM_INFINITY else min(hard, max(MOST, wanted) + RESERVE)
    room = top - RESERVE if top > 4 * RESERVE else top
    if room > soft or soft == hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (room, hard))


def limit() -> int | None:
    """Files that tasks may open; None where the system does not say."""
    if resource is None:
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


@contextlib.contextmanager
def reserve() -> Iterator[None]:
    """Let the reserve be used within."""
    global _reserved  # noqa: PLW0603 - the limit is one of the process
    _move(RESERVE if not _reserved else 0)
    _reserved += 1
    try:
        yield
    finally:
        _reserved -= 1
        _move(-RESERVE if not _reserved else 0)


def _move(number: int) -> None:
    if resource is None or not number:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft + number, hard))


class Reserved(Base):  # type: ignore[misc]
    """A connection of the worker's own: it is opened from the reserve where no other descriptor is left."""

    def _connect(self) -> Any:
        try:
            return super()._connect()
        except OSError as error:
            if error.errno != errno.EMFILE:
                raise
        with reserve():
            return super()._connect()


@cache
def reserved(base: type) -> type:
    """A class of connections like `base`."""
    if issubclass(base, Reserved):
        return base
    return type(f"Reserved{base.__name__}", (Reserved, base), {})
