"""What follows when a different server answers, or when its data was replaced (docs/protocol.md)."""

from __future__ import annotations

import attrs

from pytask.domain.record import Incarnation


@attrs.frozen(kw_only=True)
class News:
    """What changed since the previous renewal."""

    failover: bool = False  # a different server answered
    data_lost: bool = False  # the marker stored with the data changed
    pause: float = 0.0  # seconds without claims, during which owners restore lost runs


def compare(
    known: Incarnation | None, seen: Incarnation, *, embargo: float, reassert: float, always: bool | None
) -> News:
    """Compare `seen` with `known`, the previous state (None: nothing yet).

    `embargo` is the pause in seconds after a change that may have lost acknowledged writes, `reassert` the
    pause after any change: replication is asynchronous, so even a safe primary may lose its last few writes,
    and connected owners need one renewal to restore them.  `always` True treats each change as unsafe, False
    none.
    """
    if known is None:
        return News(pause=0.0 if always is False else _pause_of_newcomer(seen, embargo, reassert, always))
    failover = bool(known.server and seen.server) and known.server != seen.server
    data_lost = bool(known.id and seen.id) and known.id != seen.id
    # A server without the marker holds older data, so nothing is known about how safe the change was.
    # What was unsafe a while ago, with a safe change since, is over.
    over = 0 <= seen.changed < seen.age and seen.age >= embargo
    unsafe = (seen.age >= 0 and not over) or data_lost
    pause = 0.0
    if failover and always is not False:
        pause = embargo if unsafe or always else reassert
    return News(failover=failover, data_lost=data_lost, pause=pause)


def _pause_of_newcomer(seen: Incarnation, embargo: float, reassert: float, always: bool | None) -> float:
    """The remaining pause for a worker that starts soon after a change."""
    if 0 <= (seen.changed if always else seen.age) < embargo:
        return embargo
    return reassert if 0 <= seen.changed < reassert else 0.0


def merged(known: Incarnation | None, seen: Incarnation) -> Incarnation:
    """The state after `seen`; an empty server or marker keeps the known one."""
    if known is None:
        return seen
    return attrs.evolve(seen, id=seen.id or known.id, server=seen.server or known.server)
