"""Runs that a claim of the tail has made, and that its worker never hears of."""

from __future__ import annotations

import math

from pytask.domain.record import Verdict


class Heard:
    """A run that a monitor ends, as nobody renews it, was known to its worker, or that has left it behind."""

    def __init__(self, world, violation):
        self._world = world
        self._violation = violation
        self._untold = set()  # runs of which no answer has arrived
        self._stepped_at = -math.inf  # when the clock of Redis was last set forward

    def served(self, call, claims):
        """A claim was applied."""
        tail = call.args[0].tail
        # Sent before the clock was set forward: the record that it was closed may have expired.
        if tail is not None and tail.count and call.sent_at > self._stepped_at:
            # Not ALREADY: this may be a copy that comes late, long after the answer was told.
            self._untold.update(claim.run for claim in claims if claim.verdict is Verdict.OK)

    def told(self, claims):
        """Its answer, or that of its closing, has arrived."""
        self._untold.difference_update(claim.run for claim in claims)

    def stepped(self):
        """The clock of Redis was set forward."""
        self._stepped_at = self._world.loop.time

    def forget(self):
        """The server lost data, maybe also the record of the claim."""
        self._untold.clear()

    def expired(self, run):
        """A monitor has ended this run."""
        if run not in self._untold:
            return
        session = run.rpartition(":")[0]
        for process in self._world.everyone:
            if session.startswith(f"{process.name}s") and self._has_no_excuse(process):
                self._violation("nobody's run", f"{run}: {process} lives or has left, and knew nothing of it")

    @staticmethod
    def _has_no_excuse(process):
        """It has released all, or it is neither gone nor stopped, and tries not to find out."""
        if process.clean:
            return True
        if process.dead or process.leaving or process.stopped or process.hog is not None:
            return False
        consumer = process.worker.partitions[0].consumer
        return not consumer.claims.open and consumer.claims.held == 0
