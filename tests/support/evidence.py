"""What the tasks did, written by themselves to a file that Redis knows nothing of.

A line is `mono_ns id run pid kind`.  Every process appends with O_APPEND, so the order of the lines is
the order of the acts; CLOCK_MONOTONIC is one clock for all processes of a machine.

A process also writes beats, from a thread that neither tasks nor Redis hold up: a busy machine stops both,
and what stops the acts alone is pytask.
"""

import time
from bisect import bisect_left, bisect_right
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

SECOND = 1_000_000_000
BEAT = "beat"  # the kind of such a line
BEAT_SECONDS = 0.05


class Act(NamedTuple):
    at: int  # CLOCK_MONOTONIC, nanoseconds
    id: str
    run: str
    pid: int
    kind: str


def now():
    return time.monotonic_ns()


class Evidence:
    """A file of acts, read as often as wanted."""

    def __init__(self, path):
        self.path = Path(path)
        self._read = 0  # bytes
        self._acts = []
        self._beats = defaultdict(list)  # times by pid

    def acts(self, task_id=None, kind=None):
        """All acts in their order, or those of one id or kind."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            fresh = file.read()
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode().splitlines():
            at, name, run, pid, what = line.split(" ")
            if what == BEAT:
                self._beats[int(pid)].append(int(at))
            else:
                self._acts.append(Act(int(at), name, run, int(pid), what))
        return [a for a in self._acts if task_id in (None, a.id) and kind in (None, a.kind)]

    def of_run(self, run):
        return [act for act in self.acts() if act.run == run]

    def runs(self, task_id):
        """The runs of an id, by their first act."""
        return list(dict.fromkeys(act.run for act in self.acts(task_id)))

    def last(self, task_id):
        return self.acts(task_id)[-1]

    def longest_gap(self, task_id, since=0):
        """The longest time in seconds between two acts of an id, or since its last one."""
        times = [act.at for act in self.acts(task_id) if act.at > since] + [now()]
        return max(b - a for a, b in pairwise(times)) / SECOND

    def ran(self, pid, since, until):
        """Seconds for which a process ran in that time, by its beats; never more than it did."""
        beats = self._beats[pid]
        return (bisect_left(beats, until) - bisect_right(beats, since)) * BEAT_SECONDS

    def longest_pause(self, task_id, since=0):
        """As `longest_gap`, but of the time in which the process ran."""
        acts = [act for act in self.acts(task_id) if act.at > since]
        ends = [act.at for act in acts[1:]] + [now()]
        return max(self.ran(act.pid, act.at, end) for act, end in zip(acts, ends, strict=True))

    def at_rest(self, ids, seconds=1.0):
        """Whether none of them acted for so long, while the process of the last act ran."""
        last = max((self.last(task_id) for task_id in ids), key=lambda act: act.at)
        return self.ran(last.pid, last.at, now()) >= seconds

    def overlaps(self):
        """Each act of an older run after the first act of a newer run of the same id; must be empty."""
        current = {}
        over = set()
        found = []
        for act in self.acts():
            if act.run in over:
                found.append(act)
                continue
            before = current.get(act.id)
            if before is not None and before.run != act.run:
                over.add(before.run)
            if before is not None and before.run == act.run and before.pid != act.pid:
                found.append(act)  # one run, two processes
            current[act.id] = act
        return found

    def check(self):
        """Fails on any overlap, or if there was nothing to see."""
        assert self.acts(), "no evidence: the test proves nothing"
        overlaps = self.overlaps()
        assert not overlaps, f"{len(overlaps)} acts of older runs after newer ones, the first: {overlaps[:3]}"
