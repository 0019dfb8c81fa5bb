"""A precious task, alone on its worker, whose workers are killed one after the other."""

import pytest

from pytask.domain.crashes import CRASH_LIMIT, CRASH_YOUNG
from tests.integration.conftest import PATIENCE, wait_until

pytestmark = pytest.mark.slow

SCALE = 0.03


def age(lab, task_id):
    """Seconds that the run has lived at its last renewal, as the monitor reckons."""
    lease, epoch = lab.redis.zscore("pytask:leases", task_id), lab.field(task_id, "epoch")
    return lease / 1e6 - float(epoch) / 1e3 if lease and epoch else 0.0


def test_a_lone_long_task_whose_workers_are_killed_again_and_again_is_never_blamed(lab):
    def worker():
        return lab.worker("--scale", str(SCALE), max_tasks=1)

    # The monitor is elsewhere, or its own run would be a neighbour of the task.
    lab.worker("--monitor", "--without", "tick", "--scale", str(SCALE))
    owner = worker()
    (precious,) = lab.started(1)
    for _ in range(CRASH_LIMIT + 1):
        spare = worker()
        wait_until(lambda: age(lab, precious) > 1.2 * CRASH_YOUNG * SCALE)
        run = lab.run(precious)
        owner.kill()
        lab.wait_new_run(precious, run, PATIENCE)
        assert lab.state(precious) == "RUNNING"
        assert lab.field(precious, "crashes") in (None, "0")
        owner = spare
    lab.evidence.check()
