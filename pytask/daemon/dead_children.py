"""Dead children whose runs must be released by a living child, which has a client and the settings.

The runs are found by the prefix of run ids that the supervisor chose for that process.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence

import attrs

from pytask.daemon.child import Slot
from pytask.logger import get_logger

log = get_logger(__name__)

AGAIN = 5.0  # seconds without an answer after which another child is requested to release, too
FORGET_AFTER = 900.0  # seconds after which the monitors have certainly done it


@attrs.define(eq=False)
class DeadChild:
    """A process that ended with runs, until a child reports that they are released."""

    prefix: str
    name: str
    since: float
    asked_at: float = 0.0
    slot: Slot | None = None
    asked: subprocess.Popen[bytes] | None = None  # the requested process, which may be replaced in its slot

    def waits(self, now: float) -> bool:
        """Whether a living child was requested and may still answer."""
        pending = self.slot is not None and self.slot.process is self.asked is not None
        return pending and now - self.asked_at < AGAIN


class DeadChildren:
    """The dead children, by prefix."""

    def __init__(self) -> None:
        self.waiting: dict[str, DeadChild] = {}

    def add(self, prefix: str, name: str, now: float) -> None:
        """A process ended without having released all its tasks."""
        self.waiting[prefix] = DeadChild(prefix, name, now)

    def forget(self, prefix: str) -> None:
        """Its end needs nothing."""
        self.waiting.pop(prefix, None)

    def entrust(self, slots: Sequence[Slot], now: float) -> None:
        """Assign each to one living child: two at once would misjudge crashes."""
        for dead in list(self.waiting.values()):
            if dead.waits(now):
                continue
            if now - dead.since > FORGET_AFTER:
                self.forget(dead.prefix)
                continue
            # Oldest first, as it is certainly ready; a child that did not answer comes last.
            living = [slot for slot in slots if slot.process is not None]
            for slot in sorted(living, key=lambda slot: (slot is dead.slot, slot.began)):
                if slot.tell(f"release {dead.prefix}"):
                    dead.slot, dead.asked, dead.asked_at = slot, slot.process, now
                    log.info("child %d is releasing the runs of %s", slot.number, dead.name)
                    break

    def receive(self, words: Sequence[str]) -> None:
        """A line of a child: `released <prefix> <released> <left>`."""
        if len(words) == 4 and words[0] == "released" and words[1] in self.waiting:
            dead = self.waiting.pop(words[1])
            log.info(
                "runs of %s: %s released, %s left to the monitors, %.1f s after its death",
                dead.name, words[2], words[3], time.monotonic() - dead.since,
            )  # fmt: skip

    def due(self) -> list[float]:
        """When to check again."""
        return [dead.asked_at + AGAIN for dead in self.waiting.values() if dead.slot]
