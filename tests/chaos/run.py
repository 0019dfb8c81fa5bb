"""One run: a world, its faults, its healing, and the verdict."""

import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import redis

from tests.chaos import failovers, figures, invariants, policies, sentinel, unclean
from tests.chaos.faults import Steerer, Zombies
from tests.chaos.schedule import KINDS, Scheduler, impossible
from tests.chaos.sentinel import SentinelWorld
from tests.chaos.world import ROOT, H, K, T, World
from tests.support.evidence import Evidence

SECOND = invariants.SECOND
HEALING = 100.0  # seconds in which every task must come to its end once all faults are healed
ZOMBIES = 500


def run(options, weights, folder, *, gap=1.5, faults=None, first=(), say=print):
    """Run one part; the result as plain data (see `judge`)."""
    world = (SentinelWorld if options.block == "sentinel" else World)(options, Path(folder))
    probe = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.probe", str(world.folder / "late")], cwd=ROOT
    )
    try:
        missing = impossible({*weights, *first}, world)
        for name, reason in missing.items():
            say(f"left out: {name}: {reason}")
        weights = {name: weight for name, weight in weights.items() if name not in missing}
        first = [name for name in first if name not in missing]
        left_out = [f"{name}: {reason}" for name, reason in missing.items()]
        return _run(world, weights, gap, faults, first, say) | {"left_out": left_out}
    finally:
        probe.kill()
        probe.wait()
        world.close()


def _run(world, weights, gap, faults, first, say):
    seconds = world.options.minutes * 60
    world.start(lone="lone" in {*weights, *first})
    time.sleep(4)
    world.spawn(world.feed, seconds)
    zombies, steerer = Zombies(world), Steerer(world)
    zombies.start()
    steerer.start()
    client = policies.Client(world, seconds) if world.options.block == "server" else None
    if client is not None:
        client.start()
    began = time.monotonic_ns()
    chain = None
    if world.options.block == "sentinel":
        chain = sentinel.Failovers(world, weights, seconds)
        chain.start()
    drawn = {name: weight for name, weight in weights.items() if name in KINDS}
    scheduler = Scheduler(world, drawn, gap, first)
    scheduler.run(seconds, faults)
    fed_until = time.monotonic_ns()
    if chain is not None:
        chain.join(150)
    half = began + (time.monotonic_ns() - began) // 2
    scheduler.wait()
    zombies.begun.wait(60)  # of a run so short that nothing old was written late, nothing is shown
    steerer.leave()
    world.finish.touch()
    if client is not None:
        client.leave()
    say(f"{len(world.faults)} faults done and healed; waiting for every task to come to its end")
    healed = _heal(world, client)
    world.leave()
    rest = _rest(world)
    return judge(world, zombies, half, healed, rest, fed_until, client)


def _heal(world, client):
    """Wait for rest; the seconds it took, or None."""
    began = time.monotonic()
    while time.monotonic() - began < HEALING:
        with suppress(redis.RedisError, OSError):
            timers = client is None or client.start_late_ones()
            left = {i: r for i, r in world.client.hgetall("pytask:runs").items() if not _is_local(world, i)}
            # A dead worker's monitor is still registered until another one has cleared it away.
            locals_ = world.client.hlen("pytask:runs") - len(left)
            monitors = sum(worker.monitors for worker in world.workers)
            waiting = world.client.llen("new-task")
            if (
                world.drained()
                and not left
                and locals_ == monitors
                and not waiting
                and timers
                and _renewed(world.client)
            ):
                return time.monotonic() - began
        time.sleep(0.2)
    return None


def _renewed(client):
    """Whether all who are registered are alive: a dead worker's monitor counts until it is handed on."""
    seconds, micros = client.time()
    leases = [score for _, score in client.zrange("pytask:leases", 0, -1, withscores=True)]
    return all(abs(seconds * 1e6 + micros - score) < 4 * H * 1e6 for score in leases)


def _is_local(world, task_id):
    known = world.replay.tasks.get(task_id)
    return known is not None and known.local


def _rest(world):
    client = world.connect(socket_timeout=10)
    ids = [i for i, known in world.replay.tasks.items() if known.view.state or known.pushed]
    with client.pipeline(transaction=False) as pipe:
        for task_id in ids:
            pipe.hgetall(task_id)
        hashes = dict(zip(ids, pipe.execute(), strict=True))
    return {
        "runs": client.hgetall("pytask:runs"),
        "leases": client.zrange("pytask:leases", 0, -1),
        "queue": client.lrange("new-task", 0, -1),
        "hashes": hashes,
        "ghosts": {k: list(client.hgetall(k)) for k in _ghosts(client)},
        "keys": sorted(k for k in client.scan_iter("pytask:*")),
    }


def _ghosts(client):
    for key in client.scan_iter(_type="hash", count=1000):
        if not key.startswith("pytask:") and not client.hexists(key, "function"):
            yield key


def judge(world, zombies, half, healed, rest, fed_until, client):
    """Every figure and every violation, as plain data."""
    replay, entries = world.replay, world.recorder.entries
    (world.folder / "audit").write_text("".join(f"{entry}\n" for entry in entries))
    lines = Evidence(world.evidence).acts()
    late = _lateness(world.folder / "late")
    slack = late["worst"] + world.options.slack
    lives = {w.name: [list(life) for life in w.lives] for w in world.places}
    names = [worker.name for worker in world.workers]
    troubled = figures.disturbances(world.faults, lives, names, figures.beginnings(lines))
    broken = list(replay.broken)
    broken += invariants.overlaps(lines)
    broken += invariants.two_in_one_process(lines)
    broken += invariants.acts_after_the_end(lines, replay.ended)
    broken += invariants.acts_beyond(lines, K + 0.25)
    broken += invariants.runs_end_once(replay)
    broken += invariants.at_rest(rest["runs"], rest["leases"], rest["queue"], rest["ghosts"])
    steps = [moment for f in world.faults if f.kind == "clock step" for moment in (f.begin, f.end)]
    broken += invariants.blamed_bystanders(entries, lines, steps)
    broken += [("lost", f"{i}: Redis has {h.get('state')}, the record {replay.tasks[i].view.state}")
               for i, h in rest["hashes"].items()
               if h.get("state", "") != replay.tasks[i].view.state]  # fmt: skip
    zombie, current = _accepted(world, zombies, entries)
    broken += [("zombie", "{} of {} {}".format(*write)) for write in zombie]
    if healed is None:
        broken.append(("rest", f"not at rest {HEALING:g} s after the last fault was healed"))
    recovery = _recovery(world, lines, entries, lives, troubled, names, slack, broken)
    control = _control(world, lines, lives, troubled, names, slack, broken)
    grown = _growth(lines, half, broken)
    # Half of a short run with a failover is over before all workers have opened all their connections.
    short = world.options.block == "sentinel" and world.options.minutes < 2
    grown |= _server_growth([s for s in world.samples if s[0] <= fed_until], half, [] if short else broken)
    kinds = unclean.judge(world, lives, lines, rest["hashes"], slack, broken)
    policy = {} if client is None else policies.judge(world, client, lines, rest, broken)
    changes = {}
    if world.options.block == "sentinel":
        changes = failovers.judge(world, lines, slack, fed_until, broken)
        changes["writes_of_runs_made_current_again"] = len(current)
    acts = [line for line in lines if invariants.is_act(line)]
    natural = {
        f"{verb} {verdict}": n for (source, verb, verdict), n in sorted(replay.verdicts.items())
        if source == "worker" and verb in invariants.FENCED_VERBS and verdict in ("FENCED", "GONE")
    }  # fmt: skip
    made = dict(sorted(zombies.answers.items()))
    latest = invariants.latest_acts(lines)
    return {
        "seed": [world.options.seed],
        "seconds": (lines[-1].at - lines[0].at) / SECOND if lines else 0.0,
        "faults": dict(sorted(Counter(f.kind for f in world.faults).items())),
        "overlapping_pairs": _pairs(world.faults),
        "tasks": sum(1 for k in replay.tasks.values() if not k.local),
        "runs": len(replay.begun),
        "acts": len(acts),
        "moves": sum(len(e.changes) for e in entries),
        "endings": dict(figures.requeues_by_run(replay)),
        "states": dict(Counter(h.get("state", "") for h in rest["hashes"].values())),
        "lost": len([b for b in broken if b[0] in ("lost", "rest", "I6")]),
        "flushed": len(replay.lost),
        "deleted": len(replay.deleted),
        "overlaps": len([b for b in broken if b[0] == "I1"]),
        "zombies_natural": natural,
        "zombies_made": made,
        "zombies_refused": sum(natural.values())
        + sum(n for k, n in made.items() if k.endswith(("FENCED", "GONE"))),
        "zombies_accepted": len(zombie) + len([b for b in broken if b[0] == "I5"]),
        "latest_act": max(latest.values(), default=0.0),
        "processes": sum(len(spans) for spans in lives.values()),
        "lives": lives,
        "exits": dict(Counter(str(life[3]) for spans in lives.values() for life in spans)),
        "recovery": recovery,
        "control": control,
        "growth": grown,
        "failovers": changes,
        "policies": policy,
        "unclean": kinds,
        "lateness": late,
        "slack": world.options.slack,
        "healed": healed,
        "worker_cpu": world.cpu_seconds(),
        "violations": [list(b) for b in broken],
        "errors": list(world.errors)[-10:],
        "fault_log": [[f.kind, f.target, f.begin, f.end, f.note] for f in world.faults],
    }  # fmt: skip


def _accepted(world, zombies, entries):
    """The accepted writes of the test's zombies, and those of them that were none: see the rule."""
    if world.options.block != "sentinel":
        return zombies.accepted, []
    current = invariants.made_current_again([*entries, *world.recorder.lost], zombies.accepted)
    return [write for write in zombies.accepted if write not in current], current


def _recovery(world, lines, entries, lives, troubled, names, slack, broken):
    monitors = [w.name for w in world.workers if w.monitors]
    waits = figures.pauses(entries)
    found = figures.recoveries(lines, world.replay, lives, troubled, monitors, waits)
    for one in found:
        allowed = figures.RECOVERY + waits.get(one["run"], 0.0) + slack
        if one["after"] > allowed:
            broken.append(
                ("recovery", f"{one['id']} {one['run']} took {one['after']:.2f} s, allowed {allowed:.2f} s")
            )
    clean = [one["took"] for one in found if one["clean"] and not waits.get(one["run"])]
    queued = Counter()
    for (task_id, verb), n in world.replay.queued.items():
        if verb == "expire":
            queued[task_id] += n
    expired = Counter(i for i, verb, _ in world.replay.ended.values() if verb == "expire")
    for task_id, n in queued.items():
        if n > expired[task_id]:
            broken.append(
                ("requeue", f"{task_id}: {n} requeues by monitors for {expired[task_id]} dead runs")
            )
    return {
        "runs": len(found), "undisturbed": clean,
        "deaths": len({one["died"] for one in found if one["clean"]}),
        "sweep_late": figures.sweep_lateness(lines),
        "worst_after": max((o["after"] for o in found), default=0.0),
        "requeues": sum(queued.values()), "dead_runs": sum(expired.values()),
    }  # fmt: skip


def _control(world, lines, lives, troubled, names, slack, broken):
    owners = {life[0]: (name, life[2]) for name, spans in lives.items() for life in spans}
    steered = [(*c, owners) for c in world.controls]
    within = max(3.0, figures.CONTROL + slack + 0.5)  # the look for disturbances begins half a second before
    found = figures.controls(steered, lines, world.replay, troubled, names, within)
    judged = [(i, word, took) for i, word, took, quiet in found if quiet]
    for task_id, word, took in judged:
        if took is None or took > figures.CONTROL + slack:
            broken.append(("control", f"{word} of {task_id} was effective after {took} s"))
    return {"sent": len(found), "judged": [took for *_, took in judged if took is not None]}


def _growth(lines, half, broken):
    found = figures.growth(lines, half)
    for pid, ((fds, greenlets), (fds_after, greenlets_after)) in found.items():
        # One connection more is none that leaks: that for control words is opened at the first of them.
        if fds_after > fds * 1.02 + 1 or greenlets_after > greenlets * 1.02:
            broken.append(
                (
                    "growth",
                    f"process {pid}: fds {fds} -> {fds_after}, greenlets {greenlets} -> {greenlets_after}",
                )
            )
    return {"processes": len(found), "fds": [[a[0], b[0]] for a, b in found.values()],
            "greenlets": [[a[1], b[1]] for a, b in found.values()]}  # fmt: skip


def _server_growth(samples, half, broken):
    found = figures.server_growth(samples, half)
    for what, (before, after) in (found or {}).items():
        if after > before * 1.02 + 1:  # one more is no leak, as above
            broken.append(("growth", f"{what} of Redis: {before} -> {after}"))
    return {what: [pair] for what, pair in (found or {"connections": [0, 0], "keys": [0, 0]}).items()}


def _lateness(path):
    values = [float(line.split()[1]) for line in path.read_text().splitlines()] if path.exists() else []
    return {"worst": max(values, default=0.0), "over_100_ms": sum(1 for v in values if v > 0.1)}


def _pairs(faults):
    """How many pairs of kinds were at work at the same time at least once."""
    pairs = set()
    ordered = sorted(faults, key=lambda f: f.begin)
    for i, one in enumerate(ordered):
        for other in ordered[i + 1 :]:
            if other.begin > one.end:
                break
            if other.kind != one.kind:
                pairs.add(tuple(sorted((one.kind, other.kind))))
    return sorted(map(list, pairs))


__all__ = ["KINDS", "ZOMBIES", "T", "run"]
