"""`pytask mcp`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pytask.cli import options

if TYPE_CHECKING:
    from pytask.cli.connection import Remote


@click.command()
@click.option(
    "--payloads",
    is_flag=True,
    help="Also answer with data, outputs, saved values and log lines; secret fields stay masked.",
)
@options.settings_of
def command(payloads: bool, remote: Remote) -> None:
    """Serve tools that read tasks to an MCP client, over standard input and output.

    The tools are ls, show, why, logs, status and doctor; none changes anything. Payloads of tasks are left
    out unless --payloads is given. Requires `pip install 'pytaskd[mcp]'`. See docs/mcp.md.
    """
    try:
        import mcp  # noqa: F401 - whether it is there
    except ImportError:
        from pytask.domain.errors import MissingExtra

        raise MissingExtra(
            "`pytask mcp` needs the package mcp, which is not installed: pip install 'pytaskd[mcp]'"
        ) from None
    from pytask.cli.commands.mcp.server import serve

    remote.setting("redis_url")  # a wrong setting ends it here, where people see it
    serve(remote, payloads=payloads)
