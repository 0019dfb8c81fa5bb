"""The times of the protocol, and the sizes of its batches."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import attrs

from pytask.domain.errors import BadFailover, ConfigError

CLOCK_RATE_ERROR = 0.05  # maximum difference between the rates of two clocks
MOMENT = 0.001  # seconds after the expiry at which a monitor sweeps again
CLAIM_BATCH = 256  # ids per claim
COMMIT_BATCH = 256  # changes per commit
COMMIT_BYTES = 4 * 1024 * 1024  # approximate limit for events and outputs in a commit

# The default times.  Every worker counts on them where another one, whose times it cannot know, may use them.
HEARTBEAT, LEASE, GRACE, EXPIRY = 5.0, 60.0, 10.0, 90.0
SHORTEST_FAILOVER = 15.0  # seconds; the longest is the default lease
SPARE = 5.0  # seconds by which an expiry outlasts lease and grace, beside the clock error


@attrs.frozen(kw_only=True)
class Timing:
    """The times of the protocol, in seconds.  They are checked against each other on construction."""

    heartbeat: float = HEARTBEAT  # H: period of the renewals
    call_timeout: float = 3.0  # C: maximum duration of one call to Redis
    lease: float = LEASE  # D: without an acknowledged renewal for this long, all runs stop
    grace: float = GRACE  # G: maximum time to stop a run
    expiry: float = EXPIRY  # T: a run whose lease one monitor observed unchanged for this long is dead
    sweep: float = 10.0  # I: the monitor's period
    claim_gate: float = 30.0  # F: no claims if the last renewal is older
    embargo: float = 80.0  # E: no claims for this long after a suspected failover
    shutdown: float = 25.0  # after SIGTERM: all runs are released by then
    scale: float = 1.0  # the factor of `scaled`, also applied to the margins below

    def __attrs_post_init__(self) -> None:
        """Refuse times under which two runs of a task could overlap."""
        rate = CLOCK_RATE_ERROR
        times = attrs.astuple(self)
        self._require(all(math.isfinite(t) and t > 0 for t in times), "each must be a positive number")
        self._require(
            self.expiry * (1 - rate) > (self.lease + self.grace) * (1 + rate) + SPARE * self.scale,
            f"expiry ({self.expiry:g} s) must outlast lease + grace ({self.lease + self.grace:g} s) with a"
            " 5 % clock error and 5 s to spare, or a task is requeued while it still runs",
        )
        self._require(
            self.heartbeat + 2 * self.call_timeout < self.lease / 4,
            "heartbeat + 2 x call_timeout must be under a quarter of the lease",
        )
        self._require(self.claim_gate <= self.lease / 2, "claim_gate must be at most half the lease")
        self._require(
            self.embargo >= self.lease + self.grace + self.heartbeat,
            "embargo must cover lease + grace + heartbeat",
        )
        self._require(self.grace >= 2 * self.scale, "grace must be at least 2 s")

    @staticmethod
    def _require(holds: bool, why: str) -> None:
        if not holds:
            raise ConfigError(f"invalid times: {why}")

    @staticmethod
    def for_failover(seconds: Any) -> Timing:
        """The times with a lease of 15 to 60 seconds; the others follow in the proportions of the default.

        Not shortened are the times that protect the runs of other workers, which may use the default: the
        embargo, and the time to shut down.  Raises :class:`BadFailover`.
        """
        fits = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if not fits or not SHORTEST_FAILOVER <= seconds <= LEASE:
            raise BadFailover(
                f"failover is {seconds!r}, but must be from {SHORTEST_FAILOVER:g} to {LEASE:g} seconds: below"
                " that a short fault of the network or of Redis stops all tasks, above it monitors of other"
                " workers would requeue tasks that still run. Set failover=20, --failover 20s or"
                f" $PYTASK_FAILOVER=20, or leave it out for {LEASE:g} s"
            )
        return _for_lease(float(seconds))

    def scaled(self, factor: float) -> Timing:
        """All times multiplied by a factor, for tests: 0.1 gives a lease of 6 s and an expiry of 9 s."""
        values = attrs.asdict(self)
        return Timing(**{name: value * factor for name, value in values.items()})

    @property
    def kill(self) -> float:
        """K: the kernel ends the process this long after its last acknowledged renewal was sent."""
        return self.lease + self.grace

    @property
    def tick(self) -> float:
        """The granularity of renewals: how early one may be sent, and how often the heartbeat checks."""
        return self.heartbeat / 10

    @property
    def unwatched(self) -> float:
        """Without a sweep for this long no monitor is running: three periods, each with a slow call."""
        return 3 * (self.sweep + self.call_timeout)

    @property
    def reassert(self) -> float:
        """The pause of claims after any change of server, during which each owner renews once."""
        return 2 * self.slowest_heartbeat

    # What other workers may use.  None is longer than this worker's own or the default: a fleet with longer
    # times gives them to all its workers.

    @property
    def slowest_heartbeat(self) -> float:
        """The period of the renewals of another worker, at most."""
        return max(self.heartbeat, HEARTBEAT * self.scale)

    @property
    def longest_kill(self) -> float:
        """K of another worker, at most: after this long every run that Redis has forgotten is over."""
        return max(self.kill, (LEASE + GRACE) * self.scale)

    @property
    def longest_expiry(self) -> float:
        """T of another worker, at most: it applies to each run whose session does not name a shorter one."""
        return max(self.expiry, EXPIRY * self.scale)

    @property
    def block(self) -> float:
        """The duration of one blocking wait for the queue: the maximum, to keep an idle worker idle."""
        return self.call_timeout * 2 / 3

    @property
    def watch(self) -> float:
        """How often the deadline is checked when it is near."""
        return self.lease / 240


def _shortest_expiry(lease: float) -> float:
    """T for this lease: half as long again, or what the check above needs with one percent to spare.

    Rounded up to tenths, so that a session names exactly this time.
    """
    rate = CLOCK_RATE_ERROR
    needed = (lease * (1 + GRACE / LEASE) * (1 + rate) + SPARE) / (1 - rate)
    return math.ceil(max(lease * EXPIRY / LEASE, needed * 1.01) * 10 - 1e-6) / 10


SHORTEST_EXPIRY = _shortest_expiry(SHORTEST_FAILOVER)


@cache
def _for_lease(lease: float) -> Timing:
    default, share = Timing(), lease / LEASE
    return attrs.evolve(
        default,
        heartbeat=default.heartbeat * share,
        call_timeout=default.call_timeout * share,
        lease=lease,
        grace=default.grace * share,
        expiry=_shortest_expiry(lease),
        sweep=default.sweep * share,
        claim_gate=lease / 2,  # halving is exact, so that the check above holds
    )
