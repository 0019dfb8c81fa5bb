"""What a worker says of its health: the cause first, and once."""

from math import inf
from types import SimpleNamespace

import pytest

from pytask.domain.timing import Timing
from pytask.runtime.health import vitals

NOW = 1000.0
RESTORED = "and owners restore the runs that it lost"


def worker(*, renewed=NOW, embargo_until=-inf, listening=True):
    timing = Timing()
    lease = SimpleNamespace(
        last_ok=renewed, embargo_until=embargo_until,
        may_claim=lambda now: now - renewed < timing.claim_gate and now >= embargo_until,
    )  # fmt: skip
    partition = SimpleNamespace(
        lease=lease, held=0.0, controller=SimpleNamespace(listening=listening),
        executor=SimpleNamespace(leaving=False, living={}),
        backend=SimpleNamespace(describe=lambda: "redis:6379/0"),
    )  # fmt: skip
    return SimpleNamespace(
        partitions=[partition], failed=None, draining=False, now=lambda: NOW,
        capacity=SimpleNamespace(closed=False),
        settings=SimpleNamespace(timing=timing, name="w", max_tasks=1, drain=0, metrics=None),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ({}, []),
        ({"listening": False}, ["it does not receive control messages"]),
        (
            {"renewed": NOW - 15, "listening": False},
            ["it does not receive control messages: Redis redis:6379/0 has not answered for 15 s"],
        ),
        (
            {"renewed": NOW - 40, "listening": False},
            [
                "it takes no tasks: Redis redis:6379/0 has not answered for 40 s",
                "it does not receive control messages",
            ],
        ),
        ({"renewed": -inf}, ["it takes no tasks: Redis redis:6379/0 has not answered yet"]),
        (
            {"embargo_until": NOW + 60},
            [f"for 60 s it takes no tasks: another server answered at Redis redis:6379/0, {RESTORED}"],
        ),
    ],
)
def test_why_it_is_not_ready(state, why):
    found = vitals(worker(**state))
    assert (found["why"], found["ready"], found["live"]) == (why, not why, True)
