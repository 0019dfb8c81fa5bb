"""Kinds of fault: a worker as PID 1, requests over a size limit, a lone task whose workers are killed.

Each has an expectation of its own, beside the invariants that hold for all: `judge` gives what broke it.
"""

import os
import signal
import time
from contextlib import suppress
from itertools import pairwise

import attrs
import redis

from pytask.domain.crashes import CRASH_LIMIT, CRASH_YOUNG
from tests.chaos.faults import command, terminate
from tests.chaos.invariants import SECOND, TERMINAL, is_act, number
from tests.chaos.world import NAMESPACED, READY, SCALE, H, K

KB = 1024
KILLED = 128 + signal.SIGKILL  # how a namespace's init ends when the kernel killed its child
ERRORS = (1, 2)  # exit codes of Python and of a command line that is wrong
KILLS = CRASH_LIMIT + 1  # of workers under one lone task: were it blamed for each, it would be poison
OLD = 1.1 * CRASH_YOUNG * SCALE  # seconds: a run of that age is not blamed
LONG = 90.0  # seconds after which a lone task is no longer waited for
OFFENDER = 25.0  # ... and the end of a task that is over a limit
HELD_UP = 15.0  # seconds in which an end over a limit must be given up, while renewals are acknowledged


def until(world, condition, seconds):
    """Wait for the condition; whether it came in time."""
    end = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < end and not world.over.wait(0.05):
        pass
    return bool(met)


# -- a worker as PID 1 --------------------------------------------------------------------------------------


def as_init(world, worker, dice):
    """Its next life is PID 1 of a PID namespace; half the time it is stopped there for longer than K."""
    with world.fault("pid 1", worker.name, READY):
        before = len(worker.lives)
        worker.next_as_init = True
        terminate(worker)
        if not until(world, lambda: len(worker.lives) > before, 2 * READY):
            return
        life = worker.lives[before]
        world.over.wait(READY)
        if dice.random() < 0.5 and not life[2]:
            freeze_for_good(world, worker, life)


def freeze_for_good(world, worker, life):
    pid = worker.pids[1]
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        world.frozen.append((life[0], time.monotonic_ns()))
        until(world, lambda: life[2], K + 3)
        os.kill(pid, signal.SIGCONT)


def lived_on(frozen, lives, lines, slack):
    """Workers as PID 1 that were stopped with living runs, and were not killed by the kernel in time."""
    ends = {pid: (end, code) for spans in lives.values() for pid, _begin, end, code in spans}
    broken = []
    for pid, at in frozen:
        if not living_at(lines, pid, at):
            continue  # then no deadline runs
        end, code = ends[pid]
        took = (end - at) / SECOND if end else None
        if code != KILLED or took > K + 1.0 + slack:
            broken.append(("PID 1", f"process {pid}, stopped, ended with {code} after {took} s"))
    return broken


def failed(lives):
    """Worker processes that ended with an error of the program: none may."""
    ends = [(name, pid, code) for name, spans in lives.items() for pid, _begin, _end, code in spans]
    return [
        ("exit", f"{name}: process {pid} ended with {code}") for name, pid, code in ends if code in (1, 2)
    ]


def living_at(lines, pid, at):
    """Whether a process held runs at that time: one acted just before, or its monitor swept."""
    near = [line for line in lines if line.pid == pid and at - 3 * H * SECOND < line.at <= at]
    over = {line.run for line in near if line.kind == "over"}
    acted = {line.run for line in near if is_act(line) and at - line.at < SECOND // 2}
    renewed = any(line.kind == "ack" and line.id == "-" and line.run != "0" for line in near)
    return bool(acted - over) or (renewed and any(line.kind == "sweep" for line in near))


# -- size limits --------------------------------------------------------------------------------------------


@attrs.define
class Offender:
    """A task over a size limit."""

    limit: int  # bytes
    where: str  # "output" or "event"
    size: int
    seen: dict = attrs.Factory(dict)  # its hash, read at `at` (ns), when the limit was still there
    at: int = 0


def limit_proxy(world, _, dice):
    """What stands between all workers and Redis takes no large requests."""
    largest = dice.choice((40, 64, 200)) * KB
    with world.fault("size limit of proxies", "tasks", 1.0, f"{largest} bytes"):
        for worker in world.workers:
            worker.proxy.limit(largest)
        try:
            exceed(world, dice, largest)
        finally:
            for worker in world.workers:
                worker.proxy.limit(0)


def limit_server(world, _, dice):
    with world.fault("size limit of the server", "server", READY):
        if command(world, "CONFIG", "SET", "client-query-buffer-limit", "1mb") is None:
            return
        exceed(world, dice, KB * KB)
        command(world, "CONFIG", "SET", "client-query-buffer-limit", "1gb", tries=10)


def exceed(world, dice, largest):
    """Tasks with an output or an event over the limit, which stays until they came to their end."""
    pushed = {}
    for where in ("output", "event", "output"):
        name, size = f"large{world.pushed}", int(largest * dice.uniform(1.5, 3))
        if world.push(name, "large", **{"bytes": size, "in": where}):
            pushed[name] = world.replay.tasks[name]
            world.large[name] = Offender(largest, where, size)
    until(world, lambda: all(known.view.state in TERMINAL for known in pushed.values()), OFFENDER)
    for name in pushed:
        with suppress(redis.RedisError, OSError), world.lock:
            world.large[name].seen = world.client.hgetall(name)
            world.large[name].at = time.monotonic_ns()


def fate(one, task):
    """By that hash: "refused", "taken", "event" (ended, its event dropped), "none" (no end yet) or "bad"."""
    state, output = task.get("state"), task.get("output", "")
    if state not in ("ENDED", "ERROR"):
        return "none"
    if one.where == "event":
        return "event" if state == "ENDED" and output == '"small"' else "bad"
    if state == "ENDED":
        return "taken" if len(output) == one.size + 2 else "bad"
    return "refused" if task.get("error", "").startswith("[PT132]") else "bad"


def held_up(one, lines):
    """Whether its end had no verdict for HELD_UP, though the renewals of its worker were acknowledged."""
    acts = [line for line in lines if line.run == one.seen.get("run") and is_act(line)]
    if not acts or one.at - acts[-1].at < HELD_UP * SECOND:
        return False
    signs = [line.at for line in lines if line.pid == acts[-1].pid and line.kind == "ack" and line.id == "-"]
    times = [acts[-1].at, *(at for at in signs if acts[-1].at < at < one.at), one.at]
    return max(b - a for a, b in pairwise(times)) < 4 * H * SECOND


def beyond_limits(large, hashes, lines):
    """(fates, what broke): an end over a limit that holds is an ERROR, an event over it alone is dropped."""
    fates, broken = {}, []
    for name, one in large.items():
        found = inside = fate(one, one.seen)
        if inside == "none":  # when the limit was gone; "none" again: FLUSHALL took it, or others judge
            found = fate(one, hashes.get(name, {}))
        fates[found] = fates.get(found, 0) + 1
        late = inside == "none" and held_up(one, lines)
        if found == "bad" or inside == "taken" or late:
            broken.append(("limit", f"{name}: {one.size} bytes of {one.where}: {found}, {late=}"))
    return fates, broken


# -- a lone long task ---------------------------------------------------------------------------------------


def lone(world, _, dice):
    """A long task alone on its worker, which is killed each time the task acts again."""
    (place,) = (one for one in world.places if one.tasks == "lone")
    name, run, kills = f"lone{world.pushed}", "", 0
    with world.fault("lone task", "tasks") as made:
        if world.push(name, "lone", **{"for": 1e6}) is None:
            return
        while kills < KILLS and (run := grown_up(world, name, run)):
            world.bereaved.append((name, run))
            place.signal(signal.SIGKILL)
            kills += 1
            made.note = f"{kills} kills"
        if not world.calm.is_set() and grown_up(world, name, run):
            until(world, lambda: world.publish(name, "stop") and stopped(world, name), LONG)


def grown_up(world, name, before):
    """Its run after that one, once that is too old for blame; "" where none is to be expected any more."""
    known = world.replay.tasks[name]
    seen = {}  # run: when it was first seen here

    def old():
        run = known.view.run
        if run in ("", before):
            return False
        lived = time.monotonic() - seen.setdefault(run, time.monotonic())
        reckoned = age(world, name)
        # Ahead of the clock, which was set back: its age is not known, and it is not blamed.
        return reckoned > OLD or (reckoned < -1.0 and lived > OLD)

    until(world, lambda: world.calm.is_set() or old(), LONG)
    return known.view.run if not world.calm.is_set() and old() else ""


def age(world, name):
    """Seconds that the run has lived at its last renewal, as a monitor reckons."""
    with suppress(redis.RedisError, OSError), world.lock:
        lease, epoch = world.client.zscore("pytask:leases", name), world.client.hget(name, "epoch")
        if lease and epoch:
            return lease / 1e6 - float(epoch) / 1e3
    return 0.0


def stopped(world, name):
    return until(world, lambda: world.replay.tasks[name].view.state == "STOPPED", 4 * H)


def blamed(bereaved, entries, hashes, stepped):
    """Lone tasks that were blamed for the death of a worker, though their run was long, or came to ERROR."""
    runs = {run for _, run in bereaved}
    broken = []
    for entry in entries:
        for change in entry.changes if entry.verb == "expire" else ():
            before = change.before
            if before and before.run in runs and number(change.after.crashes) and not stepped(entry):
                broken.append(("lone", f"{change.id} was blamed: {change}"))
    poison = [name for name in {name for name, _ in bereaved} if hashes.get(name, {}).get("state") == "ERROR"]
    return broken + [("lone", f"{name} came to ERROR: {hashes[name].get('error')}") for name in poison]


# -- the verdict --------------------------------------------------------------------------------------------


def judge(world, lives, lines, hashes, slack, broken):
    """The figures of these kinds; adds to `broken`."""
    fates, over = beyond_limits(world.large, hashes, lines)
    steps = [
        moment for fault in world.faults if fault.kind == "clock step" for moment in (fault.begin, fault.end)
    ]
    begun = {run: at for run, (_, at) in world.replay.begun.items()}

    def stepped(entry):
        return any(
            begun.get(change.before.run, 0) - SECOND <= at <= entry.at
            for at in steps
            for change in entry.changes
            if change.before
        )

    broken += over + failed(lives)
    broken += lived_on(world.frozen, lives, lines, slack)
    broken += blamed(world.bereaved, world.recorder.entries, hashes, stepped)
    inits = {pid for spans in lives.values() for pid, *_ in spans if pid >= NAMESPACED}
    kills = [len([1 for name, _ in world.bereaved if name == one]) for one in {n for n, _ in world.bereaved}]
    return {
        "init_lives": len(inits), "init_acts": sum(1 for line in lines if line.pid in inits and is_act(line)),
        "init_stopped": len(world.frozen), "limits": fates,
        "lone_tasks": len(kills), "lone_kills": sum(kills), "lone_whole": kills.count(KILLS),
    }  # fmt: skip
