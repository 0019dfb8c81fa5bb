"""The end of a claim whose run never began, or of which it is not known whether Redis made it."""

from __future__ import annotations

from pytask import codec
from pytask.domain.lifecycle import Trigger
from pytask.domain.messages import Event
from pytask.domain.record import Change, RunRef

HANDED_BACK = codec.event(Event.REQUEUED, {"reason": "handed back"})
STOPPED_EVENT = codec.event(Event.STOPPED)


def never_began(
    ref: RunRef, trigger: Trigger = Trigger.RELEASE, *, keep: int | None = None, local: bool = False
) -> Change:
    """The change: a release, or a stop that was asked for meanwhile."""
    released = trigger is Trigger.RELEASE and not local
    return Change(
        ref.id, ref.run, HANDED_BACK if released else STOPPED_EVENT, trigger, keep=keep, local=local
    )
