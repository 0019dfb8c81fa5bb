"""`pytask demo`."""

from __future__ import annotations

from pathlib import Path

import click

from pytask.cli.name_clash import refuse_namesake


@click.command()
@click.option("--for", "seconds", type=click.FloatRange(min=1), metavar="SECONDS", help="End after so long.")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the data in this folder instead of a temporary one.",
)
def command(seconds: float | None, data_dir: Path | None) -> None:
    """Show what pytask does, on a private server.

    Two workers run example tasks; one is killed, and its tasks go on at the other. The story takes half a
    minute and says when it is over; then the tasks run on until you press Ctrl-C, or until --for SECONDS are
    over. Then the workers hand their tasks back, and a list says what went right. Exit code 0 if all did, 1
    if not, and 130 if Ctrl-C came before the story was over.
    """
    refuse_namesake()
    from pytask.demo.story import play

    click.get_current_context().exit(play(seconds, data_dir))
