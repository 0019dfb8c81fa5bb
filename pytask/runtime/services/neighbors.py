"""Proves the death of other worker processes of this machine, and releases their runs at once.

A process that has died has freed the lock on its file (see `life_lock`).  The locks are tried when the kernel
reports that such a file was closed, and from time to time; Redis is asked only once one is free.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

import attrs
import gevent
from gevent.event import Event as Flag

from pytask.domain.errors import StoreError
from pytask.domain.proofs import LockFile, proven_dead
from pytask.domain.timing import Timing
from pytask.domain.wording import counted, verb
from pytask.logger import get_logger
from pytask.runtime.process.close_watch import CloseWatch
from pytask.runtime.process.life_lock import LifeLock, LockFolder, Seized
from pytask.runtime.releases import Release, release_all
from pytask.runtime.store_proxy import StoreProxy
from pytask.runtime.tree import Service, end_services
from pytask.runtime.until_answered import pass_by_pass, until_answered

log = get_logger(__name__)

PERIOD, NOTIFIED_PERIOD = 1.0, 5.0  # seconds between two tries, without and with notices
# Seconds: the kernel reports the end of a file before it frees the lock.
AFTER_NOTICE = (0.0, 0.02, 0.1, 0.4)
REFRESH = 600.0  # seconds between two signs that our own file is in use
SUPERVISED = 10  # ticks that a supervisor has to do it: two at once would misjudge crashes
MOST_OVER = 10_000  # files that are remembered
EVER = 10**9  # seconds


@attrs.frozen(kw_only=True)
class NeighborsPorts:
    """What this service needs from its worker."""

    own: LifeLock
    store_proxies: Sequence[StoreProxy]  # one per store
    timing: Timing
    clock: Callable[[], float]


class Neighbors:
    """Looks at the locks of this machine: no call to Redis while nobody has died."""

    def __init__(self, ports: NeighborsPorts) -> None:
        self._ports = ports
        self._folder = LockFolder(ports.own)
        self._under_way: dict[LockFile, Flag] = {}  # set once all that could be released has been
        self._over: set[LockFile] = set()  # released, or of workers that our Redis does not know
        self._greenlets: set[Service] = set()
        self._ended = False
        self._refreshed = ports.clock()
        self.looked = Flag()  # whether the deaths before the start of this worker are dealt with

    def run(self) -> None:
        """Run until stopped."""
        watch = CloseWatch(self._folder.path)
        try:
            pass_by_pass(lambda: self._pass(watch), self._pass_failed, lambda: self._ended)
        finally:
            self.looked.set()
            watch.close()

    def end(self) -> None:
        """Stop; the files of the dead are left to others."""
        self._ended = True
        self.looked.set()
        end_services(list(self._greenlets), timeout=1)

    def look(self) -> list[Flag]:
        """Try all locks once; for each proven death, a flag that is set when its runs have been released."""
        found = list(self._folder.dead())
        if len(self._over) > MOST_OVER:
            self._over.clear()
        return [self._begin(one) for one in found if one not in self._over and one not in self._under_way]

    def _first_look(self) -> None:
        # Of this worker's former self, too: its tasks go back before the first one is claimed.
        with suppress(gevent.Timeout), gevent.Timeout(2 * self._ports.timing.call_timeout):
            for done in self.look():
                done.wait()
        self.looked.set()

    def _pass(self, watch: CloseWatch) -> None:
        if not self.looked.is_set():
            self._first_look()
        if watch.wait(NOTIFIED_PERIOD if watch.instant else PERIOD):
            for pause in AFTER_NOTICE:
                gevent.sleep(pause)
                self.look()
        else:
            self.look()
        if self._ports.clock() - self._refreshed > REFRESH:
            self._refreshed = self._ports.clock()
            self._ports.own.refresh()

    def _pass_failed(self, error: Exception) -> float:
        log.error("cannot look at the locks of other workers of this machine", exc_info=error)
        self.looked.set()
        return PERIOD

    # -- one death --------------------------------------------------------------------------------------

    def _begin(self, file: LockFile) -> Flag:
        done = self._under_way[file] = Flag()
        greenlet = Service.spawn(self._bury, file, done)
        self._greenlets.add(greenlet)
        greenlet.link(self._greenlets.discard)
        return done

    def _bury(self, file: LockFile, done: Flag) -> None:
        try:
            releases = self._releases(file, done)
            if not releases:
                self._over.add(file)
                self._folder.tidy(file)
            elif (seized := self._folder.seize(file)) is not None:  # otherwise another neighbor does it
                try:
                    self._release(seized, releases, done)
                finally:
                    seized.close()
        except Exception:
            self._over.add(file)  # its leases expire
            log.exception("cannot release the runs of a dead worker process")
        finally:
            del self._under_way[file]
            done.set()

    def _releases(self, file: LockFile, done: Flag) -> list[Release]:
        """What to release: the sessions whose entries name this file, in all stores."""
        timing, clock = self._ports.timing, self._ports.clock
        until = clock() + timing.expiry

        def give_up(error: StoreError) -> bool:
            log.debug("cannot read whose lock was freed: %s", error)
            return clock() >= until

        releases = []
        supervised = False
        for store_proxy in self._ports.store_proxies:
            entries = until_answered(
                lambda one=store_proxy: one.call(lambda store: store.recent_workers(EVER)),  # type: ignore[misc]
                give_up, timing.tick,
            )  # fmt: skip
            for session in proven_dead(file, entries or ()):
                supervised = supervised or "." in session
                releases.append(Release(f"{session}:", store_proxy, timing))
        if supervised:
            done.set()
            gevent.sleep(SUPERVISED * timing.tick)
        return releases

    def _release(self, seized: Seized, releases: Sequence[Release], done: Flag) -> None:
        try:
            number = sum([release.step() for release in releases])
            log.log(
                logging.WARNING if number else logging.INFO,
                "a worker process of this machine is dead, as its lock %s is free: %s %s requeued",
                seized.path.name, counted(number, "run"), verb(number, "was", "were"),
            )  # fmt: skip
            done.set()
        except StoreError as error:
            log.debug("retrying: %s", error)
        release_all(releases, self._ports.timing, self._ports.clock)
        left = sum(one.left for one in releases)
        if left:
            log.warning("%s of %s left to the monitors", counted(left, "run"), seized.path.name)
        else:
            _sign_off(releases)
        self._over.add(seized.file)
        seized.remove()


def _sign_off(releases: Sequence[Release]) -> None:
    # Otherwise it would be listed, with the tasks that it had, until its entry expires.
    for release in releases:
        try:
            release.sign_off()
        except StoreError as error:
            log.debug("cannot remove the entry of a dead worker process: %s", error)
