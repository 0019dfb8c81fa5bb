"""What the runtime needs from the outside.  The adapters keep these; tests write fakes of them.

Every method may raise a `StoreError`; `Unavailable` means that the outcome is unknown, and that the
same call with the same run ids may be repeated until a verdict comes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import attrs

from pytask.domain.figures import WorkerInfo
from pytask.domain.messages import Command, IdFault
from pytask.domain.record import (
    Adoption,
    Change,
    Claim,
    ClaimRequest,
    Expiry,
    Incarnation,
    Notes,
    Notice,
    Risk,
    RunRef,
    Suspect,
    Verdict,
)


class Store(Protocol):
    """State in one place, moved through verbs.  One instance is one connection, used by one greenlet."""

    who: str  # stands in the history of tasks for what this store does
    incarnation: Incarnation | None  # what the last renew() reached; None before the first
    ahead: list[bytes] | None  # what the last claim() saw behind its batch, as peek() would; None: not looked

    def peek(self, limit: int, source: str | None = None) -> list[bytes]:
        """The `limit` ids at the tail of the queue (or of a parking list), the next one first.

        They end with the first that is too long to be a task, cut to 513 bytes.
        """

    def claim(self, request: ClaimRequest) -> list[Claim]:
        """E1/E13/E14 for a batch: an answer for each ref, in order."""

    def reject(self, raw: bytes, reason: IdFault, source: str | None = None) -> Verdict:
        """E15: take `raw` out of the list and keep it in `pytask:rejected`; MOVED if it changed.

        An id that is too LONG is known by its beginning.
        """

    def park(self, task_id: str, function: str, event: bytes, source: str | None = None) -> Verdict:
        """A7: move an id from the queue (or another parking list) to the parking list of `function`."""

    def parked(self) -> list[str]:
        """The functions that have ids in their parking list."""

    def hint(self, function: str) -> None:
        """Tell workers that know `function` to look at its parking list."""

    def renew(self, refs: Sequence[RunRef]) -> dict[RunRef, Verdict]:
        """E2 for a chunk: only what is not OK is in the answer (FENCED, GONE, STOP, RELOAD).

        Keeps the marker of the data, and notes in `incarnation` what it reached; also without refs.
        """

    def adopt(self, adoptions: Sequence[Adoption], worker: str) -> list[Verdict]:
        """E12 for a batch: OK (it is registered again), FENCED (a newer run is there) or GONE for each."""

    def restore(self, task_id: str, function: str, data: bytes | None) -> Verdict:
        """A task whose hash was lost with the data, made and queued anew: OK, or STATE (it is there)."""

    def commit(self, changes: Sequence[Change]) -> list[Verdict]:
        """E3-E6 and events for a batch: OK, ALREADY, FENCED or GONE for each, in order."""

    def note(self, notes: Sequence[Notes], lines: int, keep: int) -> list[Verdict]:
        """Lines for the rings of tasks, and how far these are: OK, FENCED, GONE or BADTYPE for each.

        A ring has its newest `lines`, for `keep` seconds after the last.  A full Redis refuses all of it.
        """

    def reload(self, old: RunRef, new: RunRef, worker: str, max_data: int) -> Claim:
        """E8: the new run takes the place of the old, dead one."""

    def preview(self, ref: RunRef, max_data: int) -> Claim:
        """What a reload of this run would begin with, read before anything stops: OK, FENCED or GONE."""

    def refuse(self, judged: Claim, path: str, reason: str) -> Verdict:
        """E17: what `preview` told does not fit; the run goes on: OK, FENCED or GONE.

        MOVED, with nothing done, where other data is there by now.
        """

    def settle(self, ref: RunRef) -> Verdict:
        """E18: the run that a reload began lives: OK, FENCED or GONE."""

    def open_local(self, ref: RunRef, function: str, data: bytes, worker: str) -> Claim:
        """A pre-started task: its hash and its run in one step, never queued."""

    def control(self, command: Command, ids: Sequence[str], ages: Sequence[float] = ()) -> list[Verdict]:
        """E9, E10, E11 for a batch: REQUESTED (a run has it), OK (done), STATE (no-op), NOHASH.

        `ages` (seconds, one an id, 0 without): a task that was started again within them had that after
        this stop, or by this very start, whose message every worker hears: a no-op.
        """

    def suspects(self, older: float, ahead: float, limit: int = 100_000) -> list[Suspect]:
        """Runs whose lease lies more than `older` seconds behind Redis TIME or `ahead` before it."""

    def runs_of(self, prefix: str, cursor: int = 0) -> tuple[int, list[Suspect]]:
        """One step through the registry: (next cursor or 0, runs whose id begins with `prefix`).

        A run may come twice, as with any SCAN; one without a lease has the lease value 0.
        """

    def expire(self, expiries: Sequence[Expiry], server: str = "") -> list[Verdict]:
        """E7 for a batch: OK, ALREADY, FENCED or RENEWED for each.

        Raises `FailoverSuspected`, with nothing done, where another server answers ("" does not check).
        """

    def repair(self, cursor: int, expiry: float) -> tuple[int, int]:
        """E16, one step of the slow sweep: (next cursor or 0, hashes mended)."""

    def tidy(self, monitor: str, silent: float) -> None:
        """Note a sweep of `monitor`; drop workers long silent."""

    def retire(self) -> None:
        """Delete the hashes of tasks that rested for as long as they are kept, and do not wait again."""

    def announce(self, info: WorkerInfo) -> float | None:
        """Show this worker; returns the seconds since any monitor swept, None if none ever did."""

    def recent_workers(self, within: float) -> list[WorkerInfo]:
        """The workers that showed up in the last `within` seconds; what cannot be read is left out."""

    def leave(self, session: str) -> None:
        """Take this worker off the list."""

    def ping(self, session: str) -> None:
        """Publish to the feed of that session, which hears it as `Notice(kind="ping")`."""

    def databases(self) -> list[int]:
        """The db numbers whose workers' feeds are open under this namespace at this server."""

    def reset(self) -> None:
        """Drop the connection: its state is not known."""

    def reconnect(self) -> None:
        """Another server answers: the next command opens a new connection.  Any greenlet may say so."""

    def close(self) -> None:
        """Drop the connection for good."""


class Queue(Protocol):
    """Waiting for the queue without taking from it."""

    def wait(self, timeout: float) -> list[bytes] | None:
        """Block up to `timeout` seconds: the next id, as peek() shows it; [] when none came, None where
        this server cannot block (the caller polls)."""

    def reconnect(self) -> None:
        """Another server answers: the next wait opens a new connection."""

    def close(self) -> None:
        """Drop the connection."""


class Feed(Protocol):
    """Control messages and hints from pub/sub, read by one greenlet."""

    behind: bool  # the last read() was cut short: more has arrived
    database: int | None  # the db number that an open feed shows to others; None where there are none

    def open(self) -> None:
        """Subscribe on a new connection.  From then on `Store.databases` finds its db number."""

    def read(self, timeout: float) -> list[Notice]:
        """What arrived within `timeout` seconds; raises `Unavailable` on a broken connection."""

    def reconnect(self) -> None:
        """Another server answers: the next read() raises `Unavailable`, so that the feed is opened again."""

    def close(self) -> None:
        """Drop the connection."""


@attrs.define(eq=False)
class Borrower:
    """A run that takes connections from those for task code."""

    name: str  # the task's id
    patience: float  # seconds that its commands wait for a Redis that is away
    reply: float  # seconds that the reply to a write may take
    held: set[Any] = attrs.Factory(set)  # connections that it has now
    told: bool = False  # the log was told that it waits


class Backend(Protocol):
    """Makes the above, each on a connection of its own."""

    cooperative: bool  # its sockets need a patched process

    def store(self) -> Store:
        """A store for one greenlet."""

    def queue(self) -> Queue:
        """A waiter."""

    def feed(self, session: str) -> Feed:
        """A listener."""

    def user_client(self, current: Callable[[], Borrower | None]) -> Any:
        """A client for task code, with the user's own settings; `current` tells whose code uses it."""

    def close_user_client(self, borrower: Borrower) -> None:
        """A run is over: drop the connections that it did not give back."""

    def close(self) -> None:
        """No run is left: drop the connections that tasks shared."""

    def partitions(self, count: int) -> Sequence[Backend]:
        """One backend for each of `count` partitions of the namespace."""

    def describe(self) -> str:
        """The address, without a password."""

    def risks(self, max_data: int) -> list[Risk]:
        """Settings of the server under which the promise is weaker, or `max_data` bytes do not fit;
        each with its fix."""

    def check(self) -> None:
        """Raise at start what can be known at start: denied, wrong version, wrong key types."""
