"""The child's end of the line to its supervisor: receives stop requests and dead siblings to release.

The supervisor itself never contacts Redis: a living child already has the address, the connection and the
settings, and uses the same fenced script as the monitor.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import attrs
import gevent
from gevent import socket

from pytask.domain.crashes import bury
from pytask.domain.errors import StoreError
from pytask.domain.record import Suspect, Verdict
from pytask.domain.timing import Timing
from pytask.domain.wording import counted, verb
from pytask.logger import get_logger
from pytask.runtime.store_proxy import StoreProxy
from pytask.runtime.tree import Service
from pytask.runtime.until_answered import until_answered

log = get_logger(__name__)

EXPIRE_BATCH = 256
QUIET_PASSES = 2  # a claim of the dead process may still be in its socket when it is reaped


class Release:
    """The runs of one dead process in one store, found by the prefix of its run ids."""

    def __init__(self, prefix: str, store_proxy: StoreProxy, timing: Timing) -> None:
        self._prefix = prefix
        self._store_proxy = store_proxy
        self._timing = timing
        self._seen: dict[str, Suspect] = {}  # also those already requeued: they ran when it died
        self.handed_on = 0
        self.left = 0  # runs left to the monitor because they crashed before

    def step(self) -> int:
        """One pass; returns the number of requeued runs.  Raises `StoreError`."""
        found = self._read()
        self._seen.update(found)
        due, self.left = bury(self._seen.values(), self._timing.expiry, self._timing.scale)
        due = [expiry for expiry in due if expiry.id in found and found[expiry.id].run == expiry.run]
        done = 0
        for at in range(0, len(due), EXPIRE_BATCH):
            chunk = due[at : at + EXPIRE_BATCH]
            verdicts = self._store_proxy.call(lambda store, chunk=chunk: store.expire(chunk))  # type: ignore[misc]
            done += sum(verdict is Verdict.OK for verdict in verdicts)
        self.handed_on += done
        return done

    def _read(self) -> dict[str, Suspect]:
        found: dict[str, Suspect] = {}
        cursor = 0
        while True:
            cursor, some = self._store_proxy.call(
                lambda store, at=cursor: store.runs_of(self._prefix, at)  # type: ignore[misc]
            )
            found.update({one.id: one for one in some})
            if not cursor:
                return found


@attrs.frozen(kw_only=True)
class SupervisorLinkPorts:
    """What the link to a supervisor needs from its worker."""

    store_proxies: Sequence[StoreProxy]  # one per store
    timing: Timing
    clock: Callable[[], float]
    on_stop: Callable[[], None]
    on_quiet: Callable[[bool], None] = lambda _: None
    on_hurry: Callable[[], None] = lambda: None


class SupervisorLink:
    """Reads the line: `stop`, `hurry`, `release <prefix>`; end of file means that the supervisor is gone.

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
        elif word == "release" and prefix:
            Service.spawn(self.release, prefix)

    def release(self, prefix: str) -> None:
        """Requeue the runs of a dead sibling; retried until the monitors have done it."""
        timing, clock = self._ports.timing, self._ports.clock
        releases = [Release(prefix, store_proxy, timing) for store_proxy in self._ports.store_proxies]
        until = clock() + timing.expiry + 2 * timing.sweep
        quiet = 0

        def give_up(error: StoreError) -> bool:
            nonlocal quiet
            quiet = 0
            log.warning("cannot requeue the runs of a dead worker process yet: %s", error)
            return clock() >= until

        def step() -> int:
            return sum([one.step() for one in releases])  # all stores, before they are counted

        while quiet < QUIET_PASSES and clock() < until:
            done = until_answered(step, give_up, timing.tick) or 0
            quiet = 0 if done else quiet + 1
            if done:
                are = f"{counted(done, 'run')} of a dead worker process {verb(done, 'is', 'are')}"
                log.warning("%s requeued", are)
            gevent.sleep(timing.tick)
        handed_on, left = sum(one.handed_on for one in releases), sum(one.left for one in releases)
        self.tell(f"released {prefix} {handed_on} {left}")

    def tell(self, text: str) -> None:
        """Send a line to the supervisor, if it still reads."""
        try:
            self._socket.sendall(f"{text}\n".encode())
        except OSError:
            log.debug("the supervisor did not receive: %s", text)
