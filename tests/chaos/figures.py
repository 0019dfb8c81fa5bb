"""What a run amounts to: the numbers of the report, each beside its bar."""

from collections import Counter, defaultdict
from statistics import median

from pytask.domain.crashes import crash_pause
from tests.chaos import invariants
from tests.chaos.world import MONITORS, SWEEP, H, K, T

SECOND = invariants.SECOND
RECOVERY = T + 2 * SWEEP + H + 1.0
MEDIAN = T + SWEEP
CONTROL = H + 1.0


def beginnings(lines):
    """By process: when its monitor swept first or, where it has none, when Redis answered it first."""
    found = {}
    for kind in ("sweep", "ack"):
        first = {}
        for line in lines:
            if line.kind == kind:
                first.setdefault(line.pid, line.at)
        found = first | found
    return found


def disturbances(faults, lives, names, begun):
    """By "server" or a worker's name: the intervals (ns) in which it may not do its duty.

    `begun` tells when each process was seen at its duty: on a busy machine that may be late.
    """
    found = defaultdict(list)
    for fault in faults:
        if fault.target == "tasks":
            if fault.tail:  # nobody knows which worker takes a task that blocks it
                for name in names:
                    found[name].append((fault.begin, fault.end + int((fault.tail + 4) * SECOND)))
            continue
        found[fault.target].append((fault.begin, (fault.end or 1 << 62) + int(fault.tail * SECOND)))
    for name, spans in lives.items():
        for pid, begin, end, _code in spans:
            found[name].append((begin, max(begin + 4 * SECOND, begun.get(pid, end))))
            if end:
                found[name].append((end, end + 4 * SECOND))
    return found


def sweep_lateness(lines):
    """Seconds by which T counted in sweeps is longer than T: sweeps come every I and what one takes.

    At a tenth of the real times, on a busy machine, that is a part of a recovery that cannot be left out.
    """
    last, periods = {}, []
    for line in lines:
        if line.kind == "sweep":
            before = last.get((line.pid, line.run))
            last[line.pid, line.run] = line.at
            if before:
                periods.append((line.at - before) / SECOND)
    return max(0.0, median(periods) - SWEEP) if periods else 0.0


def quiet_from(start, length, spans):
    """The first moment at or after `start` from which none of the spans disturbs for `length` seconds."""
    for begin, end in sorted(spans):
        if end > start and begin < start + length * SECOND:
            start = end
    return start


def recoveries(lines, replay, lives, troubled, monitors, waits):
    """For each run that its dead process left behind: (seconds to the requeue, allowed seconds, clean)."""
    pid_of, last = {}, {}
    for line in lines:
        if invariants.is_act(line):
            pid_of[line.run] = line.pid
            last[line.run] = line.at
    deaths = {pid: (name, end, code) for name, spans in lives.items() for pid, _b, end, code in spans if end}
    found = []
    for run, (task_id, _begin) in replay.begun.items():
        death = deaths.get(pid_of.get(run, 0))
        end = replay.ended.get(run)
        if death is None or death[2] in (0, None) or end is None or end[1] != "expire" or end[2] < death[1]:
            continue
        name, died, _code = death
        starts = [
            # A monitor must itself live through all of it, the pause after earlier crashes included.
            quiet_from(died, RECOVERY + waits.get(run, 0.0), troubled["server"] + troubled[monitor])
            for monitor in monitors
            if monitor != name or MONITORS == 1
        ]
        clear = min(starts) if starts else died
        found.append(
            {
                "id": task_id, "run": run, "died": died, "took": (end[2] - died) / SECOND,
                "after": max(0.0, (end[2] - clear) / SECOND), "clean": clear == died,
            }
        )  # fmt: skip
    return found


def pauses(entries):
    """run: how much longer the monitor waits for it, since it crashed before."""
    return {
        change.before.registered: crash_pause(invariants.number(change.before.crashes), T)
        for entry in entries
        if entry.verb == "expire"
        for change in entry.changes
        if change.before
    }


def controls(steered, lines, replay, troubled, names, within):
    """Measured control messages: (word, seconds, judged).

    Judged: Redis and the owner were undisturbed for `within` seconds, the longest that the effect may take.
    """
    pid_of = {line.run: line.pid for line in lines if invariants.is_act(line)}
    found = []
    for task_id, word, sent, at, run, owners in steered:
        spans = list(troubled["server"])
        owner, died = owners.get(pid_of.get(run), (None, 0))
        if word != "start" and (owner is None or (died and died < sent + within * SECOND)):
            continue  # that run was dead: its request waits for a monitor
        if owner:
            spans += troubled[owner]
            quiet = quiet_from(sent - SECOND // 2, within, spans) <= sent - SECOND // 2
        else:
            quiet = any(
                quiet_from(sent - SECOND // 2, within, spans + troubled[name]) <= sent - SECOND // 2
                for name in names
            )
        found.append((task_id, word, (at - sent) / SECOND if at else None, quiet))
    return found


def requeues_by_run(replay):
    return Counter(verb for _id, verb, _at in replay.ended.values())


def spread(values):
    """(count, median, maximum) of some seconds."""
    return (len(values), median(values), max(values)) if values else (0, 0.0, 0.0)


def server_growth(samples, half):
    """Connections and keys of pytask: (before, after) of each, as in `growth`, or None without samples.

    `samples` are (at ns, connections, keys).  In the last seconds there may be fewer workers than before,
    never more: so the smallest count then is compared with the largest before.
    """
    before = [s for s in samples if s[0] <= half][-20:]
    after = [s for s in samples if s[0] > half][-20:]
    if len(before) < 5 or len(after) < 5:
        return None
    return {
        "connections": [max(s[1] for s in before), min(s[1] for s in after)],
        "keys": [max(s[2] for s in before), min(s[2] for s in after)],
    }


def growth(lines, half):
    """fds and greenlets beyond those of the runs, in the processes that lived through `half`.

    Returns pid: (before, after): the largest values of some 20 s before, the smallest of the last 20 s: what
    rises and falls with a reconnection is not growth.
    """
    seen = defaultdict(list)
    for line in lines:
        if line.kind.startswith("stat:"):
            _word, fds, greenlets, living = line.kind.split(":")
            seen[line.pid].append((line.at, int(fds), int(greenlets), int(living)))
    found = {}
    for pid, samples in seen.items():
        before = [s for s in samples if s[0] <= half][-20:]
        after = [s for s in samples if s[0] > half][-20:]
        if len(before) >= 5 and len(after) >= 5:
            found[pid] = tuple(
                (which(s[1] for s in part), which(s[2] - s[3] for s in part))
                for which, part in ((max, before), (min, after))
            )
    return found


__all__ = ["CONTROL", "MEDIAN", "RECOVERY", "K"]
