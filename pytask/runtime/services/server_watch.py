"""Looks whether a new connection still leads to the server that this worker renews at.

A primary that lives on after its address was moved (a virtual IP, a name, a proxy) keeps the connections
that were open, and may take their writes: all others are at the new one, which hears no renewal.
"""

from __future__ import annotations

from collections.abc import Callable

from gevent.event import Event as Flag

from pytask.domain.errors import PytaskError
from pytask.domain.leases import Lease
from pytask.domain.ports import Store
from pytask.logger import get_logger

log = get_logger(__name__)


class Lookout:
    """Opens a connection every F, long before a monitor at another server hands on what runs here."""

    def __init__(self, *, store: Store, lease: Lease, on_moved: Callable[[], None]) -> None:
        self._store = store
        self._lease = lease
        self._on_moved = on_moved
        self._ended = Flag()

    def run(self) -> None:
        """Look until told to end."""
        while not self._ended.wait(self._lease.timing.claim_gate):
            self.look()

    def end(self) -> None:
        """Let the loop end after what it is doing."""
        self._ended.set()

    def look(self) -> None:
        """One look.  What cannot be reached proves nothing: kept connections may be all that is left."""
        try:
            self._store.reset()
            self._store.renew([])
        except PytaskError as error:
            log.debug("a new connection cannot be opened: %s", error)
            return
        finally:
            self._store.reset()
        seen, known = self._store.incarnation, self._lease.server
        if seen is not None and seen.server and known and seen.server != known:
            log.warning(
                "new connections lead to another server than those that are open: all are opened again"
            )
            self._on_moved()
