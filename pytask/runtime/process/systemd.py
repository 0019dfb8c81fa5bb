"""The service manager's socket: one datagram a word, as sd_notify(3) sends it.  Needs no gevent."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, MutableMapping


class Notifier:
    """Tells systemd that we are ready, stopping, reloading or alive; does nothing where nobody asked."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        name = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name  # @ stands for an abstract name
        self.watchdog = _watchdog(environ) if name else None
        """Seconds within which the manager wants to hear of us, if it does."""

    @property
    def wanted(self) -> bool:
        """Whether anybody listens."""
        return bool(self._address)

    def send(self, *words: str) -> None:
        """Such as "READY=1"; what cannot be sent is dropped, as no worker may end by that."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
                line.settimeout(0)
                line.sendto("\n".join(words).encode(), self._address)
        except OSError:
            return

    def ready(self, status: str) -> None:
        """The start, or a reload, is done."""
        self.send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """A reload begins."""
        self.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", "STATUS=reloading")

    def stopping(self) -> None:
        """The end begins."""
        self.send("STOPPING=1", "STATUS=handing tasks back")

    def waiting(self, why: str, seconds: float) -> None:
        """Not ready yet, and asking for so many seconds more until that counts as a failure."""
        self.send(f"STATUS={why}", f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def alive(self) -> None:
        """The ping for the watchdog."""
        self.send("WATCHDOG=1")


def take_from(environ: MutableMapping[str, str]) -> None:
    """Take the socket away from children: they are not the process that the manager listens to."""
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        environ.pop(name, None)


def _watchdog(environ: Mapping[str, str]) -> float | None:
    text, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    meant = not pid or pid == str(os.getpid())
    return int(text) / 1e6 if meant and text.isdecimal() and int(text) > 0 else None
