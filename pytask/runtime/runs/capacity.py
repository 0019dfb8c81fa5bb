"""The slots and the start rate of a worker, shared by its partitions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from pytask.runtime.runs.start_rate import Allowance


class Capacity:
    """`max_tasks` and the single quarantine slot, shared by all partitions.

    A partition that found the worker full while its queue has ids waits in line: the next slot is reserved
    for it, so that a partition with a long queue does not starve it.
    """

    def __init__(self, limit: int, allowance: Allowance | None = None) -> None:
        self._allowance = allowance or Allowance(None, lambda: 0.0)
        self.closed = False  # whether claims are paused for all partitions
        self._limit = limit
        self._occupied: list[Callable[[], int]] = []
        self._crashed: list[Callable[[], bool]] = []
        self._wakers: list[Callable[[], None]] = []
        self._line: list[Any] = []
        self._reserved: dict[Any, int] = {}
        self._trying: Any = None

    @property
    def shared(self) -> bool:
        """Whether there is more than one partition."""
        return len(self._occupied) > 1

    def join(
        self, occupied: Callable[[], int], crashed: Callable[[], bool], wake: Callable[[], None]
    ) -> None:
        """Register a partition: functions for its used slots and its quarantine, and to wake it."""
        self._occupied.append(occupied)
        self._crashed.append(crashed)
        self._wakers.append(wake)

    def free(self, partition: Any) -> int:
        """The number of slots that this partition may use now."""
        if self.closed:
            return 0
        left = self._limit - sum(occupied() for occupied in self._occupied)
        if not self.shared:
            return int(min(left, self._allowance.left))
        left -= sum(count for other, count in self._reserved.items() if other is not partition)
        ahead = self._line.index(partition) if partition in self._line else len(self._line)
        # A claim without a reply keeps its slots for a while; limit it, so that other partitions can
        # continue.
        return int(min(math.ceil((left - ahead) / len(self._occupied)), self._allowance.left))

    @property
    def pause(self) -> float:
        """Seconds until the worker's rate of starts allows the next one; 0 if it does now."""
        return self._allowance.pause

    def took(self, count: int) -> None:
        """Record the start of claimed tasks."""
        self._allowance.take(count)

    def line_up(self, partition: Any) -> None:
        """This partition has ids but no slot."""
        if partition not in self._line:
            self._line.append(partition)

    def reserve(self, partition: Any, count: int) -> None:
        """Reserve slots for a claim in flight."""
        self._reserved[partition] = count

    def release(self, partition: Any) -> None:
        """The claim was answered; its partition counts the tasks that it won."""
        self._reserved.pop(partition, None)
        if partition in self._line:
            self._line.remove(partition)
        if self._trying is partition:
            self._trying = None
        if self._line:
            self.wake()

    def wake(self) -> None:
        """Slots were freed: wake all partitions."""
        for wake in self._wakers:
            wake()

    def close(self, *, closed: bool) -> None:
        """Pause or resume claims."""
        self.closed = closed
        self.wake()

    def quarantine(self, partition: Any) -> int:
        """How many quarantined tasks this partition may claim: one at a time per process."""
        if self._trying not in (None, partition) or any(crashed() for crashed in self._crashed):
            return 0
        if self.shared:
            self._trying = partition
        return 1
