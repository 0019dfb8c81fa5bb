"""The private server of a directory: started for a worker, or shared if another process has started it."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

from pytask.adapters.embedded import EmbeddedServer, ServerBusy
from pytask.logger import get_logger

log = get_logger(__name__)

DATA_DIR = Path(".pytask")
BUSY_SECONDS = 10.0  # maximum time for another process to start the directory's server


def private_url(folder: Path | None, servers: ExitStack) -> str:
    """The URL of the directory's server; a server started here ends with `servers`."""
    server = EmbeddedServer(folder or DATA_DIR)
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            servers.enter_context(server)
        except ServerBusy as busy:
            if busy.url:
                log.warning(
                    "%s already has a server, pid %s at %s: using it, and leaving it running"
                        " (it ends with the process that started it, or with `kill %s`)",
                    server.folder, busy.pid, busy.url, busy.pid,
                )  # fmt: skip
                return busy.url
            if time.monotonic() > until:
                raise
            time.sleep(0.05)  # another process is starting it
        else:
            log.info(
                "embedded server at %s, data in %s; try: pytask status --redis %s",
                server.url, server.folder, server.url,
            )  # fmt: skip
            return server.url
