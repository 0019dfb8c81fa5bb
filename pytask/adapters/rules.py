"""What both stores, that of Redis and the one in memory, must say and do alike."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from typing import Any

import attrs

from pytask.domain import history
from pytask.domain import lifecycle as life
from pytask.domain.lifecycle import Trigger, destination
from pytask.domain.record import Change, Claim, StartFields

SHORT_LIST = 128  # copies of a claimed id are removed from lists up to this length
KEEP_REJECTED = 1000
# Seconds for which is known what the last claim of a session took from the tail.  It is repeated for half of
# a lease at the most; this is so much longer because a server's clock may be set forward meanwhile.
RECORD_KEPT = 24 * 3600
# Seconds for which it is known once the worker has left: the server may hear late that its last wait is over,
# and the claim behind that must find that it was closed.
RECORD_LEFT = 3600
COUNTS = ("restarts", "failed_at", "restart_times")  # that an end takes away
FORGOTTEN = ("not_before", *COUNTS)  # that a start takes away
HELD = "its function is paused"
SAVED = ("saved", "saved_at", "saved_by")  # that an end, and a fresh start, take away
LOST = "it was in none of the places where tasks wait"
NOBODY = "nobody ran it"
POISON = "poison: its worker died soon after each of its last four starts"
PRESTARTED = "pre-started"
RESTORED = "restored after a loss of data"
EXPIRED = "lease expired"
IN_PLACE = "in place"
LATE = 10.0  # seconds within which a message to reload may be one that was answered already


@attrs.frozen(kw_only=True)
class Retention:
    """Seconds that the hashes of finished tasks are kept; None means forever, 0 not at all."""

    ended: int | None = 7 * 86400
    error: int | None = 30 * 86400
    stopped: int | None = None
    history: int = 16  # lines of a task's history; 0 for none

    def of(self, trigger: Trigger) -> int | None:
        """The time for the state that `trigger` leads to."""
        return {life.ENDED: self.ended, life.ERROR: self.error, life.STOPPED: self.stopped}.get(
            destination(trigger)
        )


def event(name: str, data: Any = None) -> str:
    """An event as it goes over the wire."""
    return json.dumps({"event": name, "data": data}, separators=(",", ":"))


def digest(data: bytes) -> str:
    """The SHA-1 of data, in hex, as the scripts compute it."""
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def refusal(path: str, reason: str) -> str:
    """A refused reload as its field has it, behind the epoch and the time, which only Redis knows."""
    return json.dumps({"path": path, "reason": reason}, separators=(",", ":"))[1:]


def reloaded_in_place(judged: Claim, worker: str) -> dict[str, Any]:
    """The data of the event of a reload in place."""
    return {"worker": worker, "run": judged.run, "epoch": judged.epoch, "in_place": True}


def carried(fields: StartFields) -> dict[str, str | bytes]:
    """What a restored hash gets back of the fields that its claim had, beside what was saved."""
    found: dict[str, str | bytes] = {
        "restart": fields.restart,
        "restarts": str(fields.restarts or ""),
        "restart_times": fields.failed,
        "scheduled": fields.scheduled,
        "group": fields.group,
        "traceparent": fields.traceparent,
    }
    return {name: value for name, value in found.items() if value}


def ending_why(change: Change) -> str:
    """Why a run ended, for the history; "" where its other fields tell."""
    if change.trigger in (Trigger.FAIL, Trigger.RETRY, Trigger.ROLL_BACK):
        error = change.fields.get("error", "")
        text = error if isinstance(error, str) else error.decode(errors="surrogateescape")
        return text[: history.WHY_BYTES].partition("\n")[0]
    if change.trigger is Trigger.RELEASE and change.event:
        return _reason(change.event)
    return ""


@lru_cache(maxsize=64)
def _reason(published: bytes) -> str:
    try:
        return str(json.loads(published)["data"]["reason"])
    except (ValueError, TypeError, KeyError):
        return ""


def parked_why(function: str, published: bytes) -> str:
    """Why a task is parked, with the near misses that the event of it names."""
    try:
        near = [str(name) for name in json.loads(published)["data"]["near"]]
    except (ValueError, TypeError, KeyError):
        near = []
    return history.parked_because(function, near)
