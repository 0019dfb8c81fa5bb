"""Evidence for `--failover`: how long the tasks of a killed worker are gone where nothing proves its death.

    python -m tests.integration.recovery --failover 15 --kills 12

Two workers at real times, without locks, each with a monitor.  In each step one is killed at a random
moment, its tasks are awaited on the other one, and a new worker takes its place.  What the tasks did is in a
file that Redis knows nothing of.  The exit code is 1 if a task was gone for longer than the expiry and two
sweeps, or if two runs of a task overlapped.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

from pytask.domain.timing import Timing
from tests.integration.conftest import Crew, Lab
from tests.integration.proof import Campaign, quantile
from tests.support.servers import start_server

SPARE = 5.0  # seconds: a claim and a first act on a busy machine


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--failover", type=float, default=60.0)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--tasks", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--locks", action="store_true", help="with locks: what proves a death is quicker")
    options = parser.parse_args()
    timing = Timing.for_failover(options.failover)
    limit = timing.expiry + 2 * timing.sweep + SPARE
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, start_server("valkey") as server:
        locks = Path(folder) / "locks" if options.locks else "off"
        words = ("--monitor", "--failover", options.failover, "--runtime-dir", locks)
        crew = Crew(Path(folder))
        try:
            with Lab(server, crew) as lab:
                campaign = Campaign(lab, Path(folder), options.seed, *words, patience=2 * limit)
                campaign.start(options.tasks)
                for _ in range(options.kills):
                    campaign.step(alone=False)
                campaign.finish()
                overlaps = len(lab.evidence.overlaps())
        finally:
            crew.close()
    gaps = campaign.taken_over
    worst = max(gaps, default=0.0)
    print(
        f"failover {options.failover:g} s, {options.kills} kills, {len(gaps)} runs: median"
        f" {quantile(gaps, 0.5):.1f} s, worst {worst:.1f} s; {overlaps} overlapping acts;"
        f" {time.monotonic() - began:.0f} s"
    )
    return int(worst > limit or overlaps > 0)


if __name__ == "__main__":
    sys.exit(main())
