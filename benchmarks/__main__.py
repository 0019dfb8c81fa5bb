"""Measure what the project promises, side by side with its peers, and print a table.

    python -m benchmarks                    all parts, then benchmarks/RESULTS.md
    python -m benchmarks PART... [options]  some of them; `report` writes RESULTS.md from what is known
    python -m benchmarks cluster [options]  one worker on a real cluster
    python -m benchmarks.libraries          how libraries behave in tasks: the table of docs/libraries.md

A worker is `pytask run` with default settings, events and leases on.  Peers are installed at the first run,
each into an environment of its own under --cache.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import enqueueing, growth, profile, report, versus
from benchmarks.place import CACHE, cpu, fill, push, rss, server, wait, worker_process
from benchmarks.results import Results, show

__all__ = ["cpu", "fill", "push", "rss", "server", "wait", "worker_process"]


def main(arguments: list[str]) -> None:
    """Run the parts asked for."""
    options = parser().parse_args(arguments)
    if unknown := set(options.parts) - PARTS.keys():
        parser().error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    results = Results(options.cache / ("quick.json" if options.quick else "results.json"))
    for part in options.parts or PARTS:
        print(f"-- {part}", flush=True)
        PARTS[part](options, results)
        if rows := results.rows(part):
            show(rows)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    made.add_argument("--quick", action="store_true", help="a fifth of the tasks, one round; kept apart")
    made.add_argument("--share", type=float, help="of the usual number of tasks  [default: 1, or 0.2]")
    made.add_argument("--rounds", type=int, help="of the drains  [default: 3]")
    made.add_argument("--peers", default="", metavar="NAMES", help="only these, with commas between")
    made.add_argument("--cache", type=Path, default=CACHE, help=f"environments, results  [default: {CACHE}]")
    return made


def times(options: argparse.Namespace, usual: int = 3) -> int:
    """Rounds."""
    return options.rounds or (1 if options.quick else usual)


def share(options: argparse.Namespace) -> float:
    """How many of the usual tasks."""
    return options.share or (0.2 if options.quick else 1.0)


def drain(options: argparse.Namespace, results: Results) -> None:
    """pytask, the limit loop and the peers in turns."""
    peers = versus.chosen(options.peers)
    part = share(options)
    pools = versus.best_pools(peers, options.cache, part / 2, pools_known(results))
    versions = {peer.name: peer.version(options.cache) for peer in peers}
    for found in versus.rounds(peers, options.cache, pools, times(options), part):
        rows = list(versus.judged(found))
        results.keep("drain", {"rows": rows, "seen": found, "pools": pools, "versions": versions})


def pools_known(results: Results) -> dict[str, int]:
    """The best concurrency of each peer that was measured."""
    return results.found.get("drain", {}).get("pools", {})


def processes(options: argparse.Namespace, results: Results) -> None:
    """Several worker processes on one queue."""
    found = growth.processes(times(options), int(30_000 * share(options)))
    results.keep("processes", {"rows": list(growth.shared(found, os.cpu_count() or 1)), "seen": found})


def enqueue(options: argparse.Namespace, results: Results) -> None:
    """Calls, and the call for many."""
    peers = versus.chosen(options.peers)
    for peer in peers:
        peer.prepare(options.cache)
    part = share(options)
    one = enqueueing.calls(peers, options.cache, times(options), int(enqueueing.CALLS * part))
    many = enqueueing.bulk(peers, options.cache, times(options), int(enqueueing.MANY * part))
    rows = list(enqueueing.enqueued(one, many))
    results.keep("enqueue", {"rows": rows, "calls": one, "bulk": many})


def latency(options: argparse.Namespace, results: Results) -> None:
    """From the call to the start of the task, pytask and the quickest peers in turns."""
    peers = [peer for peer in versus.chosen(options.peers) if peer.name in enqueueing.QUICKEST]
    pools = pools_known(results)
    seen: dict[str, list[tuple[float, float]]] = {}

    def turn(name: str, lags: list[float]) -> None:
        seen.setdefault(name, []).append((enqueueing.at(lags, 0.5), enqueueing.at(lags, 0.99)))
        print(f"  {name:<24} p50 {seen[name][-1][0]:.2f} ms, p99 {seen[name][-1][1]:.2f} ms", flush=True)

    seconds = enqueueing.SECONDS * share(options)
    for _ in range(times(options)):
        turn(enqueueing.OURS, enqueueing.own_latency(0, seconds))
        turn(enqueueing.LOADED, enqueueing.own_latency(10_000, seconds))
        for peer in peers:
            peer.prepare(options.cache)
            turn(peer.name, enqueueing.peer_latency(peer, options.cache, pools.get(peer.name, 100), seconds))
        results.keep("latency", {"rows": list(enqueueing.started(seen)), "seen": seen})


def grow(options: argparse.Namespace, results: Results) -> None:
    """How cost grows."""
    found = growth.curves(share(options))
    results.keep("growth", {"rows": list(growth.grown(found)), "curves": found})


def logged(options: argparse.Namespace, results: Results) -> None:
    """Lines of tasks' logs, and progress."""
    from benchmarks import logs

    rows = list(logs.measured(times(options), int(20_000 * share(options))))
    results.keep("logs", {"rows": rows})


def grouped(options: argparse.Namespace, results: Results) -> None:
    """Tasks of many groups."""
    from benchmarks import groups

    results.keep("groups", {"rows": list(groups.measured(times(options), share(options)))})


def timed(options: argparse.Namespace, results: Results) -> None:
    """Delayed tasks."""
    from benchmarks import timers

    results.keep("timers", {"rows": list(timers.measured(times(options, 11), share(options)))})


def saved(options: argparse.Namespace, results: Results) -> None:
    """What saves cost."""
    from benchmarks import saves

    results.keep("saves", {"rows": list(saves.measured(share(options)))})


def developed(options: argparse.Namespace, results: Results) -> None:
    """Saves of code, while tasks run."""
    from benchmarks import dev_saves

    results.keep("dev", {"rows": list(dev_saves.measured(share(options)))})


def seen_by_viewers(options: argparse.Namespace, results: Results) -> None:
    """The page, with many tasks and many viewers."""
    from benchmarks import web

    results.keep("web", {"rows": list(web.measured(share(options)))})


def paused(options: argparse.Namespace, results: Results) -> None:
    """How soon a paused task goes on."""
    from benchmarks import pauses

    results.keep("pauses", {"rows": list(pauses.measured(share(options)))})


def counted(options: argparse.Namespace, results: Results) -> None:
    """What metrics cost."""
    from benchmarks import metrics

    results.keep("metrics", {"rows": list(metrics.measured(times(options, 7), share(options)))})


def coroutines(options: argparse.Namespace, results: Results) -> None:
    """Coroutines beside greenlets."""
    from benchmarks import aio

    results.keep("aio", {"rows": list(aio.measured(times(options), share(options)))})


def million(options: argparse.Namespace, results: Results) -> None:
    """A million running tasks."""
    from benchmarks import million as module

    results.keep("million", {"rows": list(module.measured(share(options)))})


def command_line(options: argparse.Namespace, results: Results) -> None:
    """How quickly `pytask` answers about very many tasks."""
    from benchmarks import cli

    rows = list(cli.measured(times(options, cli.ROUNDS), int(cli.TASKS * share(options))))
    results.keep("cli", {"rows": rows})


def profiled(options: argparse.Namespace, results: Results) -> None:
    """Where a task's time goes."""
    rows = profile.profile(int(40_000 * share(options)), options.cache)
    results.keep("profile", {"rows": rows})


def scale(name: str) -> Callable[[argparse.Namespace, Results], None]:
    """A part of benchmarks/scale.py."""

    def part(options: argparse.Namespace, results: Results) -> None:
        from benchmarks import scale as module

        of_users = {"python": module.as_installed(options.cache)} if name == "idle" else {}
        results.keep(name, {"rows": list(module.PARTS[name](**of_users))})

    return part


def write(options: argparse.Namespace, results: Results) -> None:
    """benchmarks/RESULTS.md and its plot; the short form writes into the cache."""
    report.write(results, options.cache if options.quick else Path(__file__).parent)


SCALE = ("many", "control", "sweep", "emits", "idle", "io")
PARTS: dict[str, Callable[[argparse.Namespace, Results], None]] = {
    "drain": drain,
    "processes": processes,
    "enqueue": enqueue,
    "latency": latency,
    **{name: scale(name) for name in SCALE},
    "logs": logged,
    "timers": timed,
    "saves": saved,
    "dev": developed,
    "pauses": paused,
    "web": seen_by_viewers,
    "groups": grouped,
    "metrics": counted,
    "aio": coroutines,
    "million": million,
    "growth": grow,
    "cli": command_line,
    "profile": profiled,
    "report": write,
}


if __name__ == "__main__":
    if sys.argv[1:2] == ["cluster"]:
        from benchmarks import cluster

        sys.argv.pop(1)
        cluster.main()
    else:
        main(sys.argv[1:])
