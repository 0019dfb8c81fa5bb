"""What must hold over a recorded history, as functions of it: I1-I11.  Each returns what broke it.

The audit is one total order (Redis made it); the acts are another (the lines of one O_APPEND file).
"""

from collections import Counter, defaultdict
from itertools import pairwise

from pytask.domain.lifecycle import RUNNING, TABLE, WAIT, State, Trigger
from tests.chaos.audit import View

SECOND = 1_000_000_000
TERMINAL = ("ENDED", "ERROR", "STOPPED")
VERBS = {
    "claim": (Trigger.CLAIM, Trigger.DELAY),
    "open_local": (Trigger.CLAIM,),
    "renew": (Trigger.RENEW,),
    "commit": (Trigger.END, Trigger.FAIL, Trigger.STOP, Trigger.RELEASE, Trigger.RETRY),
    "expire": (Trigger.EXPIRE, Trigger.EXPIRE_STOPPED, Trigger.POISON),
    "reload": (Trigger.RELOAD,),
    "stop": (Trigger.CANCEL, Trigger.REQUEST),
    "start": (Trigger.START, Trigger.START_NOW),
    "fire": (Trigger.SCHEDULE, Trigger.REQUEST),
    "request": (Trigger.REQUEST,),
    "park": (Trigger.PARK,),
    "repair": (Trigger.REPAIR,),
    "adopt": (Trigger.ADOPT,),
}
FENCED_VERBS = ("renew", "commit", "expire", "reload")
CLIENT = ("push", "push_later", "again", "recreate", "delete")  # writes of the test itself, as a client's


class Known:
    """One id, as the entries so far left it."""

    __slots__ = ("epoch", "local", "pushed", "tampered", "view", "waits")

    def __init__(self):
        self.view = View()
        self.epoch = 0  # the highest seen since the hash was made
        self.tampered = False  # a client took the hash, or an index, away under it
        self.local = False
        self.pushed = False
        self.waits = False  # pushed since it was claimed last: what rests may stand in the queue again


class Replay:
    """Follows the audit entry by entry; `broken` holds (invariant, words) of each violation."""

    def __init__(self):
        self.tasks = defaultdict(Known)
        self.broken = []
        self.begun = {}  # run: (id, index)
        self.ended = {}  # run: (id, verb, at)
        self.lost = set()  # ids at work when FLUSHALL took them
        self.deleted = set()  # ids whose hash a client deleted
        self.verbs = Counter()
        self.verdicts = Counter()  # (source, verb, verdict)
        self.queued = Counter()  # (id, verb)
        # id: (what, run, at): run, retry, back (it waits again), start, cancel (while it waited), other
        self.course = defaultdict(list)
        self.ways = {}  # run: how it ended, by the same words
        self.count = 0

    def feed(self, entry):
        self.count += 1
        self.verbs[entry.source, entry.verb] += 1
        for verdict in entry.verdicts:
            self.verdicts[entry.source, entry.verb, verdict] += 1
        for task_id in entry.queued:
            self.queued[task_id, entry.verb] += 1
        if entry.verb == "flush":
            self._flush()
        if entry.verb == "drop":
            self._drop(entry.notes)
        if entry.verb in CLIENT:
            for task_id in entry.notes:
                self._client(entry.verb, task_id, self.tasks[task_id])
        if entry.verb == "start":
            for task_id in {*entry.queued, *(change.id for change in entry.changes)}:
                self.course[task_id].append(("start", "", entry.at))
        for change in entry.changes:
            self._change(entry, change)

    def _break(self, rule, entry, change, why):
        self.broken.append((rule, f"{entry.verb} of {change.id} ({entry.source}): {why}: {change}"))

    def _flush(self):
        for task_id, known in self.tasks.copy().items():
            working = known.view.state in ("RUNNING", "WAIT") or (known.pushed and not known.view.state)
            if working and not known.local:
                self.lost.add(task_id)
            known.view, known.epoch, known.tampered, known.pushed = View(), 0, True, False

    def _drop(self, names):
        for known in list(self.tasks.values()):
            if "pytask:runs" in names:
                known.view = known.view._replace(registered="")
            if "pytask:leases" in names:
                known.view = known.view._replace(lease="")
            known.tampered = known.tampered or known.view.state == RUNNING

    def _change(self, entry, change):
        known = self.tasks[change.id]
        if entry.verb in FENCED_VERBS and not change.named:
            self._break("I5", entry, change, "accepted although it did not name the registered run")
        if change.before is None:
            before = known.view
            if change.after.run != before.run or change.after.registered != before.registered:
                self._break("I2", entry, change, f"not what was left: {before}")
            known.view = before._replace(lease="renewed")
            return
        if not same(known.view, change.before):
            self._break("I2", entry, change, f"not what was left: {known.view}")
        if entry.verb == "fire" and change.after.state == WAIT:
            known.pushed = True  # as by a client
        if entry.verb not in CLIENT:
            self._move(entry, change, known)
            self._runs(entry, change, known)
        known.view = change.after
        self._agree(entry, change, known)

    def _client(self, verb, task_id, known):
        """A write of a client; it need not change any of the fields that are pytask's."""
        known.pushed = known.waits = verb != "delete"
        if verb in ("recreate", "delete"):
            known.tampered, known.epoch = True, 0
        if verb == "delete":
            self.deleted.add(task_id)
        else:
            self.deleted.discard(task_id)

    def _move(self, entry, change, known):
        """I2: a move of the lifecycle's table, or a registry put right."""
        before, after = change.before, change.after
        if entry.verb == "open_local":
            known.local = True
        if not after.state:
            if not known.local and not (known.tampered and not before.state):
                self._break("I2", entry, change, "the hash of a queued task was removed")
            return
        if (before.state, before.run, before.epoch) == (after.state, after.run, after.epoch):
            return  # only the registry, the lease or a request: I3 and I5 check those
        source, found = State.read(before.state), State.read(after.state)
        if entry.verb == "stop":
            self.course[change.id].append(("cancel", "", entry.at))
        if entry.verb == "stop" and known.waits and before.state in TERMINAL:
            source = State.WAIT
        known.waits = known.waits and entry.verb != "claim"
        if not any(TABLE.get((source, trigger)) is found for trigger in VERBS.get(entry.verb, ())):
            self._break("I2", entry, change, f"{source} -> {found} is no move of {entry.verb}")

    def _runs(self, entry, change, known):
        """I4 and I6: runs begin once, with a larger epoch, and end once."""
        before, after = change.before, change.after
        old, new = before.registered or before.run, after.registered
        if new and new != old:
            if new in self.begun:
                self._break("I6", entry, change, f"run {new} began before")
            self.begun[new] = (change.id, entry.at)
            self.course[change.id].append(("run", new, entry.at))
            epoch = int(after.epoch or 0)
            if epoch <= known.epoch:
                self._break("I4", entry, change, f"epoch {epoch} after {known.epoch}")
            known.epoch = epoch
        if old and old != new and not (new == "" and after.run == old):
            if old in self.ended:
                self._break("I6", entry, change, f"run {old} ended before, by {self.ended[old][1]}")
            self.ended[old] = (change.id, entry.verb, entry.at)
            self.ways[old] = way = self._way(entry, change)
            self.course[change.id].append((way, old, entry.at))

    @staticmethod
    def _way(entry, change):
        """How a run ended: a commit that leaves it to the timers queues nothing."""
        if change.after.state != WAIT and entry.verb != "reload":
            return "other"
        if entry.verb == "commit" and change.id not in entry.queued:
            return "retry"
        return "back"

    def _agree(self, entry, change, known):
        """I3: RUNNING, the registry, the hash's run and the lease say the same."""
        view = known.view
        signs = (view.state == RUNNING, bool(view.registered), bool(view.run), bool(view.lease))
        agree = len(set(signs)) == 1 and view.run == view.registered
        if agree:
            known.tampered = False
        elif not known.tampered:
            self._break("I3", entry, change, f"they disagree: {view}")

    # -- at the end -----------------------------------------------------------------------------------

    def unfinished(self):
        """The ids whose push Redis kept, and that came to no end."""
        return {
            task_id
            for task_id, known in self.tasks.copy().items()
            if known.pushed and not known.local and known.view.state not in TERMINAL
        }


def same(left, right):
    """Equal but for the value of the lease."""
    return left[:6] == right[:6] and bool(left.lease) == bool(right.lease)


def made_current_again(entries, accepted):
    """Of the accepted (verb, id, run) of superseded runs, those that the surviving history shows as current.

    A failover that forgets the end of a run makes that run the current one again: to the new primary its
    next write is no late one.  Each such write is an entry of the test's own, and tells whose turn it was.
    """
    ours = defaultdict(set)
    for entry in entries:
        if entry.source == "test":
            for change in entry.changes:
                view = change.before or change.after
                ours[entry.verb, change.id].add(view.registered or view.run)
    # An event changes nothing: it passed while the run was current, so its end came later, from the test too.
    ends = {(task_id, run) for (verb, task_id), runs in ours.items() if verb == "commit" for run in runs}
    return [
        (verb, task_id, run)
        for verb, task_id, run in accepted
        if run in ours["commit" if verb == "event" else verb, task_id] or (task_id, run) in ends
    ]


def runs_end_once(replay):
    """I6 over all: each accepted start came to an end (what FLUSHALL or DEL took is counted elsewhere)."""
    return [
        ("I6", f"{task_id} came to no end: {replay.tasks[task_id].view}") for task_id in replay.unfinished()
    ]


# -- over the acts ------------------------------------------------------------------------------------------


def is_act(line):
    return line.kind not in ("ack", "over", "sweep") and not line.kind.startswith("stat:")


def overlaps(lines):
    """I1: acts of an older run after the first act of a newer one of its id; one run in two processes."""
    current, over, broken = {}, set(), []
    for line in lines:
        if not is_act(line):
            continue
        if line.run in over:
            broken.append(("I1", f"{line.id}: {line.run} acts at {line.at} after a newer run began"))
            continue
        before = current.get(line.id)
        if before is not None and before.run != line.run:
            over.add(before.run)
        elif before is not None and before.pid != line.pid:
            broken.append(("I1", f"{line.id}: {line.run} acts in processes {before.pid} and {line.pid}"))
        current[line.id] = line
    return broken


def two_in_one_process(lines):
    """I7: no process holds two living runs of an id; a run lives from its first to its last act."""
    first, last = {}, {}
    for index, line in enumerate(lines):
        if is_act(line):
            first.setdefault((line.pid, line.id, line.run), index)
            last[line.pid, line.id, line.run] = index
    held = defaultdict(list)
    for (pid, task_id, run), index in first.items():
        held[pid, task_id].append((index, last[pid, task_id, run], run))
    broken = []
    for (pid, task_id), spans in held.items():
        spans.sort()
        for (_, end, run), (begin, _, later) in pairwise(spans):
            if begin < end:
                broken.append(("I7", f"process {pid} held {run} and {later} of {task_id} at once"))
    return broken


def acts_after_the_end(lines, ended):
    """I8: nothing acts for a run that its worker called over, or whose end Redis had accepted and told."""
    over, broken = set(), []
    for line in lines:
        if line.kind == "over":
            over.add(line.run)
        elif is_act(line):
            end = ended.get(line.run)
            if line.run in over:
                broken.append(("I8", f"{line.id}: {line.run} acts at {line.at} after it was over"))
            elif end is not None and line.at > end[2]:
                late = (line.at - end[2]) / SECOND
                broken.append(("I8", f"{line.id}: {line.run} acts {late:.3f} s after its {end[1]} was seen"))
    return broken


def latest_acts(lines):
    """By process: the longest time in seconds from the last acknowledged renewal, as it was sent, to an act.

    A claim is such a sign of life too, for the run that it began (an `ack` line that names the run).
    """
    acked, claimed, worst = {}, {}, {}
    for line in lines:
        if line.kind == "ack" and line.id == "-":
            acked[line.pid] = max(line.at, acked.get(line.pid, 0))
        elif line.kind == "ack":
            claimed[line.pid, line.run] = line.at
        elif is_act(line) and (line.pid in acked or (line.pid, line.run) in claimed):
            sign = max(acked.get(line.pid, 0), claimed.get((line.pid, line.run), 0))
            worst[line.pid] = max((line.at - sign) / SECOND, worst.get(line.pid, 0.0))
    return worst


def acts_beyond(lines, limit):
    """I10: no act later than `limit` seconds after the last acknowledged renewal of its process."""
    return [
        ("I10", f"process {pid} acted {gap:.3f} s after its last acknowledged renewal")
        for pid, gap in latest_acts(lines).items()
        if gap > limit
    ]


def at_rest(runs, leases, queue, hashes):
    """I9: `runs` and `leases` empty, no id twice in the queue, no hash of pytask's fields alone."""
    broken = [("I9", f"left in pytask:runs: {task_id} {run}") for task_id, run in runs.items()]
    broken += [("I9", f"left in pytask:leases: {task_id}") for task_id in leases]
    broken += [("I9", f"{n} times in the queue: {i}") for i, n in Counter(queue).items() if n > 1]
    broken += [("I9", f"ghost hash {i}: {sorted(f)}") for i, f in hashes.items() if "function" not in f]
    return broken


def blamed_bystanders(entries, lines, steps=(), young=6.0):
    """I11: crashes counted against a run that was old when its worker died, alone there or not.

    `steps` are the moments (ns) of clock steps of Redis: a run's age is told by Redis's clock, so those
    that saw one are left out.
    """
    first = {}
    for line in lines:
        if is_act(line):
            first.setdefault(line.run, line.at)
    broken = []
    for entry in entries:
        if entry.verb != "expire":
            continue
        for change in entry.changes:
            run = change.before.run if change.before else ""
            if run not in first or number(change.after.crashes) <= number(change.before.crashes):
                continue
            # As the rule counts: up to the last renewal.  It may have acted for D longer, unheard.
            age = (number(change.before.lease) / 1e3 - number(change.before.epoch)) / 1e3
            stepped = any(first[run] <= at <= entry.at for at in steps)
            if age >= young and not stepped:
                broken.append(("I11", f"{change.id} was blamed at the age of {age:.1f} s"))
    return broken


def number(text):
    return int(text) if text.isdigit() else 0


def waits(state):
    return State.read(state) is WAIT
