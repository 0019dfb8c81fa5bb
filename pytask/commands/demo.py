"""`pytask demo`."""

from __future__ import annotations

from pathlib import Path

import click

from pytask.console.namesake import refuse_namesake


@click.command()
@click.option("--for", "seconds", type=click.FloatRange(min=1), metavar="SECONDS", help="End after so long.")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the data in this folder instead of a temporary one.",
)
def command(seconds: float | None, data_dir: Path | None) -> None:
    """Show what pytask does, on a private server.

    Two workers, of which one is killed; takes half a minute. Ends with Ctrl-C, or after --for SECONDS; exit
    code 0 if all that it shows went right.
    """
    refuse_namesake()
    from pytask.demo import play

    click.get_current_context().exit(play(seconds, data_dir))
