"""Why a task waits for a slot, as sentences."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from pytask.domain.advice import Advice, Typed
from pytask.domain.limits import Kind
from pytask.domain.wording import counted, verb


@attrs.frozen(kw_only=True)
class Line:
    """The waiting list that has a task."""

    kind: Kind
    name: str  # of the group or the function
    ahead: int = 0  # ids that are before it
    live: int = 0  # runs that hold a slot
    limit: int | None = None  # as far as it is known: live, or of the class of a function
    follows: bool = False  # one of its group is in the queue, and it follows behind that one

    @property
    def what(self) -> str:
        """Such as "group `account-17`"."""
        return f"{self.kind} `{self.name}`"


def waiting(line: Line, *, idle: bool) -> Iterator[str]:
    """What it waits for; `idle`: no worker is running."""
    ahead = ""
    if line.ahead:
        ahead = f", {counted(line.ahead, 'task')} {verb(line.ahead, 'is', 'are')} ahead of it"
    runs = counted(line.live, "run")
    if line.limit is not None and line.live < line.limit:
        yield (
            f"it waits for its turn in {line.what}, which has {runs} of at most {line.limit}{ahead}: workers"
            " look within 10 s"
        )
    elif line.limit is None and line.follows:
        yield f"it waits for its turn in {line.what}, whose tasks follow each other in the queue{ahead}"
    else:
        limit = f" (at most {line.limit})" if line.limit is not None else ""
        yield f"it waits for a slot of {line.what}, which has {runs}{limit}{ahead}"
    if idle:
        yield "no worker is running"


def advice(line: Line) -> Iterator[str]:
    """Who holds the slots, and how to change the limit."""
    option = f"--{line.kind}"
    yield Advice("who holds the slots: ", Typed(("pytask", "limits", "show", option, line.name)))
    yield Advice("to change the limit: ", Typed(("pytask", "limits", "set", "N", option, line.name)))
