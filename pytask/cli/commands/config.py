"""`pytask config`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pytask.cli import options

if TYPE_CHECKING:
    from pytask.cli.connection import Remote
    from pytask.cli.printer import Printer


@click.command()
@options.settings_of
@options.form
def command(remote: Remote, printer: Printer) -> None:
    """Show every setting and the source of its value.

    Precedence, lowest first: the default, the file (pytask.toml in the current directory, $PYTASK_CONFIG or
    --config), the environment (PYTASK_MAX_TASKS and so on; also REDIS_URL for the address), the flags.
    Settings made in an app's code override file and environment. Passwords are never printed.
    """
    from pytask.cli.config import known_settings
    from pytask.cli.printer import Column
    from pytask.terminal import say

    known = known_settings(more=True)
    values = {name: remote.setting(name) for name in known}
    rows = [
        {"name": name, "value": value.shown, "origin": value.origin, "meaning": known[name].text}
        for name, value in values.items()
    ]
    columns = [
        Column("name", "name"),
        Column("value", "value"),
        Column("origin", "from"),
        Column("meaning", "meaning", wide=True),
    ]
    printer.rows("settings", rows, columns, key="name")
    for sentence in remote.strays():
        say(sentence)
