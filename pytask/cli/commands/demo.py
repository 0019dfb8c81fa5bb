"""`pytask demo`."""

from __future__ import annotations

from pathlib import Path

import click

from pytask.cli.name_clash import check_name_clash


@click.command()
@click.option(
    "--for", "seconds", type=click.FloatRange(min=1), metavar="SECONDS", help="Stop after this time."
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the data in this directory instead of a temporary one.",
)
@click.option(
    "--web", "page", is_flag=True, help="Also serve the page (pytask web), and open it in a browser."
)
def command(seconds: float | None, data_dir: Path | None, page: bool) -> None:
    """Demonstrate pytask on a private Redis server.

    Two workers run example tasks; one is killed, and the other takes over its tasks. This takes about 30
    seconds. The tasks then keep running until you press Ctrl-C or --for SECONDS have passed. Finally the
    workers release their tasks, and a list shows which steps succeeded. Exit code: 0 if all succeeded, 1 if
    one failed, 130 if Ctrl-C was pressed before the demonstration was complete.
    """
    check_name_clash()
    from pytask.demo.story import play

    if page:
        from pytask.web import require

        require()
    click.get_current_context().exit(play(seconds, data_dir, page=page))
