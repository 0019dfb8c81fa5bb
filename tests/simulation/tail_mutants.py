"""Wrong variants of claims of what stands at the tail, whose ids nobody knows without an answer."""

from __future__ import annotations

from pytask.adapters.memory.state import MemoryState
from pytask.adapters.memory.store import MemoryStore
from pytask.domain.record import Verdict
from pytask.runtime.services.claims import Claims
from pytask.runtime.services.consumer import Consumer

_claim_tail = MemoryStore._claim_tail
_last_claim = MemoryState.last_claim
_note_claim = MemoryState.note_claim
_verdict = MemoryStore._verdict
_claim_of = Claims.claim_tail


def _not_written(self, session, base, ids):
    """The runs of a lost answer are not found again: a repeat makes others, under the same run ids."""


def _written_once(self, session, base, ids):
    """The next claim does not replace the record."""
    if session not in self.claimed:
        _note_claim(self, session, base, ids)


def _any_age(self, request, tail):
    """A claim that comes late, and was followed by others, is served like a new one."""
    base, _ = self._state.last_claim(tail.session)
    if base > tail.base and tail.count:
        self._state.claimed.pop(tail.session)
    return _claim_tail(self, request, tail)


def _looks_at_the_list(self, ref, request, waits, taken, places):
    """A repeat claims an id of its record that waits again."""
    again = request.tail is not None and request.look == 0 and ref.id.encode() in self._state.queue
    return _verdict(self, ref, request, waits or again, taken, places)


def _unasked(self, ref, request, waits, taken, places):
    """A repeat answers with all of its record, whoever runs that now."""
    found = _verdict(self, ref, request, waits, taken, places)
    repeat = request.tail is not None and request.look == 0
    return Verdict.ALREADY if repeat and found is Verdict.MOVED else found


def _also_recreated(self, ref, request, waits, taken, places):
    """A repeat begins a run of which the hash says nothing any more."""
    found = _verdict(self, ref, request, waits, taken, places)
    return Verdict.ALREADY if found is Verdict.GONE else found


def _same_numbers(self, count, sent_at, queue=None):
    """After a claim without an answer the next one has the same numbers: its counter was not moved on."""
    tail, self._open = self._open, None
    if tail is None:
        return _claim_of(self, count, sent_at, queue)
    return self._claim(self._request((), None, tail), sent_at)


def _begin(self, claim, sent_at, *, stale):
    """The answer of a claim is used however old it is."""
    self._executor.launch(claim, self._clock())


RECORD = (MemoryState, "note_claim")
TAIL_MUTANTS = {
    "tail_unrecorded": ("what a claim took is not recorded", ((*RECORD, _not_written),)),
    "tail_recorded_once": ("a later claim does not replace the record", ((*RECORD, _written_once),)),
    "tail_any_age": ("a claim that comes late takes what waits", ((MemoryStore, "_claim_tail", _any_age),)),
    "tail_claims_again": ("a repeat claims anew", ((MemoryStore, "_verdict", _looks_at_the_list),)),
    "tail_unasked": ("a repeat does not ask the registry", ((MemoryStore, "_verdict", _unasked),)),
    "tail_recreated": ("a repeat does not ask the hash", ((MemoryStore, "_verdict", _also_recreated),)),
    "tail_same_numbers": (
        "the numbers of a claim without an answer are used again",
        ((Claims, "claim_tail", _same_numbers), (Claims, "close_open", lambda self: None)),
    ),
    "tail_late_answer": ("the gate is not asked again at the answer", ((Consumer, "_begin", _begin),)),
}
