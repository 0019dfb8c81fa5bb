"""pytask, the limit loop and the peers drain in turns, so that every ratio comes from the same minutes."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.contest import Drained, drain_limit, drain_peer, drain_pytask
from benchmarks.peers import PEERS, Peer
from benchmarks.results import Row

OURS, LIMIT = "pytask", "the limit loop"
COUNT = 40_000  # for pytask and the limit loop
WARM = 15_000  # tasks of the warm-up: Node compiles while it runs

Found = dict[str, list[Drained]]


def chosen(names: str) -> list[Peer]:
    """The peers of a comma-separated list of (parts of) names, in any case; all of them for an empty one."""
    wanted = [name.lower() for name in names.split(",") if name]
    return [peer for peer in PEERS if not wanted or any(name in peer.name.lower() for name in wanted)]


def best_pools(peers: Sequence[Peer], cache: Path, share: float, known: dict[str, int]) -> dict[str, int]:
    """The concurrency with which each peer is fastest, by one short drain each; `known` ones are kept."""
    found = dict(known)
    for peer in peers:
        peer.prepare(cache)
        if peer.name in found:
            continue
        rates = {}
        for pool in peer.pools if len(peer.pools) > 1 else ():
            rates[pool] = attempt(peer.name, drain_peer, peer, cache, pool, amount(peer, share)).rate
            say(f"{peer.name} at {pool}", rates[pool])
        found[peer.name] = max(rates, key=rates.get) if rates else peer.pools[0]
    return found


def rounds(
    peers: Sequence[Peer], cache: Path, pools: dict[str, int], times: int, share: float
) -> Iterator[Found]:
    """`times` rounds, everyone once in each; what is known after each of them."""
    found: Found = {}

    def turn(name: str, drain: Callable[..., Drained], *words: object) -> None:
        found.setdefault(name, []).append(attempt(name, drain, *words))
        say(name, found[name][-1].rate)

    for _ in range(times):
        turn(OURS, drain_pytask, int(COUNT * share))
        turn(LIMIT, drain_limit, int(COUNT * share))
        for peer in peers:
            turn(peer.name, drain_peer, peer, cache, pools[peer.name], amount(peer, share))
        yield found


def amount(peer: Peer, share: float) -> int:
    """How many tasks a peer gets."""
    return max(int(peer.count * share), WARM if peer.node else 0)


def attempt(name: str, drain: Callable[..., Drained], *words: object) -> Drained:
    """A peer that fails is reported as such, and costs the others nothing."""
    try:
        return drain(*words)
    except RuntimeError as error:
        print(f"  {name}: FAILED: {error}", file=sys.stderr, flush=True)
        return Drained(0.0)


def say(name: str, rate: float) -> None:
    print(f"  {name:<24}{rate:>10,.0f} tasks/s", flush=True)


def rate(found: Found, name: str) -> float:
    """The median of its rounds."""
    return statistics.median(each[0] for each in found[name])


def cost(found: Found, name: str) -> tuple[float, float]:
    """CPU time of worker and server for a task, microseconds: the medians."""
    return tuple(statistics.median(each[i] for each in found[name]) for i in (1, 2))


def ratio(found: Found, name: str) -> float:
    """How many times as fast as `name` pytask was: the median over the rounds."""
    pairs = zip(found[OURS], found[name], strict=False)
    return statistics.median(ours[0] / other[0] for ours, other in pairs if other[0])


def judged(found: Found) -> Iterator[Row]:
    """The rows of the drain."""
    yield Row("drain, no-op, one worker process, tasks/s", f"{rate(found, OURS):,.0f}")
    if LIMIT in found:
        yield Row("  of the limit loop", f"{ratio(found, LIMIT):.2f}", ">= 0.7")
    if "BullMQ" in found:
        yield Row("  times BullMQ", f"{ratio(found, 'BullMQ'):.2f}", ">= 1.0")
    names = {peer.name for peer in PEERS if not peer.node} & found.keys()
    if names:
        best = max(names, key=lambda name: rate(found, name))
        yield Row(f"  times the best Python peer ({best})", f"{ratio(found, best):.1f}", ">= 6")
