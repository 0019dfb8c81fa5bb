"""What a client returns of limits."""

from __future__ import annotations

import attrs

from pytask.domain.limits import Kind, entry


@attrs.frozen(kw_only=True)
class LimitInfo:
    """A group or a function that has a limit, or whose runs hold slots."""

    kind: Kind
    name: str  # of the group or the function; "*" for every group that has no limit of its own
    limit: int | None = None  # as it was set live; None if it was not, or not to a number
    invalid: str = ""  # what a client wrote instead of a number: it counts as absent
    default: int | None = None  # that of its function's class, as live workers publish it
    live: int = 0  # runs that hold a slot
    waiting: int = 0  # tasks that wait for one
    counted: bool = True  # False: the runs of this function are being counted, and none starts meanwhile
    holders: tuple[str, ...] = ()  # ids of some of these runs
    waiters: tuple[str, ...] = ()  # ids of the first of these tasks

    @property
    def entry(self) -> str:
        """Its name in the hash `pytask:limits`."""
        return entry(self.kind, self.name)

    @property
    def in_force(self) -> int | None:
        """The limit that counts, as far as it is known here; None for none."""
        return self.limit if self.limit is not None else self.default
