"""Notifications to the service manager, one datagram each, as with sd_notify(3).  Needs no gevent."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, MutableMapping


class Notifier:
    """Notifies systemd of the process's state; a no-op without $NOTIFY_SOCKET."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        name = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name  # @ means an abstract socket
        self.watchdog = _watchdog(environ) if name else None
        """The watchdog timeout in seconds, if set."""

    @property
    def wanted(self) -> bool:
        """Whether there is a socket."""
        return bool(self._address)

    def send(self, *words: str) -> None:
        """Send messages such as "READY=1"; errors are ignored, as they must not end a worker."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
                line.settimeout(0)
                line.sendto("\n".join(words).encode(), self._address)
        except OSError:
            return

    def ready(self, status: str) -> None:
        """The start or a reload is complete."""
        self.send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """A reload begins."""
        self.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", "STATUS=reloading")

    def stopping(self) -> None:
        """The shutdown begins."""
        self.send("STOPPING=1", "STATUS=releasing tasks")

    def waiting(self, why: str, seconds: float) -> None:
        """Not ready yet; extend the timeout by `seconds`."""
        self.send(f"STATUS={why}", f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def alive(self) -> None:
        """Send the watchdog ping."""
        self.send("WATCHDOG=1")


def take_from(environ: MutableMapping[str, str]) -> None:
    """Remove the socket from the environment of children, which must not notify the manager."""
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        environ.pop(name, None)


def _watchdog(environ: Mapping[str, str]) -> float | None:
    text, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    meant = not pid or pid == str(os.getpid())
    return int(text) / 1e6 if meant and text.isdecimal() and int(text) > 0 else None
