"""Evidence for the proof of death: workers of one machine are killed at real times, and their tasks watched.

    python -m tests.integration.proof --kills 50 --tasks 1000

In each step one of two workers dies and the other one takes over; in every fourth step both die, and one is
started again, as a service manager would.  Leases would take 90 s and more.  What the tasks did is in a file
that Redis knows nothing of.  The exit code is 1 if p99 with a neighbor is over 1 s, if a start alone took
over 2 s, or if two runs of a task overlapped.
"""

import argparse
import math
import random
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

import gevent

from tests.integration.conftest import PATIENCE, Crew, Lab, wait_until
from tests.support.evidence import SECOND, now
from tests.support.servers import start_server

DEATHS = (signal.SIGKILL, signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT)
STEP = 0.25  # seconds between two acts of a task
NEIGHBOR, ALONE = 1.0, 2.0  # seconds: the bars


class Campaign:
    """Two workers that share a folder of locks, and how long the tasks of a dead one were gone."""

    def __init__(self, lab, folder, seed, *words, patience=PATIENCE):
        self._lab = lab
        self._words = words or ("--monitor", "--scale", "1", "--runtime-dir", folder / "locks")
        self._patience = patience  # seconds until a task must act again
        self._chance = random.Random(seed)
        self.ids = []
        self.taken_over, self.started_again = [], []  # seconds, of each task

    def start(self, tasks):
        """Two workers, and so many tasks that act."""
        self._room = 2 * tasks
        self._crew = [self._worker(), self._worker()]
        self.ids = self._lab.push_many(tasks, "tick", step=STEP)
        self._settle(0)

    def _worker(self):
        return self._lab.worker(*self._words, max_tasks=self._room)

    def step(self, *, alone):
        """One death, or that of both."""
        self._settle(now())
        gevent.sleep(self._chance.uniform(0, 0.5))
        victims = list(self._crew) if alone else [self._chance.choice(self._crew)]
        pids = {one.pid for one in victims}
        owners = self._owners()
        gone = {task_id for task_id, pid in owners.items() if pid in pids}
        since = now()
        for one in victims:
            one.signal(self._chance.choice(DEATHS))
        for one in victims:
            one.wait()
            self._crew.remove(one)
        if alone:
            before, killed = self._lab.listeners(), since
            again = self._lab.workers.start(self._lab.server.url, *self._words, max_tasks=self._room)
            wait_until(lambda: self._lab.listeners() - before, why="the new worker listens")
            self.started_again += [max(0.0, gap) for gap in self._gaps(gone, killed, now())]
            self._crew.append(again)
        else:
            self.taken_over += self._gaps(gone, since, since)
        self._crew.append(self._worker())

    def _owners(self):
        return {act.id: act.pid for act in self._lab.evidence.acts()}

    def _settle(self, since):
        self._lab.wait_acting(self.ids, since, self._patience)

    def _gaps(self, ids, killed, since):
        """Seconds from `since` to the first act of a new run of each, after the death."""
        old = {act.id: act.run for act in self._lab.evidence.acts() if act.at <= killed}
        first = {}

        def all_act():
            for act in self._lab.evidence.acts():
                if act.at > killed and act.id in ids and act.run != old[act.id]:
                    first.setdefault(act.id, act.at)
            gevent.sleep(0.2)
            return len(first) == len(ids)

        wait_until(all_act, self._patience, lambda: f"{len(ids) - len(first)} tasks do not act")
        return [(at - since) / SECOND for at in first.values()]

    def finish(self):
        for worker in self._crew:
            worker.signal(signal.SIGTERM)
        for worker in self._crew:
            worker.wait()


def quantile(values, share):
    """The value that this share of them does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else 0.0


def report(campaign, overlaps):
    lines = [
        f"{name}: {len(gaps)} runs; p50 {quantile(gaps, 0.5):.3f} s, p99 {quantile(gaps, 0.99):.3f} s,"
        f" worst {max(gaps, default=0.0):.3f} s"
        for name, gaps in (
            ("with a neighbor, from the kill", campaign.taken_over),
            ("alone, from the moment the new worker listens", campaign.started_again),
        )
    ]
    return "\n".join([*lines, f"{overlaps} overlapping acts"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.monotonic()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as folder, start_server("valkey") as server:
        crew = Crew(Path(folder))
        try:
            with Lab(server, crew) as lab:
                campaign = Campaign(lab, Path(folder), options.seed)
                campaign.start(options.tasks)
                for number in range(1, options.kills + 1):
                    campaign.step(alone=number % 4 == 0)
                    if number % 10 == 0:
                        print(f"{number} kills in {time.monotonic() - began:.0f} s", flush=True)
                campaign.finish()
                overlaps = len(lab.evidence.overlaps())
        finally:
            crew.close()
    print(report(campaign, overlaps))
    print(
        f"{options.kills} kills, {options.tasks} tasks, seed {options.seed}; {time.monotonic() - began:.0f} s"
    )
    late = quantile(campaign.taken_over, 0.99) > NEIGHBOR or max(campaign.started_again, default=0) > ALONE
    return int(late or overlaps > 0)


if __name__ == "__main__":
    sys.exit(main())
