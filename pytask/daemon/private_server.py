"""The private server of a folder: started for a worker, or joined where another process has started it."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

from pytask.adapters.embedded import EmbeddedServer, ServerBusy
from pytask.logger import get_logger

log = get_logger(__name__)

DATA_DIR = Path(".pytask")
BUSY_SECONDS = 10.0  # how long another process may take to start the server of our folder


def private_url(folder: Path | None, servers: ExitStack) -> str:
    """The URL of the folder's server, which ends with `servers` if it was started here."""
    server = EmbeddedServer(folder or DATA_DIR)
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            servers.enter_context(server)
        except ServerBusy as busy:
            if busy.url:
                log.warning(
                    "%s has a server already, pid %s at %s: using that one, and leaving it running"
                    " (it ends with the process that started it, or by `kill %s`)",
                    server.folder, busy.pid, busy.url, busy.pid,
                )  # fmt: skip
                return busy.url
            if time.monotonic() > until:
                raise
            time.sleep(0.05)  # somebody is starting it at this moment
        else:
            log.info(
                "embedded server at %s, its data in %s; try: redis-cli -p %d",
                server.url, server.folder, server.port,
            )  # fmt: skip
            return server.url
