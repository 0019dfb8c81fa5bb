"""Chaos on real processes: `python -m tests.chaos --seed 7 --minutes 3 --report out.html`.

`python -m tests.chaos sum a.json b.json ...` adds up the figures of several parts.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from tests.chaos import report
from tests.chaos.run import run
from tests.chaos.schedule import KINDS
from tests.chaos.sentinel import FAILOVERS
from tests.chaos.world import Options

UNPROTECTED_EXPIRY = 2.5  # seconds instead of T: a lease of 6 s outlives it
BLIND = "blackhole=3,stop=1"


def parse(words):
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=3.0, help="how long faults are made")
    parser.add_argument("--faults", type=int, help="end after that many")
    parser.add_argument("--gap", type=float, default=1.2, help="mean seconds between two faults")
    parser.add_argument(
        "--mix", default="", help="weights, as kill=3,stop=1,flushall=0; the others keep theirs"
    )
    parser.add_argument("--only", default="", help=f"kinds, of: {', '.join(KINDS)}")
    parser.add_argument("--first", default="", help="kinds to make before any is drawn")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--slots", type=int, default=50, help="places a worker")
    parser.add_argument("--long", type=int, default=300, help="long tasks over the run (30-120 s each)")
    parser.add_argument("--short", type=int, default=2000, help="short tasks over the run")
    parser.add_argument(
        "--long-step", type=float, default=0.2, help="seconds between two acts of a long task"
    )
    parser.add_argument(
        "--block", choices=["server", "sentinel"], default="server",
        help="one server with all kinds, or failovers under Sentinel",
    )  # fmt: skip
    parser.add_argument(
        "--min-replicas", type=int, default=1, choices=[0, 1], help="min-replicas-to-write, under Sentinel"
    )
    parser.add_argument(
        "--slack", type=float, default=0.0, metavar="SECONDS",
        help="that each bar of time allows beyond the machine's own lateness (for a machine with other work)",
    )  # fmt: skip
    parser.add_argument("--report", type=Path, help="write FILE (HTML) and FILE.txt")
    parser.add_argument("--json", type=Path, help="write the figures, for `sum`")
    parser.add_argument(
        "--unprotected", action="store_true", help="protections off: exit 0 only if overlap is found"
    )
    parser.add_argument("--keep", type=Path, help="keep logs and evidence in this folder")
    return parser.parse_args(words)


def kinds_of(options):
    if options.block == "server":
        return {name: kind.weight for name, kind in KINDS.items()}
    if options.unprotected:
        return {"lose": 1.0, "storm": 1.0}
    return {name: weight for name, (_, weight) in FAILOVERS.items()} | {
        "kill": 1,
        "storm": 2,
        "duplicates": 2,
    }


def names_of(options, words):
    """The kinds that stand in these words; ends the program where one is unknown."""
    known = [*KINDS, *(FAILOVERS if options.block == "sentinel" else ())]
    names = [word for word in words.split(",") if word]
    if unknown := set(names) - set(known):
        sys.exit(f"no such kind: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return names


def weights_of(options):
    weights = kinds_of(options)
    if options.only:
        weights = {name: weights.get(name, 1.0) for name in names_of(options, options.only)}
    blind = options.unprotected and options.block == "server" and not options.only
    mix = options.mix or (BLIND if blind else "")
    given = dict(pair.split("=") for pair in mix.split(",") if pair)
    names_of(options, ",".join(given))
    if blind:
        weights = {}
    weights |= {name: float(weight) for name, weight in given.items()}
    return {name: weight for name, weight in weights.items() if weight > 0}


def main(words):
    if words[:1] == ["sum"]:
        return add_up(words[1:])
    options = parse(words)
    world = Options(
        seed=options.seed, minutes=options.minutes, workers=options.workers, slots=options.slots,
        long=options.long, short=options.short, long_step=options.long_step,
        unprotected=UNPROTECTED_EXPIRY if options.unprotected else 0.0, block=options.block,
        no_embargo=options.unprotected and options.block == "sentinel", min_replicas=options.min_replicas,
        slack=options.slack,
    )  # fmt: skip
    folder = options.keep or Path(tempfile.mkdtemp(prefix="pytask-chaos-"))
    if options.keep and folder.exists() and any(folder.iterdir()):
        sys.exit(f"--keep {folder}: not an empty folder; evidence of two runs must not mix")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        result = run(world, weights_of(options), folder, gap=options.gap, faults=options.faults,
                     first=names_of(options, options.first))  # fmt: skip
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    if options.unprotected:
        print(report.text(result | {"violations": [b for b in result["violations"] if b[0] == "I1"]}))
        print(f"protections off: {result['overlaps']} acts of overlapping runs were seen")
        return 0 if result["overlaps"] else 1
    return conclude(result, options.report, options.json)


def add_up(words):
    """The figures of parts, each written with --json, as those of one run."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos sum", description=add_up.__doc__)
    parser.add_argument("parts", type=Path, nargs="+", metavar="PART", help="JSON files")
    parser.add_argument("--report", type=Path, help="write FILE (HTML) and FILE.txt")
    parser.add_argument("--json", type=Path, help="write the sum, which may be added up again")
    options = parser.parse_args(words)
    parts = [json.loads(path.read_text()) for path in options.parts]
    made = [fault[2] for part in parts for fault in part["fault_log"]]
    if len(made) != len(set(made)):
        sys.exit("a part is given twice: two of these files have faults of the same moment")
    return conclude(report.add(parts), options.report, options.json)


def conclude(result, page, figures):
    print(report.text(result))
    if page:
        page.write_text(report.page(result))
        page.with_name(page.name + ".txt").write_text(report.text(result) + "\n")
    if figures:
        figures.write_text(json.dumps(result))
    return 0 if report.fine(result) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
