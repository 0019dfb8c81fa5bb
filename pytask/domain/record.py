"""The records that the domain, the store and the runtime exchange."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

import attrs

from pytask.domain.lifecycle import Trigger
from pytask.domain.limits import Rule
from pytask.domain.messages import Command

if TYPE_CHECKING:
    from attrs import frozen as record
else:
    # Each task and each message has some of these.  Nothing changes one, which mypy checks: a refusal at run
    # time would cost three times as much for each, and all of them a tenth of what a worker spends on a task.
    # Nor does anything refer to one weakly, which would take 16 bytes of each.
    record = partial(attrs.define, unsafe_hash=True, weakref_slot=False)

LONGEST_SAVED = 64 * 1024  # bytes of what a task saves for its next run


class Verdict(StrEnum):
    """The answer of the store for one id."""

    OK = "OK"
    ALREADY = "ALREADY"  # a retry by the caller: the first call succeeded
    FENCED = "FENCED"  # a newer run owns the id
    GONE = "GONE"  # the hash was deleted, or deleted and created again
    MOVED = "MOVED"  # no longer at the tail: another worker has it
    NOHASH = "NOHASH"
    BADTYPE = "BADTYPE"
    LOCAL = "LOCAL"  # a pre-started task's id cannot be queued
    UNKNOWN = "UNKNOWN"  # a function this worker does not know
    DUPLICATE = "DUPLICATE"  # it is running: this copy of the id was dropped
    ROTATED = "ROTATED"  # not claimable now: moved to the other end of the queue
    RENEWED = "RENEWED"  # expire(): the lease was renewed since it was observed
    DELAYED = "DELAYED"  # its time has not come: moved to the timers
    PAUSED = "PAUSED"  # it is paused: moved to the paused set; reload(): no new run begins
    WAITING = "WAITING"  # a limit is reached: moved to a waiting list
    STATE = "STATE"  # the transition is not allowed in its state: nothing done
    REQUESTED = "REQUESTED"  # control: stored for the owner of the run
    STOP = "stop"  # reload(): a stop was requested, which takes precedence: nothing done
    UNRECOGNIZED = "?"  # an unknown word of a newer release: ignored

    @classmethod
    def read(cls, word: str) -> Verdict:
        """The verdict in a script's reply; unknown words are UNRECOGNIZED."""
        try:
            return cls(word)
        except ValueError:
            return cls.UNRECOGNIZED


# Each task is compared with these: to get a member from its class takes Python 3.11 as long as a call.
OK, ALREADY = Verdict.OK, Verdict.ALREADY

Answer = Verdict | Command
"""The answer of a renewal for one run: FENCED, GONE, or the control word that was requested for it."""


@record
class RunRef:
    """One run of one task; the fencing token is `run`, `<session uuid>:<counter>`, which is never reused."""

    id: str
    run: str


@attrs.frozen
class InForce:
    """The function and the data with which a living run works, as the hash had them."""

    function: str
    data: bytes | None  # None: no data
    on_trial: bool = False  # it may still be rolled back itself


@attrs.frozen(kw_only=True)
class Trial:
    """New data that failed soon after a reload, see reload.lua."""

    rejected: str  # SHA-1 of the data, in hex
    good: bytes | None = None
    """The data to go back to (b"" for no data), if it may not be stored in the hash yet; else None."""


@attrs.frozen(kw_only=True)
class StartFields:
    """The optional fields of a hash that say when, how often, why and with what its task starts."""

    restarts: int = 0  # consecutive restarts by its policy, without this run's
    restart: str = ""  # its own policy, as written by a client: at most 64 characters are read
    not_before: str = ""  # only if it is no time, in which case the task becomes ERROR
    failed: str = ""  # the times of earlier restarts, as a run's end has written them (`restart_times`)
    scheduled: bytes = b""  # JSON: the schedule that started it, see docs/protocol.md
    group_fault: str = ""  # why its group cannot be used, in which case it becomes ERROR: see `limits.py`
    group: str = ""  # in which its run has a slot
    saved: bytes = b""  # JSON: what the last run saved; b"" for nothing
    unread: int = 0  # size in bytes of a saved value over the limit, which was not read
    traceparent: str = ""  # of who started it, as written; it may be none


NO_FIELDS = StartFields()


@record
class Claim:
    """The answer for one id of a claim (or of a reload, or of a local start)."""

    id: str
    run: str
    verdict: Verdict
    function: str = ""
    data: bytes | None = None  # JSON as written by the client; None if the field is absent
    epoch: int = 0
    crashes: int = 0
    oversize: int = 0  # size in bytes of data over the limit, which was not read
    fields: StartFields | None = None  # None: the hash has none of them
    delay: float = 0.0
    """Seconds until the time of a DELAYED task, or until the next look at a waiting list (-1: not needed)."""
    trial: bool = False  # of a reload: the data is on trial, and can be rolled back
    answered: bool = False  # of a preview: a reload was answered, and no client has asked for another since
    silent: float | None = None
    """Seconds since the last renewal of the run before it, if that one's worker died; else None."""

    @property
    def won(self) -> bool:
        """Whether the run belongs to this worker."""
        return self.verdict is OK or self.verdict is ALREADY

    @property
    def registered(self) -> bool:
        """Whether the registry names the run: then it has to be released, or others wait for its end."""
        return self.won or self.verdict is Verdict.GONE


@attrs.frozen
class Save:
    """What a run saves for the next run of its task; fenced like all that it writes."""

    id: str
    run: str
    number: int  # grows with each save of the run: an older one never replaces a newer one
    value: bytes  # JSON


@attrs.frozen(kw_only=True)
class Incarnation:
    """The data and the server that a renewal reached."""

    id: str = ""  # of the marker `pytask:incarnation`, which is lost with the data; "" if unsupported
    server: str = ""  # its replication id, which changes with a failover; "" if unknown
    age: float = -1.0  # seconds since a server change that may have lost acknowledged writes; -1: none
    changed: float = -1.0  # seconds since the last server change of any kind; -1: none


@attrs.frozen
class Adoption:
    """A living run of this worker that Redis lost, with proof that it is newer than the stored one."""

    id: str
    run: str
    epoch: int
    paused: bool = False  # its owner has paused it
    group: str = ""  # in which it was claimed; "" for none
    crashes: int = 0  # as its claim has read them, like the two below
    restarts: int = 0
    failed: str = ""  # the times of these restarts


@attrs.frozen
class Confirmation:
    """A run that its owner has paused, or resumed."""

    id: str
    run: str
    word: Command  # PAUSE or START


@attrs.frozen(kw_only=True)
class Risk:
    """A server setting that weakens the guarantees."""

    code: str  # stable, PT...
    what: str
    fix: str  # what to do; a command if possible


@attrs.frozen
class Tail:
    """A claim of what stands at the tail, whatever it is: `Store.claim` answers with the ids.

    The i-th of them gets the run id `<session>:<base + i>`.  A repeat names the same base, and is answered
    with the runs of the first call; each new request of a session needs a larger one.
    """

    session: str
    base: int
    count: int  # at most so many ids; 0: no more of them, also by a call that comes late (see `claim.lua`)
    # It is sent behind a wait, for the first time: where it finds nothing, it leaves no record either.
    quiet: bool = False

    def refs(self, ids: Sequence[str]) -> list[RunRef]:
        """The runs of these ids, which stood at the tail in this order."""
        session = f"{self.session}:"
        return [RunRef(one, f"{session}{number}") for number, one in enumerate(ids, self.base + 1)]


@attrs.frozen(kw_only=True)
class ClaimRequest:
    """One batch: ids as peeked at the tail of `source` (oldest last), each with a new run id; or a `tail`."""

    refs: tuple[RunRef, ...] = ()
    tail: Tail | None = None  # instead of `refs`: only of the queue
    functions: frozenset[str]
    worker: str
    source: str | None = None  # None: the queue; else the parking list of that function
    server: str = ""  # the server that must answer; "" disables the check
    quarantine: int = 1  # how many quarantined tasks may be claimed
    max_data: int = 16 * 1024 * 1024  # bytes
    max_saved: int = LONGEST_SAVED  # bytes
    look: int = 0  # how many ids after the batch to return in `Store.ahead`
    rules: Mapping[str, Rule] = attrs.Factory(dict)  # of those functions that have limits


@record
class Change:
    """One entry of a commit: an event or the end of a run.  Entries of one run keep their order."""

    id: str
    run: str
    event: bytes  # JSON published on the task's channel; b"": nothing
    trigger: Trigger | None = None  # None: an event only
    # `output` or `error`; and `saved`, which comes first: b"" removes what was saved.
    fields: Mapping[str, str | bytes] = attrs.Factory(dict)
    keep: int | None = None  # retention of the hash in seconds; None: forever, 0: delete at once
    local: bool = False  # a released local task is deleted, not queued
    delay: float = 0.0  # with Trigger.RETRY: seconds until it is queued again
    trial: Trial | None = None  # with Trigger.ROLL_BACK
    schedule: str = ""  # whose occurrence the run was, where another one may wait for its end


@attrs.frozen(kw_only=True)
class Due:
    """What a look at the timers found and did."""

    moved: int  # ids that were due, and are in the queue now
    timer: float | None  # seconds until the next id is due; None: the timers are empty
    schedule: float | None  # seconds until the next occurrence of a schedule, 0: due; None: no schedule
    lines: bool = False  # whether to look at the waiting lists: `Store.serve`
    late: float = 0.0  # seconds by which the first of the moved ones was late


@attrs.frozen
class Notes:
    """Log lines and progress of a run since the last call; fenced, and not retried after a refusal."""

    id: str
    run: str
    lines: tuple[bytes, ...] = ()  # JSON, see pytask/domain/task_log.py
    progress: bytes = b""  # JSON for the hash field; b"": unchanged
    event: bytes = b""  # JSON, published with the progress


@attrs.frozen(kw_only=True)
class Expiry:
    """The expiry of a run whose lease was unchanged for too long, or whose process is known to be dead."""

    id: str
    run: str
    seen: int  # the observed lease value (Redis TIME, microseconds)
    crashes: int = 0  # the new crash count, including this crash
    poison: bool = False
    proven: bool = False  # the process is known to be dead: for the history


AHEAD = 1.0  # seconds that an epoch may be ahead of the clock: claims within one millisecond increment it


@attrs.frozen(kw_only=True)
class Suspect:
    """An overdue lease (or one in the future), as read by the monitor."""

    id: str
    run: str
    lease: int  # Redis TIME of the last renewal, microseconds
    epoch: int = 0  # Redis TIME of the claim in milliseconds, or slightly more
    crashes: int = 0

    @property
    def session(self) -> str:
        """The worker session that owns the run."""
        return self.run.rpartition(":")[0]

    @property
    def age(self) -> float:
        """The age of the run in seconds at its last renewal."""
        return max(0.0, self.lease / 1e6 - self.epoch / 1e3)

    @property
    def dated(self) -> bool:
        """Whether its age is known: it has a lease, and its epoch is not in the future.

        Epochs never decrease: after the Redis clock was set back, claims write epochs ahead of it.
        """
        return self.lease > 0 and self.epoch / 1e3 - self.lease / 1e6 < AHEAD


@record
class Notice:
    """One message of a feed: "control" (for a task), "started" (by its sender), "stacks" (asked for), "ping"
    (from this worker), or "parked" (a hint)."""

    kind: str
    task_id: str = ""  # of a control message; the function name in a hint
    command: Command | None = None
