"""Releases the runs of a process that is known to be dead, with the fenced script of the monitors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gevent

from pytask.domain.crashes import bury
from pytask.domain.errors import StoreError
from pytask.domain.record import Suspect, Verdict
from pytask.domain.timing import Timing
from pytask.domain.wording import counted, verb
from pytask.logger import get_logger
from pytask.runtime.store_proxy import StoreProxy
from pytask.runtime.until_answered import until_answered

log = get_logger(__name__)

EXPIRE_BATCH = 256
QUIET_PASSES = 2  # a claim of the dead process may still be in its socket when its death is known


class Release:
    """The runs of one dead process in one store, found by the prefix of its run ids."""

    def __init__(self, prefix: str, store_proxy: StoreProxy, timing: Timing, *, blames: bool = True) -> None:
        self._prefix = prefix
        self._blames = blames
        self._store_proxy = store_proxy
        self._timing = timing
        self._seen: dict[str, Suspect] = {}  # also those already requeued: they ran when it died
        self.handed_on = 0
        self.left = 0  # runs left to the monitor because they crashed before

    def step(self) -> int:
        """One pass; returns the number of requeued runs.  Raises `StoreError`."""
        found = self._read()
        self._seen.update(found)
        due, self.left = bury(
            self._seen.values(), self._timing.expiry, self._timing.scale, blames=self._blames
        )
        due = [expiry for expiry in due if expiry.id in found and found[expiry.id].run == expiry.run]
        done = 0
        for at in range(0, len(due), EXPIRE_BATCH):
            chunk = due[at : at + EXPIRE_BATCH]
            verdicts = self._store_proxy.call(lambda store, chunk=chunk: store.expire(chunk))  # type: ignore[misc]
            done += sum(verdict is Verdict.OK for verdict in verdicts)
        self.handed_on += done
        return done

    def sign_off(self) -> None:
        """Remove the entry of the dead process, whose prefix is its session.  Raises `StoreError`."""
        session = self._prefix.removesuffix(":")
        self._store_proxy.call(lambda store: store.leave(session))

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


def release_all(releases: Sequence[Release], timing: Timing, clock: Callable[[], float]) -> None:
    """Repeat all of them until nothing is left, or the monitors have certainly done it."""
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
