"""`pytask top`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from pytask.cli import options

if TYPE_CHECKING:
    from pytask.cli.connection import Remote
    from pytask.cli.printer import Printer
    from pytask.shown.fleet import Fleet

ROWS = 15


@click.command()
@click.option(
    "--every",
    type=click.FloatRange(min=0.2),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Refresh interval.",
)
@click.option(
    "--once", is_flag=True, help="Print once and exit; the default if standard output is not a terminal."
)
@options.remote
@options.form
def command(every: float, once: bool, remote: Remote, printer: Printer) -> None:
    """Monitor all workers: what runs where, and how fast.

    Stop it with Ctrl-C. The JSON formats print once. Each refresh costs Redis a few commands, regardless of
    the number of tasks.
    """
    from pytask.cli.commands.status import commands

    if remote.explains(commands(remote)):
        return
    from pytask.cli.fleet import read_fleet
    from pytask.cli.printer import console, fancy

    if printer.form not in ("table", "wide"):
        found = read_fleet(remote)
        counts = {str(state): number for state, number in found.count.states.items()}
        printer.rows("workers", _rows(found), (), key="session", tasks=counts)
        return
    if once or not fancy():
        _print(read_fleet(remote), None)
        return
    from rich.live import Live

    before = read_fleet(remote)
    drawn = console()
    with Live(_picture(before, None), console=drawn, screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(every)
            now = read_fleet(remote)
            live.update(_picture(now, _rates(before, now, every)), refresh=True)
            before = now


def _rates(before: Fleet, now: Fleet, seconds: float) -> dict[str, float]:
    """Changes of the counts per second; removal of expired hashes is not counted as a change."""
    return {
        str(state): (number - before.count.states[state]) / seconds
        for state, number in now.count.states.items()
    }


def _heads(found: Fleet, rates: dict[str, float] | None) -> list[str]:
    from pytask.domain.wording import ago, counted

    states = []
    for state, number in found.count.states.items():
        rate = rates[str(state)] if rates else 0.0
        states.append(f"{state} {number}" + (f" ({rate:+.0f}/s)" if abs(rate) >= 1 else ""))
    silent = len(found.workers) - len(found.alive)
    places = sum(worker.max_tasks or 0 for worker in found.alive)
    monitor = "no monitor" if found.monitor is None else f"monitor {ago(found.monitor)} ago"
    memory = found.server.get("used_memory_human", "?")
    return [
        "  ".join(states),
        f"{counted(len(found.alive), 'worker')}{f' and {silent} silent' if silent else ''},"
        f" {counted(places, 'slot')}, {monitor},"
        f" Redis {found.seconds * 1000:.1f} ms, {memory} used"
        + (f", parked: {sum(found.count.parked.values())}" if found.count.parked else ""),
    ]


def _rows(found: Fleet) -> list[dict[str, Any]]:
    from pytask.shown.rows import worker_row

    busiest = sorted(found.workers, key=lambda worker: (not worker.alive, -worker.running))
    return [worker_row(worker) for worker in busiest[:ROWS]]


def _picture(found: Fleet, rates: dict[str, float] | None) -> Any:
    from rich.console import Group
    from rich.text import Text

    from pytask.cli.printer import drawn_table
    from pytask.cli.rows import WORKERS
    from pytask.domain.escaping import escaped

    columns = [column for column in WORKERS if not column.wide]
    heads = [Text(escaped(line), style="bold") for line in _heads(found, rates)]
    return Group(*heads, Text(), drawn_table(_rows(found), columns))


def _print(found: Fleet, rates: dict[str, float] | None) -> None:
    from pytask.cli.printer import table
    from pytask.cli.rows import WORKERS
    from pytask.terminal import out

    for line in _heads(found, rates):
        out(line)
    table(_rows(found), [column for column in WORKERS if not column.wide])
