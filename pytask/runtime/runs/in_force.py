"""The data with which the living runs work: what a refused or failed reload goes back to."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Mapping

import attrs
import gevent

from pytask.domain.record import Claim, InForce
from pytask.runtime.runs.run import Run
from pytask.runtime.tree import Service

LARGE = 4096  # bytes; larger data of a run that lives is compressed: it may live for months
HUGE = 256 * 1024  # bytes; compressing more would hold up the event loop
PACK_AFTER = 10.0  # seconds of a run: most runs are over by then, and cost nothing


def in_force(run: Run) -> InForce:
    """What a living run works with, as its hash had it."""
    data = run.claim.data if run.packed is None else zlib.decompress(run.packed)
    return InForce(run.claim.function, data)


def is_in_force(run: Run, claim: Claim) -> bool:
    """Whether a run works with this data already."""
    if claim.oversize or claim.function != run.claim.function:
        return False
    return (claim.data or b"") == (in_force(run).data or b"")


class Packer:
    """Compresses the large data of runs, some time after they have begun."""

    def __init__(
        self, living: Mapping[str, Run], clock: Callable[[], float], seconds: float = PACK_AFTER
    ) -> None:
        self._living = living
        self._clock = clock
        self._seconds = seconds
        self._later: deque[tuple[float, str, str]] = deque()  # when, and the run: this must not keep it alive
        self._is_due = False  # a look is due

    def add(self, run: Run) -> None:
        """A run has taken its data."""
        if run.claim.data is None or len(run.claim.data) <= LARGE:
            return
        self._later.append((self._clock() + self._seconds, run.id, run.ref.run))
        self._look_later()

    def _look_later(self) -> None:
        if self._later and not self._is_due:
            self._is_due = True
            Service.spawn_later(max(0.0, self._later[0][0] - self._clock()), self._look)

    def _look(self) -> None:
        try:
            self.turn()
        finally:
            self._is_due = False
            self._look_later()

    def turn(self) -> None:
        """Compress what is due."""
        while self._later and self._later[0][0] <= self._clock():
            _, task_id, ref = self._later.popleft()
            run = self._living.get(task_id)
            if run is not None and run.ref.run == ref and not run.over:
                pack(run)


def pack(run: Run) -> None:
    """Compress the data of a run, if it is large and has not been replaced meanwhile."""
    data = run.claim.data
    if data is None or len(data) <= LARGE:
        return
    if len(data) > HUGE:
        packed = gevent.get_hub().threadpool.apply(zlib.compress, (data, 1))
    else:
        packed = zlib.compress(data, 1)
    if run.claim.data is data:
        run.packed = packed
        run.claim = attrs.evolve(run.claim, data=None)
