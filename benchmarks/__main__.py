"""Measure what the project promises, side by side with its peers, and print a table.

    python -m benchmarks                    all parts, then benchmarks/RESULTS.md
    python -m benchmarks PART... [options]  some of them; `report` writes RESULTS.md from what is known

A worker is `pytask run` with default settings, events and leases on.  Peers are installed at the first run,
each into an environment of its own under --cache.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import attrs

from benchmarks import versus
from benchmarks.place import cpu, fill, push, rss, server, wait, worker_process
from benchmarks.results import Results, show

__all__ = ["cpu", "fill", "push", "rss", "server", "wait", "worker_process"]

CACHE = Path.home() / ".cache" / "pytask-bench"


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
    made.add_argument("--quick", action="store_true", help="a fifth of the tasks, one round")
    made.add_argument("--rounds", type=int, help="of the drains  [default: 3]")
    made.add_argument("--peers", default="", metavar="NAMES", help="only these, with commas between")
    made.add_argument("--cache", type=Path, default=CACHE, help=f"environments, results  [default: {CACHE}]")
    return made


def drain(options: argparse.Namespace, results: Results) -> None:
    """pytask, the limit loop and the peers in turns."""
    peers = versus.chosen(options.peers)
    share = 0.2 if options.quick else 1.0
    known = results.found.get("drain", {}).get("pools", {})
    pools = versus.best_pools(peers, options.cache, share / 3, known)
    found = versus.rounds(peers, options.cache, pools, options.rounds or (1 if options.quick else 3), share)
    seen = {name: [attrs.astuple(outcome) for outcome in each] for name, each in found.items()}
    versions = {peer.name: peer.version(options.cache) for peer in peers}
    rows = list(versus.judged(found))
    results.keep("drain", {"rows": rows, "seen": seen, "pools": pools, "versions": versions})


PARTS: dict[str, Callable[[argparse.Namespace, Results], None]] = {"drain": drain}


if __name__ == "__main__":
    if sys.argv[1:2] == ["cluster"]:
        from benchmarks import cluster

        sys.argv.pop(1)
        cluster.main()
    else:
        main(sys.argv[1:])
