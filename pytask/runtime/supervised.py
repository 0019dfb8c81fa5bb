"""The child's end of the line to its supervisor: receives stop requests and dead siblings to release.

The supervisor itself never contacts Redis: a living child already has the address, the connection and the
settings, and uses the same fenced script as the monitor.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Sequence
from urllib.parse import quote

import attrs
from gevent import socket

from pytask.domain.timing import Timing
from pytask.logger import get_logger
from pytask.runtime.releases import Release, release_all
from pytask.runtime.store_proxy import StoreProxy
from pytask.runtime.tree import Service

log = get_logger(__name__)


@attrs.frozen(kw_only=True)
class SupervisorLinkPorts:
    """What the link to a supervisor needs from its worker."""

    store_proxies: Sequence[StoreProxy]  # one per store
    timing: Timing
    clock: Callable[[], float]
    on_stop: Callable[[], None]
    on_quiet: Callable[[bool], None] = lambda _: None
    on_hurry: Callable[[], None] = lambda: None
    on_go: Callable[[], None] = lambda: None
    on_alone: Callable[[], None] = lambda: None
    blames: bool = True  # whether the death of a sibling counts against its young runs


class SupervisorLink:
    """Reads the line: `stop`, `hurry`, `release <prefix>`, and on standby `go` (take tasks) and `alone` (the
    predecessor has ended); end of file means that the supervisor is gone.

    `hurry` ends a drain.  A `stop` in addition to a signal does not: a service manager may send SIGTERM to
    every process while the supervisor sends the word.
    """

    def __init__(self, fd: int, prefix: str, number: int) -> None:
        os.set_inheritable(fd, False)  # noqa: FBT003 - positional only
        # programs started by tasks must not inherit the line
        self.prefix = prefix
        self.number = number
        self._socket = socket.socket(fileno=fd)

    @classmethod
    def parse(cls, text: str) -> SupervisorLink:
        """Parse `<descriptor>:<number>:<prefix>`, as the supervisor writes it."""
        fd, number, prefix = text.split(":", 2)
        return cls(int(fd), prefix, int(number))

    def start(self, ports: SupervisorLinkPorts) -> None:
        """Start reading."""
        self._ports = ports
        Service.spawn(self._listen)

    def _listen(self) -> None:
        rest = b""
        while True:
            try:
                fresh = self._socket.recv(4096)
            except OSError:
                fresh = b""
            if not fresh:
                log.warning("the supervisor is gone: this worker releases its tasks and exits")
                self._ports.on_hurry()
                self._ports.on_stop()
                return
            *lines, rest = (rest + fresh).split(b"\n")
            for line in lines:
                self._receive(line.decode())

    def _receive(self, line: str) -> None:
        word, _, prefix = line.partition(" ")
        if word == "stop":
            self._ports.on_stop()
        elif word == "hurry":
            self._ports.on_hurry()
        elif word in ("quiet", "resume"):
            self._ports.on_quiet(word == "quiet")
        elif word == "go":
            self._ports.on_go()
        elif word == "alone":
            self._ports.on_alone()
        elif word == "release" and prefix:
            Service.spawn(self.release, prefix)

    def stands_by(self, namespace: str, partitions: int, functions: Sequence[str]) -> None:
        """Report that the code runs, where its tasks are, and what they are called."""
        place = {"namespace": namespace, "partitions": partitions, "functions": list(functions)}
        self.tell(f"standby {quote(json.dumps(place), safe='')}")

    def blocked(self, who: str, place: str) -> None:
        """Report, from any thread, who blocks the event loop, and where; "" once it responds again."""
        words = " ".join(["blocked", *(quote(word, safe="") for word in (who, place) if word)])
        with contextlib.suppress(OSError):  # not by the socket, which belongs to the loop
            os.write(self._socket.fileno(), f"{words}\n".encode())

    def release(self, prefix: str) -> None:
        """Requeue the runs of a dead sibling; retried until the monitors have done it."""
        timing, clock = self._ports.timing, self._ports.clock
        blames = self._ports.blames
        releases = [
            Release(prefix, store_proxy, timing, blames=blames) for store_proxy in self._ports.store_proxies
        ]
        release_all(releases, timing, clock)
        handed_on, left = sum(one.handed_on for one in releases), sum(one.left for one in releases)
        self.tell(f"released {prefix} {handed_on} {left}")

    def tell(self, text: str) -> None:
        """Send a line to the supervisor, if it still reads."""
        try:
            self._socket.sendall(f"{text}\n".encode())
        except OSError:
            log.debug("the supervisor did not receive: %s", text)
