"""The times of the protocol, and the sizes of its batches."""

from __future__ import annotations

import math

import attrs

from pytask.domain.errors import ConfigError

CLOCK_RATE_ERROR = 0.05  # how far two clocks' rates may differ
MOMENT = 0.001  # seconds after T at which a monitor looks again
CLAIM_BATCH = 256  # ids a claim
COMMIT_BATCH = 256  # changes a commit
COMMIT_BYTES = 4 * 1024 * 1024  # about, of events and outputs in a commit


@attrs.frozen(kw_only=True)
class Timing:
    """The times of the protocol, in seconds.  Checked against each other when built."""

    heartbeat: float = 5.0  # H: each run is renewed this often
    call_timeout: float = 3.0  # C: hard cap of one call to Redis
    lease: float = 60.0  # D: without an acknowledged renewal for this long, all runs stop
    grace: float = 10.0  # G: how long stopping a run may take
    expiry: float = 90.0  # T: a lease unchanged for this long, as one monitor saw it, is dead
    sweep: float = 10.0  # I: the monitor's period
    claim_gate: float = 30.0  # F: no claim when the last renewal is older
    embargo: float = 80.0  # E: no claim for this long after a suspected failover
    shutdown: float = 25.0  # SIGTERM: all runs handed back by then
    scale: float = 1.0  # what `scaled` multiplied by; the margins below follow it

    def __attrs_post_init__(self) -> None:
        """Refuse times under which two runs of a task could overlap."""
        rate = CLOCK_RATE_ERROR
        times = attrs.astuple(self)
        self._require(all(math.isfinite(t) and t > 0 for t in times), "each must be a positive number")
        self._require(
            self.expiry * (1 - rate) > (self.lease + self.grace) * (1 + rate) + 5 * self.scale,
            f"expiry ({self.expiry:g} s) must outlast lease + grace ({self.lease + self.grace:g} s) with a"
            " 5 % clock error and 5 s to spare, or a task is handed on while it still runs",
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
            raise ConfigError(f"times that cannot be kept: {why}")

    def scaled(self, factor: float) -> Timing:
        """All times multiplied alike, for tests: 0.1 gives D=6, G=1, T=9, H=0.5."""
        values = attrs.asdict(self)
        return Timing(**{name: value * factor for name, value in values.items()})

    @property
    def kill(self) -> float:
        """K: the kernel ends the process this long after its last acknowledged renewal was sent."""
        return self.lease + self.grace

    @property
    def tick(self) -> float:
        """So early a renewal is rather than late; so often, at most, the heartbeat looks for due ones."""
        return self.heartbeat / 10

    @property
    def reassert(self) -> float:
        """No claims for this long after any change of server: each owner renews once meanwhile."""
        return 2 * self.heartbeat

    @property
    def block(self) -> float:
        """One blocking wait for the queue: as long as it may be, since an idle worker does little else."""
        return self.call_timeout * 2 / 3

    @property
    def watch(self) -> float:
        """How often the deadline is looked at, when it is near."""
        return self.lease / 240
