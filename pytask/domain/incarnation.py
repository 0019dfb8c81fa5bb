"""What follows when another server answers, or when the data is not what it was (PROTOCOL 1.10)."""

from __future__ import annotations

import attrs

from pytask.domain.record import Incarnation


@attrs.frozen(kw_only=True)
class News:
    """What a renewal found changed since the one before."""

    failover: bool = False  # another server answers
    data_lost: bool = False  # the marker that lives with the data is another one
    pause: float = 0.0  # seconds without claims, in which owners put their forgotten runs back


def compare(
    known: Incarnation | None, seen: Incarnation, *, embargo: float, reassert: float, always: bool | None
) -> News:
    """The news in `seen`, for a worker that saw `known` before (None: nothing yet).

    `embargo` (seconds) is what a change that may have lost acknowledged writes asks for, `reassert` what
    every change asks for: replication is asynchronous, so that even a safe primary may die with its last
    few writes, and connected owners need one renewal to put those back.  `always` True takes each change
    for an unsafe one, False none.
    """
    if known is None:
        return News(pause=0.0 if always is False else _pause_of_newcomer(seen, embargo, reassert, always))
    failover = bool(known.server and seen.server) and known.server != seen.server
    data_lost = bool(known.id and seen.id) and known.id != seen.id
    # A server without the marker cannot tell how safe the change was: it went back to before all of it.
    unsafe = seen.age >= 0 or data_lost
    pause = 0.0
    if failover and always is not False:
        pause = embargo if unsafe or always else reassert
    return News(failover=failover, data_lost=data_lost, pause=pause)


def _pause_of_newcomer(seen: Incarnation, embargo: float, reassert: float, always: bool | None) -> float:
    """A worker that starts soon after a change: the owners of forgotten runs need their time all the same."""
    if 0 <= (seen.changed if always else seen.age) < embargo:
        return embargo
    return reassert if 0 <= seen.changed < reassert else 0.0


def merged(known: Incarnation | None, seen: Incarnation) -> Incarnation:
    """What is known after `seen`: a server or a marker that once was told is not unlearned."""
    if known is None:
        return seen
    return attrs.evolve(seen, id=seen.id or known.id, server=seen.server or known.server)
