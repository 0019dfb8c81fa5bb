"""`pytask health`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pytask.cli import options

if TYPE_CHECKING:
    from pytask.cli.connection import Remote
    from pytask.cli.printer import Printer


@click.command()
@click.option(
    "--live", "kind", flag_value="live", help="Check liveness only: whether the event loop responds."
)
@click.option(
    "--ready",
    "kind",
    flag_value="ready",
    default=True,
    help="Check readiness: also whether the worker takes tasks and receives control requests.",
)
@click.option("--pid", type=int, metavar="PID", help="Check only this process.  [default: all of this user]")
@click.option(
    "--run-dir", type=click.Path(file_okay=False), metavar="DIR", help="Directory of their sockets."
)
@click.option("--timeout", type=float, default=5.0, help="Seconds to wait for an answer.", show_default=True)
@options.settings_of
@options.form
def command(
    kind: str, pid: int | None, run_dir: str | None, timeout: float, remote: Remote, printer: Printer
) -> None:
    """Check liveness or readiness of local workers without contacting Redis.

    Each worker answers on a unix socket from its event loop; a worker whose event loop is blocked does not
    answer. Exit code: 0 if all workers pass, 3 if one fails or none is found. Use it for Kubernetes probes
    and in scripts.
    """
    from pytask.cli.printer import Column
    from pytask.daemon import health_socket
    from pytask.domain.errors import Unhealthy

    place = run_dir or remote.setting("run_dir").value or None
    found = [path for path in health_socket.workers(place) if pid is None or path.stem == str(pid)]
    rows = []
    for path in found:
        with suppress(ConnectionRefusedError):
            rows.append(_row(path, health_socket.ask(path, timeout)))
    if not rows:
        who = f"no worker with pid {pid}" if pid else "no worker"
        raise Unhealthy(
            f"{who} of this user runs here (searched in {health_socket.folder(place)}). Start one with"
            " `pytask run`; to find one that was started with --run-dir DIR, pass the same --run-dir DIR"
        )
    columns = [
        Column("pid", "pid"),
        Column("name", "name"),
        Column("live", "live"),
        Column("ready", "ready"),
        Column("running", "tasks"),
        Column("why", "why"),
    ]
    printer.rows("workers", rows, columns, key="pid")
    bad = [str(row["pid"]) for row in rows if row[kind] is not True]
    if bad:
        raise Unhealthy(
            f"not {kind}: {', '.join(bad)} (of {len(rows)}); `kill -USR1 PID` prints what it does"
        )


def _row(path: Path, answer: dict[str, Any] | None) -> dict[str, Any]:
    why = [f"its event loop did not answer at {path}"] if answer is None else []
    silent = {"pid": int(path.stem), "name": "", "live": False, "ready": False, "running": None, "why": why}
    return silent | (answer or {})
