"""The records that travel between the domain, the store and the runtime."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import attrs

from pytask.domain.lifecycle import Trigger
from pytask.domain.messages import Command


class Verdict(StrEnum):
    """How the store answered for one id."""

    OK = "OK"
    ALREADY = "ALREADY"  # the caller's own retry: it was done the first time
    FENCED = "FENCED"  # a newer run owns the id
    GONE = "GONE"  # the hash was deleted, or deleted and made anew
    MOVED = "MOVED"  # not at the tail (any more): another worker's
    NOHASH = "NOHASH"
    BADTYPE = "BADTYPE"
    LOCAL = "LOCAL"  # a pre-started task's id cannot be queued
    UNKNOWN = "UNKNOWN"  # a function this worker does not know
    DUPLICATE = "DUPLICATE"  # it runs: this copy of the id was dropped
    ROTATED = "ROTATED"  # not now: sent to the other end of the queue
    RENEWED = "RENEWED"  # expire(): the lease moved since it was seen
    STATE = "STATE"  # no such move from the state it is in: nothing done
    REQUESTED = "REQUESTED"  # control: written down for the owner of the run
    STOP = "stop"  # renew(): the owner is asked to stop this run
    RELOAD = "reload"  # renew(): the owner is asked to reload this run
    FOREIGN = "?"  # a word of a newer release: known to nobody here, so nothing follows from it

    @classmethod
    def read(cls, word: str) -> Verdict:
        """The verdict in a script's reply; a word that this release does not know is FOREIGN."""
        try:
            return cls(word)
        except ValueError:
            return cls.FOREIGN


@attrs.frozen
class RunRef:
    """One run of one task: the fencing token is `run`, `<session uuid>:<counter>`, never repeated."""

    id: str
    run: str


@attrs.frozen
class Claim:
    """The answer for one id of a claim (or of a reload, or a local start)."""

    id: str
    run: str
    verdict: Verdict
    function: str = ""
    data: bytes | None = None  # JSON as the client wrote it; None where the field is absent
    epoch: int = 0
    crashes: int = 0
    oversize: int = 0  # bytes of data over the limit, in which case it was not read

    @property
    def won(self) -> bool:
        """The run is ours."""
        return self.verdict is Verdict.OK or self.verdict is Verdict.ALREADY


@attrs.frozen(kw_only=True)
class Incarnation:
    """Which data, and which server, a renewal reached."""

    id: str = ""  # of the marker `pytask:incarnation`, lost with the data; "" where it cannot be kept
    server: str = ""  # its replication id, new whenever another server takes over; "" where it is not told
    age: float = -1.0  # seconds since a change of server that may have lost acknowledged writes; -1: none
    changed: float = -1.0  # seconds since the last change of server of any kind; -1: none


@attrs.frozen
class Adoption:
    """E12: a living run of ours that Redis forgot, with what proves that it is newer than what is there."""

    id: str
    run: str
    epoch: int


@attrs.frozen(kw_only=True)
class Risk:
    """A setting of the server with which the promise cannot be kept in full."""

    code: str  # stable, PT...
    what: str
    fix: str  # what to do; a command where one does it


@attrs.frozen(kw_only=True)
class ClaimRequest:
    """One batch: ids as peeked at the tail of `source` (oldest last), each with a fresh run id."""

    refs: tuple[RunRef, ...]
    functions: frozenset[str]
    worker: str
    source: str | None = None  # None is the queue, else the parking list of that function
    server: str = ""  # the one the caller knows of: no other may answer; "" does not check
    quarantine: int = 1  # how many tasks that crashed before may be taken
    max_data: int = 16 * 1024 * 1024  # bytes
    look: int = 0  # how many ids behind the batch are wanted, in `Store.ahead`


@attrs.frozen
class Change:
    """One entry of a commit: an event of a run, or its end.  Events of one run keep their order."""

    id: str
    run: str
    event: bytes  # JSON, published on the task's channel; b"" publishes nothing
    trigger: Trigger | None = None  # None: an event only
    fields: Mapping[str, str | bytes] = attrs.Factory(dict)  # `output` or `error`
    keep: int | None = None  # seconds the hash is kept; None for ever, 0 not at all
    local: bool = False  # a released local task is deleted, not queued


@attrs.frozen
class Notes:
    """What a run noted since the last call; fenced like everything it writes, and not worth a retry."""

    id: str
    run: str
    lines: tuple[bytes, ...] = ()  # JSON, see pytask/domain/task_log.py
    progress: bytes = b""  # JSON for the field of the hash; b"" leaves it
    event: bytes = b""  # JSON, published with the progress


@attrs.frozen(kw_only=True)
class Expiry:
    """One E7: a run whose lease value was seen unchanged for too long."""

    id: str
    run: str
    seen: int  # the lease value (Redis TIME, microseconds) as it was watched
    crashes: int = 0  # the number to write, this crash counted
    poison: bool = False


AHEAD = 1.0  # seconds that an epoch may be ahead of the clock: claims within one millisecond count it up


@attrs.frozen(kw_only=True)
class Suspect:
    """A lease outside the window of healthy ones, as the monitor reads it."""

    id: str
    run: str
    lease: int  # Redis TIME of the last renewal, microseconds
    epoch: int = 0  # Redis TIME of the claim in milliseconds, or a little more
    crashes: int = 0

    @property
    def session(self) -> str:
        """The worker session that owned the run."""
        return self.run.rpartition(":")[0]

    @property
    def age(self) -> float:
        """Seconds the run had lived at its last renewal."""
        return max(0.0, self.lease / 1e6 - self.epoch / 1e3)

    @property
    def dated(self) -> bool:
        """Whether its age is known: it has a lease, and its epoch is a time that came.

        Epochs never fall: after the clock of Redis was set back, claims write one that is ahead of it.
        """
        return self.lease > 0 and self.epoch / 1e3 - self.lease / 1e6 < AHEAD


@attrs.frozen
class Notice:
    """One message of a feed: "control" (of a task), "started" (by its sender), "ping" (our own), or
    "parked" (a hint)."""

    kind: str
    task_id: str = ""  # of a control message; the function's name in a hint
    command: Command | None = None
