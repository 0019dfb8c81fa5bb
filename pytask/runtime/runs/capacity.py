"""The worker's places and its rate of starts, shared by its lanes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from pytask.runtime.runs.start_rate import Allowance


class Places:
    """`max_tasks` and the one place of quarantine, for all lanes together.

    A lane that found the worker full while its queue has ids stands in line: a place is kept for it before
    the others, so that a lane with a long queue does not starve it.
    """

    def __init__(self, limit: int, allowance: Allowance | None = None) -> None:
        self._allowance = allowance or Allowance(None, lambda: 0.0)
        self.closed = False  # no lane may take anything, until it is opened again
        self._limit = limit
        self._occupied: list[Callable[[], int]] = []
        self._crashed: list[Callable[[], bool]] = []
        self._wakers: list[Callable[[], None]] = []
        self._line: list[Any] = []
        self._reserved: dict[Any, int] = {}
        self._trying: Any = None

    @property
    def shared(self) -> bool:
        """Whether there is more than one lane."""
        return len(self._occupied) > 1

    def join(
        self, occupied: Callable[[], int], crashed: Callable[[], bool], wake: Callable[[], None]
    ) -> None:
        """A lane comes in: how many places it uses, whether it holds the quarantine, how to wake it."""
        self._occupied.append(occupied)
        self._crashed.append(crashed)
        self._wakers.append(wake)

    def free(self, lane: Any) -> int:
        """Places that this lane may take now."""
        if self.closed:
            return 0
        left = self._limit - sum(occupied() for occupied in self._occupied)
        if not self.shared:
            return int(min(left, self._allowance.left))
        left -= sum(count for other, count in self._reserved.items() if other is not lane)
        ahead = self._line.index(lane) if lane in self._line else len(self._line)
        # A claim whose reply is lost holds its places for a while: not all of them, so that the others go on.
        return int(min(math.ceil((left - ahead) / len(self._occupied)), self._allowance.left))

    @property
    def pause(self) -> float:
        """Seconds until the worker's rate of starts allows the next one; 0 if it does now."""
        return self._allowance.pause

    def took(self, count: int) -> None:
        """So many tasks were claimed, and start."""
        self._allowance.take(count)

    def line_up(self, lane: Any) -> None:
        """This lane has ids and no place."""
        if lane not in self._line:
            self._line.append(lane)

    def reserve(self, lane: Any, count: int) -> None:
        """Keep places for a claim that is on its way."""
        self._reserved[lane] = count

    def release(self, lane: Any) -> None:
        """The claim is answered; what it won is counted by its lane."""
        self._reserved.pop(lane, None)
        if lane in self._line:
            self._line.remove(lane)
        if self._trying is lane:
            self._trying = None
        if self._line:
            self.wake()

    def wake(self) -> None:
        """Places were freed: let all lanes look."""
        for wake in self._wakers:
            wake()

    def close(self, *, closed: bool) -> None:
        """Take no more tasks, or take tasks again."""
        self.closed = closed
        self.wake()

    def quarantine(self, lane: Any) -> int:
        """How many tasks that crashed before this lane's claim may take: one at a time in this process."""
        if self._trying not in (None, lane) or any(crashed() for crashed in self._crashed):
            return 0
        if self.shared:
            self._trying = lane
        return 1
