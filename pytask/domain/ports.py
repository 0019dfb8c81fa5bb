"""The interfaces that the runtime needs.  Adapters implement them; tests use fakes.

Every method may raise a `StoreError`; `Unavailable` means that the outcome is unknown and that the same call
with the same run ids may be repeated until a verdict is received.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import attrs

from pytask.domain.figures import WorkerInfo
from pytask.domain.firing import Definition, DueSchedules, Firing
from pytask.domain.limits import Rules
from pytask.domain.messages import Command, IdFault
from pytask.domain.record import (
    NO_FIELDS,
    Adoption,
    Answer,
    Change,
    Claim,
    ClaimRequest,
    Confirmation,
    Due,
    Expiry,
    Incarnation,
    InForce,
    Notes,
    Notice,
    Risk,
    RunRef,
    Save,
    StartFields,
    Suspect,
    Verdict,
)
from pytask.domain.samples import Crew, Ring


class Timetable(Protocol):
    """The schedules of one partition, as its store keeps them."""

    @property
    def outcomes(self) -> Mapping[str, int]:
        """What became of the occurrences of the last `fire`: how many were started, and skipped by reason."""

    def due(self, limit: int, ended: Sequence[str] = ()) -> DueSchedules:
        """Read up to `limit` schedules whose time has come.

        A run of those in `ended` is over: if an occurrence waits for that, the time of its schedule has come.
        """

    def fire(self, firings: Sequence[Firing]) -> list[Verdict]:
        """Start what is due, and store the next times: OK for each that was still as it was read.

        MOVED (another worker fired it, or its time was changed), STATE (paused or resumed since), NOHASH,
        BADTYPE: nothing was started.  A repeated call changes nothing.
        """

    def fault(self, name: str, score: float, text: str) -> Verdict:
        """Pause a schedule that cannot be used, with the reason: OK, MOVED, NOHASH or BADTYPE."""

    def define(self, definition: Definition) -> Verdict:
        """Make a schedule, or change it: OK (new, or with other times), ALREADY, or MOVED (other data)."""


class Store(Protocol):
    """The state of all tasks, changed by verbs.  One instance is one connection, used by one greenlet."""

    who: str  # recorded in the history of tasks that this store changes
    incarnation: Incarnation | None  # as seen by the last renew(); None before the first
    ahead: list[bytes] | None  # ids after the batch of the last claim(), as by peek(); None: not read
    tails: bool  # whether claim() may be asked for what stands at the tail (not in a cluster)

    @property
    def schedules(self) -> Timetable:
        """The schedules that it keeps."""

    def peek(self, limit: int, source: str | None = None) -> list[bytes]:
        """The last `limit` ids of the queue (or of a parking list), next one first.

        The result ends with the first id that is too long for a task, truncated to 513 bytes.
        """

    def claim(self, request: ClaimRequest) -> list[Claim]:
        """Claim a batch; returns an answer for each ref, in order.

        Of a `tail` an answer for each id that it met, up to the first that cannot be a task; `ahead` then has
        one id at the most.  A repeat is answered with the ids of the first call: ALREADY for those whose run
        still is that of this call, else MOVED.
        """

    def reject(self, raw: bytes, reason: IdFault, source: str | None = None) -> Verdict:
        """Move `raw` from the list to `pytask:rejected`; MOVED if the list changed.

        An id that is too LONG is identified by its beginning.
        """

    def park(
        self, task_id: str, function: str, event: bytes, source: str | None = None, *, held: bool = False
    ) -> Verdict:
        """Move an id from the queue (or another parking list) to the parking list of `function`.

        `held`: only if the function is paused by now.
        """

    def due(self, limit: int = 256) -> Due:
        """Move up to `limit` ids whose time has come from the timers to the queue."""

    def serve(self, rules: Rules) -> bool:
        """Look at waiting lists, and queue the ids that may start; whether there is more to do now."""

    def parked(self) -> list[str]:
        """The functions with ids in their parking list."""

    def hint(self, function: str) -> None:
        """Tell workers that know `function` to claim from its parking list."""

    def renew(self, refs: Sequence[RunRef], saves: Mapping[str, Save] = ...) -> dict[RunRef, Answer]:
        """Renew a chunk of runs; returns only answers other than OK (FENCED, GONE, a requested word).

        `saves` has what some of them have saved, by run: stored unless the answer is FENCED or GONE.
        Also keeps the data marker alive and updates `incarnation`, even without refs.
        """

    def adopt(self, adoptions: Sequence[Adoption], worker: str) -> list[Verdict]:
        """Restore lost runs: OK (registered again), FENCED (a newer run exists) or GONE for each."""

    def save(self, one: Save, server: str = "") -> Verdict:
        """Store what a task saves, at once: OK, FENCED or GONE.

        Raises `FailoverSuspected`, without any change, if a different server answers ("" disables the check).
        """

    def restore(  # noqa: PLR0913 - all that the hash had
        self,
        task_id: str,
        function: str,
        data: bytes | None,
        saved: bytes = b"",
        *,
        paused: bool = False,
        fields: StartFields = NO_FIELDS,
        marker: str = "",
    ) -> Verdict:
        """Recreate and queue a task whose hash was lost with the data: OK, STATE (it exists), or MOVED.

        `saved` is what its runs have saved, b"" for nothing.  `paused`: it goes to the paused set.  `fields`:
        those of its claim, of which the hash gets back all but the time.  `marker`: an `Incarnation.id`, with
        MOVED where the data is another by now; "" for any.
        """

    def commit(self, changes: Sequence[Change]) -> list[Verdict]:
        """Commit ends and events: OK, ALREADY, FENCED or GONE for each, in order."""

    def note(self, notes: Sequence[Notes], lines: int, keep: int) -> list[Verdict]:
        """Store log lines and progress of tasks: OK, FENCED, GONE or BADTYPE for each.

        A log keeps its newest `lines` for `keep` seconds after the last.  A full Redis refuses the whole
        call.
        """

    def reload(  # noqa: PLR0913, PLR0917 - both runs, and what the new one begins with and may go back to
        self,
        old: RunRef,
        new: RunRef,
        worker: str,
        max_data: int,
        saved: bytes = b"",
        lived: InForce | None = None,
    ) -> Claim:
        """Replace an old, dead run with a new one; `saved` is what the old one has not stored yet.

        `lived` is what the old run worked with: other data in the hash is on trial until `settle`.  Where it
        is itself on trial, what that trial goes back to stays while it is under way.  None: not known.
        """

    def preview(self, ref: RunRef, max_data: int) -> Claim:
        """Read the data that a reload of this run would start with: OK, FENCED or GONE."""

    def accept(self, judged: Claim, mark: str, worker: str, lived: InForce | None = None) -> Claim:
        """Record that a run continues with the data from `preview`: OK, ALREADY, FENCED or GONE.

        MOVED, without any change, if the data has been replaced since.  `mark` names the trial, for `lived`
        see `reload`.
        """

    def refuse(self, judged: Claim, path: str, reason: str, force: InForce) -> Verdict:
        """Refuse a reload because the data from `preview` does not fit: OK, ALREADY, FENCED or GONE.

        The hash gets `force` back, with which the run continues.  MOVED, without any change, if the data has
        been replaced since.
        """

    def settle(self, ref: RunRef, mark: str = "", *, repeated: bool = False) -> Verdict:
        """Confirm that the run started by a reload is alive: OK, FENCED or GONE.

        `mark`: also end this trial, because the data has lived long enough.  `repeated`: drop a request to
        reload, which repeats one that was carried out.
        """

    def confirm(self, confirmations: Sequence[Confirmation]) -> list[Answer]:
        """Tell that runs were paused or resumed: FENCED, GONE, or the word that holds now, for each.

        Another word than the told one means that it was resumed, or paused again, meanwhile: nothing is done.
        """

    def hold_functions(self, names: Sequence[str], *, resume: bool = False) -> list[bool]:
        """Pause functions, or resume them (`*`: all): no worker starts their tasks.  Whether each changed."""

    def held_functions(self) -> set[str]:
        """The functions that are paused; `*` stands for all."""

    def open_local(self, ref: RunRef, function: str, data: bytes, worker: str) -> Claim:
        """Create a pre-started task: its hash and its run in one step, never queued."""

    def control(
        self, command: Command, ids: Sequence[str], ages: Sequence[float] = (), *, fresh: bool = False
    ) -> list[Verdict]:
        """Control a batch: REQUESTED (stored for its run), OK (done), STATE (no-op), NOHASH.

        `ages` (seconds per id, 0 to ignore): if a task was started again within that time, the start is newer
        than this stop, or is this very start, which every worker receives: a no-op.
        `fresh`, of a start: what earlier runs have saved is removed.
        """

    def suspects(self, older: float, ahead: float, limit: int = 100_000) -> list[Suspect]:
        """Runs whose lease is more than `older` seconds behind Redis TIME or `ahead` seconds ahead of it."""

    def runs_of(self, prefix: str, cursor: int = 0) -> tuple[int, list[Suspect]]:
        """One scan step through the registry: (next cursor or 0, runs whose id begins with `prefix`).

        As with any SCAN, a run may be returned twice; a run without a lease has the lease value 0.
        """

    def expire(self, expiries: Sequence[Expiry], server: str = "") -> list[Verdict]:
        """Expire dead runs: OK, ALREADY, FENCED or RENEWED for each.

        Raises `FailoverSuspected`, without any change, if a different server answers ("" disables the check).
        """

    def repair(self, cursor: int, expiry: float) -> tuple[int, int]:
        """One step of the slow sweep: (next cursor or 0, tasks repaired)."""

    def tidy(self, monitor: str, silent: float) -> None:
        """Record a sweep of `monitor`; remove workers that have long been silent."""

    def sample(self, ring: Ring, crew: Crew | None = None) -> bool:
        """Keep a sample of the fleet in a ring; False if there is one of this period already.

        Without `crew`, the sums of the workers' figures, it only tells whether one is due.
        """

    def retire(self) -> None:
        """Delete the hashes of finished tasks whose retention is over and that are not queued again."""

    def announce(self, info: WorkerInfo) -> float | None:
        """Publish this worker's entry; returns the seconds since any monitor swept, None if none ever did."""

    def recent_workers(self, within: float) -> list[WorkerInfo]:
        """The workers that reported within the last `within` seconds; unreadable entries are left out."""

    def leave(self, session: str) -> None:
        """Remove this worker's entry."""

    def ping(self, session: str) -> None:
        """Publish to the feed of that session, which receives it as `Notice(kind="ping")`."""

    def databases(self) -> list[int]:
        """The db numbers of the workers subscribed under this namespace on this server."""

    def reset(self) -> None:
        """Drop the connection because its state is unknown."""

    def reconnect(self) -> None:
        """After a change of server: the next command opens a new connection.  Any greenlet may call this."""

    def close(self) -> None:
        """Close the connection permanently."""


class Queue(Protocol):
    """Waits for the queue without removing ids from it."""

    ahead: list[bytes] | None  # as of a store, after `claim`

    @property
    def claims(self) -> bool:
        """Whether `claim` is possible; a wait may show that it is not."""

    def claim(self, request: ClaimRequest, timeout: float) -> list[Claim]:
        """Wait as `wait` does; as soon as that has ended, also in vain, claim what stands at the tail.

        The claim is that of `Store.claim`, as it was asked for before the wait.  Raises `StoreError`: it may
        have been applied then, or be applied later.
        """

    def wait(self, timeout: float) -> list[bytes] | None:
        """Block up to `timeout` seconds: the next id, as peek() returns it; [] after the timeout, None if
        this server cannot block (the caller polls)."""

    def reconnect(self) -> None:
        """After a change of server: the next wait opens a new connection."""

    def close(self) -> None:
        """Drop the connection."""


class Feed(Protocol):
    """Receives control messages and hints from pub/sub, in one greenlet."""

    behind: bool  # the last read() hit its limit: more messages have arrived
    database: int | None  # the db number that an open feed shows to others; None if unsupported

    def open(self) -> None:
        """Subscribe on a new connection.  `Store.databases` then finds its db number."""

    def read(self, timeout: float) -> list[Notice]:
        """The messages that arrive within `timeout` seconds; raises `Unavailable` on a broken connection."""

    def reconnect(self) -> None:
        """After a change of server: the next read() raises `Unavailable`, so that the feed is reopened."""

    def close(self) -> None:
        """Drop the connection."""


@attrs.define(eq=False)
class Borrower:
    """A run that uses connections of the pool for task code."""

    name: str  # the task's id
    patience: float  # seconds that its commands wait for an unreachable Redis
    reply: float  # seconds that the reply to a write may take
    held: set[Any] = attrs.Factory(set)  # connections that it uses now
    logged: bool = False  # its wait has been logged


class CoroutineRedis(Protocol):
    """Redis clients for coroutines; called in the thread of their loop."""

    def client(self, current: Callable[[], Borrower | None]) -> Any:
        """The client that all coroutines share; `current` returns the calling run."""

    async def free(self, borrower: Borrower) -> None:
        """Close the connections that an ended run did not return."""


class Backend(Protocol):
    """Creates stores, queues and feeds, each with a connection of its own."""

    cooperative: bool  # its sockets need a patched process

    @property
    def coroutines(self) -> CoroutineRedis:
        """Clients for coroutines."""

    def store(self) -> Store:
        """A store for one greenlet."""

    def queue(self) -> Queue:
        """A waiter."""

    def feed(self, session: str) -> Feed:
        """A listener."""

    def user_client(self, current: Callable[[], Borrower | None]) -> Any:
        """A client for task code, with the user's settings; `current` returns the calling run."""

    def close_user_client(self, borrower: Borrower) -> None:
        """Close the connections that an ended run did not return."""

    def close(self) -> None:
        """Close the connections that tasks shared, once no run is left."""

    def partitions(self, count: int) -> Sequence[Backend]:
        """One backend for each of `count` partitions of the namespace."""

    def describe(self) -> str:
        """The address, without a password."""

    def risks(self, max_data: int) -> list[Risk]:
        """Server settings that weaken the guarantees or do not allow `max_data` bytes, each with its fix."""

    def check(self) -> None:
        """Check at startup for errors that cannot go away: access denied, wrong version, wrong key types."""
