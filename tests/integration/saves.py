"""Evidence for what tasks save: workers are killed while tasks write to a file what they saved.

    python -m tests.integration.saves --kills 500

Every step kills a worker (or ends it politely), reloads tasks, stops and starts some, and lets some fail.
Times are a tenth of the real ones: a renewal is 0.5 s.  The exit code is 1 if a save was lost that must not
be.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import gevent

from tests.integration.conftest import PATIENCE, TAKEOVER, Crew, H, Lab, wait_until
from tests.support import saved
from tests.support.servers import start_server

TASKS = 60
WORKERS = 5
SLACK = 0.25  # seconds: a tick of the heartbeat, a round trip and the beats of the evidence


class Campaign:
    """Kills workers of a lab, and steers its tasks meanwhile."""

    def __init__(self, lab, seed, pause):
        self._lab = lab
        self._chance = random.Random(seed)
        self._pause = pause  # seconds between two ends of workers, about
        self._crew = []
        self.killed = {}  # pid -> CLOCK_MONOTONIC, nanoseconds
        self.ended = 0  # politely

    def start(self, workers, tasks):
        """So many tasks that save, a third of which also fail."""
        self._crew = [self._lab.worker("--monitor") for _ in range(workers)]
        self.ids = self._lab.push_many(tasks - tasks // 3, "saver")
        self.ids += self._lab.push_many(tasks // 3, "saver", fail=60)
        self._lab.wait_acting(self.ids)

    def step(self, *, kill):
        """End one worker, and steer some tasks."""
        chance = self._chance
        gevent.sleep(chance.uniform(0.3, 1.7) * self._pause)
        worker = self._crew.pop(chance.randrange(len(self._crew)))
        if kill:
            self.killed[worker.pid] = time.monotonic_ns()
            worker.kill()
        else:
            self.ended += 1
            worker.signal(signal.SIGTERM)
            worker.wait()
        for word in ("reload", "reload", "stop"):
            self._lab.control(chance.choice(self.ids), word)
        self.revive()
        self._crew.append(self._lab.worker("--monitor"))

    def revive(self):
        """Start what failed or was stopped."""
        for task_id, state in self._lab.states(self.ids).items():
            if state in ("ERROR", "STOPPED"):
                self._lab.control(task_id, "start")

    def finish(self):
        """Until each task runs again, on a worker that lives."""
        since = time.monotonic_ns()

        def going():
            self.revive()
            acted = {act.id for act in self._lab.evidence.acts() if act.at > since}
            return acted >= set(self.ids)

        # A task whose worker died young several times is watched for longer.
        wait_until(going, 10 * TAKEOVER + PATIENCE)
        for worker in self._crew:
            worker.signal(signal.SIGTERM)
        for worker in self._crew:
            worker.wait()

    def judge(self):
        """What was found, checked for what must not be."""
        found = saved.judge(self._lab.evidence, self.killed)
        self._lab.evidence.check()
        return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between two ends of workers")
    parser.add_argument("--minutes", type=float, default=60, help="stop killing after that long")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, start_server("valkey") as server:
        crew = Crew(Path(folder))
        try:
            with Lab(server, crew) as lab:
                campaign = Campaign(lab, options.seed, options.pause)
                campaign.start(WORKERS, TASKS)
                while (
                    len(campaign.killed) < options.kills and time.monotonic() - began < 60 * options.minutes
                ):
                    campaign.step(kill=random.random() < 0.85)
                    if len(campaign.killed) % 50 == 0:
                        print(f"{len(campaign.killed)} kills in {time.monotonic() - began:.0f} s", flush=True)
                campaign.finish()
                found = campaign.judge()
        finally:
            crew.close()
    print(saved.report(found, len(campaign.killed), H))
    print(f"{campaign.ended} workers ended politely; seed {options.seed}; {time.monotonic() - began:.0f} s")
    saved.check(found, H + SLACK)


if __name__ == "__main__":
    sys.exit(main())
