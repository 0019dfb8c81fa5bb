"""Wrong variants of claims that an idle worker sends behind its wait for the queue."""

from __future__ import annotations

import attrs

from pytask.adapters.memory.store import MemoryStore
from pytask.domain.record import Tail
from pytask.runtime.services.claims import Claims

_claim_tail = MemoryStore._claim_tail
_send_behind = Claims._send_behind
_leave_store = MemoryStore.leave
_close_open = Claims.close_open


def _unrecorded(self, request, tail):
    """It leaves no record, also where it has found something."""
    before = self._state.claimed.get(tail.session)
    claims = _claim_tail(self, request, tail)
    if tail.quiet and before is None:
        self._state.claimed.pop(tail.session, None)
    elif tail.quiet:
        self._state.claimed[tail.session] = before
    return claims


def _quiet_closing(self):
    """To close one leaves no record of nothing."""
    if self._open is not None:
        self._open = attrs.evolve(self._open, quiet=True)
    _close_open(self)


def _forgotten(self, queue, request):
    """Where it is not answered it counts as one that found nothing."""
    try:
        return _send_behind(self, queue, request)
    except Exception:
        self.waiting, self.ahead = False, None
        return []


def _new_numbers(self, queue, request):
    """Its repeat is another claim, and it is not closed."""
    try:
        return _send_behind(self, queue, request)
    except Exception:
        tail = Tail(self._ids.id, self._ids.reserve(request.tail.count), request.tail.count)
        claims = self._store.claim(attrs.evolve(request, tail=tail))
        self.ahead = self._store.ahead
        return claims


def _open_at_end(self):
    """A worker that ends its wait for good forgets the claim behind it."""
    self._open = None


def _leave(self, session):
    """The record of a claim goes with its worker, while that claim may still be on its way."""
    _leave_store(self, session)
    self._state.claimed.pop(session, None)


BEHIND_MUTANTS = {
    "behind_unrecorded": (
        "a claim behind a wait is not recorded",
        ((MemoryStore, "_claim_tail", _unrecorded),),
    ),
    "behind_quiet_closing": (
        "its closing leaves no record of nothing",
        ((Claims, "close_open", _quiet_closing),),
    ),
    "behind_forgotten": ("without an answer it is not closed", ((Claims, "_send_behind", _forgotten),)),
    "behind_new_numbers": ("its repeat is another claim", ((Claims, "_send_behind", _new_numbers),)),
    "behind_open_at_end": (
        "a worker that leaves forgets it",
        ((Claims, "close_at_end", _open_at_end),),
    ),
    "behind_record_leaves": ("its record goes with the worker", ((MemoryStore, "leave", _leave),)),
}
