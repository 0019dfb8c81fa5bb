"""Run worlds: `python -m tests.simulation --worlds 500 --jobs 2`, or replay one: `--seed N -v`."""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import attrs

CHUNK = 20  # worlds a process: what dead processes leave behind is kept until it ends
ENOUGH = 20  # times that two kinds of fault should overlap in a long run


def main(argv=None):
    args = _arguments(argv)
    if args.seed is not None:
        return _one(args)
    if args.without is not None:
        return _without(args)
    if args.mutants is not None:
        return _mutants(args)
    if args.child:
        return _child(args)
    if args.sum:
        return _sum(args)
    return _many(args)


def _arguments(argv):
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay one world")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell everything that happens in it")
    parser.add_argument("--worlds", type=int, default=100)
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument(
        "--mode",
        choices=("safety", "liveness", "mixed"),
        default="mixed",
        help="mixed: every fourth seed is one of liveness",
    )
    parser.add_argument("--mutant", help="a wrong variant of pytask, which must be caught")
    parser.add_argument(
        "--mutants", help="a,b,...: the worlds of each from its first one on, until it is caught"
    )
    parser.add_argument("--often", help="kinds of fault, a,b,..., that each world draws, and more often")
    parser.add_argument(
        "--without", help="the first world of each of these mutants, a,b,..., with pytask as it is"
    )
    parser.add_argument(
        "--policies", action="store_true", help="only worlds with delayed and flapping tasks and schedules"
    )
    parser.add_argument(
        "--steering", action="store_true", help="only worlds whose tasks save, pause and reload"
    )
    parser.add_argument(
        "--failovers", action="store_true", help="only worlds whose workers have different failovers"
    )
    parser.add_argument("--json", help="write the summary to this file")
    parser.add_argument("--sum", nargs="+", metavar="FILE", help="add up summaries that --json wrote")
    parser.add_argument("--until-caught", action="store_true", help="stop at the first violation")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def _options(args, seed):
    from tests.simulation import mutants
    from tests.simulation.world import Options

    mode = args.mode
    if mode == "mixed":
        mode = "liveness" if seed % 4 == 3 else "safety"
    options = Options(
        mode=mode,
        include=tuple(args.often.split(",")) if args.often else (),
        policies=True if args.policies else None,
        steering=True if args.steering else None,
        failovers=True if args.failovers else None,
    )
    return options if args.mutant is None else mutants.options(args.mutant, options)


def _run(args, seed, tell=None):
    from tests.simulation import mutants
    from tests.simulation.world import run_world

    with mutants.applied(args.mutant):
        return run_world(seed, _options(args, seed), tell)


def _one(args):
    outcome = _run(args, args.seed, print if args.verbose else None)
    print(
        f"world {outcome.seed} ({outcome.mode}): {sum(outcome.faults.values())} faults, {outcome.runs} runs,"
        f" {outcome.acts} acts, {outcome.virtual:.0f} s in {outcome.seconds:.2f} s, log {outcome.digest}"
    )
    for rule, text, at in outcome.violations:
        print(f"VIOLATION of {rule} at {at:.3f}: {text}")
    return bool(outcome.violations)


def _without(args):
    from tests.simulation import mutants
    from tests.simulation.world import run_world

    gc.disable()  # as in `_child`
    bad = 0
    for name in args.without.split(","):
        seed = mutants.MUTANTS[name].seed
        plain = _options(args, seed)
        options = attrs.evolve(mutants.options(name, plain), mutant=None, timing=plain.timing)
        outcome = run_world(seed, options)
        print(f"{name}: {outcome.runs} runs", flush=True)
        for rule, text, at in outcome.violations:
            print(f"VIOLATION of {rule} at {at:.3f}, as without the mutant {name}: {text}", flush=True)
        bad += bool(outcome.violations)
        gc.freeze()
    os._exit(bool(bad))


def _mutants(args):
    """A JSON line of each: what caught it; the exit code is 1 if one was not.

    Each is a fork of this process, whose start would take longer than most worlds.
    """
    import tests.simulation.world  # noqa: F401 - before the forks

    missed = 0
    for name in args.mutants.split(","):
        pid = os.fork()
        if not pid:
            _catch(args, name)
        missed += os.waitpid(pid, 0)[1] != 0
    return bool(missed)


def _catch(args, name):
    from tests.simulation.mutants import MUTANTS

    gc.disable()  # as in `_child`
    args.mutant = name
    for seed in range(MUTANTS[name].seed, MUTANTS[name].seed + args.worlds):
        outcome = _run(args, seed)
        gc.freeze()
        if outcome.violations:
            rules = sorted({rule for rule, _text, _at in outcome.violations})
            print(json.dumps({"mutant": name, "seed": seed, "rules": rules}), flush=True)
            os._exit(0)
    os._exit(1)


def _child(args):
    gc.disable()  # collected, greenlets of dead processes would be unwound in the middle of a world
    for seed in range(args.start, args.start + args.worlds):
        outcome = _run(args, seed)
        gc.freeze()
        row = attrs.asdict(outcome)
        row["pairs"] = [[*pair, number] for pair, number in outcome.pairs.items()]
        print(json.dumps(row), flush=True)
        if outcome.violations and args.until_caught:
            break
    sys.stdout.flush()
    os._exit(0)  # without unwinding them either


def _chunks(args):
    for start in range(args.start, args.start + args.worlds, CHUNK):
        yield start, min(CHUNK, args.start + args.worlds - start)


def _spawn(args, start, number):
    command = [
        sys.executable,
        "-m",
        "tests.simulation",
        "--child",
        "--start",
        str(start),
        "--worlds",
        str(number),
        "--mode",
        args.mode,
    ]
    if args.mutant:
        command += ["--mutant", args.mutant]
    if args.often:
        command += ["--often", args.often]
    if args.policies:
        command.append("--policies")
    if args.steering:
        command.append("--steering")
    if args.failovers:
        command.append("--failovers")
    if args.until_caught:
        command.append("--until-caught")
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _many(args):
    began = time.monotonic()
    total = Total()
    chunks = _chunks(args)
    running = [(_spawn(args, *chunk), chunk) for chunk in itertools.islice(chunks, args.jobs)]
    while running:
        child, chunk = running.pop(0)
        rows = [json.loads(line) for line in child.stdout]
        if child.wait() or (len(rows) < chunk[1] and not args.until_caught):
            print(
                f"worlds {chunk[0]} to {chunk[0] + chunk[1] - 1}: the process ended with {child.returncode}"
                f" after {len(rows)} worlds"
            )
            total.broken += 1
        total.add(rows)
        if not (args.until_caught and total.violations):
            running += [(_spawn(args, *chunk), chunk) for chunk in itertools.islice(chunks, 1)]
    return _conclude(args, total, time.monotonic() - began)


def _sum(args):
    parts = [json.loads(Path(file).read_text()) for file in args.sum]
    total = Total()
    for part in parts:
        total.add_summary(part)
    return _conclude(args, total, sum(part["seconds"] for part in parts))


def _conclude(args, total, seconds):
    summary = total.summary(seconds)
    _tell(args, summary)
    if args.json:
        Path(args.json).write_text(json.dumps(summary, indent=1))
    return bool(summary["violations"] or total.broken)


class Total:
    """The sum of many worlds."""

    def __init__(self):
        self.worlds = self.runs = self.acts = self.refused = self.adopted = self.broken = 0
        self.virtual = 0.0
        self.faults = Counter()
        self.pairs = Counter()
        self.policies = Counter()
        self.violations = []

    def add(self, rows):
        for row in rows:
            self.worlds += 1
            self.runs += row["runs"]
            self.acts += row["acts"]
            self.refused += row["refused"]
            self.adopted += row["adopted"]
            self.virtual += row["virtual"]
            self.faults.update(row["faults"])
            self.policies.update(row["tally"])
            for first, second, number in row["pairs"]:
                self.pairs[first, second] += number
            self.violations += [
                {"seed": row["seed"], "mode": row["mode"], "rule": rule, "text": text, "at": at}
                for rule, text, at in row["violations"]
            ]

    def add_summary(self, part):
        self.worlds += part["worlds"]
        self.runs += part["runs"]
        self.acts += part["acts"]
        self.refused += part["late_writes_refused"]
        self.adopted += part["runs_put_back"]
        self.virtual += part["virtual_seconds"]
        self.faults.update(part["kinds"])
        self.policies.update(part.get("policies", {}))
        self.pairs.update({tuple(pair.split("+")): number for pair, number in part["overlaps"].items()})
        self.violations += part["violations"]

    def summary(self, seconds):
        from tests.simulation.faults import KINDS

        pairs = list(itertools.combinations(sorted(KINDS), 2))
        often = [pair for pair in pairs if self.pairs[pair] >= ENOUGH]
        return {
            "worlds": self.worlds,
            "faults": sum(self.faults.values()),
            "kinds": dict(sorted(self.faults.items())),
            "policies": dict(sorted(self.policies.items())),
            "runs": self.runs,
            "acts": self.acts,
            "late_writes_refused": self.refused,
            "runs_put_back": self.adopted,
            "virtual_seconds": round(self.virtual),
            "seconds": round(seconds, 1),
            "overlaps": {f"{a}+{b}": number for (a, b), number in sorted(self.pairs.items())},
            "pairs": len(pairs),
            "pairs_often": len(often),
            "pairs_seldom": {f"{a}+{b}": self.pairs[a, b] for a, b in pairs if self.pairs[a, b] < ENOUGH},
            "violations": self.violations,
        }


def _tell(args, summary):
    print(f"{'kind of fault':<16}{'times':>9}")
    for name, number in summary["kinds"].items():
        print(f"{name:<16}{number:>9}")
    share = 100 * summary["pairs_often"] / summary["pairs"]
    print(
        f"\npairs of kinds that overlapped in time {ENOUGH} times or more: {summary['pairs_often']} of"
        f" {summary['pairs']} ({share:.1f} %)"
    )
    if share > 50:
        for name, number in summary["pairs_seldom"].items():
            print(f"  seldom: {name} {number}")
    for name, number in summary["policies"].items():
        print(f"{name:<24}{number:>9}")
    for found in summary["violations"][:30]:
        mutant = f" --mutant {args.mutant}" if args.mutant else ""
        print(
            f"VIOLATION of {found['rule']} at {found['at']:.3f}: {found['text']}\n  replay: python -m"
            f" tests.simulation --seed {found['seed']} --mode {found['mode']}{mutant} -v"
        )
    bad = len({found["seed"] for found in summary["violations"]})
    print(
        f"\n{summary['worlds']} worlds, {summary['faults']} faults of {len(summary['kinds'])} kinds,"
        f" {summary['runs']} runs, {summary['acts']} acts,"
        f" {summary['late_writes_refused']} late writes refused, {summary['runs_put_back']} runs put back,"
        f" {bad} worlds with violations, {summary['seconds']} s"
    )


if __name__ == "__main__":
    sys.exit(main())
