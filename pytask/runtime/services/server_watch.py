"""Checks whether a new connection still reaches the server of the renewals.

An old primary that is still alive after its address was moved (virtual IP, DNS name, proxy) keeps its open
connections and may accept their writes, while all other clients use the new primary.
"""

from __future__ import annotations

from collections.abc import Callable

from gevent.event import Event as Flag

from pytask.domain.errors import PytaskError
from pytask.domain.leases import Lease
from pytask.domain.ports import Store
from pytask.logger import get_logger

log = get_logger(__name__)


class ServerWatch:
    """Opens a connection at every claim gate period, well before a monitor could requeue these runs."""

    def __init__(self, *, store: Store, lease: Lease, on_moved: Callable[[], None]) -> None:
        self._store = store
        self._lease = lease
        self._on_moved = on_moved
        self._ended = Flag()

    def run(self) -> None:
        """Run until stopped."""
        while not self._ended.wait(self._lease.timing.claim_gate):
            self.look()

    def end(self) -> None:
        """Stop after the current step."""
        self._ended.set()

    def look(self) -> None:
        """One check.  An unreachable server proves nothing."""
        try:
            self._store.reset()
            self._store.renew([])
        except PytaskError as error:
            log.debug("could not open a new connection: %s", error)
            return
        finally:
            self._store.reset()
        seen, known = self._store.incarnation, self._lease.server
        if seen is not None and seen.server and known and seen.server != known:
            log.warning(
                "new connections reach a different server than the open ones: reopening all connections"
            )
            self._on_moved()
