"""What the tasks wrote, read as it grows: a line is `mono_ns id run pid kind`.

Only what is current of each id is kept, never the lines: an hour makes a million of them.
"""

from collections import Counter
from pathlib import Path

SECOND = 1_000_000_000
CHUNK = 1 << 20


class Last:
    """The newest run of an id."""

    __slots__ = ("at", "gap", "gap_at", "kind", "older", "pid", "run", "runs")

    def __init__(self, run, pid):
        self.run, self.pid = run, pid
        self.at = self.gap = self.gap_at = 0  # nanoseconds; `gap_at` is when the longest gap began
        self.kind = ""
        self.runs = 1
        self.older = None  # a set of runs, once there are any


class History:
    """Feeds on lines; finds overlaps, gaps, and how long a takeover took."""

    def __init__(self):
        self.lasts = {}
        self.acts = 0
        self.kinds = Counter()
        self.ended = set()  # ids with an act `end`
        self.overlaps = []
        self.gaps = []  # (began, seconds, id), those above `long_gap`
        self.long_gap = 5.0
        self._waits = {}  # id -> (the run that was hit, Takeover)

    def feed(self, line):
        """One act."""
        at, name, run, pid, kind = line.split(" ")
        at, pid = int(at), int(pid)
        self.acts += 1
        self.kinds[kind] += 1
        last = self.lasts.get(name)
        if last is None:
            last = self.lasts[name] = Last(run, pid)
        else:
            self._next(last, at, name, run, pid, line)
        last.at, last.kind = at, kind
        if kind == "end":
            self.ended.add(name)
        waiting = self._waits.get(name)
        if waiting and run != waiting[0]:
            waiting[1].back(name, at)
            del self._waits[name]
        elif waiting and kind == "end":
            self.dismiss(name)  # its process was only cut off: the task came to its end there

    def _next(self, last, at, name, run, pid, line):
        if run != last.run:
            if last.older and run in last.older:
                self.overlaps.append(line)  # an older run acts after a newer one
                return
            last.older = (last.older or set()) | {last.run}
            last.run, last.pid = run, pid
            last.runs += 1
        elif pid != last.pid:
            self.overlaps.append(line)  # one run, two processes
        gap = at - last.at
        if gap > last.gap:
            last.gap, last.gap_at = gap, last.at
        if gap > self.long_gap * SECOND:
            self.gaps.append((last.at, gap / SECOND, name))

    def living_in(self, pid):
        """The ids whose newest run acts in this process and has not ended."""
        return [name for name, last in self.lasts.items() if last.pid == pid and last.kind not in ENDS]

    def watch(self, takeover, ids):
        """Note when each of the ids acts in another run: a worker that was only cut off may take it again."""
        for name in ids:
            self._waits[name] = (self.lasts[name].run, takeover)

    def dismiss(self, name):
        """It ended, or an operator stopped it: it is not waited for."""
        waiting = self._waits.pop(name, None)
        if waiting:
            waiting[1].missing.discard(name)


ENDS = ("end", "stop")


class Takeover:
    """How long the ids of a process that died (or fell silent) at `since` took to act again.

    `pauses`: id -> seconds that a monitor waits longer for it, since earlier crashes were counted.
    """

    def __init__(self, label, since, ids, pauses=None):
        self.label = label
        self.since = since  # monotonic nanoseconds
        self.missing = set(ids)
        self.pauses = pauses or {}
        self.seconds = []
        self.beyond = []  # the same without the pause

    def back(self, name, at):
        if name in self.missing:
            self.missing.discard(name)
            seconds = (at - self.since) / SECOND
            self.seconds.append(seconds)
            self.beyond.append(seconds - self.pauses.get(name, 0.0))


class Reader:
    """Reads a growing file into a history; a line that is not whole yet waits."""

    def __init__(self, path, history):
        self._file = Path(path).open("rb")  # noqa: SIM115 - open as long as the soak lasts
        self._rest = b""
        self.history = history

    def catch_up(self):
        """All whole lines there are."""
        while chunk := self._file.read(CHUNK):
            lines = (self._rest + chunk).split(b"\n")
            self._rest = lines.pop()
            for line in lines:
                self.history.feed(line.decode())

    def close(self):
        self._file.close()
