"""Delayed and flapping tasks, and schedules: what clients do with them, and whether each count and occurrence
agrees with what the tasks wrote into the file of evidence.

A schedule whose times may repeat, as Redis lost it or its clock was set back, is replaced by one of another
name.  So each occurrence, a name and a time, may be seen once.
"""

import json
import random
import threading
import time
from collections import Counter, defaultdict
from contextlib import suppress
from statistics import median

import attrs
import redis

from tests.chaos import invariants
from tests.chaos.world import twin

SECOND = invariants.SECOND
LIMIT = 4  # restarts of a task of the class Limited
HEALTHY = 8.0  # seconds of the class Flap
NEAR = 0.5  # seconds by which times of the file and of the worker may differ
EARLY = 0.05  # seconds by which a push may be older than its answer's clock says
FAR = 30.0  # seconds: a timer that is further away was set before a step of the clock
STEPS = {"skip": 2, "queue": 3, "allow": 2, "replace": 5}  # seconds between two occurrences, by overlap
FEW = 20  # tasks of each kind that are unfinished at a time
DEFINE = (
    "redis.call('HSET', KEYS[1], 'function', 'tick', 'every', ARGV[2], 'overlap', ARGV[3], 'data', 'null')"
    " return redis.call('ZADD', KEYS[2], 'NX', 0, ARGV[1])"
)
RETIRE = (
    "local lines = redis.call('LRANGE', KEYS[3], 0, -1) local behind = redis.call('HGET', KEYS[1], 'behind')"
    " redis.call('ZREM', KEYS[2], ARGV[1]) redis.call('DEL', KEYS[1], KEYS[3]) return {behind or '', lines}"
)


@attrs.define
class Delayed:
    """A task that was pushed with `not_before`; times are CLOCK_MONOTONIC in ns."""

    sent: int
    seconds: float
    answered: int = 0
    early: bool = False  # a client started it


@attrs.define
class Segment:
    """One schedule, from its definition to its removal."""

    name: str
    overlap: str
    step: int  # ms
    lines: dict = attrs.Factory(dict)  # (first ms, text) of each line that Redis had
    lost: bool = False  # by FLUSHALL
    behind: str = ""  # what waited as it was removed


class Client(threading.Thread):
    """Pushes such tasks, starts and stops some of them, and keeps the schedules."""

    def __init__(self, world, seconds):
        super().__init__(daemon=True)
        self.world = world
        self.until = time.monotonic() + seconds
        self.dice = random.Random(world.options.seed + 4)
        self.delayed = {}  # id -> Delayed
        self.flapping = []  # ids
        self.segments = []
        self.living = {}  # overlap -> Segment
        self.done = threading.Event()
        self.redis = world.connect(socket_timeout=2)

    def run(self):
        while not self.done.wait(0.3):
            with suppress(redis.RedisError, OSError):
                self._keep()
            if time.monotonic() < self.until:
                self._push()
                self._control()

    def leave(self):
        """Remove the schedules, with all that is known of them."""
        self.done.set()
        self.join(10)
        for overlap in list(self.living):
            for _ in range(50):
                try:
                    self._retire(overlap)
                    break
                except (redis.RedisError, OSError):
                    time.sleep(0.2)

    # -- tasks --------------------------------------------------------------------------------------------

    def _push(self):
        dice, world = self.dice, self.world
        if self._open(self.delayed) < FEW and dice.random() < 0.5:
            name = f"delayed{len(self.delayed)}"
            seconds = dice.choice((dice.uniform(0.2, 3), dice.uniform(3, 15)))
            self.delayed[name] = one = Delayed(time.monotonic_ns(), seconds)
            world.pushed += 1
            data = json.dumps({"for": dice.uniform(0.1, 2)})
            if world.do("push_later", [name, "new-task"], [twin(name, "delayed"), data, seconds]) is not None:
                one.answered = time.monotonic_ns()
        if self._open(self.flapping) < FEW and dice.random() < 0.5:
            function = dice.choice(("flap", "flap", "limited"))
            name = f"{function}{len(self.flapping)}"
            self.flapping.append(name)
            world.push(name, function, fails=dice.randint(2, 12))

    def _open(self, ids):
        tasks, lost = self.world.replay.tasks, self.world.replay.lost
        known = [i for i in ids if i in tasks and i not in lost]
        return sum(tasks[i].view.state not in invariants.TERMINAL for i in known)

    def _control(self):
        dice, world = self.dice, self.world
        if dice.random() < 0.1:
            ids = [i for i in list(self.delayed)[-FEW:] if world.replay.tasks[i].view.state == "WAIT"]
            if ids:
                name = dice.choice(ids)
                self.delayed[name].early = True
                world.publish(name, "start")
        if dice.random() < 0.1:
            ids = [
                i
                for i in self.flapping[-2 * FEW :]
                if world.replay.tasks[i].view.state in ("WAIT", "RUNNING")
            ]
            if ids:
                world.publish(dice.choice(ids), dice.choice(("stop", "start")))
        for name in self.flapping:
            if world.replay.tasks[name].view.state == "STOPPED" and dice.random() < 0.2:
                world.publish(name, "start")

    def start_late_ones(self):
        """After a step of the clock some would wait for hours; True if the timers are empty."""
        seconds, _ = self.redis.time()
        for task_id, due in self.redis.zrange("pytask:timers", 0, -1, withscores=True):
            if due / 1000 - seconds > FAR:
                if task_id in self.delayed:
                    self.delayed[task_id].early = True
                self.world.publish(task_id, "start")
        return not self.redis.zcard("pytask:timers")

    # -- schedules ----------------------------------------------------------------------------------------

    def _keep(self):
        seconds, _ = self.redis.time()
        for overlap, step in STEPS.items():
            one = self.living.get(overlap)
            if one is None:
                self._define(overlap, step)
                continue
            score = self.redis.zscore("pytask:schedules", one.name)
            if score is None:
                one.lost = True
                del self.living[overlap]
            elif score / 1000 - seconds > FAR:
                self._retire(overlap)
            else:
                self._note(one, self.redis.lrange(_keys(one.name)[2], 0, -1))

    def _define(self, overlap, step):
        one = Segment(f"tick-{overlap}-{len(self.segments)}", overlap, step * 1000)
        self.segments.append(one)  # the answer may be lost
        self.living[overlap] = one
        self.redis.eval(DEFINE, 2, *_keys(one.name)[:2], one.name, step, overlap)

    def _retire(self, overlap):
        one = self.living[overlap]
        behind, lines = self.redis.eval(RETIRE, 3, *_keys(one.name), one.name)
        self._note(one, lines)
        one.behind = behind or one.behind
        one.lost = one.lost or not lines  # or the answer to an earlier call was lost
        del self.living[overlap]

    def _note(self, one, lines):
        for line in lines:
            one.lines.setdefault((json.loads(line)["at"], line), time.monotonic_ns())


def _keys(name):
    return f"pytask:schedule:{name}", "pytask:schedules", f"pytask:occurrences:{name}"


# -- the verdict ---------------------------------------------------------------------------------------------


def judge(world, client, lines, rest, broken):
    """The figures; what is wrong is added to `broken`."""
    told = defaultdict(dict)  # run -> word -> the first line that says it
    for line in lines:
        word, _, value = line.kind.partition(":")
        if word in ("attempt", "fails", "sched", "done"):
            told[line.run].setdefault(word, (line.at, value))
    tally = Counter()
    _counts(world, client, told, rest, tally, broken)
    late = _delays(world, client, lines, tally, broken)
    _occurrences(world, client, told, tally, broken)
    return dict(sorted(tally.items())) | {"delayed_late": late}


def _counts(world, client, told, rest, tally, broken):
    replay = world.replay
    for task_id in client.flapping:
        if task_id in replay.lost or task_id in replay.deleted:
            tally["flapping tasks lost by FLUSHALL"] += 1
            continue
        restarts = {0}  # what the count may be
        for kind, run, at in replay.course[task_id]:
            if kind == "start":
                restarts = {0}
            elif kind == "run" and "attempt" in told[run]:
                attempt = int(told[run]["attempt"][1])
                if attempt - 1 not in restarts:
                    broken.append(("count", f"{task_id} {run}: attempt {attempt} after {sorted(restarts)}"))
                restarts = {attempt - 1}
                tally["attempts"] += 1
            elif kind == "retry":
                before, restarts = restarts, _retried(task_id, run, at, told[run], restarts, broken)
                tally["restarts"] += 1
                tally["resets"] += restarts == {1} and before != {0}
            elif kind == "other" and "fails" in told[run]:
                limited = task_id.startswith("limited") and restarts == {LIMIT}
                tally["gave up at the limit" if limited else "failures that a stop overtook"] += 1
        _given_up(task_id, replay, told, rest["hashes"].get(task_id, {}), tally, broken)


def _retried(task_id, run, at, words, restarts, broken):
    if "fails" not in words:
        broken.append(("count", f"{task_id} {run} was counted, but did not fail"))
        return restarts
    if task_id.startswith("limited"):
        if min(restarts) >= LIMIT:
            broken.append(("limit", f"{task_id} {run} is retried after {sorted(restarts)} restarts"))
        return {one + 1 for one in restarts}
    begun, failed = words["attempt"][0], words["fails"][0]
    found = {one + 1 for one in restarts} if failed - begun < (HEALTHY + NEAR) * SECOND else set()
    return found | ({1} if at - begun > (HEALTHY - NEAR) * SECOND else set())


def _given_up(task_id, replay, told, fields, tally, broken):
    runs = [run for kind, run, _ in replay.course[task_id] if kind == "run" and "attempt" in told[run]]
    if fields.get("state") != "ERROR" or not runs:
        return
    error, attempt = fields.get("error", ""), int(told[runs[-1]]["attempt"][1])
    if "poison" in error:
        tally["flapping tasks that their workers' deaths poisoned"] += 1
    elif not task_id.startswith("limited") or "PT163" not in error or attempt != LIMIT + 1:
        broken.append(("limit", f"{task_id} is ERROR in attempt {attempt}: {error[:200]}"))


def _delays(world, client, lines, tally, broken):
    """Seconds by which tasks began late where nothing disturbed them."""
    replay, first = world.replay, {}
    for line in lines:
        if line.id in client.delayed and line.kind == "act":
            first.setdefault(line.id, line.at)
    moments = [at for f in world.faults if f.kind == "clock step" for at in (f.begin, f.end)]
    late = []
    for task_id, one in client.delayed.items():
        if task_id not in first:
            continue
        tally["delayed tasks that began"] += 1
        again = sum(kind == "run" for kind, *_ in replay.course[task_id])
        ways = sum(kind in ("back", "start", "retry") for kind, *_ in replay.course[task_id])
        if again > 1 + ways and task_id not in replay.lost:
            broken.append(("delay", f"{task_id} has {again} runs: {replay.course[task_id]}"))
        begin, due = first[task_id], one.sent + int(one.seconds * SECOND)
        if one.early or any(one.sent - SECOND <= at <= begin + SECOND for at in moments):
            tally["delayed tasks: started early, or over a step of the clock"] += 1
            continue
        if begin < due - EARLY * SECOND:
            broken.append(("delay", f"{task_id} began {(due - begin) / SECOND:.3f} s before its time"))
        quiet = not any(
            f.begin < begin + SECOND and due - 4 * SECOND < f.end + f.tail * SECOND for f in world.faults
        )
        if quiet and one.answered:
            late.append((begin - one.answered) / SECOND - one.seconds)
    return [round(median(late), 4), round(max(late), 4)] if late else []


def _occurrences(world, client, told, tally, broken):
    replay = world.replay
    runs = defaultdict(list)  # "name@ms" -> runs that say it
    for run, words in told.items():
        if "sched" in words:
            runs[words["sched"][1]].append(run)
    for one in client.segments:
        seen, fired = Counter(), {}
        for _, text in one.lines:
            line = json.loads(text)
            times = range(line["at"], line.get("until", line["at"]) + 1, one.step)
            if len(times) != line.get("count", 1) or line.get("more"):
                broken.append(("occurrence", f"{one.name}: {line} are {len(times)}"))
            seen.update(times)
            tally[f"occurrences: {line.get('reason', 'fired')}"] += len(times)
            if "reason" not in line:
                fired[line["at"]] = line["id"]
        seen.update([int(one.behind)] if one.behind else [])
        _contiguous(one, seen, tally, broken)
        _ran(one, fired, runs, told, replay, tally, broken)
    for key, found in runs.items():
        for run in found[:-1]:
            if replay.ways.get(run) not in ("back", "retry"):
                broken.append(
                    ("occurrence", f"{key} ran twice: {found}, {run} ended by {replay.ways.get(run)}")
                )


def _contiguous(one, seen, tally, broken):
    if not seen:
        return
    twice = [at for at, n in seen.items() if n > 1]
    if twice:
        broken.append(("occurrence", f"{one.name}: settled more than once: {twice[:5]}"))
    missing = [at for at in range(min(seen), max(seen), one.step) if at not in seen]
    if one.lost and len(missing) == 1 and one.overlap in ("queue", "replace"):
        tally["occurrences lost by FLUSHALL"] += 1  # it waited for the end of a run
    elif missing:
        broken.append(("occurrence", f"{one.name}: neither started nor skipped: {missing[:5]}"))


def _wordless_stops(course, told):
    """How often a task was stopped before it wrote a word: as it waited, or as its run began."""
    return sum(what == "cancel" or (what == "other" and "sched" not in told[run]) for what, run, _ in course)


def _ran(one, fired, runs, told, replay, tally, broken):
    """Each started occurrence has run, and each that has run was started."""
    last = {task_id: at for at, task_id in sorted(fired.items())}
    stops = Counter({task_id: _wordless_stops(replay.course[task_id], told) for task_id in last})
    for at, task_id in fired.items():
        if f"{one.name}@{at}" in runs:
            tally["occurrences that ran"] += 1
        elif task_id in replay.lost and last[task_id] == at:
            tally["occurrences lost by FLUSHALL"] += 1
        elif one.overlap == "replace" and last[task_id] != at:
            tally["occurrences replaced before they ran"] += 1
        elif stops[task_id]:
            stops[task_id] -= 1
            tally["occurrences stopped before they wrote a word"] += 1
        else:
            words = f"{one.name}: {at} was started as {task_id}, and never ran: {replay.course[task_id][-8:]}"
            broken.append(("occurrence", words))
    for key in runs:
        name, _, at = key.rpartition("@")
        if name == one.name and int(at) not in fired and not (one.lost and int(at) > max(fired, default=0)):
            broken.append(("occurrence", f"{key} ran, and was not started"))
