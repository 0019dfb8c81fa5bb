"""What a part with failovers amounts to: the time without claims, what Redis lost, and who was kept away."""

from itertools import pairwise

from tests.chaos.invariants import SECOND, is_act
from tests.chaos.world import READY, E

WITHOUT_CLAIMS = 15.0 + E  # seconds at most from a failover to the next claim


def judge(world, lines, late, fed_until, broken):
    """The figures of the failovers; adds to `broken`."""
    if world.stuck:
        broken.append(("failover", f"the trio did not come to rest: {world.stuck}"))
    # A reload launches a run too, without a claim: the audit tells which were claimed.
    claimed = {c.after.registered for e in [*world.recorder.entries, *world.recorder.lost]
               if e.verb == "claim" for c in e.changes}  # fmt: skip
    claims = [line.at for line in lines if line.kind == "ack" and line.run in claimed]
    gaps, kinds = [], {}
    for index, (name, begin, _promoted, _end, _lost) in enumerate(world.failovers):
        kinds[name] = kinds.get(name, 0) + 1
        following = world.failovers[index + 1][1] if index + 1 < len(world.failovers) else fed_until
        times = [begin, *(at for at in claims if begin < at < following)]
        if times[-1] == begin and following - begin < WITHOUT_CLAIMS * SECOND:
            continue  # the load ended before the bar
        longest = max(((b - a) / SECOND for a, b in pairwise(times)), default=1e9)
        gaps.append(round(longest, 2))
        if longest > WITHOUT_CLAIMS + late:
            broken.append(("claims", f"{name}: {longest:.2f} s without a claim"))
    broken += kept_away(world, lines, late)
    lost = world.recorder.lost
    begun = {c.after.registered for e in lost for c in e.changes if e.verb == "claim" and c.after.registered}
    vanished = {i: at for i, at in world.acknowledged.items() if i not in world.replay.tasks}
    broken += [
        ("lost", f"{i}: its push was acknowledged, there was no failover, and no server tells of it")
        for i, at in vanished.items()
        if not any(begin - SECOND <= at <= end for _name, begin, _promoted, end, _lost in world.failovers)
    ]
    adopted = {c.after.registered for e in world.recorder.entries if e.verb == "adopt" for c in e.changes}
    acting = {line.run for line in lines if is_act(line)}
    return {
        "kinds": kinds, "gaps": gaps, "min_replicas": [world.options.min_replicas],
        "entries_lost": len(lost), "claims_lost": len(begun), "claims_lost_that_acted": len(begun & acting),
        "put_back": len(adopted), "pushes_lost": len(vanished),
    }  # fmt: skip


def kept_away(world, lines, late):
    """Workers that no server acknowledged for too long (of "lose", one knows one server only)."""
    acks = {}
    for line in lines:
        if line.kind == "ack" and line.id == "-":
            acks.setdefault(line.pid, []).append(line.at)
    lives = [life for worker in world.workers for life in worker.lives]
    broken = []
    for name, begin, _promoted, end, _lost in world.failovers:
        for pid, born, died, _code in lives if name != "lose" else ():
            first, last = max(begin, born + int(READY * SECOND)), min(end, died or end)
            times = [first, *(at for at in acks.get(pid, ()) if first < at < last), last]
            longest = max((b - a) / SECOND for a, b in pairwise(times))
            if longest > WITHOUT_CLAIMS + late:
                broken.append(("away", f"{name}: process {pid} was not acknowledged for {longest:.2f} s"))
    return broken
