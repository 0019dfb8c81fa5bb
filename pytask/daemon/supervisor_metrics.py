"""One page of metrics for all children of a supervisor, from what they send over their lines.

It is written in a thread of its own: a scraper that does not read must not delay the supervisor.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from pytask.domain import figures
from pytask.domain.errors import ConfigError
from pytask.domain.figures import WorkerInfo
from pytask.domain.metrics import Family, listen_address
from pytask.domain.worker_metrics import Entry, Totals
from pytask.logger import get_logger
from pytask.metrics import http

log = get_logger(__name__)

AGAIN = 5.0  # seconds until an address that was in use is tried again


class SupervisorMetrics:
    """The figures of the children, as they sent them last."""

    def __init__(self) -> None:
        self._totals = Totals()
        self._lock = threading.Lock()
        self._children: Sequence[Sequence[dict[str, Any]]] = ()
        self._listener: socket.socket | None = None
        self._due = 0.0  # when the address is tried again
        self._warned = False

    def note(self, children: Sequence[Sequence[dict[str, Any]]]) -> None:
        """What each child has sent: its figures for each partition."""
        self._children = children

    def keep(self) -> None:
        """A child is about to be forgotten: what it has counted stays in the totals."""
        self.families()

    def families(self) -> list[Family]:
        """What the page shows now."""
        with self._lock:
            return self._totals.families(
                Entry(WorkerInfo(**figures.read(shown)), partition)
                for sent in self._children
                for partition, shown in enumerate(sent)
                if isinstance(shown.get("session"), str)
            )

    def serve(self, address: str | None) -> None:
        """Serve the page at the address that the children have been given; never blocks."""
        now = time.monotonic()
        if not address or self._listener is not None or now < self._due:
            return
        self._due = now + AGAIN
        try:
            host, port = listen_address(address)
            self._listener = http.listen(host, port)
        except (OSError, ConfigError) as error:
            if not self._warned:
                log.error("[PT206] no metrics at %s, retrying: %s", address, error)
            self._warned = True
            return
        log.info("metrics at %s", http.url(self._listener))
        threading.Thread(target=self._run, args=(self._listener,), daemon=True, name="metrics").start()

    def answer(self, line: socket.socket) -> None:
        """Answer a request that came over the health socket; closes the connection."""
        threading.Thread(target=self._answer, args=(line,), daemon=True, name="metrics").start()

    def _run(self, listener: socket.socket) -> None:
        with suppress(OSError):  # it was closed
            while True:
                line, _ = listener.accept()
                self._answer(line)

    def _answer(self, line: socket.socket) -> None:
        with line:
            http.answer(line, self.families)

    def close(self) -> None:
        """Stop serving."""
        if self._listener is not None:
            self._listener.close()
