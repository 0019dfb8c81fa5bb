"""Showing something again and again, until Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Callable

import click

from pytask.cli.printer import fancy

HOME_AND_CLEAR = "\x1b[H\x1b[2J"


def repeat(show: Callable[[], None], seconds: float) -> None:
    """Call `show()` every so many seconds; on a terminal each picture takes the place of the one before."""
    while True:
        if fancy():
            click.echo(HOME_AND_CLEAR, nl=False)  # noqa: TID251 - this one steers it
        show()
        time.sleep(seconds)
